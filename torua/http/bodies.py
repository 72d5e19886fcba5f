"""Small bodies of requests, as structs."""

from typing import TypeVar

from msgspec import DecodeError, json

from torua import codec
from torua.errors import MalformedError, ProtocolError
from torua.http.messages import CBOR, JSON, Ask
from torua.http.problems import MediaTypeError

T = TypeVar("T")


def read_body(ask: Ask, kind: type[T]) -> T:
    """Read the body of a request, in JSON or CBOR by its type.

    Args:
        ask: the request.
        kind: the struct that it spells.

    Raises:
        MediaTypeError: the body is of another type.
        MalformedError: it does not spell a ``kind``.
    """
    given = ask.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if given not in (JSON, CBOR):
        raise MediaTypeError(f"{given}: {JSON} or {CBOR} is taken here")
    try:
        if given == CBOR:
            return codec.plain.read(ask.body, kind)
        return json.decode(ask.body, type=kind)
    except (DecodeError, ProtocolError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedError(f"body: {error}") from error

"""One request and its answer, as values: what handlers see of HTTP."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, json

from torua import codec
from torua.core.kv import Call, IdempotencyKey
from torua.core.reading import LINEARIZABLE, Reading

JSON = "application/json"
CBOR = "application/cbor"


class Taken(Protocol):
    """A request's body that is taken as it comes."""

    async def next(self) -> bytes | None:
        """Return what has come, once something has; None at the end.

        Raises:
            ToruaError: the rest will not come, and why.
        """


class Ask(Struct, frozen=True):
    """A request whose body has come in whole, or is taken as it comes.

    Attributes:
        method: as it came, in upper case.
        path: as it came, still percent-encoded; ASCII.
        variables: the variable parts of the path, decoded.
        query: names and values, decoded.
        headers: by lower-case name; several lines of one name joined by commas.
        body: the body; empty where there is a stream.
        request_id: the caller's or ours.
        traceparent: W3C trace context; empty where there is none.
        stream: gives the body piece by piece, to a route that wants it so.
    """

    method: str
    path: str
    variables: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    traceparent: str = ""
    stream: Taken | None = None

    @property
    def wants_cbor(self) -> bool:
        """Tell whether the caller asked for CBOR rather than JSON."""
        accepted = self.headers.get("accept", "")
        kinds = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
        return CBOR in kinds and JSON not in kinds[: kinds.index(CBOR)]

    def call(
        self,
        timeout_s: float,
        idempotency: IdempotencyKey | None = None,
        reading: Reading = LINEARIZABLE,
    ) -> Call:
        """Make the circumstances that go with the request to other nodes.

        Args:
            timeout_s: how long the caller waits, in seconds.
            idempotency: the caller's promise, if it made one.
            reading: how fresh what it reads must be.
        """
        return Call(self.request_id, timeout_s, idempotency, self.traceparent, reading)


class Stream(Protocol):
    """A body that is not there yet, and may have no end."""

    async def next(self) -> bytes | None:
        """Return the next piece, once there is one; None at the end."""

    def close(self) -> None:
        """Hear that nobody will ask for more; that may be said twice."""


class Answer(Struct, frozen=True):
    """A response.

    Attributes:
        status: of HTTP.
        headers: names and values.
        body: all of it, unless there is a stream.
        content_type: of the body.
        trouble: the error code of a problem, for metrics.
        stream: gives the body piece by piece.
        repeatable: nothing was changed for it, so that it may be withheld where too
            many wait for their clients.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str | None = None
    trouble: str | None = None
    stream: Stream | None = None
    repeatable: bool = False


def spelled(
    ask: Ask,
    value: object,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Answer 200 with a value, in JSON or, where it was asked for, in CBOR.

    Args:
        ask: the request.
        value: structs and plain values that both can spell.
        headers: further headers.
    """
    varying = (*headers, ("Vary", "Accept"))
    if ask.wants_cbor:
        return Answer(200, varying, codec.encode(codec.plain.plain(value)), CBOR)
    return Answer(200, varying, json.encode(value), JSON)

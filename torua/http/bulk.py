"""Many operations in one request: lines of JSON, or one array of CBOR."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua import codec
from torua.codec.flat import flat_maps
from torua.core.kv import (
    BULK_OPERATIONS_MAX,
    VALUE_BYTES_MAX,
    Condition,
    Delete,
    Get,
    Outcome,
    Put,
    Single,
)
from torua.core.resilience.portions import OPERATIONS_MAX
from torua.errors import MalformedError, ProtocolError, TooLargeError
from torua.http import parameters
from torua.http.messages import CBOR, Answer, Ask, spelled
from torua.http.problems import MediaTypeError, status_of
from torua.http.seams import KeyValue
from torua.http.values import spell_value

T = TypeVar("T")

LINES = {
    "",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json",
}
"""Types of a body of JSON lines; a body without a type is taken for one."""


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """One operation as it stands in a request."""

    op: Literal["put", "get", "delete"]
    key: str
    value: str | UnsetType = UNSET
    value_base64: bytes | UnsetType = UNSET
    if_version: int | None = None
    ttl: float | None = None


class BinaryLine(Struct, frozen=True, forbid_unknown_fields=True):
    """The same in CBOR, where bytes are bytes."""

    op: Literal["put", "get", "delete"]
    key: str
    value: bytes | UnsetType = UNSET
    if_version: int | None = None
    ttl: float | None = None


_LINE = msgspec.json.Decoder(Line)


class BulkHandler:
    """Answers ``/bulk``.

    Invariants: it keeps nothing between two requests; nothing is done of a request of
    which any line is malformed.
    """

    def __init__(
        self, key_value: KeyValue, node_name: str, clock: IReactorTime
    ) -> None:
        """Serve from ``key_value``.

        Args:
            key_value: where keys and values live.
            node_name: this node's, which puts the answer together.
            clock: the reactor, which turns while a long request is read.
        """
        self._clock = clock
        self._key_value = key_value
        self._node_name = node_name

    async def post(self, ask: Ask) -> Answer:
        """Answer POST of many operations, with one result each, in order.

        ``errors`` in the answer counts the results of 400 and above.
        """
        parameters.reading(ask)
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, parameters.idempotency(ask))
        operations = await self._all(read_operations(ask))
        outcomes, token = await self._key_value.bulk(operations, call)
        assert len(outcomes) == len(operations)
        results = await self._all(
            _result(operation, outcome, raw=ask.wants_cbor)
            for operation, outcome in zip(operations, outcomes, strict=True)
        )
        errors = sum(result["status"] >= 400 for result in results)
        served: tuple[tuple[str, str], ...]
        served = (("Torua-Served-By", self._node_name),)
        if token:
            served = (*served, ("Torua-Token", token))
        return spelled(ask, {"errors": errors, "results": results}, served)

    async def _all(self, making: Iterator[T]) -> list[T]:
        """Make all of something, and let the reactor turn now and then."""
        made = list(islice(making, OPERATIONS_MAX))
        while more := list(islice(making, OPERATIONS_MAX)):
            await deferLater(self._clock, 0)
            made += more
        return made


def read_operations(ask: Ask) -> Iterator[Single]:
    """Read the operations in the body of a request, one after the other.

    Raises:
        MediaTypeError: the body is of another type.
        MalformedError: a line is malformed; it says which.
        TooLargeError: there are too many, or a value is too large.
    """
    kind = ask.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == CBOR:
        return _checked("item", _read_cbor(ask.body))
    if kind in LINES:
        return _checked("line", _read_lines(ask.body))
    raise MediaTypeError(f"{kind}: application/x-ndjson or {CBOR} is taken here")


Numbered = Iterator[tuple[int, Line | BinaryLine]]


def _read_lines(body: bytes) -> Numbered:
    """Read lines of JSON, numbered from 1; empty ones count but are left out."""
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, _LINE.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise MalformedError(f"line {number}: {error}", line=number) from error


def _read_cbor(body: bytes) -> Numbered:
    """Read an array of CBOR maps, numbered from 0."""
    try:
        for number, item in enumerate(flat_maps(body, BULK_OPERATIONS_MAX)):
            yield number, codec.plain.shape(_either_way(item), BinaryLine)
    except (ProtocolError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from error


def _either_way(item: dict[object, object]) -> dict[object, object]:
    """Take a key that is spelled in bytes, and a value that is spelled as text."""
    key, value = item.get("key"), item.get("value")
    changed: dict[object, object] = {}
    if isinstance(key, bytes):
        changed["key"] = key.decode()
    if isinstance(value, str):
        changed["value"] = value.encode()
    return item | changed


def _checked(what: str, numbered: Numbered) -> Iterator[Single]:
    """Make operations of lines, and count them."""
    for count, (number, line) in enumerate(numbered, 1):
        if count > BULK_OPERATIONS_MAX:
            raise TooLargeError(f"up to {BULK_OPERATIONS_MAX} operations are taken")
        try:
            yield _operation(line)
        except (MalformedError, TooLargeError) as error:
            members: Mapping[str, int] = {what: number}
            raise type(error)(f"{what} {number}: {error.detail}", **members) from error


def _operation(line: Line | BinaryLine) -> Single:
    """Make the operation that a line asks for."""
    key = parameters.key_bytes(line.key)
    value = _value(line)
    if line.op == "put":
        if value is None:
            raise MalformedError("a put takes a value")
        ttl_s = None if line.ttl is None else parameters.checked_ttl_s(line.ttl)
        return Put(key, value, ttl_s=ttl_s, conditions=_conditions(line.if_version))
    if value is not None or line.ttl is not None:
        raise MalformedError(f"a {line.op} takes no value and no ttl")
    if line.op == "delete":
        return Delete(key, _conditions(line.if_version))
    if line.if_version is not None:
        raise MalformedError("a get takes no if_version")
    return Get(key)


def _value(line: Line | BinaryLine) -> bytes | None:
    """Return the value in a line; None where there is none."""
    given = [] if line.value is UNSET else [line.value]
    if isinstance(line, Line) and line.value_base64 is not UNSET:
        given.append(line.value_base64)
    if len(given) > 1:
        raise MalformedError("value or value_base64, not both")
    if not given:
        return None
    value = given[0].encode() if isinstance(given[0], str) else given[0]
    if len(value) > VALUE_BYTES_MAX:
        raise TooLargeError(f"a value has up to {VALUE_BYTES_MAX} bytes")
    return value


def _conditions(if_version: int | None) -> tuple[Condition, ...]:
    """Return what ``if_version`` asks: that version, or with 0 that it is absent."""
    if if_version is None:
        return ()
    if not 0 <= if_version < 1 << 63:
        raise MalformedError("if_version: a version, or 0 for an absent key")
    if if_version == 0:
        return (Condition(None, match=False),)
    return (Condition((if_version,), match=True),)


def _result(operation: Single, outcome: Outcome, *, raw: bool) -> dict[str, Any]:
    """Spell what became of one operation, its status first."""
    version = outcome.version
    if outcome.error is not None:
        status, detail = status_of(outcome.error), outcome.detail or outcome.error
        return {"status": status, "version": version, "detail": detail}
    if not isinstance(operation, Get):
        return {"status": 204, "version": version}
    entry = outcome.entry
    if entry is None:
        return {"status": 404, "version": None, "detail": "no such key"}
    value = spell_value(entry.value or b"", raw=raw)
    return {"status": 200, "version": entry.version} | value

"""Many operations in one request, in CBOR, where values are bytes as they are."""

from collections.abc import Iterable, Sequence

import cbor2
import msgspec
from msgspec import Struct

from torua.client.errors import (
    OutcomeUnknownError,
    OverloadedError,
    Problem,
    UnavailableError,
    UnreachableError,
    unexpected,
)
from torua.client.targets import Bytes, as_bytes, checked_key
from torua.client.transport import Answer, Request, Transport

CBOR = "application/cbor"


class Put(Struct, frozen=True):
    """Put a value, in a bulk request.

    Attributes:
        key: to put to.
        value: any bytes.
        if_version: the version the key must have, 0 for an absent key.
        ttl_s: after how many seconds it goes.
    """

    key: str
    value: Bytes
    if_version: int | None = None
    ttl_s: float | None = None


class Get(Struct, frozen=True):
    """Get a value, in a bulk request."""

    key: str


class Delete(Struct, frozen=True):
    """Delete a key, in a bulk request; ``if_version`` is the one it must have."""

    key: str
    if_version: int | None = None


Operation = Put | Get | Delete


class BulkResult(Struct, frozen=True):
    """What became of one operation.

    Attributes:
        status: what the request alone would have been answered: 204, 200, 404, 412 …
            504 is a write whose outcome is unknown.
        version: of the key now, where there is one.
        value: what a get found.
        detail: why it failed.
    """

    status: int
    version: int | None = None
    value: bytes | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether it was done; a get that found nothing was not."""
        return self.status < 400


class _BulkAnswer(Struct, frozen=True):
    """The answer of a bulk request."""

    errors: int
    results: tuple[BulkResult, ...]


_AGAIN = frozenset((429, 503, 504))
"""Results that another attempt under the same idempotency key may better."""


def send_bulk(
    transport: Transport,
    operations: Iterable[Operation],
    idempotency_key: str,
    timeout_s: float | None,
) -> tuple[BulkResult, ...]:
    """Send operations until all of them are done, or time is over.

    Args:
        transport: asks.
        operations: what to do.
        idempotency_key: of the request.
        timeout_s: for all attempts; None for the client's.
    """
    wanted = [_spelled(each) for each in operations]
    headers = {
        "Content-Type": CBOR,
        "Accept": CBOR,
        "Idempotency-Key": idempotency_key,
    }
    request = Request(
        "POST",
        "/bulk",
        {},
        headers,
        cbor2.dumps(wanted),
        writes=any(each["op"] != "get" for each in wanted),
        timeout_s=timeout_s,
    )
    found: Sequence[BulkResult] = ()

    def check(answer: Answer) -> None:
        """Take in results; raise where another attempt may better some."""
        nonlocal found
        found = _merged(found, _results(answer, len(wanted)))
        if any(each.status in _AGAIN for each in found):
            problem = Problem(detail="a shard did not answer")
            raise UnavailableError(problem)

    try:
        transport.ask(request, check)
    except (UnavailableError, OverloadedError, UnreachableError):
        if not found:
            raise
    except OutcomeUnknownError:
        if not found:
            raise
        found = [_doubted(each) for each in found]
    return tuple(found)


def _spelled(operation: Operation) -> dict[str, object]:
    """Spell an operation as the API has it in CBOR."""
    key = checked_key(operation.key)
    if isinstance(operation, Get):
        return {"op": "get", "key": key}
    spelled: dict[str, object] = {"op": "delete", "key": key}
    if isinstance(operation, Put):
        spelled |= {"op": "put", "value": as_bytes(operation.value)}
        if operation.ttl_s is not None:
            spelled["ttl"] = operation.ttl_s
    if operation.if_version is not None:
        spelled["if_version"] = operation.if_version
    return spelled


def _results(answer: Answer, count: int) -> Sequence[BulkResult]:
    """Read what became of each operation."""
    try:
        found = msgspec.convert(cbor2.loads(answer.body), _BulkAnswer).results
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as error:
        raise unexpected(f"no answer of /bulk: {error}", answer.endpoint) from error
    if len(found) != count:
        raise unexpected(f"{len(found)} results of {count}", answer.endpoint)
    return found


def _merged(
    before: Sequence[BulkResult], now: Sequence[BulkResult]
) -> Sequence[BulkResult]:
    """Take the later results, but where one leaves an unknown outcome unknown."""
    if not before:
        return now
    return [
        old if old.status == 504 and new.status in _AGAIN else new
        for old, new in zip(before, now, strict=True)
    ]


def _doubted(result: BulkResult) -> BulkResult:
    """Make a result unknown that a later attempt, which broke, may have bettered."""
    if result.status not in _AGAIN:
        return result
    return BulkResult(504, detail="the connection broke; it may have been done")

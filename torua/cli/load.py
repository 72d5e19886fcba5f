"""What a load consists of: requests that are spelled once, and sent many times."""

import base64
import json
import random
from collections.abc import Sequence
from typing import NamedTuple

import cbor2
import msgspec

from torua.cli.failures import Failure
from torua.cli.http import Client, key_target

POOL_BYTES = 32 << 20
"""So much is spelled beforehand; there are more different requests only if small."""

LINES = "application/x-ndjson"
CBOR = "application/cbor"
_VALUE_TYPE = "application/octet-stream"


class Request(NamedTuple):
    """What to send, how many operations it holds, and what says that none failed.

    An answer whose body does not hold ``good`` at its begin had failures in it.
    """

    kind: str
    wire: bytes
    operations: int = 1
    good: bytes = b""


class Plan(msgspec.Struct, frozen=True):
    """What to ask.

    Attributes:
        workload: ``put``, ``get``, ``mixed`` (half each), ``bulk`` (puts) or
            ``bulk-get``.
        value_bytes: the size of each value.
        keys: how many different keys.
        batch: how many operations a bulk request holds.
        seed: of the choice of keys.
        cbor: whether bulk requests are CBOR, not lines of JSON.
    """

    workload: str
    value_bytes: int = 100
    keys: int = 10_000
    batch: int = 100
    seed: int = 1
    cbor: bool = False


def key_name(number: int) -> str:
    """Name the key of a number."""
    return f"bench/{number:08d}"


def value_of(plan: Plan) -> bytes:
    """Make the value that is put: random bytes, so that nothing compresses."""
    return random.Random(plan.seed).randbytes(plan.value_bytes)  # noqa: S311 - no secret


def requests_of(plan: Plan) -> list[Request]:
    """Spell requests to be sent over and over, in the order in which they stand.

    There are as many as keys, fewer where they would take more than `POOL_BYTES`; for
    bulk requests, together they name each key once or twice.

    Args:
        plan: what to ask.
    """
    dice = random.Random(plan.seed)  # noqa: S311 - no secret
    value = value_of(plan)
    if plan.workload.startswith("bulk"):
        return _bulks(plan, value, dice)
    many = max(1, min(plan.keys, POOL_BYTES // (plan.value_bytes + 250)))
    reads = {"get": 1.0, "mixed": 0.5, "put": 0.0}[plan.workload]
    return [
        get_request(number) if dice.random() < reads else put_request(number, value)
        for number in dice.sample(range(plan.keys), many)
    ]


def get_request(number: int) -> Request:
    """Spell a read of a key."""
    return Request("get", spelled("GET", key_target(key_name(number))))


def put_request(number: int, value: bytes) -> Request:
    """Spell a write of a key.

    Args:
        number: of the key.
        value: as it is stored.
    """
    target = key_target(key_name(number))
    return Request("put", spelled("PUT", target, value, _VALUE_TYPE))


def _bulks(plan: Plan, value: bytes, dice: random.Random) -> list[Request]:
    """Spell bulk requests."""
    each_bytes = plan.batch * (len(value) + 60)
    many = min(2 * plan.keys // plan.batch, POOL_BYTES // each_bytes)
    return [bulk_request(plan, _sample(dice, plan), value) for _ in range(max(1, many))]


def _sample(dice: random.Random, plan: Plan) -> list[int]:
    """Choose the keys of a bulk request: different ones, while there are enough."""
    if plan.batch <= plan.keys:
        return dice.sample(range(plan.keys), plan.batch)
    return dice.choices(range(plan.keys), k=plan.batch)


def bulk_request(plan: Plan, numbers: Sequence[int], value: bytes) -> Request:
    """Spell one bulk request.

    Args:
        plan: says whether puts or gets, and in which format.
        numbers: of the keys.
        value: of all of them, where they are put.
    """
    reads = plan.workload == "bulk-get"
    if plan.cbor:
        body, good = _cbor_body(numbers, None if reads else value), b"\x66errors\x00"
    else:
        body, good = lines_body(numbers, None if reads else value), b'"errors":0,'
    kind = CBOR if plan.cbor else LINES
    wire = spelled("POST", "/bulk", body, kind, accept=kind if plan.cbor else "*/*")
    return Request(plan.workload, wire, len(numbers), good)


def _cbor_body(numbers: Sequence[int], value: bytes | None) -> bytes:
    """Spell operations on keys as CBOR; gets where there is no value."""
    more = {"op": "get"} if value is None else {"op": "put", "value": value}
    return cbor2.dumps([more | {"key": key_name(each)} for each in numbers])


def lines_body(numbers: Sequence[int], value: bytes | None) -> bytes:
    """Spell operations on keys as lines of JSON.

    Args:
        numbers: of the keys.
        value: of all of them; None for gets.
    """
    more = {"op": "get"}
    if value is not None:
        more = {"op": "put", "value_base64": base64.b64encode(value).decode()}
    lines = (json.dumps(more | {"key": key_name(each)}) for each in numbers)
    return "".join(f"{line}\n" for line in lines).encode()


def spelled(
    method: str,
    target: str,
    body: bytes = b"",
    kind: str = "",
    accept: str = "*/*",
) -> bytes:
    """Spell a request as it goes over the wire, the same to each endpoint.

    Args:
        method: of HTTP.
        target: path and query.
        body: the length of which is told, unless there is none.
        kind: its type.
        accept: the type of the answer.
    """
    head = f"{method} {target} HTTP/1.1\r\nHost: torua\r\nAccept: {accept}\r\n"
    if body or method != "GET":
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def fill(client: Client, plan: Plan) -> None:
    """Put every key once, so that reads find them.

    Args:
        client: where to.
        plan: which keys, and what values.

    Raises:
        Failure: a put was refused.
    """
    value = value_of(plan)
    batch = max(1, min(500, (1 << 20) // (plan.value_bytes + 1)))
    for first in range(0, plan.keys, batch):
        numbers = range(first, min(first + batch, plan.keys))
        answer = client.ask("POST", "/bulk", body=lines_body(numbers, value))
        if errors := answer.json()["errors"]:
            raise Failure(f"{errors} of {len(numbers)} puts were refused")

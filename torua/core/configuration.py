"""What operators may change while the cluster runs: typed keys, with bounds.

A key is named ``section.field``; its type, bounds, default and help stand at the field,
once.  The whole is part of the cluster state and has a version of its own, which rises
with each change; every node puts each version into effect when it applies the state.

`merged` is how it changes: the named keys take their values, None brings a default
back, and all that is wrong with a change is told at once.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, cast

from msgspec import Meta, Struct, ValidationError, convert, inspect
from msgspec.structs import replace

from torua.core.graph.statement import (
    ROWS_LIMIT,
    ROWS_MAX,
    TIMEOUT_S,
    TIMEOUT_S_MAX,
)
from torua.core.resilience.admission import LIMIT_MAX, LIMIT_MIN, TURN_S
from torua.core.resilience.cache import CACHE_BYTES
from torua.core.resilience.policies import Policies
from torua.core.resilience.stalls import STALL_S
from torua.errors import InvalidError

REPLICAS_MAX = 7
"""A write waits for the slowest copy; more of them cost more than they save."""

ZONES_MAX = 64
"""Names of zones that may be forced; no cluster has so many."""

CHANGES_KEPT = 64
"""Changes that a state tells of: who asked for one may see only the state after it."""

Value = bool | int | float | str | tuple[str, ...] | None
"""What a key may hold; of which type is said by its field."""

Copies = Annotated[int, Meta(ge=1, le=REPLICAS_MAX)]
Seconds = Annotated[float, Meta(ge=0.0, le=7 * 86400.0)]
Percent = Annotated[float, Meta(ge=1.0, le=100.0)]
Bytes = Annotated[int, Meta(ge=1 << 16, le=1 << 50)]
ZoneName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Replication(Struct, frozen=True):
    """How often each shard is kept."""

    replicas: Annotated[
        Copies, Meta(description="copies of each shard, the primary included")
    ] = 2
    min_copies: Annotated[
        Copies | None,
        Meta(
            description="copies that must hold a write before it is acknowledged; "
            "null: 1 of 2, else a majority"
        ),
    ] = None
    log_retention_bytes: Annotated[
        Annotated[int, Meta(ge=1 << 20, le=1 << 44)],
        Meta(
            description="of a node's log that are kept for copies elsewhere, though "
            "nothing here needs them"
        ),
    ] = 256 << 20


class Allocation(Struct, frozen=True):
    """Where copies are put, and how fast they are moved."""

    rebuild_after_s: Annotated[
        Seconds, Meta(description="a node lost for so long has its copies rebuilt")
    ] = 60.0
    rebalance: Annotated[
        bool, Meta(description="copies and primaries are moved to even out the nodes")
    ] = True
    recoveries_per_node: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        Meta(description="copies that a node gives, and gets, at once"),
    ] = 2
    recovery_bytes_per_s: Annotated[
        Bytes, Meta(description="of snapshots that a node sends to others at most")
    ] = 64 << 20
    watermark_low_percent: Annotated[
        Percent, Meta(description="of its disk: a node fuller gets no more copies")
    ] = 85.0
    watermark_high_percent: Annotated[
        Percent, Meta(description="of its disk: a node fuller gives copies away")
    ] = 90.0
    watermark_flood_percent: Annotated[
        Percent, Meta(description="of its disk: a node fuller takes no more writes")
    ] = 95.0
    forced_zones: Annotated[
        Annotated[tuple[ZoneName, ...], Meta(max_length=ZONES_MAX)],
        Meta(
            description="zones among which copies are spread evenly, or not made at all"
        ),
    ] = ()
    force_hosts: Annotated[
        bool, Meta(description="no two copies of a shard are put on one host")
    ] = False
    balance_load_percent: Annotated[
        Percent,
        Meta(
            description="of a node's requests: a change for the sake of load saves more"
        ),
    ] = 20.0
    balance_load_least: Annotated[
        Annotated[float, Meta(ge=1.0, le=1e9)],
        Meta(description="requests a second: a change for load saves more"),
    ] = 100.0
    balance_bytes_percent: Annotated[
        Percent,
        Meta(description="of a node's bytes: a move for the sake of bytes saves more"),
    ] = 10.0
    balance_bytes_least: Annotated[
        Bytes, Meta(description="bytes: a move for the sake of bytes saves more")
    ] = 1 << 30


class Limits(Struct, frozen=True):
    """What is too long, or too much."""

    query_timeout_s: Annotated[
        Annotated[float, Meta(ge=0.1, le=TIMEOUT_S_MAX)],
        Meta(description="a statement takes at most, where it does not say otherwise"),
    ] = TIMEOUT_S
    query_rows: Annotated[
        Annotated[int, Meta(ge=1, le=ROWS_LIMIT)],
        Meta(description="of an answer at most, where a statement says no other bound"),
    ] = ROWS_MAX
    requests: Annotated[
        Annotated[int, Meta(ge=LIMIT_MIN, le=LIMIT_MAX)],
        Meta(description="that are at work on a node at once, at most (admission)"),
    ] = LIMIT_MAX
    turn_s: Annotated[
        Annotated[float, Meta(ge=0.01, le=10.0)],
        Meta(description="longer turns of the reactor: fewer requests are taken"),
    ] = TURN_S
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=1 << 12, le=1 << 40)],
        Meta(description="of keys that were read of late are kept, on each node"),
    ] = CACHE_BYTES
    slow_request_s: Annotated[
        Annotated[float, Meta(ge=0.001, le=3600.0)],
        Meta(description="a request that takes longer is worth a line in the log"),
    ] = 10.0
    stall_s: Annotated[
        Annotated[float, Meta(ge=0.01, le=10.0)],
        Meta(description="the reactor of a node stands still for longer: a stall"),
    ] = STALL_S


class Configuration(Struct, frozen=True):
    """What is committed of it: each section, and what became of it so far.

    Attributes:
        replication: how often each shard is kept.
        allocation: where copies are put.
        resilience: which parts of the resilience are used.
        limits: what is too long, or too much.
        version: rises with every change; 1 when the cluster is formed.
        recent: the ids of the last changes, the newest last; `CHANGES_KEPT` at most.
    """

    replication: Replication = Replication()
    allocation: Allocation = Allocation()
    resilience: Policies = Policies()
    limits: Limits = Limits()
    version: int = 1
    recent: tuple[str, ...] = ()


class Key(Struct, frozen=True):
    """One key.

    Attributes:
        name: ``section.field``.
        default: its value where nobody changed it.
        takes: what it takes, in words.
        help: what it is for, in a line.
    """

    name: str
    default: Value
    takes: str
    help: str


def _keys() -> Iterator[Key]:
    """List the keys, by section, as they stand in the structs."""
    whole = inspect.type_info(Configuration)
    assert isinstance(whole, inspect.StructType)
    for section in whole.fields:
        if isinstance(section.type, inspect.StructType):
            for field in section.type.fields:
                assert isinstance(field.type, inspect.Metadata), field.name
                told = field.type.extra_json_schema or {}
                name = f"{section.name}.{field.name}"
                yield Key(
                    name, field.default, _takes(field.type.type), told["description"]
                )


def _takes(kind: inspect.Type) -> str:
    """Say in words what a type takes."""
    words = "null"
    match kind:
        case inspect.Metadata():
            words = _takes(kind.type)
        case inspect.UnionType():
            words = " or ".join(_takes(each) for each in kind.types)
        case inspect.IntType():
            words = f"a whole number from {kind.ge} to {kind.le}"
        case inspect.FloatType():
            words = f"a number from {kind.ge:g} to {kind.le:g}"
        case inspect.VarTupleType():
            words = f"a list of names, up to {kind.max_length}"
        case inspect.BoolType():
            words = "true or false"
    return words


KEYS = {key.name: key for key in _keys()}
"""Every key by its name."""


def values(configuration: Configuration) -> dict[str, Value]:
    """Return the value of every key.

    Args:
        configuration: whose.
    """
    return {name: _value(configuration, name) for name in KEYS}


def merged(
    configuration: Configuration, changes: Mapping[str, object]
) -> Configuration:
    """Return a configuration with other values; the same object where all are so.

    Args:
        configuration: what holds until now.
        changes: plain values by key; None stands for the default.

    Raises:
        InvalidError: it names every unknown key, every value that a key does not take,
            and every two values that contradict each other.
    """
    faults: list[tuple[str, str]] = []
    after = configuration
    for name, given in changes.items():
        key = KEYS.get(name)
        if key is None:
            faults.append((name, "there is no such key"))
            continue
        try:
            after = _with(after, key, given)
        except ValidationError:
            faults.append((name, f"takes {key.takes}"))
    faults.extend(contradictions(after))
    if faults:
        what = ", ".join(name for name, _ in faults)
        raise InvalidError(f"nothing was changed: {what}", tuple(faults))
    return after


def contradictions(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Yield which values are fine each for itself, but not together.

    Args:
        configuration: the whole.

    Yields:
        A key, and why its value can't be.
    """
    copies = configuration.replication
    if copies.min_copies is not None and copies.min_copies > copies.replicas:
        yield (
            "replication.min_copies",
            f"{copies.min_copies} is more than replication.replicas {copies.replicas}",
        )
    disk = configuration.allocation
    marks = ("low", "high", "flood")
    for less, more in pairwise(f"watermark_{mark}_percent" for mark in marks):
        low, high = getattr(disk, less), getattr(disk, more)
        if low > high:
            yield (
                f"allocation.{less}",
                f"{low:g} is more than allocation.{more} {high:g}",
            )


def min_copies(copies: Replication) -> int:
    """Tell how many copies must hold a write: as set, 1 of 2, or a majority."""
    if copies.min_copies is not None:
        return copies.min_copies
    return 1 if copies.replicas <= 2 else copies.replicas // 2 + 1


def _value(configuration: Configuration, name: str) -> Value:
    """Return the value of a key."""
    section, field = name.split(".")
    return cast(Value, getattr(getattr(configuration, section), field))


def _with(configuration: Configuration, key: Key, given: object) -> Configuration:
    """Give a key a value; ValidationError where it does not take it."""
    section, field = key.name.split(".")
    held = getattr(configuration, section)
    plain = key.default if given is None else given
    made = convert({field: plain}, type=type(held))
    value = getattr(made, field)
    if value == getattr(held, field):
        return configuration
    return replace(configuration, **{section: replace(held, **{field: value})})

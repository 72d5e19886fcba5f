"""Keys that are only written in groups, and so are all there at one version, or none.

Whoever sees them otherwise has seen a part of a group.
"""

from collections.abc import Iterable, Sequence

from torua.core.kv import Check, Get, Group, Operation, Outcome, Put, Single

MEMBERS = 3
"""So many keys are written together."""


def grouped(key: bytes) -> tuple[bytes, ...]:
    """Name the keys that are written together, of one shard."""
    return tuple(b"g%d{" % number + key + b"}" for number in range(MEMBERS))


def tag_of(key: bytes) -> bytes | None:
    """Return what the keys of a group share; None of a key that is of none."""
    return key[2:] if key[:1] == b"g" and key[2:3] == b"{" else None


def singles(
    operation: Operation, outcome: Outcome | None
) -> list[tuple[Single, Outcome | None]]:
    """Take an operation apart into what it is to each key, as its client saw it.

    Args:
        operation: any.
        outcome: of it; None where it is unknown.
    """
    if not isinstance(operation, Group):
        return [(operation, outcome)]
    if outcome is None:
        return [(write, None) for write in operation.writes]
    if outcome.error is None:
        version = outcome.version
        return [
            (write, Outcome(version if isinstance(write, Put) else None))
            for write in operation.writes
        ]
    assert outcome.which is not None, "refused for nothing"
    refused = (*operation.checks, *operation.writes)[outcome.which]
    if isinstance(refused, Check):
        refused = Put(refused.key, b"", conditions=refused.conditions)
    return [(refused, outcome)]


def seen_apart(
    operations: Sequence[Operation], outcomes: Sequence[Outcome]
) -> bytes | None:
    """Return what keys share of which a request saw some at other versions.

    Args:
        operations: one after the other, read at one instant.
        outcomes: of each.
    """
    reads = [
        (operation.key, outcome.version)
        for operation, outcome in zip(operations, outcomes, strict=True)
        if isinstance(operation, Get) and outcome.error is None
    ]
    return _apart(reads)


def written_apart(changes: Iterable[tuple[bytes, bool]]) -> bytes | None:
    """Return what keys share of which a record writes some and not all.

    Args:
        changes: of one record: each key, and whether it is removed.
    """
    found: dict[bytes, list[bool]] = {}
    for key, removed in changes:
        tag = tag_of(key)
        if tag is not None:
            found.setdefault(tag, []).append(removed)
    for tag, kinds in found.items():
        if kinds not in ([True] * MEMBERS, [False] * MEMBERS):
            return tag
    return None


def _apart(reads: Iterable[tuple[bytes, int | None]]) -> bytes | None:
    """Return what keys share that are at other versions."""
    versions: dict[bytes, int | None] = {}
    for key, version in reads:
        tag = tag_of(key)
        if tag is not None and versions.setdefault(tag, version) != version:
            return tag
    return None

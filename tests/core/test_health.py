"""Tests for `torua.core.health`."""

import pytest
from msgspec.structs import replace

from torua.core.health import fares
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import Copy, CopyState, Primary, Shard

A, B, C = (NodeId(each) for each in "abc")


def shard_of(
    in_sync: str = "ab", copies: str = "ab", primary: str = "a", least: int = 1
) -> Shard:
    """Make a shard; nodes and copies have one-letter names.

    Args:
        in_sync: whose copies are in sync.
        copies: who has one.
        primary: who leads; empty for nobody.
        least: how many must hold a write.
    """
    return Shard(
        shard=ShardId(3),
        shard_version=1,
        primary_term=1,
        primary=Primary(AllocId(primary), NodeId(primary), 1) if primary else None,
        in_sync=tuple(AllocId(each) for each in in_sync),
        copies=tuple(
            Copy(AllocId(each), NodeId(each), CopyState.STARTED) for each in copies
        ),
        history_uuid="h",
        rf=2,
        min_copies=least,
    )


@pytest.mark.parametrize(
    ("shard", "live", "colour", "part"),
    [
        (shard_of(), "ab", "green", ""),
        (shard_of(copies="abc"), "abc", "green", ""),
        (shard_of(), "a", "yellow", "has 1 of 2 copies"),
        (shard_of("a"), "ab", "yellow", "1 of 2 copies; catching up: B"),
        (shard_of("a", "a"), "ab", "yellow", "has 1 of 2 copies"),
        (shard_of(""), "ab", "yellow", "its first copy is not open yet"),
        (shard_of(least=2), "a", "yellow", "takes no writes: 1 of the 2 copies"),
        (shard_of(), "b", "red", "lost its primary; B is to take over"),
        (shard_of(), "", "red", "waits for a copy in sync, on A or B"),
        (shard_of("a", "a"), "b", "red", "waits for its only copy, on A"),
        (shard_of("b", "b", ""), "", "red", "waits for its only copy, on B"),
        (shard_of("", "", ""), "ab", "red", "has no primary"),
        (replace(shard_of(), damaged=1), "ab", "red", "on A, is damaged"),
        (replace(shard_of(), damaged=2), "ab", "green", ""),
    ],
)
def test_a_shard_has_a_colour_and_says_why(
    shard: Shard, live: str, colour: str, part: str
) -> None:
    """Green is silent; yellow says what is missing; red says what it waits for."""
    found, reason = fares(shard, lambda node: node in live, str.upper)
    assert found == colour
    assert part in reason
    assert bool(reason) is (colour != "green")
    assert not reason or reason.startswith("shard 3")

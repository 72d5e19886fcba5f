"""Tests for `torua.core.allocation.configuring`."""

from random import Random

import pytest

from tests.core.allocation.configuring import ConfiguredPlay
from tests.core.allocation.parts import formed, members, synced
from tests.core.allocation.play import counts
from tests.core.allocation.test_play import is_even
from torua.core.allocation import Configure, Delays, execute, rebuilding, reconcile
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.configuration import CHANGES_KEPT, Value
from torua.core.state import ClusterState, Copy, Shard

SEEDS = 100


def asked(state: ClusterState, **changes: Value) -> ClusterState:
    """Have keys of replication changed.

    Args:
        state: of whose configuration.
        changes: by name.
    """
    named = {f"replication.{key}": value for key, value in changes.items()}
    return execute(state, Configure("c", state.configuration.version, named))


def settled(state: ClusterState, nodes: int) -> ClusterState:
    """Reconcile, with every copy caught up at once, until nothing changes.

    Args:
        state: where to begin.
        nodes: how many live.
    """
    delays = Delays()
    for _ in range(50):
        after = synced(reconcile(state, members(nodes), Random(1), delays=delays))
        if after == state:
            return state
        state = after
    raise AssertionError("no end of changes")


def test_a_change_for_another_version_does_nothing() -> None:
    """Neither does one that is wrong, nor the same one twice."""
    state = formed(1, 1, 1)
    change = Configure("c1", 1, {"replication.replicas": 2})
    after = execute(state, change)
    assert after.configuration.version == 2
    assert after.configuration.recent == ("c1",)
    assert execute(after, change) is after
    assert execute(after, Configure("c2", 2, {"no.key": 2})) is after
    assert execute(after, Configure("c3", 2, {"replication.replicas": 9})) is after


def test_only_the_last_changes_are_told_of() -> None:
    """The state does not grow with them."""
    state = formed(1, 1, 1)
    for turn in range(CHANGES_KEPT + 5):
        change = Configure(f"c{turn}", 1 + turn, {"allocation.rebuild_after_s": turn})
        state = execute(state, change)
    assert state.configuration.version == CHANGES_KEPT + 6
    assert len(state.configuration.recent) == CHANGES_KEPT
    assert state.configuration.recent[-1] == f"c{CHANGES_KEPT + 4}"


@pytest.mark.parametrize(("before", "then"), [(1, 3), (3, 1), (2, 4), (3, 2)])
def test_copies_follow_what_is_configured(before: int, then: int) -> None:
    """Up and down; they are even at rest, and so are the primaries."""
    state = settled(asked(formed(12, before, 4), replicas=then), 4)
    for shard in state.shards.values():
        assert len(shard.copies) == len(shard.in_sync) == shard.rf == then
        assert shard.min_copies == (1 if then <= 2 else then // 2 + 1)
    for count in counts(state):
        assert max(count.values()) - min(count.values()) <= 1


def test_where_fewer_copies_are_wanted_the_fullest_nodes_give_them() -> None:
    """Nothing need be moved afterwards: no copy is made anew."""
    for seed in range(20):
        state = formed(12, 3, 5, seed)
        before = {c.alloc_id for s in state.shards.values() for c in s.copies}
        after = settled(asked(state, replicas=2), 5)
        now = {c.alloc_id for s in after.shards.values() for c in s.copies}
        assert len(now) == 24
        assert len(now - before) <= 1, seed


def test_balance_can_be_turned_off() -> None:
    """A node that joins gets nothing then; what is lacking is still made good."""
    state = formed(8, 2, 2)
    change = Configure("c", 1, {"allocation.rebalance": False})
    still = settled(execute(state, change), 4)
    assert sum(map(bool, counts(still)[0].values())) == 2
    more = settled(asked(still, replicas=3), 4)
    assert all(len(shard.in_sync) == 3 for shard in more.shards.values())


@pytest.mark.parametrize("rf", [1, 2, 3])
def test_nothing_is_lost_while_the_number_of_copies_changes(rf: int) -> None:
    """Many seeds of faults, with every rule asserted; calm brings what is wanted."""
    changes = 0
    for seed in range(SEEDS):
        play = ConfiguredPlay(seed, 1 + seed % 5, 1 + seed % 7, rf)
        for _ in range(300):
            play.step()
        play.calm()
        assert is_even(play), (seed, counts(play.state))
        changes += play.changes
    assert changes > 2 * SEEDS


def test_copies_dropped_with_no_regard_to_others_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The switch: where fewer are wanted, whatever comes first goes at once."""

    def hasty(
        shard: Shard, site: Site, traffic: Traffic, staying: list[Copy]
    ) -> list[Copy]:
        """Take those behind the first few, in sync or not.

        Args:
            shard: whose.
            site: who is up.
            traffic: what nodes have.
            staying: those to count on.
        """
        lead = shard.primary.alloc_id if shard.primary else None
        others = [copy for copy in staying if copy.alloc_id != lead]
        return others[: len(staying) - shard.rf]

    monkeypatch.setattr(rebuilding, "_surplus", hasty)
    with pytest.raises(AssertionError, match="R16"):
        for seed in range(60):
            play = ConfiguredPlay(seed, 2 + seed % 4, 1 + seed % 7, 2 + seed % 2)
            for _ in range(300):
                play.step()

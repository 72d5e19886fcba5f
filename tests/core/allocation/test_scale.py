"""Clusters of 1 to 100 nodes and 1 to 1,024 shards: even, apart, soon, in few moves."""

from random import Random
from time import process_time

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.core.allocation.parts import (
    blank,
    in_sync,
    member,
    members,
    node,
    started,
)
from tests.core.allocation.play import added, counts
from torua.core.allocation import Delays, HandOver, SetDuty, execute, reconcile
from torua.core.allocation.delays import JOINS_S
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import CopyState, Duty, Shard

ROUNDS_MAX = 3000


class Fleet:
    """A cluster whose nodes do at once what the state asks of them.

    Invariants: no shard ever has two copies on one node, or fewer in sync than it had
    and should have.

    Attributes:
        state: what is committed.
        moves: how many copies were added.
        slowest_s: what the slowest decision took of the processor.
    """

    def __init__(self, count: int, shards: int, rf: int, seed: int) -> None:
        """Form a cluster.

        Args:
            count: of its nodes.
            shards: how many.
            rf: copies of each.
            seed: of what is left to chance.
        """
        self.state = blank(shards, rf, count)
        self.known = members(count)
        self.moves = 0
        self.slowest_s = 0.0
        self._random = Random(seed)
        self._delays = Delays()
        self._now = 0.0

    def rest(self) -> int:
        """Let happen what is to happen, and return how many rounds that took."""
        for count in range(ROUNDS_MAX):
            before = self.state
            self._decide()
            for number in list(self.state.shards):
                if self.state.shards[number] is not before.shards.get(number):
                    self._check(before.shards.get(number), self.state.shards[number])
                self._obey(self.state.shards[number])
            if self.state is before:
                return count
        raise AssertionError("no end of changes")

    def _decide(self) -> None:
        """Have the coordinator say what should be."""
        self._now += JOINS_S + 1.0
        begun = process_time()
        self.state = reconcile(
            self.state, self.known, self._random, delays=self._delays, now=self._now
        )
        self.slowest_s = max(self.slowest_s, process_time() - begun)

    def _check(self, old: Shard | None, new: Shard) -> None:
        """Check what became of a shard."""
        nodes = [copy.node for copy in new.copies]
        assert len(set(nodes)) == len(nodes)
        if old is not None:
            gone = set(old.in_sync) - set(new.in_sync)
            assert not gone or len(new.in_sync) >= new.rf >= new.min_copies
            self.moves += added(new, old)

    def _obey(self, shard: Shard) -> None:
        """Have a shard's primary catch copies up, and else hand over."""
        if not shard.in_sync:
            self.state = execute(self.state, started(shard))
        for copy in shard.copies:
            if copy.state is CopyState.INIT:
                done = in_sync(self.state, shard.shard, copy.alloc_id)
                self.state = execute(self.state, done)
        now = self.state.shards[shard.shard]
        if now is shard and shard.successor is not None:
            term, version = shard.primary_term, shard.shard_version
            give = HandOver(shard.shard, term, version, shard.successor)
            self.state = execute(self.state, give)

    def join(self, more: list[Member]) -> None:
        """Let nodes join."""
        self.known += more

    def duty(self, which: NodeId, duty: Duty) -> None:
        """Have an operator set a duty.

        Args:
            which: of which node.
            duty: which.
        """
        version = self.state.nodes[which].duty_version
        self.state = execute(self.state, SetDuty(which, version, duty))

    def is_even(self, *without: NodeId) -> bool:
        """Tell whether copies and primaries are even within one.

        Args:
            without: nodes that are to have nothing.
        """
        for count in counts(self.state):
            if any(count.pop(each) for each in without):
                return False
            if max(count.values()) - min(count.values()) > 1:
                return False
        return True

    def is_whole(self) -> bool:
        """Tell whether all copies are there, and in sync."""
        want = min(self.state.configuration.replication.replicas, len(self.state.nodes))
        return all(
            len(shard.copies) == len(shard.in_sync) == want
            for shard in self.state.shards.values()
        )


@settings(deadline=None, max_examples=5, phases=[Phase.explicit, Phase.generate])
@given(
    count=st.integers(1, 100),
    shards=st.integers(1, 1024),
    rf=st.integers(1, 3),
    joiners=st.integers(1, 3),
    seed=st.integers(0, 999),
)
@example(count=100, shards=1024, rf=3, joiners=1, seed=1)
@example(count=1, shards=300, rf=1, joiners=1, seed=1)
@example(count=100, shards=1, rf=3, joiners=3, seed=1)
@example(count=2, shards=200, rf=2, joiners=1, seed=0)
@example(count=8, shards=594, rf=3, joiners=1, seed=325)
def test_clusters_of_all_sizes_come_to_rest_even_in_the_fewest_moves(
    count: int, shards: int, rf: int, joiners: int, seed: int
) -> None:
    """Formed, grown, with a node emptied, and with that node back."""
    fleet = Fleet(count, shards, rf, seed)
    fleet.rest()
    assert fleet.is_even()
    assert fleet.is_whole()
    assert fleet.moves == 0
    fleet.join([member(count + 1 + number) for number in range(joiners)])
    fleet.rest()
    assert fleet.is_even()
    assert fleet.is_whole()
    if count >= rf:
        share, over = divmod(shards * rf, count + joiners)
        assert joiners * share <= fleet.moves <= joiners * (share + bool(over))
    before, emptied = fleet.moves, node(1)
    had = counts(fleet.state)[0][emptied]
    fleet.duty(emptied, Duty.EVACUATING)
    fleet.rest()
    if count + joiners > rf:
        assert fleet.is_even(emptied)
        assert had <= fleet.moves - before <= had + 2
    fleet.duty(emptied, Duty.FULL)
    fleet.rest()
    assert fleet.is_even()


def test_a_large_cluster_is_decided_upon_in_time() -> None:
    """1,024 shards of three copies on 100 nodes: far below what is allowed here."""
    fleet = Fleet(100, 1024, 3, 1)
    fleet.rest()
    assert fleet.slowest_s < 10.0
    fleet.slowest_s = 0.0
    fleet.duty(node(1), Duty.EVACUATING)
    fleet.rest()
    assert 0.0 < fleet.slowest_s < 1.0

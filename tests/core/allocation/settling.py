"""A cluster whose nodes do at once what the state asks of them, until it rests."""

from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace

from tests.core.allocation.parts import blank, in_sync, started
from torua.core.allocation import Delays, HandOver, Outlook, execute, reconcile
from torua.core.ids import NodeId, ShardId
from torua.core.members import Member
from torua.core.state import ClusterState

ROUNDS_MAX = 400


class Settling:
    """Reconciles and obeys, by a clock of its own.

    Invariants: no shard ever has two copies on a node, nor fewer copies in sync than
    it had and should have.

    Attributes:
        state: what is committed.
        known: what membership believes.
        lost: whom the coordinator lost.
        outlook: what nodes reported.
        now: the clock.
        moves: how many copies were added to shards.
        hand_overs: how many leads changed hands.
    """

    def __init__(
        self, known: list[Member], shards: int, rf: int, **configured: Any
    ) -> None:
        """Form a cluster, and let it rest.

        Args:
            known: its nodes.
            shards: how many.
            rf: copies of each.
            configured: keys of the configuration's allocation.
        """
        self.state = blank(shards, rf, len(known))
        self.known = known
        self.lost: set[NodeId] = set()
        self.outlook = Outlook()
        self.now = 0.0
        self.moves = self.hand_overs = 0
        self._random = Random(1)
        self._delays = Delays()
        self.configure(**configured)
        self.rest()
        self.moves = self.hand_overs = 0

    def configure(self, **configured: Any) -> None:
        """Set keys of the configuration's allocation."""
        whole = self.state.configuration
        given = replace(whole.allocation, **configured)
        self.state = replace(self.state, configuration=replace(whole, allocation=given))

    def rest(self, observe: Callable[[], None] = lambda: None) -> int:
        """Let happen what is to happen; return how many rounds that took.

        Args:
            observe: is called each round, before what is decided.
        """
        quiet = 0
        for count in range(ROUNDS_MAX):
            observe()
            before = self.state
            self.step()
            quiet = quiet + 1 if self.state is before else 0
            if quiet > 8:
                return count
        raise AssertionError("no end of changes")

    def step(self, seconds: float = 1.0) -> None:
        """Decide once, and obey.

        Args:
            seconds: that pass before.
        """
        self.now += seconds
        before = self.state
        self.state = reconcile(
            before,
            self.known,
            self._random,
            lost=self.lost,
            delays=self._delays,
            outlook=self.outlook,
            now=self.now,
        )
        for number in self.state.shards:
            self._check(before, number)
            self._obey(number)

    def _check(self, before: ClusterState, number: ShardId) -> None:
        """Check what became of a shard."""
        old, new = before.shards.get(number), self.state.shards[number]
        nodes = [copy.node for copy in new.copies]
        assert len(set(nodes)) == len(nodes)
        if old is not None:
            assert not set(old.in_sync) - set(new.in_sync) or (
                len(new.in_sync) >= new.rf
            )
            known = {copy.alloc_id for copy in old.copies}
            self.moves += sum(copy.alloc_id not in known for copy in new.copies)

    def _obey(self, number: ShardId) -> None:
        """Catch copies up and hand over, where the nodes are there."""
        shard = self.state.shards[number]
        if shard.primary is None or shard.primary.node in self.lost:
            return
        if not shard.in_sync:
            self.state = execute(self.state, started(shard))
        for copy in shard.copies:
            if copy.node not in self.lost:
                done = in_sync(self.state, number, copy.alloc_id)
                self.state = execute(self.state, done)
        now = self.state.shards[number]
        if now is shard and shard.successor is not None:
            self.hand_overs += 1
            term, version = shard.primary_term, shard.shard_version
            give = HandOver(number, term, version, shard.successor)
            self.state = execute(self.state, give)

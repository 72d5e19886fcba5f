"""A cluster whose recoveries take time: what is half done when more comes.

Nodes of a real cluster do not obey at once.  Copies of one move come while the next are
decided upon, nodes join one after the other, and an operator does not wait for rest.
"""

from random import Random

from tests.core.allocation.parts import blank, in_sync, member, members, node, synced
from tests.core.allocation.play import added, counts
from torua.core.allocation import Delays, HandOver, SetDuty, execute, reconcile
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import CopyState, Duty, Shard

REST_S = 30.0
"""A cluster rests once nothing has changed for so long."""

END_S = 3600.0
"""Nothing takes so long."""


class Pacing:
    """Decides twice a second, and catches copies up by and by.

    Invariants: no shard ever has two copies on a node, nor fewer in sync than it had
    and should have; the clock only rises.

    Attributes:
        state: what is committed.
        moved: of which shard a copy was added, in order, and on which node.
    """

    def __init__(self, nodes: int, shards: int, rf: int, seed: int) -> None:
        """Form a cluster that is whole.

        Args:
            nodes: how many.
            shards: how many.
            rf: copies of each.
            seed: of what is left to chance.
        """
        self.random = Random(seed)
        self.known = members(nodes)
        self._delays = Delays()
        self._now = 0.0
        self._due: dict[AllocId | ShardId, float] = {}
        self.moved: list[tuple[ShardId, NodeId]] = []
        self.state = blank(shards, rf, nodes)
        self.play(0.5)
        self.state = synced(self.state)
        self.rest()
        self.moved = []

    def play(self, seconds: float) -> None:
        """Let time go by.

        Args:
            seconds: how much.
        """
        end = self._now + seconds
        while self._now < end:
            self._step()

    def rest(self) -> None:
        """Let happen what is to happen."""
        before, since = self.state, self._now
        while self._now < since + REST_S:
            self._step()
            if self.state is not before:
                before, since = self.state, self._now
            assert self._now < END_S, "no end of changes"

    def _step(self) -> None:
        """Decide once, and let what took its time be done."""
        self._now += 0.5
        before = self.state
        self.state = reconcile(
            before, self.known, self.random, delays=self._delays, now=self._now
        )
        for number, shard in self.state.shards.items():
            old = before.shards.get(number)
            if old is not None and shard is not old:
                self._check(old, shard)
        for number in self.state.shards:
            self._obey(number)

    def _check(self, old: Shard, new: Shard) -> None:
        """Check what became of a shard, and note what was added."""
        nodes = [copy.node for copy in new.copies]
        assert len(set(nodes)) == len(nodes)
        gone = set(old.in_sync) - set(new.in_sync)
        assert not gone or len(new.in_sync) >= new.rf
        if added(new, old):
            self.moved.append((new.shard, new.copies[-1].node))

    def _obey(self, number: ShardId) -> None:
        """Catch copies up and hand over, where it is time."""
        for copy in self.state.shards[number].copies:
            if copy.state is CopyState.INIT and self._is_due(copy.alloc_id, 8.0):
                done = in_sync(self.state, number, copy.alloc_id)
                self.state = execute(self.state, done)
        shard = self.state.shards[number]
        if shard.successor is not None and self._is_due(number, 1.0):
            term, version = shard.primary_term, shard.shard_version
            give = HandOver(number, term, version, shard.successor)
            self.state = execute(self.state, give)

    def _is_due(self, what: AllocId | ShardId, most: float) -> bool:
        """Tell whether a thing is done that begins when first asked for."""
        due = self._due.setdefault(what, self._now + self.random.uniform(0.0, most))
        if self._now < due:
            return False
        del self._due[what]
        return True

    def join(self) -> None:
        """Let one more node join."""
        self.known = [*self.known, member(len(self.known) + 1)]

    def evacuate(self, number: int) -> None:
        """Have a node emptied.

        Args:
            number: which.
        """
        version = self.state.nodes[node(number)].duty_version
        order = SetDuty(node(number), version, Duty.EVACUATING)
        self.state = execute(self.state, order)

    def copies(self) -> dict[NodeId, int]:
        """Count the copies of every node."""
        return counts(self.state)[0]

    def staying(self, number: int) -> int:
        """Count the copies of a node that are not on their way off it.

        Args:
            number: which.
        """
        return sum(
            copy.node == node(number) and copy.state is not CopyState.RELOCATING
            for shard in self.state.shards.values()
            for copy in shard.copies
        )

    def is_even(self) -> bool:
        """Tell whether copies and primaries are even within one, where some may be."""
        for count in counts(self.state):
            able = [
                count[each]
                for each, entry in self.state.nodes.items()
                if entry.duty is Duty.FULL
            ]
            if max(able) - min(able) > 1:
                return False
        return True

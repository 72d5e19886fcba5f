"""What a coordinator is told and sees beside the state: reports, failures, rests.

It belongs to one coordinator, in memory.  The next one hears all nodes report within
seconds; what it does not know speaks against nothing.
"""

from msgspec import Struct

from torua.core.allocation.commands import Command, CopyLost, MarkInSync
from torua.core.allocation.editing import find
from torua.core.allocation.operating import Rebalance
from torua.core.ids import NodeId, ShardId
from torua.core.reporting import CopyReport, NodeReport, Sight, Wait
from torua.core.state import ClusterState, Shard

BACKOFF_S = 10.0
"""How long a node gets no copy of a shard after one failed there; doubled each time."""

BACKOFF_MAX_S = 600.0
"""The longest such time."""

NODE_RESTS_S = 60.0
"""So long reports take to show what a move changed; meanwhile none rests on them."""

LOOKS_S = 5.0
"""How often loads and bytes are looked at, at most: reports come no more often."""

SHARD_RESTS_S = 180.0
"""How long a shard stays where it was moved for its load."""


class Failures(Struct, frozen=True):
    """How often a shard's copy failed on a node, and until when it gets none."""

    count: int
    until: float


class Outlook:
    """The coordinator's view of disks, loads and failures.

    Invariants: it holds reports of nodes that belong, at most one each; times only
    rise while nothing changes.

    Attributes:
        reports: the last of each node.
        is_hurried: whether an operator asked for balance, until that is reached: also
            where none is sought by itself, and for smaller gains.
    """

    def __init__(self, sight: Sight | None = None) -> None:
        """Know nothing, or what another node saw.

        Args:
            sight: what that told; its times count from 0.
        """
        sight = sight or Sight()
        self.reports: dict[NodeId, NodeReport] = {}
        self.is_hurried = False
        self._held: dict[NodeId, dict[ShardId, CopyReport]] = {}
        self._failures = {
            (wait.shard, NodeId(wait.node)): Failures(wait.failures, wait.seconds)
            for wait in sight.waits
        }
        self._look_at = float("-inf")
        self._nodes: dict[NodeId, float] = {}
        self._shards: dict[ShardId, float] = {}
        for node, report in sight.reports.items():
            self.report(NodeId(node), report)

    def report(self, node: NodeId, report: NodeReport) -> None:
        """Take a node's report.

        Args:
            node: whose.
            report: what it says.
        """
        self.reports[node] = report
        self._held[node] = {copy.shard: copy for copy in report.copies}

    def keep(self, state: ClusterState) -> None:
        """Forget what is of nodes, lives and shards that are no more."""
        nodes = state.nodes
        for node, report in list(self.reports.items()):
            if node not in nodes or nodes[node].boot_epoch != report.boot_epoch:
                del self.reports[node], self._held[node]
        self._failures = {
            (shard, node): failures
            for (shard, node), failures in self._failures.items()
            if node in nodes and shard in state.shards
        }

    # Failed recoveries

    def note(
        self, before: ClusterState, after: ClusterState, command: Command, now: float
    ) -> None:
        """Take note of what a command changed.

        Args:
            before: the state that it was executed upon.
            after: what came of it.
            command: what was asked for.
            now: the coordinator's clock.
        """
        if isinstance(command, Rebalance):
            self._hurry()
        if after is before or not isinstance(command, CopyLost | MarkInSync):
            return
        copy = find(before.shards[command.shard], command.alloc_id)
        if copy is None:
            return
        key = (command.shard, copy.node)
        if isinstance(command, MarkInSync):
            self._failures.pop(key, None)
        elif find(after.shards[command.shard], command.alloc_id) is None:
            count = self._failures[key].count + 1 if key in self._failures else 1
            waits = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (count - 1))
            self._failures[key] = Failures(count, now + waits)

    def _hurry(self) -> None:
        """Seek balance now, without waiting for what only keeps it calm."""
        self.is_hurried = True
        self._nodes, self._shards, self._look_at = {}, {}, float("-inf")

    def rest(self, state: ClusterState) -> None:
        """Take note that nothing is to change."""
        calm = all(
            shard.successor is None and len(shard.copies) == len(shard.in_sync)
            for shard in state.shards.values()
        )
        self.is_hurried = self.is_hurried and not calm

    def wait(self, shard: ShardId, node: NodeId, now: float) -> tuple[float, int]:
        """Tell for how long a node gets no copy of a shard; after how many failures.

        Args:
            shard: which.
            node: which.
            now: the coordinator's clock.
        """
        failures = self._failures.get((shard, node))
        if failures is None or failures.until <= now:
            return 0.0, 0
        return failures.until - now, failures.count

    # What loads moved

    def moved(self, shard: ShardId, *nodes: NodeId, now: float) -> None:
        """Take note that a shard is moved for its load.

        Args:
            shard: which.
            nodes: between whom.
            now: the coordinator's clock.
        """
        self._shards[shard] = now + SHARD_RESTS_S
        for node in nodes:
            self._nodes[node] = now + NODE_RESTS_S

    def is_resting(self, node: NodeId, now: float) -> bool:
        """Tell whether a node's reports may not yet show what was changed.

        Args:
            node: whose.
            now: the coordinator's clock.
        """
        return self._nodes.get(node, now) > now

    def stays(self, shard: ShardId, now: float) -> bool:
        """Tell whether a shard was moved for its load a short while ago.

        Args:
            shard: which.
            now: the coordinator's clock.
        """
        return self._shards.get(shard, now) > now

    def looks(self, now: float) -> bool:
        """Tell whether it is time to look at loads and bytes, and count this look.

        Args:
            now: the coordinator's clock.
        """
        if not self.reports or now < self._look_at:
            return False
        self._look_at = now + LOOKS_S
        return True

    # What copies weigh

    def copy(self, shard: ShardId, node: NodeId) -> CopyReport | None:
        """Return what a node said of its copy of a shard; None where it did not.

        Args:
            shard: which.
            node: whose copy.
        """
        return self._held.get(node, {}).get(shard)

    def size(self, shard: Shard) -> int:
        """Tell how large a shard is: as its primary says, else any copy; else 0."""
        if shard.primary is not None:
            led = self.copy(shard.shard, shard.primary.node)
            if led is not None:
                return led.bytes
        found = (self.copy(shard.shard, copy.node) for copy in shard.copies)
        return max((each.bytes for each in found if each is not None), default=0)

    def load(self, shard: Shard, now: float) -> float:
        """Tell how busy a shard's primary is, in requests a second.

        Of one that was handed over lately, its new and its old primary tell: the
        averages of one rise while those of the other fade.

        Args:
            shard: which.
            now: the coordinator's clock.
        """
        nodes = [shard.primary.node] if shard.primary else []
        if self._shards.get(shard.shard, now) > now:
            nodes = [copy.node for copy in shard.copies]
        found = (self.copy(shard.shard, node) for node in nodes)
        return max((each.load for each in found if each is not None), default=0.0)

    def sight(self, now: float) -> Sight:
        """Return what others may know of this.

        Args:
            now: the coordinator's clock.
        """
        return Sight(
            reports={str(node): each for node, each in self.reports.items()},
            waits=tuple(
                Wait(shard, node, failures.until - now, failures.count)
                for (shard, node), failures in sorted(self._failures.items())
                if failures.until > now
            ),
        )

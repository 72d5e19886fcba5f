"""Tells how far the evacuation of this node is, as a task.

The cluster state alone says that a node is evacuated, and the coordinator moves its
copies; so the evacuation goes on whatever becomes of the node that was asked for it.
The node itself follows it: it knows when the last copy is gone, and lives until then.
"""

from collections.abc import Sequence
from typing import Protocol

from torua.core.ids import NodeId
from torua.core.state import ClusterState, Duty, NodeEntry
from torua.core.views import CopyPosition
from torua.node.dispatch import States
from torua.node.tasks import Task, Tasks

KIND = "evacuate"
"""The kind of such tasks."""


class Holdings(Protocol):
    """The copies that this node holds."""

    def positions(self) -> Sequence[CopyPosition]:
        """Tell how far each copy is, and how large."""


def task_id(node: NodeEntry) -> str:
    """Name the task of an evacuation, as every node can.

    Args:
        node: that is evacuated.
    """
    return f"{KIND}-{node.node_id[:12]}-{node.duty_version}"


class Evacuation:
    """Follows the cluster state.

    Invariants: of each evacuation of this node in this life there is one task.

    Threading: the reactor's thread only.
    """

    def __init__(
        self, me: NodeId, coordination: States, holdings: Holdings, tasks: Tasks
    ) -> None:
        """Begin to follow.

        Args:
            me: this node.
            coordination: the cluster state.
            holdings: the copies that this node holds.
            tasks: of this node.
        """
        self._me = me
        self._holdings = holdings
        self._tasks = tasks
        self._task: Task | None = None
        self._total = 0
        coordination.subscribe(self._on_state)
        self._on_state(coordination.state)

    def _on_state(self, state: ClusterState) -> None:
        """Begin, go on with, or end a task."""
        entry = state.nodes.get(self._me)
        wanted = ""
        if entry is not None and entry.duty is Duty.EVACUATING:
            wanted = task_id(entry)
        if self._task is not None and self._task.id != wanted:
            if not self._task.is_over:
                self._task.error("it was called off")
                self._task.end("failed")
            self._task = None
        if entry is not None and wanted:
            self._follow(state, entry, wanted)

    def _follow(self, state: ClusterState, entry: NodeEntry, wanted: str) -> None:
        """Note what is left to be moved."""
        shards = state.shards.values()
        left = sum(copy.node == self._me for s in shards for copy in s.copies)
        led = sum(s.primary is not None and s.primary.node == self._me for s in shards)
        if self._task is None:
            self._total = left
            detail = f"move everything off {entry.name}"
            self._task = self._tasks.begin(KIND, detail, "copies", left, wanted)
        size = sum(copy.bytes for copy in self._holdings.positions())
        done = self._total - left
        self._task.progress(done, primaries_left=led, bytes_left=size if left else 0)
        if not left:
            self._task.end("done")

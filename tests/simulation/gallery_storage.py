"""Switches that break what a node promises about its disk.

Each overrides a little of what the shell of the copies must do.
"""

from collections.abc import Sequence

import pytest

from tests.simulation.cluster import DataCluster
from tests.simulation.cluster_copy import OpenCopy
from tests.simulation.cluster_node import DataNode
from tests.simulation.disk import CopyDisk, Health, NodeDisk, View
from torua.core.kv import Get, Outcome
from torua.core.replication import messages as m
from torua.core.state import Copy, Shard

Patch = pytest.MonkeyPatch


def skip_the_term_fsync(patch: Patch) -> None:
    """Take a new term for kept at once.

    Args:
        patch: undoes it afterwards.
    """
    store = OpenCopy._store

    def forgets(self: OpenCopy, output: object) -> None:
        """Keep nothing.

        Args:
            self: the copy.
            output: what it is to do.
        """
        if isinstance(output, m.Keep):
            self._inbox.append(m.Kept(output.facts.term))
        else:
            store(self, output)  # type: ignore[arg-type]

    patch.setattr(OpenCopy, "_store", forgets)


def ack_before_fsync(patch: Patch) -> None:
    """Report records as stored when they are only on their way.

    Args:
        patch: undoes it afterwards.
    """

    def append(self: NodeDisk, alloc_id: str, records: Sequence[object]) -> None:
        """Report too early.

        Args:
            self: the disk.
            alloc_id: whose records.
            records: what.
        """
        before(self, alloc_id, records)  # type: ignore[arg-type]
        owner = self.copies[alloc_id].owner  # type: ignore[index]
        assert isinstance(owner, OpenCopy)
        owner._inbox.append(m.Stored(self.copies[alloc_id].log.last))  # type: ignore[index]

    before = NodeDisk.append
    patch.setattr(NodeDisk, "append", append)


def applied_seq_apart(patch: Patch) -> None:
    """Keep a view's position apart from its contents.

    Args:
        patch: undoes it afterwards.
    """
    before = CopyDisk.crash

    def crash(self: CopyDisk) -> None:
        """Lose contents, and not the position.

        Args:
            self: the disk.
        """
        position = self.view.applied_seq
        before(self)
        self.view.applied_seq = position

    patch.setattr(CopyDisk, "crash", crash)


def snapshot_without_answers(patch: Patch) -> None:
    """Leave the idempotency table out of snapshots.

    Args:
        patch: undoes it afterwards.
    """

    def snapshot(self: DataCluster, view: View) -> View:
        """Forget what was answered.

        Args:
            self: the cluster.
            view: to be copied.
        """
        other = view.copy()
        for answered in other.answers.values():
            other.digest ^= hash(answered)
        other.answers.clear()
        return other

    patch.setattr(DataCluster, "snapshot", snapshot)


def empty_disk_keeps_its_id(patch: Patch) -> None:
    """Let a node whose disk was lost come back under its old id.

    Args:
        patch: undoes it afterwards.
    """
    before = DataCluster.__init__

    def init(self: DataCluster, *shape: int, whole_nodes: bool) -> None:
        """Keep ids.

        Args:
            self: the cluster.
            shape: passed on.
            whole_nodes: passed on.
        """
        before(self, *shape, whole_nodes=whole_nodes)
        self.keeps_ids = True

    patch.setattr(DataCluster, "__init__", init)


def lost_copy_keeps_its_id(patch: Patch) -> None:
    """Make a copy whose data are lost anew, under its old ``alloc_id``.

    Args:
        patch: undoes it afterwards.
    """
    before = DataNode._open

    def open_(self: DataNode, shard: Shard, copy: Copy) -> None:
        """Begin with an empty copy where there is none.

        Args:
            self: the node.
            shard: as the state says.
            copy: as the state says.
        """
        held = self.store.copies.get(copy.alloc_id)
        if held is None or held.damaged:
            disk = CopyDisk(self.world, shard.shard)
            disk.facts.durable = m.CopyFacts(shard.history_uuid)
            self.store.copies[copy.alloc_id] = disk
        before(self, shard, copy)

    def lose(self: DataNode, copy: OpenCopy) -> None:
        """Begin anew at once.

        Args:
            self: the node.
            copy: that can't go on.
        """
        copy.close()
        copy.disk.damaged = True
        self.copies.pop(copy.alloc_id, None)
        self.store.forget(copy.alloc_id)
        self.world.at(0.01, self.entry(self._configure))

    patch.setattr(DataNode, "_open", open_)
    patch.setattr(DataNode, "lose_copy", lose)


def truncate_on_corruption(patch: Patch) -> None:
    """Cut a log at a damaged record in its middle, and go on.

    Args:
        patch: undoes it afterwards.
    """

    def lose(self: DataNode, copy: OpenCopy) -> None:
        """Cut, and open again.

        Args:
            self: the node.
            copy: whose log is damaged.
        """
        copy.close()
        self.copies.pop(copy.alloc_id, None)
        self.store.forget(copy.alloc_id)
        disk = copy.disk
        disk.durable.truncate((disk.durable.base + disk.durable.last) // 2)
        disk.log = disk.durable.copy()
        self.world.at(0.01, self.entry(self._configure))

    patch.setattr(DataNode, "lose_copy", lose)


def swallow_eio(patch: Patch) -> None:
    """Take what an I/O error ate for stored.

    Args:
        patch: undoes it afterwards.
    """
    before = NodeDisk._done

    def done(self: NodeDisk) -> None:
        """Report what is not there.

        Args:
            self: the disk.
        """
        if self.health is Health.BROKEN:
            self.health = Health.WELL
            write, self._write = self._write, lambda job: None  # type: ignore[method-assign]
            before(self)
            self._write = write  # type: ignore[method-assign]
        else:
            before(self)

    patch.setattr(NodeDisk, "_done", done)


def expiry_by_local_clock(patch: Patch) -> None:
    """Hide keys whose time is over by the reader's clock.

    Args:
        patch: undoes it afterwards.
    """

    def read(self: OpenCopy, operation: Get) -> Outcome:
        """Look at the clock.

        Args:
            self: the copy.
            operation: which key.
        """
        entry = self.view.get(operation.key)
        if entry and entry.expires_ns and entry.expires_ns <= self.node.wall_ns:
            entry = None
        found = Outcome(None if entry is None else entry.version, entry)
        self.node.cluster.data.reads(self.shard, self.view, operation.key, found)
        return found

    patch.setattr(OpenCopy, "_read", read)

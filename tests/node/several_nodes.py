"""Three nodes with their copies over real files, and everything else by hand."""

import shutil
from pathlib import Path

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.node.lone_node import CALL, SHARD, Among, LoneNode, OneCoordinator, result
from tests.node.network import Network
from torua.core.ids import Address, AllocId, NodeId
from torua.core.kv import Put
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    NodeEntry,
    Primary,
    Shard,
    SlotRange,
)
from torua.node.copy import OpenCopy

NODES = [NodeId(digit * 32) for digit in "123"]
ALLOCS = [AllocId(letter * 32) for letter in "abc"]


class Several:
    """Three nodes that are to hold one shard; the first leads.

    Invariants: nothing happens on its own; all share a clock and a coordinator.
    """

    def __init__(self, directory: Path, copies: int = 3) -> None:
        """Start them.

        Args:
            directory: of their data dirs.
            copies: how many of the nodes are assigned one.
        """
        self.directory = directory
        self.clock = Clock()
        self.network = Network(self.clock)
        assigned = tuple(
            Copy(alloc, node, CopyState.INIT)
            for alloc, node in zip(ALLOCS, NODES[:copies], strict=False)
        )
        primary = Primary(ALLOCS[0], NODES[0], 1)
        shard = Shard(SHARD, 1, 1, primary, (), assigned, "h", copies, 1)
        entries = {
            node: NodeEntry(node, node[0], 1, Address("127.0.0.1", 1), "")
            for node in NODES
        }
        self.coordinator = OneCoordinator(
            ClusterState(
                cluster_uuid="u",
                nodes=entries,
                shards={SHARD: shard},
                slots=(SlotRange(0, 4095, SHARD),),
            )
        )
        self.nodes: dict[int, LoneNode] = {}
        for number in range(3):
            self.start(number)
        self.settle(1.0)

    @property
    def shard(self) -> Shard:
        """What the committed state says of the shard."""
        return self.coordinator.state.shards[SHARD]

    def start(self, number: int, boot_epoch: int = 1) -> None:
        """Start a node.

        Args:
            number: which, from 0.
            boot_epoch: its life.
        """
        node = NODES[number]
        among = Among(node, self.clock, self.coordinator, self.network)
        self.nodes[number] = LoneNode(
            self.directory / str(number),
            self.coordinator.state,
            boot_epoch,
            None,
            among,
        )

    def kill(self, number: int) -> None:
        """Let a node vanish, with what it had not written."""
        self.network.leave(NODES[number])
        node = self.nodes.pop(number)
        self.coordinator.unsubscribe(node.shards)
        node.close()
        place = self.directory / str(number)
        shutil.copytree(place, place.with_suffix(".left"))
        shutil.rmtree(place)
        place.with_suffix(".left").rename(place)

    def settle(self, seconds: float = 0.2) -> None:
        """Let time pass in small steps, with all that it leads to."""
        for _ in range(int(seconds * 50)):
            self.clock.advance(0.02)
            while any([self.work(node) for node in self.nodes.values()]):
                self.clock.advance(0)

    def work(self, node: LoneNode) -> bool:
        """Do a job of each of a node's threads; False where there is none."""
        workers = (node.log_worker, node.worker, node.writer)
        return any([worker.step() for worker in workers])

    def copy(self, number: int) -> OpenCopy:
        """Return the open copy of a node."""
        ((_, copy),) = self.nodes[number].shards.held()
        return copy

    def write(self, number: int, *keys: bytes, value: bytes = b"v") -> None:
        """Write keys through a node, to the end.

        Args:
            number: which node; it leads.
            keys: what to set.
            value: to what.
        """
        for key in keys:
            done = self.nodes[number].begin(Put(key, value))
            self.settle(0.1)
            result(done)

    def get(self, number: int, key: bytes) -> bytes | None:
        """Read a key, linearizable, at the node that leads.

        Args:
            number: which node.
            key: what to read.
        """
        done = Deferred.fromCoroutine(self.nodes[number].shards.get(SHARD, key, CALL))
        self.settle(0.1)
        entry = result(done)
        return None if entry is None else entry.value

    def change(self, **changes: object) -> None:
        """Commit another state of the shard."""
        shard = replace(
            self.shard, shard_version=self.shard.shard_version + 1, **changes
        )
        state = self.coordinator.state
        self.coordinator.commit(replace(state, shards={SHARD: shard}))

    def promote(self, number: int, boot_epoch: int = 1) -> None:
        """Name another primary, in the next term.

        Args:
            number: of its node.
            boot_epoch: its life.
        """
        primary = Primary(ALLOCS[number], NODES[number], boot_epoch)
        self.change(primary=primary, primary_term=self.shard.primary_term + 1)

    def close(self) -> None:
        """Let go of all files."""
        for node in self.nodes.values():
            node.close()

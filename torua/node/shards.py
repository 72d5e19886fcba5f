"""All copies of this node, as the rest of it sees them.

`torua.node.copies` makes them what the committed state says; here they meet the other
nodes, and are asked to write, to read, and to stop.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from random import Random
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.allocation.relieving import flooded
from torua.core.configuration import Configuration
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call, Entry, Operation, Outcome, Page
from torua.core.reading import Position
from torua.core.replication.barrier import Led
from torua.core.replication.messages import NeedSnapshot, SnapshotReady
from torua.core.replication.wire import (
    Append,
    Ask,
    HandingOver,
    Message,
    SnapshotWanted,
)
from torua.core.resilience.cache import Caching
from torua.core.state import ClusterState, Shard
from torua.core.views import CopyPosition
from torua.errors import ToruaError, UnavailableError
from torua.net.steps import Steps
from torua.node import leaving, reach, transfer
from torua.node.barriers import BarrierService
from torua.node.commit import GroupCommit
from torua.node.copies import Copies, Life
from torua.node.copy import OpenCopy
from torua.node.holding import Disk, GraphViews
from torua.node.means import Means, Wish
from torua.node.post import Notices, Post
from torua.node.reach import Reach
from torua.node.refusals import flood
from torua.node.reports import Coordination, Reports
from torua.node.requests import RETRY_AFTER_S, Told, awaited
from torua.node.rounds import Asked, Tell, runs_of
from torua.node.scrubber import Scrubber
from torua.node.slots import CopyMeters, Is
from torua.node.takeover import Takeovers
from torua.node.threads import Worker
from torua.node.transfer import Begin, Transfers
from torua.storage.map import Map
from torua.storage.shelf import Shelf

LEAVE_S = 6.0
"""How long a stop waits for other copies to lead."""

UNTOLD_S = 2.5
"""How long a stop looks for a coordinator to tell; an election takes less."""

DRAIN_S = 4.0
"""How long a stop waits for writes in flight; a stop in all takes at most 15 s."""

DRAIN_STEP_S = 0.02

log = Logger()


class Peers(transfer.Peers, Notices, reach.Peers, Protocol):
    """The connections to the other nodes."""


class Shards:
    """All copies of this node, and the key-value operations on those it leads.

    Invariants: nothing is taken once it stops; what it answers is what a copy that
    leads, and is proven to, has applied.

    Threading: the reactor's thread.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        me: tuple[NodeId, int],
        shelf: Shelf,
        commit: GroupCommit,
        coordination: Coordination,
        *,
        peers: Peers,
        worker: Worker,
        wall_ns: Callable[[], int],
        random: Random,
        registry: CollectorRegistry,
        steps: Steps,
        writer: Worker,
        graphs: GraphViews | None = None,
    ) -> None:
        """Begin to follow the cluster state.

        Args:
            clock: the reactor.
            me: this node and its boot epoch.
            shelf: where the copies stand.
            commit: the node's log.
            coordination: the cluster state.
            peers: connections to the others.
            worker: opens, checkpoints and closes maps.
            wall_ns: tells the wall clock (Unix, nanoseconds).
            random: makes nonces.
            registry: of the node's metrics.
            steps: where writing to maps waits for a turn of its own.
            writer: writes to maps what would take a turn too long.
            graphs: reads open maps as graphs.
        """
        self._clock = clock
        self._me, self._life = me[0], Life(*me)
        self._coordination = coordination
        self._stopping = False
        self._swept = False
        self._reports = Reports(clock, coordination)
        self.turn = commit.turn
        self._post = Post(commit.turn, peers, self._deliver, registry)
        self._transfers = Transfers(
            clock, shelf, peers, worker=worker, registry=registry
        )
        self._transfers.on_ready = self._snapshot_ready
        self._transfers.wanted = self._is_wanted
        self._barriers = BarrierService(
            clock,
            peers,
            leads=self._leads,
            confirms=self._confirms,
            done=self._proven,
            random=random,
        )
        self.barrier, self.prove = self._barriers.want, self._barriers.prove
        self._scrubber = Scrubber(clock, self, peers, worker, registry)
        self._reach = Reach(peers, self._peer_up, self._peer_lost)
        disk = Disk(clock, shelf, commit, worker, steps, writer, graphs)
        self._caching = Caching()
        means = Means(disk, self, wall_ns, random, self._caching)
        self._copies = Copies(
            self._life,
            means,
            self._reports,
            lambda: self._reach.lost,
            CopyMeters(registry, self._caching),
        )
        self.taken_over = Takeovers(clock, self._copies.is_between, registry).over
        coordination.subscribe(self._on_committed)
        worker.run(shelf.clean).addErrback(_unswept)
        self._copies.follow(coordination.state)
        self._flooded = flooded(coordination.state)
        self._declare(registry)

    def use(self, now: Configuration) -> None:
        """Send copies as fast, and keep what is read, as is configured."""
        self._caching.use(now.resilience.cache, now.limits.cache_bytes)
        self._transfers.use(now.allocation)

    def _declare(self, registry: CollectorRegistry) -> None:
        """Make the metrics that are read off the slots."""
        held = Gauge(
            "torua_shards_copies",
            "Shard copies that are open on this node",
            registry=registry,
        )
        held.set_function(
            lambda: sum(slot.copy is not None for slot in self._copies.slots())
        )
        failed = Gauge(
            "torua_shards_failed",
            "Shard copies of this node that do not serve, as /health says why",
            registry=registry,
        )
        failed.set_function(lambda: len(self.failures()))

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations in order, as `OpenCopy.write`.

        Args:
            shard: whose primary is here.
            operations: what to do.
            call: who asks, and how long it waits.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
            DiskFullError: the disk of a node with a copy of it is flooded.
            ToruaError: as `OpenCopy.write`.
        """
        done, told = awaited()
        self._begin(shard, operations, call, told)
        return await done

    def write_many(self, asked: Iterable[Asked], timeout_s: float, tell: Tell) -> None:
        """Do writes, in runs; see `torua.node.writing.Primaries`.

        Args:
            asked: shards, writes and promises.
            timeout_s: how long the callers wait.
            tell: is told of each, by their places.
        """
        for shard, promise, places, writes in runs_of(asked):
            told, call = partial(tell, places), Call("", timeout_s, promise)
            try:
                self._begin(shard, writes, call, told)
            except ToruaError as error:
                told(error)

    def _begin(
        self, shard: ShardId, operations: Sequence[Operation], call: Call, told: Told
    ) -> None:
        """Begin to do operations, or raise why they are not begun."""
        if shard in self._flooded:
            raise flood(shard, self._flooded[shard])
        copy, begun = self._leading(shard), self._clock.seconds()

        def ended(found: tuple[Outcome, ...] | ToruaError) -> None:
            """Count what was done."""
            if not isinstance(found, ToruaError):
                copy.tally.wrote(operations, self._clock.seconds() - begun)
            told(found)

        copy.write(operations, call, ended)

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Read one key, linearizable; None where it is absent.

        Args:
            shard: whose primary is here.
            key: which key.
            call: who asks, and how long it waits.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
        """
        copy, begun = self._serving_copy(shard), self._clock.seconds()
        entry = await copy.get(key, call)
        copy.tally.took(self._clock.seconds() - begun)
        return entry

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys in byte order, linearizable.

        Args:
            shard: whose primary is here.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
        """
        copy = self._serving_copy(shard)
        copy.tally.reads += 1
        return await copy.scan((prefix, after), limit, values)

    def readable(self, shard: ShardId) -> tuple[str, OpenCopy] | None:
        """Return a copy that can be read, and its history; None where there is none.

        One that lacks what a split moved, for it was not yet here or is no more by a
        slot table that this node does not know, must not be read.
        """
        held = self._copies.held_of(shard)
        if held is None or not held[1].readable:
            return None
        known, copy = held
        slots_version = self._copies.state.slots_version
        if copy.position < known.begins or copy.holding.trimmed > slots_version:
            return None
        return copy.holding.facts.history, copy

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""
        held = self.readable(shard)
        return Position(held[0], held[1].position) if held else None

    def proving(self, shard: ShardId) -> OpenCopy:
        """Return the copy of a shard that serves, for reads that share proofs.

        Args:
            shard: whose primary is here.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
        """
        return self._serving_copy(shard)

    def leader(self, shard: ShardId) -> OpenCopy | None:
        """Return the copy of a shard that serves it here; None where none does."""
        copy = None if self._stopping else self._copies.leader(shard)
        return copy if copy is not None and copy.serving else None

    def held(self) -> list[tuple[Shard, OpenCopy]]:
        """Return all copies that are open, with what the state says of the shard."""
        return self._copies.held()

    def positions(self) -> tuple[CopyPosition, ...]:
        """Tell how far each copy is that is assigned to this node."""
        return self._copies.positions()

    def failures(self) -> dict[ShardId, str]:
        """Tell which copies do not serve, and why."""
        return self._copies.failures()

    def serving(self, shard: ShardId) -> bool:
        """Tell whether this node serves a shard."""
        copy = self._copies.leader(shard)
        return copy is not None and copy.serving

    async def leave(self) -> None:
        """Have others lead before this node stops; what can't be had is not waited for.

        It serves meanwhile.  It takes `LEAVE_S` at most.
        """
        begun = self._clock.seconds()
        while (now := self._clock.seconds()) < begun + LEAVE_S:
            state, lost = self._copies.state, self._reach.lost
            command = leaving.announcement(state, self._life, lost)
            if command is None and not self._hands_over():
                return
            if command is not None:
                if now > begun + UNTOLD_S:
                    return
                await self._reports.submit(command)
            await deferLater(self._clock, DRAIN_STEP_S)

    def stop(self) -> "Deferred[None]":
        """Take no more writes, finish those in flight, and close all copies.

        Returns:
            Fires when all is closed; within `DRAIN_S` and the time of a checkpoint.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Do what `stop` says."""
        self._stopping = True
        deadline = self._clock.seconds() + DRAIN_S
        while not self._drained() and self._clock.seconds() < deadline:
            await deferLater(self._clock, DRAIN_STEP_S)
        self._reports.stop()
        self._scrubber.stop()
        self._transfers.stop()
        await self._copies.stop()
        self._barriers.stop()

    def _drained(self) -> bool:
        """Tell whether no write is in flight on any copy."""
        return all(slot.copy is None or slot.copy.idle for slot in self._copies.slots())

    def _hands_over(self) -> bool:
        """Tell whether a shard is led here that another copy could lead."""
        slots = self._copies.slots()
        failed = {slot.alloc_id for slot in slots if slot.phase is Is.FAILED}
        lost = self._reach.lost
        return leaving.hands_over(self._copies.state, self._me, lost, failed)

    # What copies reach beyond their own disk

    def send(self, node: NodeId, message: Message) -> None:
        """See `torua.node.means.World.send`.

        Args:
            node: where the other copy is.
            message: to it.
        """
        self._post.send(node, message)

    def wish(self, wish: Wish) -> None:
        """See `torua.node.means.World.wish`."""
        self._reports.wish(wish)

    def snapshot(
        self, need: NeedSnapshot, shard: ShardId, alloc: AllocId, view: Map
    ) -> Coroutine[Any, Any, None]:
        """See `torua.node.means.World.snapshot`.

        Args:
            need: to whom.
            shard: of which shard.
            alloc: of which copy.
            view: its map.
        """
        return self._transfers.send(need, shard, alloc, view)

    # What comes from other nodes

    def _deliver(self, node: NodeId, message: Message) -> None:
        """Hand a message to the copy that is meant, if it is open."""
        if isinstance(message, Append | SnapshotWanted | HandingOver):
            copy = self._copies.open_copy(message.alloc_id)
        else:
            copy = self._copies.leader(message.shard)
        if copy is not None:
            copy.received(node, message)

    def _is_wanted(self, begin: Begin) -> bool:
        """Tell whether a copy is here that waits for just this snapshot."""
        copy = self._copies.open_copy(begin.alloc_id)
        return (
            copy is not None
            and copy.shard == begin.shard
            and copy.machine.awaits(begin.term, begin.nonce)
        )

    def _snapshot_ready(
        self, shard: ShardId, alloc: AllocId, ready: SnapshotReady
    ) -> None:
        """Tell a copy that its snapshot is here."""
        copy = self._copies.open_copy(alloc)
        if copy is not None:
            copy.snapshot_ready(ready)

    def _confirms(self, ask: Ask) -> bool:
        """Answer another node's barrier."""
        copy = self._copies.open_copy(ask.alloc_id)
        return copy is not None and copy.confirms(ask)

    def _leads(self, shard: ShardId) -> Led | None:
        """Tell how a shard is led here, and whom to ask about it."""
        copy = self._copies.leader(shard)
        return copy.machine.led() if copy is not None else None

    def _proven(self, shard: ShardId, request: int, passed: bool) -> None:
        """Tell a copy what became of its barrier."""
        copy = self._copies.leader(shard)
        if copy is not None:
            copy.proven(request, passed)

    def _peer_up(self, node: NodeId) -> None:
        """Tell all copies of a node that can be reached."""
        for _, copy in self.held():
            copy.peer_up(node)

    def _peer_lost(self, node: NodeId) -> None:
        """Tell all copies of a node that can't be reached."""
        for _, copy in self.held():
            copy.peer_down(node)

    def _leading(self, shard: ShardId) -> OpenCopy:
        """Return the copy of a shard that leads; UnavailableError with the reason."""
        copy = None if self._stopping else self._copies.leader(shard)
        if copy is not None:
            return copy
        detail = f"this node has no primary of shard {shard}"
        for slot in self._copies.slots():
            if slot.shard == shard:
                detail = slot.failure or f"shard {shard} is not yet led by this node"
        detail = "this node is stopping" if self._stopping else detail
        raise UnavailableError(detail, shard=shard, retry_after=RETRY_AFTER_S)

    def _serving_copy(self, shard: ShardId) -> OpenCopy:
        """Return the copy of a shard that serves; UnavailableError with the reason."""
        copy = self._leading(shard)
        if not copy.serving:
            detail = f"shard {shard} is not yet served"
            raise UnavailableError(detail, shard=shard, retry_after=RETRY_AFTER_S)
        return copy

    def _on_committed(self, state: ClusterState) -> None:
        """Follow a state that was committed in this life."""
        self._flooded = flooded(state)
        self._copies.follow(state)
        self._barriers.renew()
        if state.shards and not self._swept:
            self._swept = True
            Deferred.fromCoroutine(self._copies.sweep()).addErrback(_unswept)


def _unswept(failure: Failure) -> None:
    """Note that something may stay on the disk."""
    detail = failure.getErrorMessage()
    log.warn("old copies may stay on the disk: {detail}", detail=detail)

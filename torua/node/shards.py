"""The copies that this node holds, made to be what the committed cluster state says.

Desired is what the state assigns to this node, actual what is open.  One worker a copy
compares them, does the next step, and compares again, until they agree; so a repeated,
late or lost state does no harm.

    (nothing) --open, replay--> OPEN --lead--> OPEN, leading
        ^                        |  '--failed--> FAILED --after a while, if worth it--.
        '---------- close -------'-----------------------------------------------------'

A copy is made only where the state says INIT and nothing of it was ever here; where a
STARTED one is missing, its data are lost, and that is said, not papered over.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.allocation import Command, MarkStarted
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call, Entry, Operation, Outcome, Page
from torua.core.state import ClusterState, Copy, CopyState, Shard
from torua.core.views import CopyPosition
from torua.errors import (
    DiskError,
    DiskFullError,
    ToruaError,
    UnavailableError,
)
from torua.node.commit import GroupCommit
from torua.node.copy import RETRY_AFTER_S, OpenCopy
from torua.node.copy import State as CopyIs
from torua.node.slots import Is, Slot, check_presence, disarm, position_of
from torua.node.threads import Worker
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.shelf import Shelf

REOPEN_AFTER_S = 5.0
"""How long a copy rests that failed for what may pass, as a full disk does."""

REPORT_TIMEOUT_S = 2.0
REPORT_FIRST_S = 0.1
REPORT_LAST_S = 5.0
"""How often the coordinator is told that a copy has started: backing off in between."""

DRAIN_S = 10.0
"""How long a stop waits for writes in flight; a stop in all takes at most 15 s."""

DRAIN_STEP_S = 0.02

log = Logger()


class Coordination(Protocol):
    """Where the committed state comes from, and facts about copies go."""

    @property
    def state(self) -> ClusterState:
        """Return the last committed state that this node applied."""

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state that is applied from now on."""

    async def submit(self, command: Command, timeout_s: float) -> object:
        """Have the coordinator execute a command; ToruaErrors where it can't.

        Args:
            command: what to change.
            timeout_s: how long to wait.
        """


class Shards:
    """All copies of this node, and the key-value operations on those it leads.

    Invariants: a copy leads only where the applied state names it, this node, and this
    life of it as primary, and in the term that stands there; data are removed only
    where an applied state knew the copy and a later one does not.

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
        worker: Worker,
        wall_ns: Callable[[], int],
        registry: CollectorRegistry,
    ) -> None:
        """Begin to follow the cluster state.

        Args:
            clock: the reactor.
            me: this node and its boot epoch.
            shelf: where the copies stand.
            commit: the node's log.
            coordination: the cluster state.
            worker: opens, checkpoints and closes maps.
            wall_ns: tells the wall clock (Unix, nanoseconds).
            registry: of the node's metrics.
        """
        self._clock = clock
        self._me, self._boot_epoch = me
        self._shelf = shelf
        self._commit = commit
        self._coordination = coordination
        self._worker = worker
        self._wall_ns = wall_ns
        self._stopping = False
        self._slots: dict[AllocId, Slot] = {}
        self._applied = Gauge(
            "torua_shards_applied_seq",
            "Last record applied by a shard copy of this node",
            ["shard"],
            registry=registry,
        )
        self._declare(registry)
        self._state = coordination.state
        coordination.subscribe(self._on_state)
        self._on_state(coordination.state)

    def _declare(self, registry: CollectorRegistry) -> None:
        """Make the metrics that are read off the slots."""
        held = Gauge(
            "torua_shards_copies",
            "Shard copies that are open on this node",
            registry=registry,
        )
        held.set_function(lambda: sum(s.copy is not None for s in self._each()))
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
            ToruaError: as `OpenCopy.write`.
        """
        return await self._leading(shard).write(operations, call)

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Read one key; None where it is absent.

        Args:
            shard: whose primary is here.
            key: which key.
            call: who asks; a read does not wait.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
        """
        return self._leading(shard).get(key)

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys in byte order.

        Args:
            shard: whose primary is here.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.

        Raises:
            UnavailableError: the shard is not served here, with the reason.
        """
        return self._leading(shard).scan(prefix, after, limit, values)

    def positions(self) -> tuple[CopyPosition, ...]:
        """Tell how far each copy is that is assigned to this node."""
        return tuple(
            position_of(self._slots[copy.alloc_id], copy)
            for _, copy in self._assigned()
            if copy.alloc_id in self._slots
        )

    def failures(self) -> dict[ShardId, str]:
        """Tell which copies do not serve, and why."""
        return {slot.shard: slot.failure for slot in self._each() if slot.failure}

    def serving(self, shard: ShardId) -> bool:
        """Tell whether this node serves a shard."""
        return any(
            slot.shard == shard and slot.copy is not None and slot.copy.serving
            for slot in self._each()
        )

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
        for slot in self._each():
            if slot.report is not None:
                slot.report.cancel()
            disarm(slot)
            self._kick(slot)
        await gatherResults([s.work for s in self._each() if s.work is not None])

    def _drained(self) -> bool:
        """Tell whether no write is in flight on any copy."""
        return all(slot.copy is None or slot.copy.idle for slot in self._each())

    def _each(self) -> list[Slot]:
        """Return all slots, as they are now."""
        return list(self._slots.values())

    def _leading(self, shard: ShardId) -> OpenCopy:
        """Return the copy of a shard that leads; UnavailableError with the reason."""
        detail = f"this node has no primary of shard {shard}"
        if self._stopping:
            detail = "this node is stopping"
        for slot in self._each():
            if slot.shard != shard or self._stopping:
                continue
            if slot.copy is not None and slot.copy.state is CopyIs.LEADING:
                return slot.copy
            detail = slot.failure or f"shard {shard} is not yet led by this node"
        raise UnavailableError(detail, shard=shard, retry_after=RETRY_AFTER_S)

    def _assigned(self) -> Iterator[tuple[Shard, Copy]]:
        """Go through the copies that the state assigns to this node, by shard."""
        for _, shard in sorted(self._state.shards.items()):
            for copy in shard.copies:
                if copy.node == self._me:
                    yield shard, copy

    def _desired(self, slot: Slot) -> tuple[Shard, Copy] | None:
        """Return what the state says of a copy here; None where it is not to be."""
        if self._stopping:
            return None
        for shard, copy in self._assigned():
            if copy.alloc_id == slot.alloc_id:
                return shard, copy
        return None

    def _term(self, shard: Shard, alloc_id: AllocId) -> int:
        """Return the term in which a copy is to lead, in this life; 0 if it is not."""
        primary = shard.primary
        if primary is None or primary.alloc_id != alloc_id:
            return 0
        mine = (primary.node, primary.boot_epoch) == (self._me, self._boot_epoch)
        return shard.primary_term if mine else 0

    def _on_state(self, state: ClusterState) -> None:
        """Compare every copy with the state that is applied now."""
        self._state = state
        if self._stopping:
            return
        for shard, copy in self._assigned():
            if copy.alloc_id not in self._slots:
                self._slots[copy.alloc_id] = Slot(shard.shard, copy.alloc_id)
        for slot in self._each():
            self._kick(slot)

    def _kick(self, slot: Slot) -> None:
        """See to it that a worker compares a copy with what it should be."""
        if slot.work is None:
            slot.work = Deferred()
            work = Deferred.fromCoroutine(self._work(slot))
            work.addErrback(self._broken, slot)
            work.addCallback(self._rest, slot)

    def _rest(self, _: None, slot: Slot) -> None:
        """Note that a worker has nothing more to do."""
        done, slot.work = slot.work, None
        if done is not None:
            done.callback(None)

    def _broken(self, failure: Failure, slot: Slot) -> None:
        """Leave a copy alone with which we went wrong."""
        log.failure("shard {shard} is wrong", failure, shard=slot.shard)
        slot.phase = Is.FAILED
        slot.failure = f"shard {slot.shard}: {failure.getErrorMessage()}"

    async def _work(self, slot: Slot) -> None:
        """Do step after step, until a copy is as it should be."""
        while (step := self._step(slot)) is not None:
            await step

    def _step(self, slot: Slot) -> Coroutine[object, object, None] | None:
        """Choose what to do next about a copy; None where nothing is to be done."""
        desired = self._desired(slot)
        copy = slot.copy
        if desired is None:
            return self._leave(slot)
        if slot.phase is Is.NOTHING:
            return self._open(slot, desired[1].state)
        if copy is None:
            return None
        if copy.state is CopyIs.FAILED:
            return self._drop(slot, copy)
        term = self._term(desired[0], slot.alloc_id)
        if copy.term not in (0, term):
            return self._close(slot, copy)
        if term and copy.state is CopyIs.OPEN:
            copy.lead(term)
        if copy.serving and desired[1].state is CopyState.INIT:
            self._report(slot)
        return None

    def _leave(self, slot: Slot) -> Coroutine[object, object, None] | None:
        """Close a copy that is not to be here; erase it where nobody knows it."""
        if slot.copy is not None:
            return self._close(slot, slot.copy)
        if self._stopping or self._known(slot.alloc_id):
            return None
        return self._erase(slot) if slot.alloc_id in self._slots else None

    def _known(self, alloc_id: AllocId) -> bool:
        """Tell whether the state knows a copy, on whatever node."""
        shards = self._state.shards
        return not shards or any(
            copy.alloc_id == alloc_id
            for shard in shards.values()
            for copy in shard.copies
        )

    async def _open(self, slot: Slot, is_: CopyState) -> None:
        """Open a copy and replay what its map lacks; note why where it fails."""
        shard, alloc = slot.shard, slot.alloc_id
        try:
            here = await self._worker.run(lambda: self._shelf.holds(shard, alloc))
            logged = await self._commit.run(lambda store: store.last(alloc))
            check_presence(is_, here, logged)
            view = await self._worker.run(lambda: self._shelf.open(shard, alloc))
            await self._replay(alloc, view)
        except ToruaError as error:
            self._fail(slot, error.detail, isinstance(error, DiskError | DiskFullError))
            return
        slot.phase, slot.failure = Is.OPEN, ""
        slot.copy = OpenCopy(
            self._clock,
            shard,
            alloc,
            view,
            self._commit,
            worker=self._worker,
            wall_ns=self._wall_ns,
            on_change=lambda _: self._kick_later(slot),
        )
        self._applied.labels(str(shard)).set_function(lambda: view.applied_seq)

    async def _replay(self, alloc: AllocId, view: Map) -> None:
        """Bring a map forward to the end of the log, on the log's thread."""

        def job(store: Log) -> None:
            """Do it."""
            replay(store, alloc, view)

        try:
            await self._commit.run(job)
        except ToruaError:
            await self._worker.run(view.close)
            raise

    def _kick_later(self, slot: Slot) -> None:
        """Compare again once whoever reports a change is done."""
        self._clock.callLater(0, self._kick, slot)

    async def _close(self, slot: Slot, copy: OpenCopy) -> None:
        """Close a copy, and keep its data."""
        await copy.close()
        slot.copy, slot.phase = None, Is.NOTHING
        self._applied.remove(str(slot.shard))

    async def _drop(self, slot: Slot, copy: OpenCopy) -> None:
        """Close a copy that failed, and open it again later where that may help."""
        await self._close(slot, copy)
        self._fail(slot, copy.failure, copy.retry)

    async def _erase(self, slot: Slot) -> None:
        """Remove the data of a copy that the cluster gave up."""
        del self._slots[slot.alloc_id]
        disarm(slot)
        try:
            await self._worker.run(lambda: self._shelf.erase(slot.shard, slot.alloc_id))
            await self._commit.run(lambda store: store.forget(slot.alloc_id))
        except ToruaError as error:
            log.warn(
                "shard {shard}: a copy given up stays on the disk: {detail}",
                shard=slot.shard,
                detail=error.detail,
            )

    def _fail(self, slot: Slot, detail: str, retry: bool) -> None:
        """Note why a copy does not serve; try again later where that may help."""
        message = f"shard {slot.shard}: {detail}"
        if slot.failure != message:
            log.error("{detail}", detail=message)
        slot.phase, slot.failure = Is.FAILED, message
        if retry and not self._stopping:
            slot.timer = self._clock.callLater(REOPEN_AFTER_S, self._reopen, slot)

    def _reopen(self, slot: Slot) -> None:
        """Forget a failure that may have passed."""
        slot.timer = None
        slot.phase = Is.NOTHING
        self._kick(slot)

    def _report(self, slot: Slot) -> None:
        """Have the coordinator told that a copy has started, unless it is being."""
        if slot.report is None:
            slot.report = Deferred.fromCoroutine(self._keep_reporting(slot))
            slot.report.addErrback(lambda failure: failure.trap(CancelledError))
            slot.report.addErrback(self._broken, slot)
            slot.report.addCallback(lambda _: setattr(slot, "report", None))

    async def _keep_reporting(self, slot: Slot) -> None:
        """Tell the coordinator, less and less often, until the state shows it."""
        delay_s = REPORT_FIRST_S
        while (command := self._started(slot)) is not None:
            try:
                await self._coordination.submit(command, REPORT_TIMEOUT_S)
            except ToruaError as error:
                log.debug("not yet reported: {detail}", detail=error.detail)
            await deferLater(self._clock, delay_s)
            delay_s = min(2 * delay_s, REPORT_LAST_S)

    def _started(self, slot: Slot) -> MarkStarted | None:
        """Say that a copy has started; None where it hasn't, or the state knows."""
        desired, copy = self._desired(slot), slot.copy
        if desired is None or copy is None or not copy.serving:
            return None
        shard, wanted = desired
        if wanted.state is not CopyState.INIT:
            return None
        return MarkStarted(
            shard.shard, slot.alloc_id, self._boot_epoch, shard.primary_term
        )

"""The copies that this node holds, made to be what the committed cluster state says.

Desired is what the state assigns to this node, actual what is open.  One worker a copy
compares them, does the next step, and compares again, until they agree; so a repeated,
late or lost state does no harm.

    (nothing) --open--> OPEN, told of each state
        ^                |  '--failed--> FAILED --after a while, where that may help--.
        '---- close -----'-------------------------------------------------------------'

A copy is made only where the state says INIT and nothing of it was ever here; where one
is damaged or missing, its data are lost, and the coordinator is told, so that another
is made under another id.  The last in-sync copy stays where it is, and the shard red.
"""

from collections.abc import Callable, Coroutine, Iterator
from typing import NamedTuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.allocation import CopyLost, MarkStarted
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.replication.messages import Identity
from torua.core.state import ClusterState, Copy, Shard
from torua.core.views import CopyPosition
from torua.errors import DiskFullError, ToruaError
from torua.node.copy import OpenCopy
from torua.node.copy import State as CopyIs
from torua.node.holding import find
from torua.node.means import Means
from torua.node.reports import Reports
from torua.node.slots import CopyMeters, Is, Slot, check_presence, disarm, position_of

REOPEN_AFTER_S = 5.0
"""How long a copy rests that failed for what may pass, as a full disk does."""

log = Logger()


class Life(NamedTuple):
    """A node, and which life of it."""

    node: NodeId
    boot_epoch: int


class Copies:
    """The copies that the committed state assigns to this node.

    Invariants: every open copy was told of the applied state, or is about to be; data
    are removed only where an applied state does not know the copy; once stopping,
    copies are only closed.

    Threading: the reactor's thread.

    Attributes:
        state: the state that is applied.
    """

    def __init__(
        self,
        life: Life,
        means: Means,
        reports: Reports,
        lost: Callable[[], tuple[NodeId, ...]],
        meters: CopyMeters,
    ) -> None:
        """Begin with nothing.

        Args:
            life: of this node.
            means: what every copy is given.
            reports: takes what the coordinator must hear of them.
            lost: tells which nodes can't be reached.
            meters: of the copies.
        """
        self.state = ClusterState()
        self._me, self._boot_epoch = life
        self._means = means
        self._disk = means.disk
        self._reports = reports
        self._lost_nodes = lost
        self._meters = meters
        self._stopping = False
        self._slots: dict[AllocId, Slot] = {}

    def held(self) -> list[tuple[Shard, OpenCopy]]:
        """Return all copies that are open, with what the state says of the shard."""
        found = []
        for shard, copy in self._assigned():
            slot = self._slots.get(copy.alloc_id)
            if slot is not None and slot.copy is not None:
                found.append((shard, slot.copy))
        return found

    def held_of(self, shard: ShardId) -> tuple[Shard, OpenCopy] | None:
        """Return the open copy of one shard, with what the state says of the shard."""
        known = self.state.shards.get(shard)
        for copy in known.copies if known else ():
            slot = self._slots.get(copy.alloc_id)
            if known and slot is not None and slot.copy is not None:
                return known, slot.copy
        return None

    def positions(self) -> tuple[CopyPosition, ...]:
        """Tell how far each copy is that is assigned to this node."""
        return tuple(
            position_of(self._slots[copy.alloc_id], shard, copy)
            for shard, copy in self._assigned()
            if copy.alloc_id in self._slots
        )

    def failures(self) -> dict[ShardId, str]:
        """Tell which copies do not serve, and why."""
        return {slot.shard: slot.failure for slot in self.slots() if slot.failure}

    def slots(self) -> list[Slot]:
        """Return all slots, as they are now."""
        return list(self._slots.values())

    def open_copy(self, alloc: AllocId) -> OpenCopy | None:
        """Return a copy that is open, by its id."""
        slot = self._slots.get(alloc)
        return slot.copy if slot is not None else None

    def leader(self, shard: ShardId) -> OpenCopy | None:
        """Return the copy of a shard that leads here; None where none does."""
        for slot in self._slots.values():
            if slot.shard == shard and slot.copy is not None and slot.copy.leads:
                return slot.copy
        return None

    def is_between(self, shard: ShardId) -> bool:
        """Tell whether the primary of a shard is here and takes nothing, for a moment.

        It is opened, takes over from another or hands over to one; it did not fail.
        """
        known = self.state.shards.get(shard)
        primary = known.primary if known else None
        slot = self._slots.get(primary.alloc_id) if primary else None
        if slot is None or self._stopping or slot.phase is Is.FAILED:
            return False
        return slot.copy is None or slot.copy.machine.is_between

    async def stop(self) -> None:
        """Close all, durably."""
        self._stopping = True
        for slot in self.slots():
            disarm(slot)
            self._kick(slot)
        await gatherResults([s.work for s in self.slots() if s.work is not None])

    def follow(self, state: ClusterState) -> None:
        """Compare every copy with the state that is applied now."""
        self.state = state
        if self._stopping:
            return
        for shard, copy in self._assigned():
            if copy.alloc_id not in self._slots:
                self._slots[copy.alloc_id] = Slot(shard.shard, copy.alloc_id)
        for slot in self.slots():
            self._kick(slot)

    async def sweep(self) -> None:
        """Remove what earlier lives left of copies that the cluster gave up since.

        To be called once the state was committed in this life.
        """
        disk = self._disk
        here = await disk.worker.run(disk.shelf.copies)
        shards = {alloc: shard for shard, alloc in here}
        logged = await disk.commit.run(lambda store: store.allocs)
        for alloc in dict.fromkeys([*shards, *logged]):
            if alloc not in self._slots and not self._known(alloc):
                await self._remove(shards.get(alloc, ShardId(0)), alloc)

    def _assigned(self) -> Iterator[tuple[Shard, Copy]]:
        """Go through the copies that the state assigns to this node, by shard."""
        for _, shard in sorted(self.state.shards.items()):
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

    def _known(self, alloc_id: AllocId) -> bool:
        """Tell whether the state knows a copy, on whatever node."""
        shards = self.state.shards
        return not shards or any(
            copy.alloc_id == alloc_id
            for shard in shards.values()
            for copy in shard.copies
        )

    def _kick(self, slot: Slot) -> None:
        """See to it that a worker compares a copy with what it should be."""
        slot.again = True
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
        while slot.again:
            slot.again = False
            while (step := self._step(slot)) is not None:
                await step

    def _step(self, slot: Slot) -> Coroutine[object, object, None] | None:
        """Choose what to do next about a copy; None where nothing is to be done."""
        desired, copy = self._desired(slot), slot.copy
        if desired is None:
            return self._leave(slot)
        if slot.phase is Is.NOTHING:
            return self._open(slot, *desired)
        if slot.lost:
            self._reports.tell(f"lost {slot.alloc_id}", lambda: self._lost(slot))
        if copy is None:
            return None
        if copy.state is CopyIs.FAILED:
            return self._drop(slot, copy)
        if self._begins_anew(slot, copy, desired[0]):
            return self._close(slot, copy)
        self._tell(slot, copy, desired[0])
        return None

    def _begins_anew(self, slot: Slot, copy: OpenCopy, shard: Shard) -> bool:
        """Tell whether a copy is to take up another history, decided to go on so."""
        another = copy.holding.facts.history != shard.history_uuid
        return another and slot.alloc_id in shard.in_sync

    def _tell(self, slot: Slot, copy: OpenCopy, shard: Shard) -> None:
        """Tell a copy of the state, and the coordinator of the copy."""
        if slot.told is not shard:
            slot.told = shard
            copy.configure(shard, self._lost_nodes())
        if self._started(slot) is not None:
            self._reports.tell(f"started {slot.alloc_id}", lambda: self._started(slot))

    def _leave(self, slot: Slot) -> Coroutine[object, object, None] | None:
        """Close a copy that is not to be here; erase it where nobody knows it."""
        if slot.copy is not None:
            return self._close(slot, slot.copy)
        if self._stopping or self._known(slot.alloc_id):
            return None
        return self._erase(slot) if slot.alloc_id in self._slots else None

    async def _open(self, slot: Slot, shard: Shard, wanted: Copy) -> None:
        """Open a copy; note why where it fails."""
        number, alloc, disk = slot.shard, slot.alloc_id, self._disk
        try:
            here = await disk.worker.run(lambda: disk.shelf.holds(number, alloc))
            logged = await disk.commit.run(lambda store: store.last(alloc))
            check_presence(wanted.state, here, logged)
            in_sync = alloc in shard.in_sync
            history, base = shard.history_uuid, shard.base
            found = await find(disk, number, alloc, history, in_sync, base=base)
        except ToruaError as error:
            self._fail(slot, error.detail, isinstance(error, DiskFullError))
            return
        slot.phase, slot.failure, slot.lost, slot.told = Is.OPEN, "", False, None
        me = Identity(number, alloc, self._me, self._boot_epoch)
        slot.copy = copy = OpenCopy(
            me, found, self._means, lambda _: self._kick_later(slot)
        )
        self._meters.follow(copy)

    def _kick_later(self, slot: Slot) -> None:
        """Compare again once whoever reports a change is done."""
        self._disk.clock.callLater(0, self._kick, slot)

    async def _close(self, slot: Slot, copy: OpenCopy) -> None:
        """Close a copy, and keep its data."""
        await copy.close()
        slot.copy, slot.phase = None, Is.NOTHING
        self._meters.forget(copy)

    async def _drop(self, slot: Slot, copy: OpenCopy) -> None:
        """Close a copy that failed, and open it again later where that may help."""
        await self._close(slot, copy)
        self._fail(slot, copy.failure, copy.retry)

    async def _erase(self, slot: Slot) -> None:
        """Remove the data of a copy that the cluster gave up."""
        del self._slots[slot.alloc_id]
        disarm(slot)
        await self._remove(slot.shard, slot.alloc_id)

    async def _remove(self, shard: ShardId, alloc: AllocId) -> None:
        """Remove all that is here of a copy."""
        disk = self._disk
        try:
            await disk.worker.run(lambda: disk.shelf.erase(shard, alloc))
            await disk.commit.run(lambda store: store.forget(alloc))
        except ToruaError as error:
            log.warn(
                "shard {shard}: a copy given up stays on the disk: {detail}",
                shard=shard,
                detail=error.detail,
            )

    def _fail(self, slot: Slot, detail: str, retry: bool) -> None:
        """Note why a copy does not serve; try again later where that may help."""
        message = f"shard {slot.shard}: {detail}"
        if slot.failure != message:
            log.error("{detail}", detail=message)
        slot.phase, slot.failure, slot.lost = Is.FAILED, message, not retry
        if retry and not self._stopping:
            slot.timer = self._disk.clock.callLater(REOPEN_AFTER_S, self._reopen, slot)

    def _reopen(self, slot: Slot) -> None:
        """Forget a failure that may have passed."""
        slot.timer = None
        slot.phase = Is.NOTHING
        self._kick(slot)

    def _started(self, slot: Slot) -> MarkStarted | None:
        """Say that a shard's first copy has started; None where the state knows."""
        desired, copy = self._desired(slot), slot.copy
        if desired is None or copy is None or not copy.serving or desired[0].in_sync:
            return None
        shard = desired[0]
        return MarkStarted(
            shard.shard, slot.alloc_id, self._boot_epoch, shard.primary_term
        )

    def _lost(self, slot: Slot) -> CopyLost | None:
        """Say that a copy's data are lost; None where that would help nobody."""
        desired = self._desired(slot)
        if desired is None or not slot.lost:
            return None
        shard = desired[0]
        if shard.in_sync == (slot.alloc_id,):
            note = "; no other copy has all that was acknowledged: the shard is red"
            slot.failure += "" if slot.failure.endswith(note) else note
            if shard.damaged == self._boot_epoch:
                return None
        return CopyLost(shard.shard, slot.alloc_id, self._boot_epoch)

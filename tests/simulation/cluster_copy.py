"""One open copy of a simulated node: the real machine, and what does as it says.

This is what the product's shell must do, and no more: outputs are performed in order,
each write to the disk ends in an input, and what the machine asks of the coordinator
is asked again by the machine, not here.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from tests.simulation.disk import CopyDisk, Snapshot, View
from tests.simulation.gathered import Gathered
from tests.simulation.world import Timer
from torua.core.allocation import (
    CopyLost,
    FailCopy,
    HandOver,
    MarkInSync,
    MarkStarted,
)
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Get, Group, IdempotencyKey, Operation, Outcome, Put
from torua.core.records import NOTE_KEY, Moved
from torua.core.replication import messages as m
from torua.core.replication.barrier import Want
from torua.core.replication.wire import Acked
from torua.core.replication.wire import Append as AppendRecords
from torua.core.splitting.notes import Trimmed, read_note
from torua.core.state import Copy, Shard
from torua.errors import UnavailableError

if TYPE_CHECKING:
    from tests.simulation.cluster_node import DataNode


Place = tuple[ShardId, str, int]
"""A place in a shard's log: shard, history, seq."""


class Errand(Struct, frozen=True):
    """A client's request on its way.

    Attributes:
        number: names it; never used twice.
        path: who passed it on, the client first.
        operations: what to do; one `Get` alone is a read.
        idempotency: the client's promise, if it made one.
        session: where the client's session is, shard by shard; None for a linearizable
            request.
        shard: by whose copy it is to be done, as the first node chose.
        slots_version: of the slot table by which it did.
    """

    number: int
    path: tuple[str, ...]
    operations: tuple[Operation, ...]
    idempotency: IdempotencyKey | None = None
    session: tuple[Place, ...] | None = None
    shard: ShardId | None = None
    slots_version: int | None = None


class Said(Struct, frozen=True):
    """The answer, on its way back: outcomes, or the code of an error.

    Attributes:
        number: of the errand.
        path: who shall have it, the client first.
        outcomes: one an operation.
        error: why there are none.
        session: where the session is after it.
    """

    number: int
    path: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()
    error: str = ""
    session: Place | None = None


class OpenCopy:
    """One open copy in one life of its node.

    Invariants: the machine is never entered twice at once; a closed copy hears of
    nothing.
    """

    def __init__(self, node: "DataNode", shard: Shard, copy: Copy, disk: CopyDisk):
        """Open what the disk has, and begin.

        Args:
            node: where it is.
            shard: as the state says.
            copy: as the state says.
            disk: what there is of it; empty for a new copy.
        """
        self.node = node
        self.world = node.world
        self.disk = disk
        self.shard = shard
        self.alloc_id: AllocId = copy.alloc_id
        self.epoch = node.boot_epoch
        self.who = (copy.alloc_id, self.epoch)
        self.closed = False
        self.serving: int | None = None
        self.snapshots: dict[int, Snapshot] = {}
        self._inbox: list[m.Input] = []
        self._busy = False
        self._timer: Timer | None = None
        self._errands: dict[int, tuple[Errand, Outcome | None]] = {}
        self._writes = Gathered(node, self.tell)
        self._moves: dict[int, Callable[[int | None], object]] = {}
        disk.owner = self
        node.cluster.data.opens(shard, self.who, disk.view)
        self.machine = node.cluster.machine(self)

    def begin(self) -> None:
        """Tell the machine what the state says, once the node knows this copy."""
        self.configure(self.shard)

    @property
    def view(self) -> View:
        """Return what it has applied."""
        return self.disk.view

    def configure(self, shard: Shard) -> None:
        """Tell the machine what the applied state says of the shard."""
        self._writes.end()
        self.shard = shard
        lost = self.node.lost()
        self.tell(m.Configure(shard, self.node.wall_ns, lost))
        self._report()
        self._hand_over()

    def close(self) -> None:
        """Hear of nothing more."""
        self.closed = True
        if self.disk.owner is self:
            self.disk.owner = None
        if self._timer is not None:
            self._timer.cancel()

    def tell(self, message: m.Input) -> None:
        """Give the machine one input, now or as soon as it is free."""
        if self.closed:
            return
        self._inbox.append(message)
        if self._busy:
            return
        self._busy = True
        while self._inbox and not self.closed:
            given = self._inbox.pop(0)
            self._perform(self.machine.receive(given, self.node.now))
        self._busy = False
        self._settle()

    def serve(self, errand: Errand) -> None:
        """Do what a client wants, as the primary."""
        number = self.node.cluster.number()
        operation = errand.operations[0]
        if errand.session is not None and isinstance(operation, Get):
            self._serve_session(errand, operation)
        elif isinstance(operation, Get) and len(errand.operations) == 1:
            found = self._read(operation)
            self._errands[number] = (errand, found)
            self._confirm(number)
        else:
            self._errands[number] = (errand, None)
            self._writes.add(number, errand)

    def _confirm(self, number: int) -> None:
        """Have a read proven, every other one with all others of its turn.

        Args:
            number: of the read.
        """
        term = self.machine.term
        if self.machine.serves and number % 2 == 0:
            self.node.barrier(Want(self.shard.shard, number, term))
        else:
            self.tell(m.Confirm(number))

    def proven(self, want: Want, passed: bool) -> None:
        """Take what became of a barrier; what was not proven so is tried again.

        Args:
            want: for what it was.
            passed: whether all peers said yes.
        """
        if want.term is None:
            self.tell(m.BarrierDone(want.request, passed))
        elif want.request not in self._errands or self.closed:
            return
        elif passed:
            self._answer(m.Reply(want.request, ()))
        else:
            self.tell(m.Confirm(want.request))

    def move(
        self, moved: Moved, term: int, then: Callable[[int | None], object]
    ) -> None:
        """Do a part of a split.

        Args:
            moved: what to do.
            term: in which it is meant.
            then: is told of the record that has it, or None.
        """
        number = self.node.cluster.number()
        self._moves[number] = then
        self.tell(m.Move(number, term, moved, self.node.wall_ns))

    @property
    def whole(self) -> bool:
        """Whether all that the shard owns can be read here, by the applied state."""
        entry = self.view.get(NOTE_KEY)
        note = read_note(entry.value) if entry and entry.value else None
        known = self.node.state.slots_version
        trimmed = isinstance(note, Trimmed) and note.slots_version > known
        return self.view.applied_seq >= self.shard.begins and not trimmed

    def refuse_all(self) -> list[Errand]:
        """Return the errands that were never answered."""
        return [errand for errand, _ in self._errands.values()]

    # What the disk says

    def stored(self, seq: int) -> None:
        """Take note of what is durable."""
        self.node.enter(self.tell, m.Stored(seq))

    def full(self) -> None:
        """Take note that the disk is full."""
        self.node.enter(self.tell, m.DiskFull())

    def room(self) -> None:
        """Take note that there is room again."""
        self.node.enter(self.tell, m.RoomAgain(self.node.wall_ns))

    # What the machine says

    def _perform(self, outputs: Iterable[m.Output]) -> None:
        """Do what the machine says, in order, unless the node ends in between."""
        for output in outputs:
            if self.node.mishap():
                return
            self._do(output)
            if self.closed:
                return

    def _do(self, output: m.Output) -> None:
        """Do one thing."""
        match output:
            case m.Append() | m.Truncate() | m.Keep() | m.Apply() | m.ReadLog():
                self._store(output)
            case m.Send():
                self._send(output)
            case m.AskInSync() | m.AskFail() | m.AskTerm() | m.Drained():
                self._ask(output)
            case m.NeedSnapshot() | m.Install() | m.Drop():
                self._snapshot(output)
            case m.Serve() | m.SteppedDown() | m.Failed():
                self._become(output)
            case m.Reply() | m.Refuse():
                self._answer(output)
            case m.Barrier() | m.Sweep():
                self._question(output)
            case _:
                assert_never(output)

    def _store(
        self, output: m.Append | m.Truncate | m.Keep | m.Apply | m.ReadLog
    ) -> None:
        """Write, or read."""
        match output:
            case m.Append():
                self.node.store.append(self.alloc_id, output.records)
            case m.Truncate():
                gcp = self.machine.gcp
                self.note("truncates after", output.after)
                self.node.cluster.data.truncates(self.who, output.after, gcp)
                self.node.store.truncate(self.alloc_id, output.after)
            case m.Keep():
                kept = m.Kept(output.facts.term)
                self.disk.facts.save(output.facts, self.node.entry(self.tell, kept))
            case m.Apply():
                for record in output.records:
                    self.disk.apply(record)
                    self.node.cluster.data.applies(
                        self.shard, self.who, record, self.view.digest
                    )
                self.node.retain(self)
            case m.ReadLog():
                found = self.disk.log.since(output.after, min(output.records, 64))
                answer = m.LogRead(output.alloc_id, output.after, found)
                delay = self.world.random.uniform(0.0, 0.003)
                self.world.at(delay, self.node.entry(self.tell, answer))

    def _send(self, output: m.Send) -> None:
        """Send to another node; who sends records says that it leads."""
        message = output.message
        if isinstance(message, AppendRecords):
            who = (self.alloc_id, self.node.id, self.epoch)
            self.node.cluster.data.leads(
                message.shard, message.history, message.term, who
            )
        if isinstance(message, Acked):
            self.node.cluster.data.acknowledges(self.who, self.disk, message)
        self.node.post(output.node, message)

    def _ask(self, output: m.AskInSync | m.AskFail | m.AskTerm | m.Drained) -> None:
        """Ask the coordinator."""
        self.note("asks", output)
        match output:
            case m.AskInSync(shard, term, alloc_id, boot_epoch, expect):
                self.node.submit(MarkInSync(shard, term, alloc_id, boot_epoch, expect))
            case m.AskFail(shard, term, alloc_id, expect):
                self.node.submit(FailCopy(shard, term, alloc_id, expect))
            case m.AskTerm(shard, term, alloc_id, expect):
                self.node.submit(HandOver(shard, term, expect, alloc_id))
            case m.Drained(shard, term, target, expect):
                self.node.submit(HandOver(shard, term, expect, target))

    def _snapshot(self, output: m.NeedSnapshot | m.Install | m.Drop) -> None:
        """Send, switch to, or forget a snapshot."""
        match output:
            case m.NeedSnapshot():
                self.note("sends a snapshot to", output.node)
                shot = Snapshot(
                    self.shard.shard,
                    output.alloc_id,
                    output.term,
                    output.nonce,
                    self.node.cluster.snapshot(self.view),
                )
                self.node.transfer(self, output.node, shot)
            case m.Install(nonce):
                delay = self.world.random.uniform(0.001, 0.01)
                self.world.at(delay, self.node.entry(self._install, nonce))
            case m.Drop(nonce):
                self.snapshots.pop(nonce, None)

    def _install(self, nonce: int) -> None:
        """Switch view and log at one moment; a crash may hide that from the machine."""
        shot = self.snapshots.pop(nonce, None)
        if shot is None or self.closed:
            return
        self.note("installs", shot.view.applied_seq)
        self.node.store.forget(self.alloc_id)
        self.disk.install(shot.view)
        self.node.cluster.data.opens(self.shard, self.who, self.view)
        if not self.node.mishap():
            self.tell(m.Installed(nonce))

    def _become(self, output: m.Serve | m.SteppedDown | m.Failed) -> None:
        """Take note of another part that it plays."""
        self.note(output)
        match output:
            case m.Serve(term):
                self.serving = term
                who = (self.alloc_id, self.node.id, self.epoch)
                history = self.shard.history_uuid
                self.node.cluster.data.leads(self.shard.shard, history, term, who)
            case m.SteppedDown():
                self.serving = None
            case m.Failed():
                self.node.lose_copy(self)

    def _answer(self, output: m.Reply | m.Refuse) -> None:
        """Answer a client, or whoever works at a split."""
        if output.request in self._moves:
            self._moves.pop(output.request)(
                output.outcomes[0].version if isinstance(output, m.Reply) else None
            )
            return
        errand, found = self._errands.pop(output.request)
        position = (self.shard.shard, self.shard.history_uuid, self.view.applied_seq)
        if isinstance(output, m.Refuse):
            said = Said(errand.number, errand.path, error=output.error)
        elif found is not None:
            said = Said(errand.number, errand.path, (found,), session=position)
        else:
            rules = self.node.cluster.data
            rules.writes(self.shard, position[2])
            pairs = zip(errand.operations, output.outcomes, strict=True)
            if any(
                isinstance(each, Put | Group) and not said.error and said.version
                for each, said in pairs
            ):
                rules.succeeds(self.shard, position[2])
            said = Said(errand.number, errand.path, output.outcomes, session=position)
        self.node.answer(said)

    def _question(self, output: m.Barrier | m.Sweep) -> None:
        """Find out whether this is the primary still, or what time it is."""
        if isinstance(output, m.Barrier):
            self.node.barrier(Want(self.shard.shard, output.request))
        else:
            self._inbox.append(m.Expire(self.node.wall_ns))

    def _read(self, operation: Get) -> Outcome:
        """Read the view as it is, and compare it with the truth."""
        entry = self.view.get(operation.key)
        found = Outcome(None if entry is None else entry.version, entry)
        self.node.cluster.data.reads(self.shard, self.view, operation.key, found)
        return found

    def _serve_session(self, errand: Errand, operation: Get) -> None:
        """Read for a session, if the view is where that was (R10)."""
        assert errand.session is not None
        mine = (self.shard.shard, self.shard.history_uuid)
        seq = max(
            (seq for *place, seq in errand.session if (*place,) == mine), default=0
        )
        there = self.view.applied_seq >= seq and self.whole
        if self.disk.damaged or not there:
            said = Said(errand.number, errand.path, error=UnavailableError.code)
        else:
            position = (*mine, self.view.applied_seq)
            self.node.cluster.data.parting.shows(self.shard, position[2])
            found = self._read(operation)
            said = Said(errand.number, errand.path, (found,), session=position)
        self.node.answer(said)

    def _report(self) -> None:
        """Have the first copy of a shard marked started, once it is served."""
        primary = self.shard.primary
        if self.closed or self.shard.in_sync or primary is None:
            return
        if primary.alloc_id == self.alloc_id and self.serving is not None:
            term = self.shard.primary_term
            shard = self.shard.shard
            self.node.submit(MarkStarted(shard, self.alloc_id, self.epoch, term))
            self.world.at(0.5, self.node.entry(self._report))

    def _hand_over(self) -> None:
        """Hand over to the successor that the state names, until that is decided."""
        target = self.shard.successor
        leads = self.machine.leading is not None
        if self.closed or target is None or not leads or target == self.alloc_id:
            return
        self.tell(m.HandOver(target))
        self.world.at(1.0, self.node.entry(self._hand_over))

    def _settle(self) -> None:
        """Look at the rules, and wake at the machine's next deadline."""
        if self.closed:
            return
        self.node.cluster.look_at(self)
        if self.serving is not None and not self.shard.in_sync:
            self._report_soon()
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self.node.now)
            self._timer = self.world.at(delay, self.node.entry(self._wake))

    def _report_soon(self) -> None:
        """Report that the first copy is served, once."""
        if not getattr(self, "_reported", False):
            self._reported = True
            self._report()

    def _wake(self) -> None:
        """Let the machine act on the time."""
        if self.closed:
            return
        now = self.node.now
        outputs = self.machine.wake(now)
        deadline = self.machine.next_deadline()
        assert deadline is None or deadline > now, "it would be woken for ever"
        self._busy = True
        self._perform(outputs)
        self._busy = False
        if self._inbox:
            self.tell(self._inbox.pop(0))
        else:
            self._settle()

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        self.world.note(self.node.id, "shard", self.shard.shard, *what)


def lost_command(copy: OpenCopy) -> CopyLost:
    """Say that a copy's data are gone."""
    return CopyLost(copy.shard.shard, copy.alloc_id, copy.epoch)


def node_of(shard: Shard) -> NodeId | None:
    """Return where the primary of a shard is, if it has one."""
    return None if shard.primary is None else shard.primary.node

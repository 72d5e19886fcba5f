"""Runs the splits of shards that are led here, and tells other nodes' of the parents.

`torua.core.splitting` decides; what a child needs of its parent is read at any copy of
that, at this node's own where there is one.  A split that fills a child here is a task.
"""

from functools import partial
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torua.codec.plain import plain, shape
from torua.core.ids import NodeId, ShardId
from torua.core.machine import Machine
from torua.core.records import NOTE_KEY, Moved, Record
from torua.core.routing import primary_node
from torua.core.splitting.door import end_of_log
from torua.core.splitting.messages import (
    AskEnd,
    EndsAt,
    Follow,
    Input,
    Keep,
    Kept,
    List,
    Listed,
    Missed,
    Output,
    Propose,
    Pull,
    Told,
)
from torua.core.splitting.moving import moves, piece
from torua.core.splitting.notes import Progress, read_note
from torua.core.splitting.splitter import ANSWER_S, Splitter
from torua.core.splitting.trimmer import Trimmer
from torua.core.state import ClusterState, Phase, Spans, Split
from torua.errors import GoneError, ToruaError, UnavailableError
from torua.net.peers import Inbound, Lane
from torua.node.commanding import Coordination
from torua.node.copy import OpenCopy
from torua.node.driver import Driver
from torua.node.errands import Peers
from torua.node.tasks import Task, Tasks
from torua.node.threads import Worker
from torua.storage.parting import Page, read_answers, read_entries, read_keys

KIND = "split"
"""The kind of message by which a child asks its parent, and of the tasks."""

LOOK_S = 0.1
"""How often it is looked which shards are served here, while one is split."""

PAGE_ROWS = 1000
PAGE_BYTES = 256 << 10
"""A page is read, sent and applied in some ten milliseconds."""

TRIM_ROWS = 512
"""So many keys are looked at at once; about half of them move, and are removed in some
20 milliseconds, on every node with a copy."""

END_S = 0.9
"""How long the parent's primary waits until all that it took is committed."""

KEEP_S = 30.0
"""A record that is not committed by then may be yet; it does no harm twice."""

SUBMIT_S = 2.0

log = Logger()


class Shards(Protocol):
    """The copies of this node."""

    def leader(self, shard: ShardId) -> OpenCopy | None:
        """Return the copy of a shard that serves it here; None where none does."""

    def readable(self, shard: ShardId) -> tuple[str, OpenCopy] | None:
        """Return a copy that can be read, and its history; None where there is none."""


class Looks(Protocol):
    """The logs of the copies here: see `torua.node.looks`."""

    async def changes(
        self, shard: ShardId, after: int, max_bytes: int
    ) -> tuple[Record, ...]:
        """Read committed records in order; GoneError where they are no more.

        Args:
            shard: whose copy.
            after: the seq before the first.
            max_bytes: about so much.
        """


def task_id(child: ShardId, history: str) -> str:
    """Name the task of a split, as every node can.

    Args:
        child: the new shard.
        history: its.
    """
    return f"{KIND}-{child}-{history[:12]}"


class Work(Struct, frozen=True):
    """What is to be done of a split here, in one term of a primary.

    Attributes:
        split: which; without its phase and round.
        trims: whether it is to remove what moved, or to fill the child.
        term: of the primary that does it.
    """

    split: Split
    trims: bool
    term: int

    @property
    def shard(self) -> ShardId:
        """Return whose primary does it."""
        return self.split.parent if self.trims else self.split.child


class Splits:
    """Does what the splits in the cluster state need of this node.

    Invariants: there is one machine for each `Work` that is this node's, and none for
    any other; its questions are each answered once.

    Threading: the reactor's thread; maps are read on the worker's.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        clock: IReactorTime,
        coordination: Coordination,
        shards: Shards,
        looks: Looks,
        *,
        peers: Peers,
        worker: Worker,
        tasks: Tasks,
    ) -> None:
        """Begin to follow the cluster state, and to answer other nodes.

        Args:
            me: this node.
            clock: the reactor.
            coordination: the cluster state.
            shards: the copies here.
            looks: their logs.
            peers: the way to the other nodes.
            worker: reads maps.
            tasks: of this node.
        """
        self._me = me
        self._clock = clock
        self._coordination = coordination
        self._shards = shards
        self._looks = looks
        self._peers = peers
        self._worker = worker
        self._tasks = tasks
        self._doing: dict[Work, Driver[Input, Output]] = {}
        self._running: dict[ShardId, Split] = {}
        self._shown: dict[ShardId, Task] = {}
        self._timer: IDelayedCall | None = None
        self._stopped = False
        peers.handle(KIND, self._answer)
        coordination.subscribe(self._on_state)
        self._on_state(coordination.state)

    def stop(self) -> None:
        """Work at none any more."""
        self._stopped = True
        self._on_state(ClusterState())

    def _on_state(self, state: ClusterState) -> None:
        """Begin, go on with, and end work; none is to be done once it is stopped."""
        if self._stopped:
            state = ClusterState()
        self._look(state)
        for driver in list(self._doing.values()):
            driver.receive(Follow(state))
        self._show(state)

    def _look(self, state: ClusterState) -> None:
        """Compare the work with what is to be done here; look again in a while."""
        wanted = self._wanted(state)
        for work in [each for each in self._doing if each not in wanted]:
            self._doing.pop(work).stop()
        for work in wanted:
            if work not in self._doing:
                self._begin(work, state)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if state.splits:
            self._timer = self._clock.callLater(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        """Look whether other shards are served here."""
        self._timer = None
        state = self._coordination.state
        self._look(state)
        self._show(state)

    def _wanted(self, state: ClusterState) -> list[Work]:
        """List what is to be done here."""
        found = []
        for split in state.splits.values():
            trims = split.phase is Phase.TRIMMING
            copy = self._shards.leader(split.parent if trims else split.child)
            if copy is not None:
                bare = replace(split, phase=Phase.COPYING, round=0)
                found.append(Work(bare, trims, copy.machine.term))
        return found

    def _begin(self, work: Work, state: ClusterState) -> None:
        """Set a machine to work."""
        machine: Machine[Input, Output]
        if work.trims:
            machine = Trimmer(work.split.parent, work.term)
        else:
            progress, seq = self._noted(work.shard)
            machine = Splitter(work.shard, work.term, progress, seq)
            log.info(
                "shard {parent}: {child} is split off, filled from here",
                parent=work.split.parent,
                child=work.split.child,
            )
        driver = Driver(machine, self._clock, partial(self._perform, work))
        self._doing[work] = driver
        driver.receive(Follow(state))

    def _noted(self, child: ShardId) -> tuple[Progress | None, int]:
        """Read how much a child has, and which record says so."""
        copy = self._shards.leader(child)
        entry = copy.peek(NOTE_KEY) if copy is not None else None
        note = read_note(entry.value) if entry and entry.value else None
        if entry is None or not isinstance(note, Progress):
            return None, 0
        return note, entry.version

    # What machines ask for

    def _perform(self, work: Work, output: Output) -> None:
        """Begin to do what a machine asks for; it hears of the end."""
        if isinstance(output, Propose):
            asked = Deferred.fromCoroutine(self._propose(output))
            asked.addErrback(_unexpected, work)
            return
        doing = Deferred.fromCoroutine(self._do(work, output))
        doing.addErrback(_unexpected, work)

    async def _propose(self, output: Propose) -> None:
        """Ask the coordinator; whether it did is seen in the state."""
        try:
            await self._coordination.submit(output.command, SUBMIT_S)
        except ToruaError as error:
            log.debug("a split is not advanced: {detail}", detail=error.detail)

    async def _do(self, work: Work, output: Pull | AskEnd | List | Keep) -> None:
        """Have a question answered, and tell its machine."""
        try:
            answer: Input = await self._answered(work, output)
        except GoneError:
            log.warn("shard {shard}: the log was cut", shard=work.split.parent)
            answer = Missed(output.number, gone=True)
        except ToruaError as error:
            log.debug("a split waits: {detail}", detail=error.detail)
            answer = Missed(output.number)
        driver = self._doing.get(work)
        if driver is not None:
            driver.receive(answer)
            self._show(self._coordination.state)

    async def _answered(self, work: Work, output: Pull | AskEnd | List | Keep) -> Input:
        """Answer a question, here or elsewhere."""
        match output:
            case Keep():
                copy = self._shards.leader(work.shard)
                if copy is None:
                    raise UnavailableError("the shard is not led here")
                seq = await copy.move(output.moved, output.term, KEEP_S)
                return Kept(output.number, seq)
            case List():
                return await self._list(work.shard, output)
            case Pull():
                return await self._ask(self._source(output.parent), output, Told)
            case AskEnd():
                return await self._ask(self._primary(output.parent), output, EndsAt)

    async def _list(self, shard: ShardId, asked: List) -> Listed:
        """List keys of a shard that is led here, and that moved away."""
        copy = self._shards.leader(shard)
        if copy is None:
            raise UnavailableError("the shard is not led here")
        path = copy.holding.view.path
        keys = await self._worker.run(lambda: read_keys(path, asked.after, TRIM_ROWS))
        moved = tuple(key for key in keys if moves(asked.spans, key))
        return Listed(asked.number, moved, keys[-1] if keys else None)

    def _source(self, parent: ShardId) -> NodeId:
        """Choose whose copy of a parent is read: this node's, or the primary's."""
        here = self._shards.readable(parent)
        return self._me if here is not None else self._primary(parent)

    def _primary(self, shard: ShardId) -> NodeId:
        """Return who leads a shard; UnavailableError where nobody does."""
        node = primary_node(self._coordination.state, shard)
        if node is None:
            raise UnavailableError(f"shard {shard} has no primary", shard=shard)
        return node

    async def _ask(
        self, node: NodeId, asked: Pull | AskEnd, kind: type[Told] | type[EndsAt]
    ) -> Told | EndsAt:
        """Ask a node, which may be this one."""
        if node == self._me:
            return await self._tell(asked)
        answer = await self._peers.request(
            node,
            KIND,
            plain(asked),
            lane=Lane.CONTROL if kind is EndsAt else Lane.RECOVERY,
            timeout_s=ANSWER_S,
        )
        return shape(answer, Told) if kind is Told else shape(answer, EndsAt)

    # What other nodes ask

    async def _answer(self, inbound: Inbound) -> object:
        """Answer another node."""
        asked: Pull | AskEnd = shape(inbound.body, Pull | AskEnd)
        return plain(await self._tell(asked))

    async def _tell(self, asked: Pull | AskEnd) -> Told | EndsAt:
        """Tell of a parent's copy here."""
        if isinstance(asked, AskEnd):
            return await self._end(asked)
        return await self._piece(asked)

    async def _end(self, asked: AskEnd) -> EndsAt:
        """Tell where a parent's log ends, once all up to there is applied."""
        copy = self._shards.leader(asked.parent)
        leading = copy.machine.leading if copy is not None else None
        seq = end_of_log(self._coordination.state, asked, leading)
        if copy is None or seq is None:
            raise UnavailableError("this node does not know the end")
        if copy.position < seq:
            await copy.applied.until(seq).addTimeout(END_S, self._clock, _too_late)
        return EndsAt(asked.number, seq)

    async def _piece(self, pull: Pull) -> Told:
        """Tell what comes next of a parent's copy here."""
        held = self._shards.readable(pull.parent)
        if held is None or held[0] != pull.history:
            raise UnavailableError("this node has no such copy")
        copy, known = held[1], pull.progress
        if known is None:
            return Told(pull.number, Progress(copy.position), Moved(), copy.position)
        if copy.position < known.at:
            raise UnavailableError("the copy here lags behind")
        records = await self._looks.changes(pull.parent, known.at, PAGE_BYTES)
        page = await self._page(copy, known)
        at = records[-1].seq if records else known.at
        if page is not None and page.applied < at:
            raise UnavailableError("the copy's map lags behind its log")
        rows = page.entries or page.answers if page is not None else ()
        return piece(pull, records, rows, copy.position)

    async def _page(self, copy: OpenCopy, known: Progress) -> Page | None:
        """Read the next page of a map, if one is still to be read."""
        path, key, answer = copy.holding.view.path, known.keys, known.answers
        if key is not None:
            return await self._worker.run(
                lambda: read_entries(path, key, PAGE_ROWS, PAGE_BYTES)
            )
        if answer is not None:
            return await self._worker.run(lambda: read_answers(path, answer, PAGE_ROWS))
        return None

    # What people see

    def _show(self, state: ClusterState) -> None:
        """Begin, go on with, and end the tasks of children that are to be led here."""
        for child, split in list(self._running.items()):
            known = state.splits.get(child)
            if known is None or known.child_history != split.child_history:
                del self._running[child]
                self._end_task(state, split)
        self._running.update(state.splits)
        for child, split in state.splits.items():
            self._show_one(state, child, split)

    def _end_task(self, state: ClusterState, split: Split) -> None:
        """Tell how a split ended, where its task is, or where its child is led now.

        This node may have missed the state in which it came to lead the child.
        """
        child = split.child
        task, held = self._shown.pop(child, None), state.shards.get(child)
        done = held is not None and held.history_uuid == split.child_history
        if task is None and done and primary_node(state, child) == self._me:
            task = self._task(state, split)
        if task is not None and done:
            task.end("done")
        elif task is not None and state.shards:
            task.error("it was called off, or the parent's log was cut")
            task.end("failed")

    def _show_one(self, state: ClusterState, child: ShardId, split: Split) -> None:
        """Tell how far one split is, where its child is to be led.

        Whether it serves is not asked: a split may end before its new primary does.
        """
        led_by = primary_node(state, child)
        if led_by not in (None, self._me):
            if child in self._shown:
                self._tasks.drop(self._shown.pop(child).id)
            return
        if led_by is not None and child not in self._shown:
            self._shown[child] = self._task(state, split)
        copy = self._shards.leader(child)
        if copy is not None and child in self._shown:
            self._shown[child].progress(copy.holding.view.keys, closed=split.round)

    def _task(self, state: ClusterState, split: Split) -> Task:
        """Begin the task of a split."""
        child = split.child
        parent = self._shards.readable(split.parent)
        share = _count(split.spans) / max(1, _owned(state, split))
        total = int(parent[1].holding.view.keys * share) if parent else None
        detail = f"split shard {split.parent}: {_count(split.spans)} slots to {child}"
        name = task_id(child, split.child_history)
        return self._tasks.begin(KIND, detail, "keys", total, name)


def _count(spans: Spans) -> int:
    """Count slots."""
    return sum(last - first + 1 for first, last in spans)


def _owned(state: ClusterState, split: Split) -> int:
    """Count the slots that a parent has, those that move among them."""
    both = (split.parent, split.child)
    return sum(e.last - e.first + 1 for e in state.slots if e.shard in both)


def _too_late(result: object, timeout_s: float) -> None:
    """Say that what was taken was not committed in time."""
    raise UnavailableError(f"not all was committed within {timeout_s:g} s")


def _unexpected(failure: Any, work: Work) -> None:
    """Note what should not happen; the machine asks again."""
    log.failure("the split of shard {shard} is wrong", failure, shard=work.shard)

"""One shard copy on this node, open: its machine, and what that asks for.

    OPEN --the map, the log or the machine failed--> FAILED
      '------------------- close -------------------> CLOSED

The machine, `torua.core.replication.copy`, decides whether the copy leads or follows;
it goes from one to the other without being opened anew.  Reads are served from the map,
which holds committed records only; expired keys are there until their logged delete.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.ids import NodeId
from torua.core.kv import Call, Entry, Operation, Page
from torua.core.records import Moved
from torua.core.replication import messages
from torua.core.replication.copy import ShardCopy
from torua.core.replication.messages import Identity, Input, NeedSnapshot, Output
from torua.core.replication.wire import Ask, Message
from torua.core.resilience.cache import ReadCache
from torua.core.state import Shard
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.node.driver import Driver
from torua.node.holding import Found, Holding
from torua.node.looks import Watch
from torua.node.means import Means
from torua.node.requests import RETRY_AFTER_S, CborAnswers, Requests, Told, Writes
from torua.node.tally import Tally

T = TypeVar("T")

SCAN_TIMEOUT_S = 5.0
"""How long a page waits to be confirmed."""

SCAN_BYTES_MAX = 8 << 20
"""One page of a listing is held in memory, at the primary and by whoever merges."""

log = Logger()


class State(Enum):
    """What an open copy is."""

    OPEN = "open"
    FAILED = "failed"
    CLOSED = "closed"


class OpenCopy:
    """A copy of a shard, leading or following.

    Invariants: whoever waits for a request is answered once, by the machine or with an
    error; after FAILED or CLOSED the map is not touched but to close it, and nothing is
    said to anybody.

    Threading: the reactor's thread.

    Attributes:
        shard: of which shard.
        alloc_id: which copy.
        state: what it is.
        holding: what it keeps.
        applied: who waits for a record to be applied.
        failure: why it failed; empty where it did not.
        retry: whether opening it again may help; if not, its data are lost.
        tally: what it does.
    """

    def __init__(
        self,
        me: Identity,
        found: Found,
        means: Means,
        on_change: Callable[["OpenCopy"], None],
    ) -> None:
        """Take up what was found of a copy.

        Args:
            me: which copy, in which life.
            found: its map, facts and log.
            means: what it works with.
            on_change: is told when it serves, no longer serves, or failed.
        """
        self.shard = me.shard
        self.alloc_id = me.alloc_id
        self.state = State.OPEN
        self.applied = Watch()
        self.failure, self.retry = "", False
        self.tally = Tally()
        self._clock, self._commit = means.disk.clock, means.disk.commit
        self._means = means
        self._on_change = on_change
        self._requests = Requests(self._clock, me.shard)
        self._writes = Writes(means.disk.commit.turn, means.wall_ns, self._tell)
        self._cache = ReadCache(means.caching)
        at = (me.shard, me.alloc_id)
        self.holding = holding = Holding(means.disk, *at, found, self._trouble)
        self.machine = ShardCopy(
            me,
            found.facts,
            holding.at,
            found.tail,
            view=holding.view,
            answers=CborAnswers(),
            term_at=holding.term_at,
            random=means.random,
        )
        self._driver: Driver[Input, Output] = Driver(
            self.machine, self._clock, self._perform
        )
        self._commit.attach(self.alloc_id, self)

    @property
    def position(self) -> int:
        """The last record applied."""
        return self.holding.view.applied_seq

    @property
    def leads(self) -> bool:
        """Whether it is primary, serving or not yet."""
        return self.state is State.OPEN and self.machine.leading is not None

    @property
    def serving(self) -> bool:
        """Whether it takes writes, and linearizable reads."""
        return self.state is State.OPEN and self.machine.serves

    @property
    def readable(self) -> bool:
        """Whether it can be read as of what it has applied."""
        return self.state is State.OPEN and self.holding.readable

    @property
    def idle(self) -> bool:
        """Whether no write is in flight."""
        return not self._writes and (self.state is not State.OPEN or self.machine.idle)

    def configure(self, shard: Shard, lost: Iterable[NodeId]) -> None:
        """Take note of the committed state.

        Args:
            shard: what it says of the shard.
            lost: nodes that cannot be reached.
        """
        self._writes.end()
        self._tell(messages.Configure(shard, self._means.wall_ns(), tuple(lost)))
        if shard.successor is not None and shard.successor != self.alloc_id:
            self._tell(messages.HandOver(shard.successor))

    def received(self, node: NodeId, message: Message) -> None:
        """Take what another copy says.

        Args:
            node: where that copy is.
            message: to this one.
        """
        self._tell(messages.Received(node, message))

    def peer_up(self, node: NodeId) -> None:
        """Take note that a node can be reached again."""
        self._tell(messages.PeerUp(node))

    def peer_down(self, node: NodeId) -> None:
        """Take note that a node cannot be reached."""
        self._tell(messages.PeerDown(node))

    def proven(self, request: int, passed: bool) -> None:
        """Take what became of a barrier.

        Args:
            request: for which request.
            passed: whether all peers said yes.
        """
        self._tell(messages.BarrierDone(request, passed))

    def confirms(self, ask: Ask) -> bool:
        """Answer another node's barrier about this copy."""
        return self.state is State.OPEN and self.machine.confirms(ask)

    def snapshot_ready(self, ready: messages.SnapshotReady) -> None:
        """Take note that a snapshot came whole."""
        if self.state is State.OPEN:
            self._tell(ready)
        else:
            self.holding.drop()

    def write(self, operations: Sequence[Operation], call: Call, told: Told) -> None:
        """Do operations in order; one outcome each.

        Args:
            operations: what to do.
            call: who asks, and how long it waits.
            told: is told the outcomes, or how the machine refuses it;
                OutcomeUnknownError after ``call.timeout_s``, or where the term ended
                meanwhile.

        Raises:
            OverloadedError, UnavailableError: it is not begun.
        """
        if self._commit.crowded:
            raise OverloadedError(
                "too much waits for the disk", retry_after=RETRY_AFTER_S
            )
        self._check()
        request = self._requests.write(call.timeout_s, told)
        self._writes.add(request, operations, call.idempotency)

    async def move(self, moved: Moved, term: int, timeout_s: float) -> int:
        """Do a part of a split, and return the record that has it, once committed.

        Args:
            moved: what to do.
            term: the one in which it is meant.
            timeout_s: how long to wait; errors are as of `write`.
        """
        self._check()
        request, done = self._requests.awaited(timeout_s)
        self._tell(messages.Move(request, term, moved, self._means.wall_ns()))
        (outcome,) = await done
        assert outcome.version is not None, "a record without a place"
        return outcome.version

    async def get(self, key: bytes, call: Call) -> Entry | None:
        """Read a key with its value, linearizable; None where it is absent.

        Args:
            key: which.
            call: who asks, and how long it waits.

        Raises:
            UnavailableError: nobody knows whether this is the primary still.
        """
        entry = self.peek(key)
        await self._confirm(call.timeout_s)
        return entry

    def prove(self, tell: Callable[[bool], None]) -> None:
        """Tell, once, whether this was the primary after the call.

        Who is told no may ask `get`, which tries again and again; nobody knows yet.
        """
        if self.serving:
            self._means.world.prove(self.shard, self.machine.term, tell)
        else:
            tell(False)

    async def scan(self, span: tuple[bytes, bytes], limit: int, values: bool) -> Page:
        """List keys in byte order, linearizable, as many as one page may hold.

        Args:
            span: what keys begin with, and the key to go on after; both may be empty.
            limit: at most so many.
            values: whether the values come too.

        Raises:
            UnavailableError: nobody knows whether this is the primary still.
        """
        page = self.peek_page(*span, limit, values)
        await self._confirm(SCAN_TIMEOUT_S)
        return page

    def peek(self, key: bytes) -> Entry | None:
        """Read a key as of what is applied."""
        view, cache = self.holding.view, self._cache
        known = cache.look(key, view.applied_seq) if self.readable else None
        if known is not None:
            return self.tally.saw(known[0])
        entry = self._guarded(lambda: view.get(key))
        cache.keep(key, entry, view.applied_seq)
        return self.tally.saw(entry)

    def peek_page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """List keys as of what is applied.

        Args:
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """
        return self._guarded(lambda: self._page(prefix, after, limit, values))

    def stored(self, seq: int) -> None:
        """See `torua.node.commit.Listener.stored`."""
        self.holding.stored(seq)
        self._tell(messages.Stored(seq))

    def full(self) -> None:
        """See `torua.node.commit.Listener.full`."""
        self.holding.full()
        self._tell(messages.DiskFull())

    def room(self) -> None:
        """See `torua.node.commit.Listener.room`."""
        self._tell(messages.RoomAgain(self._means.wall_ns()))

    def failed(self, detail: str) -> None:
        """See `torua.node.commit.Listener.failed`."""
        self.fail(detail, retry=True)

    def fail(self, detail: str, retry: bool = False) -> None:
        """Never serve again what may not be what was written.

        Args:
            detail: why.
            retry: whether it is worth opening it again; if not, its data are lost.
        """
        if self.state is not State.OPEN or self.failure:
            return
        self.failure, self.retry = detail, retry
        self._tell(messages.StorageFailed(detail))
        self._end(State.FAILED, detail)
        self._on_change(self)

    def close(self) -> "Deferred[None]":
        """Let go of it, behind what is under way; what was applied is durable.

        Returns:
            Fires when the map is closed, never with a failure.
        """
        detail = "the copy is closed"
        self._tell(messages.StepDown(detail))
        self._end(State.CLOSED, detail)
        return self.holding.close()

    def _end(self, state: State, detail: str) -> None:
        """Work no more; whoever waits hears that nobody knows."""
        if self.state is State.OPEN:
            self._driver.stop()
            self._commit.detach(self.alloc_id)
        self.state = state
        self._cache.clear()
        self._requests.end(detail)

    def _check(self) -> None:
        """Raise where nothing is taken any more."""
        if self.state is not State.OPEN:
            detail = self.failure or f"shard {self.shard} is being closed"
            raise UnavailableError(detail, shard=self.shard, retry_after=RETRY_AFTER_S)

    async def _confirm(self, timeout_s: float) -> None:
        """Return once this was the primary after the call; else raise."""
        self._check()
        request, done = self._requests.proof(timeout_s)
        self._tell(messages.Confirm(request))
        try:
            await done
        except OutcomeUnknownError as error:
            raise UnavailableError(
                error.detail, shard=self.shard, retry_after=RETRY_AFTER_S
            ) from error

    def _tell(self, message: Input) -> None:
        """Hand the machine an input; if it cannot go on, neither can the copy."""
        if self.state is not State.OPEN:
            return
        try:
            self._driver.receive(message)
        except ToruaError as error:
            self._trouble(error)
        except AssertionError as error:
            log.failure("shard {shard} is wrong", shard=self.shard)
            self.fail(f"an invariant does not hold: {error}")

    def _trouble(self, error: ToruaError) -> None:
        """Fail, for what the map or the log raised."""
        self.fail(f"the map failed: {error.detail}", isinstance(error, DiskFullError))

    def _perform(self, output: Output) -> None:
        """Do what the machine asks for."""
        if self.state is not State.OPEN:
            return
        match output:
            case messages.Reply() | messages.Refuse():
                self._requests.answer(output)
            case messages.Append():
                self.holding.append(output.records)
            case messages.Apply():
                self._apply(output)
            case messages.Send():
                self._means.world.send(output.node, output.message)
            case messages.Truncate():
                self.holding.truncate(output)
            case _:
                self._perform_seldom(output)

    def _perform_seldom(self, output: Output) -> None:
        """Do what the machine asks for now and then."""
        world = self._means.world
        match output:
            case messages.Barrier():
                world.barrier(self.shard, output.request)
            case messages.AskInSync() | messages.AskFail():
                world.wish(output)
            case messages.AskTerm() | messages.Drained():
                world.wish(output)
            case messages.Serve() | messages.SteppedDown():
                self._on_change(self)
            case messages.Sweep():
                self._tell(messages.Expire(self._means.wall_ns()))
            case messages.Failed():
                self.fail(output.detail)
            case _:
                self._perform_on_disk(output)

    def _perform_on_disk(self, output: Output) -> None:
        """Do what takes a while, and tell the machine of its end."""
        match output:
            case messages.Keep():
                done = self.holding.keep(output.facts)
                self._then(done, lambda _: messages.Kept(output.facts.term))
            case messages.ReadLog():
                alloc, after = output.alloc_id, output.after
                read_ = self.holding.read_log(output)
                self._then(read_, lambda found: messages.LogRead(alloc, after, found))
            case messages.Install():
                work = Deferred.fromCoroutine(self.holding.install(output))
                self._then(work, lambda _: messages.Installed(output.nonce))
            case messages.Drop():
                self.holding.drop()
            case NeedSnapshot():
                self._send_snapshot(output)

    def _then(self, done: "Deferred[T]", ended: Callable[[T], Input]) -> None:
        """Tell the machine when something is done; without it the copy fails."""
        done.addCallback(lambda result: self._tell(ended(result)))
        done.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        """Fail, for what could not be done."""
        if isinstance(failure.value, ToruaError):
            self._trouble(failure.value)
            return
        log.failure("shard {shard} is wrong", failure, shard=self.shard)
        self.fail(failure.getErrorMessage())

    def _send_snapshot(self, need: NeedSnapshot) -> None:
        """Send a snapshot, and tell the machine where that failed."""
        view, world = self.holding.view, self._means.world
        sending = world.snapshot(need, self.shard, self.alloc_id, view)

        def failed(failure: Failure) -> None:
            """Say why, once; another session may go better."""
            detail = failure.getErrorMessage()
            line = "shard {shard}: no snapshot for node {node}: {detail}"
            log.warn(line, shard=self.shard, node=need.node, detail=detail)
            self._tell(messages.SnapshotFailed(need.alloc_id, need.nonce))

        Deferred.fromCoroutine(sending).addErrback(failed)

    def _apply(self, apply: messages.Apply) -> None:
        """Bring the map forward, and tell who waited; a copy that cannot fails."""
        try:
            self.holding.apply(apply.records)
        except ToruaError as error:
            self._trouble(error)
            return
        self._cache.applied(apply.records)
        self.applied.advance(self.position)

    def _page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """Read one page, and find out whether it is the last."""
        view = self.holding.view
        found = view.scan(prefix, after, limit + 1, values, SCAN_BYTES_MAX)
        items = tuple(found[:limit])
        more = len(found) > limit or bool(
            items and view.scan(prefix, items[-1].key, 1, False, 1)
        )
        return Page(items, items[-1].key if more else None)

    def _guarded(self, action: Callable[[], T]) -> T:
        """Read the map; where that fails, serve it no more."""
        if not self.readable:
            detail = self.failure or f"this copy of shard {self.shard} is not there yet"
            raise UnavailableError(detail, shard=self.shard, retry_after=RETRY_AFTER_S)
        try:
            return action()
        except ToruaError as error:
            self._trouble(error)
            raise UnavailableError(
                self.failure, shard=self.shard, retry_after=RETRY_AFTER_S
            ) from error

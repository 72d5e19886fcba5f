"""The storage worker: the process in which a node's graph engines live.

    stdin  ──> asks, in order ──> one queue a view ──> its thread ──> stdout: replies
                    │                                   └─ reports, of its own accord
                    └── what stands in memory is answered at once, without its thread

It is started by a node, and ends with its input, or with its parent, or whenever an
engine fails: then nothing is closed, for an engine that failed may write what is wrong.
The next worker opens the files and goes on from what they know of themselves.
"""

import ctypes
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from torua.codec import views
from torua.codec.messages import MessageReader
from torua.core.graph.fragments import CopyRead, Piece
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId
from torua.errors import OverloadedError, ToruaError, UnavailableError
from torua.storage.graphview import Counts, GraphView, Place
from torua.storage.kuzu import EngineError, Limits
from torua.storage.openings import Openings
from torua.storage.replies import Answer, Gathering, Replies, Sink, nobody

REST_S = 5.0
"""A view that is asked nothing for so long follows its map by itself."""

WEIGH_S = 0.5
"""How much memory a view takes is asked at most so often."""

QUEUE_MAX = 64
"""Asks that wait for one view; more are refused."""

ENGINE_FAILED = 70
"""The process ends so where an engine did something else than refuse a statement."""

_READ_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1


class Settings(Struct, frozen=True):
    """What the process's argument says.

    Attributes:
        engine: the package of the graph engine.
        parent: the process that started it.
        limits: of each database.
        memory_bytes: for the pools of all databases, unless they are read.
    """

    engine: str
    parent: int
    limits: Limits = Limits()
    memory_bytes: int = 4 << 30


class ClosingError(Exception):
    """The view is to be closed; what it was doing is left as it is."""


class OneRead(NamedTuple):
    """What is read at one copy.

    Attributes:
        graph: the schema that the fragments were made with.
        copy: what.
        timeout_s: how long it may take.
    """

    graph: Graph
    copy: CopyRead
    timeout_s: float


class Over(NamedTuple):
    """A transaction that is over."""

    session: str


ViewAsk = OneRead | Over | views.More | views.Measure | views.Verify


class Owner(threading.Thread):
    """The thread of one view.

    Invariants: whoever touches the view has its lock, which the thread has while it
    does something; every ask is answered once, or the process ends.
    """

    def __init__(
        self,
        alloc: AllocId,
        graph_id: int,
        place: Place,
        replies: Replies,
        openings: Openings,
    ) -> None:
        """Begin without a view; it is opened when it is first asked.

        Args:
            alloc: which copy.
            graph_id: which of its graphs.
            place: where it is.
            replies: where answers go.
            openings: the views that are open.
        """
        super().__init__(name=f"{alloc}/{graph_id}", daemon=True)
        self._alloc = alloc
        self._graph_id = graph_id
        self._place = place
        self._replies = replies
        self._openings = openings
        self._asks: queue.Queue[tuple[Sink, ViewAsk] | None] = queue.Queue(QUEUE_MAX)
        self._closing = threading.Event()
        self._spare = threading.Event()
        self._lock = threading.Lock()
        self._view: GraphView | None = None
        self._reported = Counts()
        self._told: tuple[int, int] | None = None
        self._weighed = float("-inf")

    def ask(self, sink: Sink, ask: ViewAsk) -> None:
        """Have something done; it is refused where too much waits.

        Args:
            sink: takes the answer, in another thread.
            ask: what.
        """
        try:
            self._asks.put_nowait((sink, ask))
        except queue.Full:
            busy = OverloadedError("too much is asked of one graph", retry_after=1)
            sink(views.failed(busy))

    def at_once(self, ask: OneRead | Over) -> Answer | None:
        """Do something in the caller's thread; None where that may take long.

        Args:
            ask: what.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            leaves = self._closing.is_set() or self._spare.is_set()
            if self._view is None or leaves or not self._asks.empty():
                return None
            if isinstance(ask, Over):
                self._view.release(ask.session)
                return views.Done()
            return self._view.read_at_once(ask.graph, ask.copy)
        except ToruaError as error:
            return views.failed(error)
        except EngineError as error:
            _end(f"{self.name}: {error}")
            raise
        finally:
            self._lock.release()

    def spare(self) -> None:
        """Have the view closed once nobody asks anything of it, or reads in it."""
        self._spare.set()
        with suppress(queue.Full):
            self._asks.put_nowait(None)

    def close(self) -> None:
        """Have it closed soon; `join` waits for it."""
        self._closing.set()
        threading.Thread(target=self._asks.put, args=(None,), daemon=True).start()

    def run(self) -> None:
        """Do what is asked, one after the other."""
        try:
            while not self._closing.is_set():
                self._turn()
        except ClosingError:
            pass
        except BaseException as error:
            _end(f"{self.name}: {type(error).__name__}: {error}")
        with self._lock:
            self._shut()
        self._refuse_rest()

    def _turn(self) -> None:
        """Do the next thing, or rest."""
        if self._spare.is_set() and self._asks.empty():
            with self._lock:
                self._make_room()
        try:
            asked = self._asks.get(timeout=REST_S)
        except queue.Empty:
            with self._lock:
                self._rest()
            return
        if asked is not None:
            with self._lock:
                self._serve(*asked)

    def _serve(self, sink: Sink, ask: ViewAsk) -> None:
        """Do one thing, and answer."""
        try:
            answer = self._do(ask)
        except ToruaError as error:
            answer = views.failed(error)
        except (ClosingError, EngineError) as error:
            lost = UnavailableError(f"the graph engine failed: {error}")
            sink(views.failed(lost))
            raise
        sink(answer)
        if isinstance(ask, OneRead | views.Measure | views.Verify):
            self._report()
            self._weigh()

    def _do(self, ask: ViewAsk) -> Answer:
        """Do one thing."""
        match ask:
            case OneRead():
                return self._read(ask)
            case views.More(session=session):
                return self._there().more(session)
            case Over(session=session):
                if self._view is not None:
                    self._view.release(session)
                return views.Done()
            case views.Measure(graph=graph, timeout_s=timeout_s):
                deadline = time.monotonic() + timeout_s
                return views.Measured(self._opened(graph).rows(graph, deadline))
            case views.Verify(graph=graph, timeout_s=timeout_s):
                deadline = time.monotonic() + timeout_s
                return views.Verified(*self._opened(graph).verify(graph, deadline))

    def _read(self, ask: OneRead) -> Piece:
        """Answer fragments."""
        deadline, read = time.monotonic() + ask.timeout_s, ask.copy
        asked, keep = read.fragments, read.keep
        if read.session:
            return self._there().read_on(read.session, asked, deadline, keep)
        view = self._opened(ask.graph)
        return view.read(ask.graph, read.at_least, asked, deadline, keep)

    def _there(self) -> GraphView:
        """Return the view; there is one where a transaction is open."""
        if self._view is None:
            raise UnavailableError("that transaction is over")
        return self._view

    def _opened(self, graph: Graph) -> GraphView:
        """Return the view, once it is open."""
        if self._view is None:
            self._view = GraphView(self._place, graph, self._step)
        return self._view

    def _make_room(self) -> None:
        """Close the view, unless somebody reads in it."""
        view = self._view
        if view is not None and view.is_read:
            return
        self._spare.clear()
        if view is not None:
            applied, lag = view.applied, view.lag
            self._shut()
            report = views.Report(self._alloc, self._graph_id, applied, lag)
            self._replies.send(0, report)

    def _shut(self) -> None:
        """Close the view, if it is open."""
        if self._view is not None:
            self._view.close()
            self._view = None
            self._told, self._reported = None, Counts()
            self._weighed = float("-inf")
        self._openings.closed(self)

    def _step(self) -> None:
        """End long work where the view is to be closed."""
        if self._closing.is_set():
            raise ClosingError("it is being closed")

    def _rest(self) -> None:
        """Do what can wait; what can't be done now can be done later."""
        if self._view is None:
            return
        try:
            self._view.rest()
        except ToruaError as error:
            _say(f"{self.name}: {error.detail}")
        self._told = None
        self._report()

    def _report(self) -> None:
        """Say what the view did since the last report, if anything."""
        view = self._there()
        now, before = view.counts, self._reported
        told = view.applied, view.lag
        if told == self._told and now == before:
            return
        self._told = told
        self._reported = Counts(
            now.rebuilds, now.rows, now.checkpoints, now.checkpoint_s
        )
        report = views.Report(
            self._alloc,
            self._graph_id,
            view.applied,
            view.lag,
            now.rows - before.rows,
            now.rebuilds - before.rebuilds,
            now.checkpoints - before.checkpoints,
            now.checkpoint_s - before.checkpoint_s,
            view.pool_share(),
        )
        self._replies.send(0, report)

    def _weigh(self) -> None:
        """Say what memory the view takes, now and then."""
        now = time.monotonic()
        if now - self._weighed >= WEIGH_S:
            self._weighed = now
            view = self._there()
            pages = int(view.pool_share() * self._place.limits.pool_bytes)
            self._openings.takes(self, pages + view.held_bytes)

    def _refuse_rest(self) -> None:
        """Answer what still waits."""
        gone = views.failed(UnavailableError("the copy is being closed"))
        while not self._asks.empty():
            asked = self._asks.get_nowait()
            if asked is not None:
                asked[0](gone)


class Worker:
    """All views of a node.

    Invariants: a view is of a copy that is open.

    Threading: the main thread.
    """

    def __init__(self, settings: Settings, replies: Replies) -> None:
        """Begin with none.

        Args:
            settings: how engines are opened.
            replies: where answers go.
        """
        self._settings = settings
        self._replies = replies
        self._places: dict[AllocId, Place] = {}
        self._owners: dict[tuple[AllocId, int], Owner] = {}
        self._graphs: dict[int, Graph] = {}
        self._openings = Openings(settings.memory_bytes)

    def ask(self, number: int, ask: views.Ask) -> None:
        """Have something done.

        Args:
            number: names it in the reply.
            ask: what.
        """
        match ask:
            case views.OpenCopy(alloc=alloc, map_path=map_path, directory=directory):
                self._places[alloc] = Place(
                    Path(map_path),
                    Path(directory),
                    self._settings.engine,
                    self._settings.limits,
                )
            case views.CloseCopy(alloc=alloc):
                self._close(number, alloc)
            case views.Know(graph=graph):
                self._graphs[graph.graph_id] = graph
            case views.Read():
                self._read(number, ask)
            case views.Release(graph_id=graph_id, sessions=sessions):
                for alloc, session in sessions:
                    self._of_view(nobody, Over(session), (alloc, graph_id))
            case views.More(graph_id=graph_id):
                one_piece = Gathering(self._replies, number, 1)
                at = (ask.alloc, graph_id)
                self._of_view(partial(one_piece.put, 0), ask, at)
            case _:
                sink = partial(self._reply, number)
                self._of_view(sink, ask, (ask.alloc, ask.graph.graph_id))

    def _read(self, number: int, read: views.Read) -> None:
        """Read at some copies."""
        graph = self._graphs[read.graph_id]
        found = Gathering(self._replies, number, len(read.copies))
        for place, copy in enumerate(read.copies):
            one = OneRead(graph, copy, read.timeout_s)
            at = (copy.alloc, graph.graph_id)
            self._of_view(partial(found.put, place), one, at)

    def _of_view(self, sink: Sink, ask: ViewAsk, at: tuple[AllocId, int]) -> None:
        """Have something done by the view of a copy's graph."""
        place = self._places.get(at[0])
        if place is None:
            sink(views.failed(UnavailableError("the copy is not open")))
            return
        owner = self._owners.get(at)
        if owner is None:
            owner = Owner(*at, place, self._replies, self._openings)
            self._owners[at] = owner
            owner.start()
        answer = owner.at_once(ask) if isinstance(ask, OneRead | Over) else None
        if answer is None:
            owner.ask(sink, ask)
        else:
            sink(answer)

    def _reply(self, number: int, answer: Answer) -> None:
        """Send what is no piece of rows."""
        assert not isinstance(answer, Piece), "it comes with others"
        self._replies.send(number, answer)

    def _close(self, number: int, alloc: AllocId) -> None:
        """Close all views of a copy; answer once that is done."""
        self._places.pop(alloc, None)
        owners = [self._owners.pop(at) for at in list(self._owners) if at[0] == alloc]
        for owner in owners:
            owner.close()

        def wait() -> None:
            """Wait for them."""
            for owner in owners:
                owner.join()
            self._replies.send(number, views.Done())

        threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve until the input ends."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    _follow(settings.parent)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(settings, Replies(output))
    reader = MessageReader()
    while data := os.read(0, _READ_BYTES):
        for header, _ in reader.feed(data):
            worker.ask(*views.read_ask(header))
    os._exit(0)


def _follow(parent: int) -> None:
    """Die with the parent, and at no signal that is meant for it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(line: str) -> None:
    """Tell the node's log."""
    os.write(2, f"{line}\n".encode())


def _end(line: str) -> None:
    """End the process at once, and say why."""
    _say(line)
    os._exit(ENGINE_FAILED)


if __name__ == "__main__":
    main()

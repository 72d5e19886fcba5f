"""Loading a cluster with requests, and counting what came of them.

Closed loop: each connection sends its next request when the last is answered.  So a
stall of the cluster is seen as few slow requests, not as the many that an open world
would have sent meanwhile.  Open loop: requests are due at a fixed pace, whatever became
of those before, and the time of each counts from when it was due, not from when a
connection was free to send it (Tene's coordinated omission)::

    due ──a connection is free── sent ──answered── counted
     └──patience is over── given up        └──lost── sent elsewhere, or counted

A process sends from one thread, by epoll, what was spelled beforehand; several
processes have each their share of the connections and of the pace.
"""

import gc
import multiprocessing
import select
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import urlsplit

import cbor2
import msgspec

from torua.cli.failures import ExitCode, Failure
from torua.cli.histogram import Histogram
from torua.cli.load import Request
from torua.cli.wire import Wire, WireState

TICK_S = 0.1
"""How often requests are looked at that took too long."""

GOOD_S = 1.0
"""An answer that comes later may find nobody who still waits for it."""


class Drive(msgspec.Struct, frozen=True):
    """How to send.

    Attributes:
        endpoints: the connections are spread over them.
        connections: how many at once.
        seconds: how long; None where `operations` says how much.
        operations: how many in all; None where `seconds` says how long.
        rate: requests a second, all connections together; None for a closed loop.
        timeout_s: how long an answer may take.
        patience_s: how long a request of an open loop may wait for a connection.
        again: whether a request whose connection is lost goes to another endpoint.
    """

    endpoints: tuple[str, ...]
    connections: int = 16
    seconds: float | None = None
    operations: int | None = None
    rate: float | None = None
    timeout_s: float = 30.0
    patience_s: float = 30.0
    again: bool = False


class Tally:
    """What was counted.

    Invariants: `latencies` holds each request that succeeded, by kind; `errors` counts
    the others by what they said, and the operations of bulk requests that failed;
    `good` the operations that were answered within `GOOD_S`, by the second from the
    begin; `advised` the 429s and 503s that said when to come again.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.latencies: dict[str, Histogram] = {}
        self.errors: Counter[str] = Counter()
        self.good: Counter[int] = Counter()
        self.advised = 0
        self.operations = 0
        self.requests = 0
        self.seconds = 0.0
        self.cpu_s = 0.0

    def merge(self, other: "Tally") -> None:
        """Take in what another process counted at the same time."""
        for kind, histogram in other.latencies.items():
            self.latencies.setdefault(kind, Histogram()).merge(histogram)
        self.errors += other.errors
        self.good += other.good
        self.advised += other.advised
        self.operations += other.operations
        self.requests += other.requests
        self.seconds = max(self.seconds, other.seconds)
        self.cpu_s += other.cpu_s


def run(pool: Sequence[Request], drive: Drive, processes: int = 1) -> Tally:
    """Make the load and return what was counted.

    Args:
        pool: what to send, over and over.
        drive: how.
        processes: how many processes send; one is this very process.
    """
    for endpoint in drive.endpoints:
        address_of(endpoint)
    if processes == 1:
        return Loader(pool, drive).run()
    total = Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as executor:
        # A process that is busy already takes no second share.
        shares = [share(drive, place, processes) for place in range(processes)]
        futures = [executor.submit(_run_share, pool, *each) for each in shares]
        for future in futures:
            total.merge(future.result())
    return total


def _run_share(pool: Sequence[Request], drive: Drive, begin: float) -> Tally:
    """Make the share of one process."""
    return Loader(pool, drive, begin).run()


def share(drive: Drive, place: int, processes: int) -> tuple[Drive, float]:
    """Return one process's share of a load, and where in the pool it begins.

    Args:
        drive: of all.
        place: of the process, from 0.
        processes: how many there are; not more than connections.
    """

    def part(whole: int) -> int:
        """Divide a number, the first processes taking what is over."""
        return whole // processes + (place < whole % processes)

    turn = place % len(drive.endpoints)
    changed = msgspec.structs.replace(
        drive,
        endpoints=drive.endpoints[turn:] + drive.endpoints[:turn],
        connections=part(drive.connections),
        operations=None if drive.operations is None else part(drive.operations),
        rate=None if drive.rate is None else drive.rate / processes,
    )
    return changed, place / processes


class _Link(Wire):
    """A connection with its request.

    Invariants: `request` is None while it is free; `due` is when it was to be sent,
    `sent` when it was.
    """

    def __init__(self, turn: int, addresses: Sequence[tuple[str, int]]) -> None:
        """Prepare to connect.

        Args:
            turn: which of the addresses to begin with.
            addresses: of all endpoints.
        """
        super().__init__(*addresses[turn % len(addresses)])
        self._addresses = addresses
        self._turn = turn
        self.request: Request | None = None
        self.due = self.sent = 0.0
        self.attempts = 0
        self.events = 0

    def move(self) -> None:
        """Turn to the next endpoint; the connection is closed."""
        self._turn += 1
        self._address = self._addresses[self._turn % len(self._addresses)]


class Loader:
    """The connections of one process.

    Invariants: a link is free, hurt or busy; each request is counted once, in `tally`.
    """

    def __init__(
        self, pool: Sequence[Request], drive: Drive, begin: float = 0.0
    ) -> None:
        """Prepare to send.

        Args:
            pool: what to send, over and over.
            drive: how.
            begin: at which part of the pool.
        """
        self.tally = Tally()
        self._pool, self._drive = pool, drive
        self._place = int(begin * len(pool))
        addresses = [address_of(each) for each in drive.endpoints]
        self._links = [_Link(n, addresses) for n in range(drive.connections)]
        self._free = deque(self._links)
        self._hurt: list[_Link] = []
        self._busy = 0
        self._by_fd: dict[int, _Link] = {}
        self._epoll = select.epoll()
        self._left = drive.operations if drive.operations is not None else 1 << 62
        self._interval_s = 1.0 / drive.rate if drive.rate else 0.0
        self._backlog: deque[float] = deque()
        self._begin = self._end = self._next_due = self._look_at = 0.0

    def run(self) -> Tally:
        """Send until all is done, and return what was counted."""
        collects = gc.isenabled()
        gc.disable()
        try:
            self._run()
        finally:
            for link in self._links:
                link.close()
            self._epoll.close()
            if collects:
                gc.enable()
        return self.tally

    def _run(self) -> None:
        """Send, wait, count."""
        cpu = time.process_time()
        self._begin = self._next_due = time.perf_counter()
        seconds = self._drive.seconds
        self._end = float("inf") if seconds is None else self._begin + seconds
        while self._busy or self._waits():
            self._send_all()
            for fd, events in self._wait():
                link = self._by_fd[fd]
                if link.request is not None:
                    self._turn(link, events)
            if time.perf_counter() >= self._look_at:
                self._look()
        self.tally.seconds = time.perf_counter() - self._begin
        self.tally.cpu_s = time.process_time() - cpu

    def _waits(self) -> bool:
        """Tell whether something is still to be sent, later."""
        more = self._left > 0 and time.perf_counter() < self._end
        return bool(more or self._backlog)

    def _send_all(self) -> None:
        """Send what is due, while there are free connections."""
        now = time.perf_counter()
        if self._interval_s:
            self._send_due(now)
            return
        while self._free and self._left > 0 and now < self._end:
            self._left -= self._send(self._free.popleft(), now)
            now = time.perf_counter()

    def _send_due(self, now: float) -> None:
        """Send what the pace asks for by now, and what waited for a connection."""
        while self._next_due <= now and self._next_due < self._end and self._left > 0:
            self._backlog.append(self._next_due)
            self._next_due += self._interval_s
            self._left -= self._pool[0].operations
        while self._backlog and now - self._backlog[0] > self._drive.patience_s:
            self._backlog.popleft()
            self.tally.errors["not sent in time"] += 1
        while self._backlog and self._free:
            self._send(self._free.popleft(), self._backlog.popleft())

    def _send(self, link: _Link, due: float) -> int:
        """Send the next request; return how many operations it holds."""
        request = self._pool[self._place % len(self._pool)]
        self._place += 1
        link.request, link.due, link.attempts = request, due, 0
        self._busy += 1
        self._try(link)
        return request.operations

    def _try(self, link: _Link) -> None:
        """Send a link's request over it."""
        assert link.request is not None, "nothing to send"
        link.sent = time.perf_counter()
        try:
            link.send(link.request.wire)
            self._watch(link)
        except OSError as error:
            self._lost(link, error.strerror or "no connection")

    def _wait(self) -> list[tuple[int, int]]:
        """Wait until something comes, or is due."""
        now = time.perf_counter()
        wait_s = min(TICK_S, self._end - now) if self._end > now else TICK_S
        if self._interval_s and self._free and self._next_due < self._end:
            # The epoll alone would wait for whole milliseconds.
            wait_s = min(wait_s, max(0.0, self._next_due - now))
            select.select([self._epoll], [], [], wait_s)
            wait_s = 0.0
        return self._epoll.poll(wait_s)

    def _turn(self, link: _Link, events: int) -> None:
        """Take what came over a link, send on what is left to send."""
        try:
            if events & ~select.EPOLLOUT and link.state is not WireState.CONNECTING:
                if link.read():
                    self._answered(link)
                    return
            elif link.wants_write:
                link.flush()
            self._watch(link)
        except OSError as error:
            self._lost(link, error.strerror or "no connection")

    def _watch(self, link: _Link) -> None:
        """Wait for what comes next over a link."""
        events = select.EPOLLIN
        if link.wants_write:
            events |= select.EPOLLOUT
        if link.events == events:
            return
        if link.events:
            self._epoll.modify(link.fileno(), events)
        else:
            self._epoll.register(link.fileno(), events)
            self._by_fd[link.fileno()] = link
        link.events = events

    def _answered(self, link: _Link) -> None:
        """Count an answer."""
        request, now, tally = link.request, time.perf_counter(), self.tally
        assert request is not None, "an answer to nothing"
        tally.requests += 1
        if link.status[:1] != b"2":
            tally.errors[link.status.decode()] += 1
            tally.advised += link.advises
        else:
            done = request.operations
            if request.good and request.good not in link.body[:64]:
                failed = failures_in(link.body)
                tally.errors["refused in a bulk request"] += failed
                done -= failed
            took_s = now - link.due
            tally.operations += done
            if took_s <= GOOD_S:
                tally.good[int(now - self._begin)] += done
            self._histogram(request.kind).add(took_s)
        if link.wants_write or link.state is WireState.SPENT:
            self._close(link)
        link.request = None
        self._busy -= 1
        self._free.append(link)

    def _histogram(self, kind: str) -> Histogram:
        """Return where latencies of a kind are counted."""
        found = self.tally.latencies.get(kind)
        if found is None:
            found = self.tally.latencies[kind] = Histogram()
        return found

    def _close(self, link: _Link) -> None:
        """Close a connection; the next request opens another."""
        link.events = 0
        link.close()

    def _lost(self, link: _Link, why: str) -> None:
        """Close a connection, and send its request elsewhere or count it as lost."""
        refused = link.state is WireState.CONNECTING
        self._close(link)
        if self._drive.again:
            link.move()
            link.attempts += 1
            if link.attempts <= len(self._drive.endpoints):
                self._try(link)
                return
        self.tally.errors[why.lower()] += 1
        link.request = None
        self._busy -= 1
        # Who is not there is not asked again at once, over and over.
        (self._hurt if refused else self._free).append(link)

    def _look(self) -> None:
        """Give up requests that took too long; have another try where nobody was."""
        now = time.perf_counter()
        self._look_at = now + TICK_S
        self._free.extend(self._hurt)
        self._hurt.clear()
        for link in self._links:
            if link.request is not None and now - link.sent > self._drive.timeout_s:
                self._lost(link, "no answer in time")


def failures_in(body: bytes) -> int:
    """Count the failures that the begin of a bulk answer tells of.

    Raises:
        Failure: it tells of none, nor of their absence.
    """
    _, found, rest = body.partition(b'"errors":')
    if found:
        return int(rest.partition(b",")[0].partition(b"}")[0])
    _, found, rest = body.partition(b"\x66errors")
    if found:
        return int(cbor2.loads(rest[:9].ljust(9, b"\0")))
    raise Failure("the endpoint does not answer bulk requests as Torua does")


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint; a `Failure` where it is not plain HTTP."""
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        raise Failure(f"bench speaks plain HTTP only, not {endpoint}", ExitCode.USAGE)
    return parts.hostname, parts.port or 80

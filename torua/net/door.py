"""What every connection from outside first meets: its first bytes decide the rest."""

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from torua.net import connection, exchange
from torua.net.sockets import host_of, socket_of

INBOUND_MAX = 1024
"""Connections from outside: twice the largest cluster, far below a usual ulimit."""

STRANGERS_MAX = 128
"""Of these, such as have not yet proved to be peers."""

EXCHANGES_MAX = 64
"""Of these, exchanges: each holds up to 8 MiB and the processor for a moment."""

PREAMBLE_BYTES = 8

PREAMBLE_S = 5.0
"""A stranger who says nothing holds a socket for no longer than this."""

Choose = Callable[[bytes], Protocol | None]

Complain = Callable[[str, str, str], None]


class ClosedError(Exception):
    """Whoever is at the door is not let in."""

    def __init__(self, reason: str, detail: str) -> None:
        """Say why.

        Args:
            reason: a word of ours.
            detail: a sentence for people.
        """
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Door(Protocol):
    """Reads the first bytes of a connection, then stands between it and who it is for.

    Invariants: ``inner`` is set once; all bytes after the preamble go to it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        choose: Choose,
        complain: Complain,
        gone: Callable[["Door"], None],
    ) -> None:
        """Prepare for one connection.

        Args:
            clock: the reactor.
            choose: gives the protocol for a preamble, None for what may still become
                one; raises ClosedError for anything else.
            complain: told the host, a reason and a sentence of what was wrong.
            gone: told when it is over.
        """
        self._clock = clock
        self._choose = choose
        self._complain = complain
        self._gone = gone
        self.inner: Protocol | None = None
        self._begin = b""
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Give the other side its time to say what it wants."""
        self._timer = self._clock.callLater(PREAMBLE_S, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        """Read the preamble, and let in whoever has it."""
        if self.inner is not None:
            self.inner.dataReceived(data)
            return
        self._begin += data
        begin, rest = self._begin[:PREAMBLE_BYTES], self._begin[PREAMBLE_BYTES:]
        try:
            inner = self._choose(begin)
        except ClosedError as closed:
            self._close(closed.reason, closed.detail)
            return
        if inner is not None:
            self._stop_timer()
            self.inner = inner
            inner.makeConnection(self.transport)
            if rest:
                inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on."""
        self._stop_timer()
        if self.inner is not None:
            self.inner.connectionLost(reason)
        self._gone(self)

    def abort(self) -> None:
        """Hang up."""
        socket_of(self).abortConnection()

    def _too_slow(self) -> None:
        """Hang up on somebody who says too little."""
        self._close("slow", "it did not say what it wants")

    def _close(self, reason: str, detail: str) -> None:
        """Hang up, and say why."""
        self._stop_timer()
        self._complain(host_of(self), reason, detail)
        socket_of(self).abortConnection()

    def _stop_timer(self) -> None:
        """Leave nothing in the reactor."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class Reception(Factory):
    """Makes a door for every connection from outside, and lets in a bounded number.

    Invariants: ``doors`` are all connections that are open; at most `INBOUND_MAX` have
    been let in at any time, of them `STRANGERS_MAX` and `EXCHANGES_MAX` of their kind.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        make_connection: Callable[[], connection.Connection],
        make_answerer: Callable[[], exchange.Answerer],
        complain: Complain,
        gone: Callable[[Door], None],
    ) -> None:
        """Prepare to be listened on.

        Args:
            clock: the reactor.
            make_connection: for somebody who wants to be a peer.
            make_answerer: for somebody who wants one answer.
            complain: told the host, a reason and a sentence of what was wrong.
            gone: told when a door is no longer open.
        """
        self._clock = clock
        self._make_connection = make_connection
        self._make_answerer = make_answerer
        self._complain = complain
        self._gone = gone
        self.doors: set[Door] = set()

    def buildProtocol(self, addr: IAddress | None) -> Door | None:
        """Make a door, unless there are too many."""
        if len(self.doors) >= INBOUND_MAX or self._strangers() >= STRANGERS_MAX:
            host = str(getattr(addr, "host", addr))
            self._complain(host, "crowded", "too many connections at once")
            return None
        door = Door(self._clock, self._choose, self._complain, self._left)
        self.doors.add(door)
        return door

    def _choose(self, begin: bytes) -> Protocol | None:
        """Tell who is meant by a preamble; see `Door`."""
        if begin == connection.PREAMBLE:
            return self._make_connection()
        if begin == exchange.PREAMBLE:
            inner = [door.inner for door in self.doors]
            if sum(isinstance(one, exchange.Answerer) for one in inner) < EXCHANGES_MAX:
                return self._make_answerer()
            raise ClosedError("crowded", "too many exchanges at once")
        known = (connection.PREAMBLE, exchange.PREAMBLE)
        if any(preamble.startswith(begin) for preamble in known):
            return None
        raise ClosedError("garbage", f"it began with {begin!r}")

    def _strangers(self) -> int:
        """Count who has not proved to be a peer."""
        return sum(
            not isinstance(door.inner, connection.Connection)
            or not door.inner.established
            for door in self.doors
        )

    def _left(self, door: Door) -> None:
        """Take note that a door is no longer open."""
        self.doors.discard(door)
        self._gone(door)

"""One question and one answer, on a TCP connection of their own.

Membership's push/pull and its probe by TCP go this way, before anybody knows anybody.
Both are opaque bytes, sent as one message of checksummed frames after `PREAMBLE`; who
asks, and whether to answer, is for those to judge who made the bytes.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.frames import FrameReader, FrameWriter, Lane
from torua.errors import ProtocolError, UnavailableError
from torua.net.sockets import host_of, socket_of

PREAMBLE = b"torua\x00X1"
"""What an exchange begins with; as long as that of a peer connection."""

EXCHANGE_BYTES_MAX = 4 << 20
"""The whole member list of 500 nodes is a tenth of it."""

EXCHANGE_S = 5.0
"""How long an asker may take to ask and to fetch its answer."""

Complain = Callable[[str, str, str], None]


class Asker(Protocol):
    """The side that dialled.

    Invariants: ``answer`` fires once.
    """

    def __init__(self, body: bytes) -> None:
        """Prepare to ask ``body``."""
        self._body = body
        self._reader = FrameReader(EXCHANGE_BYTES_MAX)
        self.answer: Deferred[bytes] = Deferred(lambda _: self.abort())

    def connectionMade(self) -> None:
        """Ask."""
        frames = FrameWriter().message(Lane.CONTROL, 0, self._body)
        socket_of(self).writeSequence([PREAMBLE, *frames])

    def dataReceived(self, data: bytes) -> None:
        """Take the answer, and hang up."""
        try:
            self._reader.feed(data)
            message = self._reader.read()
        except ProtocolError as error:
            self._end(error)
        else:
            if message is not None:
                self._end(message.body[:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Go without an answer, if there was none."""
        self._end(UnavailableError(f"no answer: {reason.getErrorMessage()}"))

    def abort(self) -> None:
        """Hang up."""
        if self.transport is not None:
            socket_of(self).abortConnection()

    def _end(self, result: bytes | Exception) -> None:
        """Hang up, and give the result."""
        if self.answer.called:
            return
        if isinstance(result, bytes):
            self.answer.callback(result)
        else:
            self.answer.errback(result)
        self.abort()


class Answerer(Protocol):
    """The side that was dialled.

    Invariants: it answers at most once; its timer ends with the connection.
    """

    def __init__(
        self,
        clock: IReactorTime,
        respond: Callable[[bytes], bytes | None],
        complain: Complain,
        log: Logger,
    ) -> None:
        """Prepare to answer.

        Args:
            clock: the reactor.
            respond: makes the answer; None to hang up without one.
            complain: told the host, a reason and a sentence of what was wrong.
            log: where a failure of ``respond`` goes.
        """
        self._clock = clock
        self._respond = respond
        self._complain = complain
        self._log = log
        self._reader = FrameReader(EXCHANGE_BYTES_MAX)
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Give the asker its time."""
        self._timer = self._clock.callLater(EXCHANGE_S, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        """Take the question, and answer it."""
        try:
            self._reader.feed(data)
            message = self._reader.read()
        except ProtocolError as error:
            self._hang_up("garbage", str(error))
            return
        if message is not None:
            self._reply(message.body[:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave nothing in the reactor."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _reply(self, question: bytes) -> None:
        """Answer, or hang up."""
        try:
            answer = self._respond(question)
        except Exception:
            self._log.failure("an exchange could not be answered")
            answer = None
        if answer is None:
            socket_of(self).abortConnection()
            return
        frames = FrameWriter().message(Lane.CONTROL, 0, answer)
        socket_of(self).writeSequence(frames)
        socket_of(self).loseConnection()

    def _too_slow(self) -> None:
        """Hang up on an asker that does not get on."""
        self._hang_up("slow", "an exchange took too long")

    def _hang_up(self, reason: str, detail: str) -> None:
        """End it, and say why."""
        self._complain(host_of(self), reason, detail)
        socket_of(self).abortConnection()

"""Large answers, written as fast as their client takes them, and no faster."""

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http import Request
from zope.interface import implementer

from torua.http.limits import PIECE_BYTES, STALL_S


@implementer(IPushProducer)
class Pouring:
    """Writes one body to one request, in pieces.

    Invariants: the timer runs while it is paused, and only then; the request is
    finished once, after the last piece, unless its connection is lost before.
    """

    def __init__(self, request: Request, body: bytes, clock: IReactorTime) -> None:
        """Prepare to write.

        Args:
            request: where its headers are set already.
            body: what to write.
            clock: for the time that a client has to take the next piece.
        """
        self._request = request
        self._rest = memoryview(body)
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._flowing = False

    def start(self) -> None:
        """Write what can be written now; the rest follows."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until the transport has enough."""
        self._stop_timer()
        if self._flowing:
            return
        self._flowing = True
        while self._flowing and self._rest:
            piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
            self._request.write(bytes(piece))
        if not self._rest:
            self._finish()

    def _finish(self) -> None:
        """Finish the request, once."""
        self._stop_timer()
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """Wait until the client took some, for a while."""
        self._flowing = False
        self._stop_timer()
        self._timer = self._clock.callLater(STALL_S, self._cut)

    def stopProducing(self) -> None:
        """Write nothing more: nobody is there to read it."""
        self._flowing = False
        self._rest = self._rest[:0]
        self._stop_timer()

    def _cut(self) -> None:
        """Give a client up that takes nothing."""
        self._timer = None
        self._request.channel.forceAbortClient()

    def _stop_timer(self) -> None:
        """Let time run no longer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

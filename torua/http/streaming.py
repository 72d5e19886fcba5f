"""Answers without an end: written piece by piece, as their client takes them."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from torua.http.limits import STALL_S
from torua.http.messages import Stream

log = Logger()


@implementer(IPushProducer)
class Streaming:
    """Writes one stream to one request.

    Invariants: nothing is asked of the stream while the client takes nothing; the
    stream is closed once, with the request or before; the timer runs while it is
    paused, and only then.
    """

    def __init__(self, request: Request, stream: Stream, clock: IReactorTime) -> None:
        """Prepare to write.

        Args:
            request: where its headers are set already.
            stream: gives the pieces.
            clock: for the time that a client has to take the next one.
        """
        self._request = request
        self._stream = stream
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._resumed: Deferred[None] | None = None
        self._running: Deferred[None] | None = None
        self._ended = False

    def start(self) -> "Deferred[None]":
        """Write what comes; returns what fires at the end, whoever ended it."""
        ended: Deferred[None] = Deferred()
        finished = self._request.notifyFinish()
        finished.addBoth(lambda _: self._end())
        finished.addCallback(ended.callback)
        self._request.registerProducer(self, True)
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._broken)
        return ended

    def finish(self) -> None:
        """End it in good order: the client may come again."""
        if not self._ended:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

    def resumeProducing(self) -> None:
        """Write on."""
        self._stop_timer()
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def pauseProducing(self) -> None:
        """Wait until the client took some, for a while."""
        if self._resumed is None:
            self._resumed = Deferred()
        self._stop_timer()
        self._timer = self._clock.callLater(STALL_S, self._cut)

    def stopProducing(self) -> None:
        """Write nothing more: nobody is there to read it."""
        self._end()

    async def _run(self) -> None:
        """Write piece after piece."""
        while (piece := await self._stream.next()) is not None:
            self._request.write(piece)
            if self._resumed is not None:
                await self._resumed
        self.finish()

    def _end(self) -> None:
        """Close the stream, once."""
        if self._ended:
            return
        self._ended = True
        self._stop_timer()
        self._stream.close()
        if self._running is not None:
            self._running.cancel()

    def _broken(self, failure: Failure) -> None:
        """Cut the connection where we went wrong, so that it does not look whole."""
        if failure.check(CancelledError) and self._ended:
            return
        log.failure("a stream is wrong", failure)
        self._cut()

    def _cut(self) -> None:
        """Give a client up."""
        self._stop_timer()
        self._request.channel.forceAbortClient()

    def _stop_timer(self) -> None:
        """Let time run no longer."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

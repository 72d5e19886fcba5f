"""Bodies that are taken as they come, in bounded memory.

The transport is paused while enough of the body waits to be taken, so that a client
sends no faster than what it sends is worked on::

    arriving ──enough waits── paused ──taken── arriving ── ended, or failed
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from torua.errors import ToruaError
from torua.http.limits import INTAKE_BYTES


class Tap(Protocol):
    """Where the pieces come from."""

    def pause(self) -> None:
        """Let no more come for now."""

    def resume(self) -> None:
        """Let more come."""


class Intake:
    """One body, piece by piece.

    Invariants: what waits is at most `INTAKE_BYTES` and what one read of a socket
    brings; pieces are taken in order, each once; after the end or a failure nothing
    more is kept; the tap is paused only while something waits.
    """

    def __init__(self, tap: Tap, let_go: Callable[[int], None]) -> None:
        """Begin to wait for a body.

        Args:
            tap: where it comes from.
            let_go: hears how many bytes are no longer held here.
        """
        self._tap = tap
        self._let_go = let_go
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._failure: ToruaError | None = None
        self._closed = False
        self._waiting: Deferred[None] | None = None
        self.ended = False

    def push(self, data: bytes) -> None:
        """Take what arrived."""
        if self._closed:
            self._let_go(len(data))
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= INTAKE_BYTES and not self._paused:
            self._paused = True
            self._tap.pause()
        self._wake()

    def end(self) -> None:
        """Hear that all of it has come."""
        self.ended = True
        self._wake()

    def fail(self, error: ToruaError) -> None:
        """Hear that the rest will not come; what waits is dropped.

        Args:
            error: what whoever takes the body is told.
        """
        if not self._closed:
            self._failure = error
            self.close()
            self._wake()

    def close(self) -> None:
        """Keep nothing more: nobody takes it.  Safe to call twice."""
        self._closed = True
        self._drop()

    async def next(self) -> bytes | None:
        """Return what has come, once something has; None at the end.

        Raises:
            ToruaError: the rest will not come, and why.
        """
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return None
            self._waiting = Deferred()
            await self._waiting
        found = b"".join(self._pieces)
        self._drop()
        if self._paused:
            self._paused = False
            self._tap.resume()
        return found

    def _drop(self) -> None:
        """Hold nothing any more."""
        self._pieces.clear()
        size, self._size = self._size, 0
        self._let_go(size)

    def _wake(self) -> None:
        """Let whoever waits go on."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

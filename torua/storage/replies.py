"""What the storage worker answers: from many threads to one stream, whole messages."""

import threading
from collections.abc import Callable
from typing import BinaryIO

from torua.codec import views
from torua.codec.views import Reply
from torua.core.graph.fragments import Piece

Answer = Piece | views.Measured | views.Verified | views.Done | views.Failed
"""What comes of one ask of one view."""

Sink = Callable[[Answer], None]
"""Takes it, in whatever thread."""

_LOST = views.Failed("unavailable", "", {})


class Replies:
    """Where answers go.

    Invariants: messages are written whole, one after the other.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, number: int, reply: Reply) -> None:
        """Send a reply.

        Args:
            number: of what was asked; 0 for a report.
            reply: what came of it.
        """
        with self._lock:
            for piece in views.spell_reply(number, reply):
                self._stream.write(piece)
            self._stream.flush()


class Gathering:
    """The answers of several copies to one message.

    Invariants: they are sent once, together, when the last is there.

    Threading: any.
    """

    def __init__(self, replies: Replies, number: int, count: int) -> None:
        """Wait for so many.

        Args:
            replies: where they go.
            number: of what was asked.
            count: how many there will be.
        """
        self._replies = replies
        self._number = number
        self._lock = threading.Lock()
        self._missing = count
        self._parts: list[Piece | views.Failed] = [_LOST] * count

    def put(self, place: int, part: Answer) -> None:
        """Take one.

        Args:
            place: which.
            part: what the copy answered.
        """
        assert isinstance(part, Piece | views.Failed), "fragments give pieces"
        with self._lock:
            self._parts[place] = part
            self._missing -= 1
            last = not self._missing
        if last:
            self._replies.send(self._number, views.Pieces(tuple(self._parts)))


def nobody(_: Answer) -> None:
    """Take what nobody waits for."""

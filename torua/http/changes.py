"""The change feed as server-sent events (the HTML standard, section 9.2)."""

from collections.abc import Iterator

from msgspec import json

from torua.core.changes import Change
from torua.http import parameters
from torua.http.messages import Answer, Ask
from torua.http.seams import Batch, ChangeFeeds, Feed
from torua.http.values import spell_value

EVENTS = "text/event-stream"

BEGIN = b": torua change feed\n\n"
"""Sent at once, so that a client knows that it listens."""


class ChangesHandler:
    """Answers ``/changes``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, feeds: ChangeFeeds, node_name: str) -> None:
        """Serve from ``feeds``.

        Args:
            feeds: opens feeds.
            node_name: this node's, which puts the feed together.
        """
        self._feeds = feeds
        self._node_name = node_name

    async def get(self, ask: Ask) -> Answer:
        """Answer GET with events, from the last one that the client had.

        ``Last-Event-ID`` goes before ``since``: a client that reconnects sends both.
        """
        prefix = parameters.key_part(ask.query, "prefix")
        since = ask.headers.get("last-event-id") or ask.query.get("since", "")
        call = ask.call(parameters.timeout_s(ask.query))
        headers = (
            ("Torua-Served-By", self._node_name),
            ("Cache-Control", "no-store"),
            ("X-Accel-Buffering", "no"),
        )
        if ask.method == "HEAD":
            return Answer(200, headers, content_type=EVENTS)
        feed = await self._feeds.open(prefix, since, call)
        return Answer(200, headers, content_type=EVENTS, stream=EventStream(feed))


class EventStream:
    """A feed, spelled.

    Invariants: an event's ``id`` is the place behind it; a comment with an ``id`` moves
    the client's place without an event.
    """

    def __init__(self, feed: Feed) -> None:
        """Spell a feed."""
        self._feed = feed
        self._begun = False
        self._ended = False

    async def next(self) -> bytes | None:
        """Return the next events; None at the end."""
        if not self._begun:
            self._begun = True
            return BEGIN + _place(self._feed.cursor)
        if self._ended:
            return None
        batch = await self._feed.next()
        self._ended = batch.gone is not None
        return b"".join(_spelled(batch))

    def close(self) -> None:
        """Read no more."""
        self._feed.close()


def _spelled(batch: Batch) -> Iterator[bytes]:
    """Spell a batch: its events, or at least the place where it ends."""
    for change, cursor in batch.events:
        yield _event(change, cursor)
    if batch.gone is not None:
        told = json.encode({"earliest": batch.gone})
        yield b"event: gone\ndata: " + told + b"\n\n"
    elif not batch.events:
        yield b": still here\n" + _place(batch.cursor)


def _event(change: Change, cursor: str) -> bytes:
    """Spell one change; JSON has no line ends of its own."""
    data: dict[str, object] = {
        "key": change.key.decode(errors="replace"),
        "version": change.version,
    }
    if change.value is not None:
        data |= spell_value(change.value, raw=False)
    kind = b"delete" if change.value is None else b"put"
    lines = (b"id: " + cursor.encode(), b"event: " + kind, b"data: ")
    return b"\n".join(lines) + json.encode(data) + b"\n\n"


def _place(cursor: str) -> bytes:
    """Tell the client its place, without an event."""
    return b"id: " + cursor.encode() + b"\n\n"

"""The change feed: every change once and in order, over any number of connections.

IDLE --next--> OPEN --break, silence, end--> IDLE (again, at another endpoint)
OPEN --gone--> raised        any --close--> CLOSED
"""

import contextlib
from collections.abc import Iterator
from threading import Lock
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

import msgspec
from msgspec import Struct
from urllib3.exceptions import HTTPError

from torua.client.errors import GoneError, Problem, unexpected
from torua.client.events import Event, EventReader
from torua.client.transport import Opened, Request, Transport

SILENCE_S = 25.0
"""A node says something every 10 s; after so long without a word it is gone."""

PIECE_BYTES = 64 << 10
T = TypeVar("T")
Kind = Literal["put", "delete"]


class Change(Struct, frozen=True):
    """One change.

    Attributes:
        kind: what was done.
        key: to which key.
        version: that the key has since.
        value: that it has since; None for a delete.
        id: the place behind it: ``since`` for who goes on from here.
    """

    kind: Kind
    key: str
    version: int
    value: bytes | None
    id: str


class _Data(Struct, frozen=True):
    """What an event says of a change."""

    key: str
    version: int
    value: str | None = None
    value_base64: bytes | None = None


class Changes:
    """Follows changes; an iterator, and a context manager that closes it.

    Of one shard they come in order, without a gap, and each once.  A connection that
    breaks is made again where it broke, at another endpoint; what the nodes do not
    answer within the time of the client is raised, and the next ``next()`` tries anew
    from the same place.

    Invariants: `id` is the place behind the last change that was returned, or behind
    what was passed over since; it belongs to one thread, but for `close`.
    """

    def __init__(self, transport: Transport, prefix: str, since: str) -> None:
        """Prepare to follow; nothing is sent before the first `next`.

        Args:
            transport: asks.
            prefix: of the keys.
            since: where to begin; now if empty.
        """
        self._transport = transport
        self._prefix = prefix
        self._opened: Opened | None = None
        self._events: Iterator[Event] = iter(())
        self._reader = EventReader()
        self._since = since
        self._closed = False
        self._failures = 0
        self._reading = Lock()
        self.id = "" if since == "earliest" else since

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, whatever happened."""
        self.close()

    def __next__(self) -> Change:
        """Wait for the next change.

        Raises:
            StopIteration: it was closed.
            GoneError: the logs no longer have what follows; it says what they have.
            ClientError: no endpoint serves it.
        """
        while not self._closed:
            event = self._next_event()
            if event is None:
                continue
            self.id, self._failures = event.id, 0
            change = self._change(event)
            if change is not None:
                return change
        raise StopIteration

    def close(self) -> None:
        """End it; a thread that waits for a change stops waiting."""
        self._closed = True
        opened = self._opened
        if opened is not None:
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                opened.response.shutdown()
        with self._reading:
            self._drop()

    def _next_event(self) -> Event | None:
        """Return the next event; None where the connection has to be made, or broke."""
        for event in self._events:
            return event
        if self._opened is None:
            self._connect()
            return None
        data = self._read_on(self._opened)
        if data:
            self._events = self._reader.feed(data)
        elif not self._closed:
            endpoint = self._opened.endpoint
            self._drop()
            self._transport.lost(endpoint, self._failures)
            self._failures += 1
        return None

    def _read_on(self, opened: Opened) -> bytes:
        """Return what comes next; nothing where the connection broke, or ended."""
        with self._reading:
            if self._closed:
                return b""
            try:
                return opened.response.read1(PIECE_BYTES)
            except (HTTPError, OSError):
                return b""

    def _connect(self) -> None:
        """Open the feed behind the last place, at an endpoint that serves it."""
        headers = {"Accept": "text/event-stream"}
        if self.id:
            headers["Last-Event-ID"] = self.id
        parameters = {"prefix": self._prefix or None, "since": self._since or None}
        request = Request(
            "GET", "/changes", parameters, headers, listen_s=SILENCE_S, told_ms_max=0
        )
        opened = self._transport.open(request)
        with self._reading:
            self._opened = opened
            self._reader = EventReader(self.id)
            if self._closed:
                self._drop()

    def _drop(self) -> None:
        """Let go of the connection."""
        opened, self._opened = self._opened, None
        self._events = iter(())
        if opened is not None:
            opened.response.close()

    def _change(self, event: Event) -> Change | None:
        """Read a change; None for a place, and what nobody knows."""
        if event.name == "gone":
            self._drop()
            members = _read(event, dict[str, object])
            raise GoneError(
                Problem(
                    status=410,
                    code="gone",
                    detail="the logs no longer have what follows",
                    members=members,
                )
            )
        if event.name in ("put", "delete"):
            data = _read(event, _Data)
            value = data.value_base64
            if data.value is not None:
                value = data.value.encode()
            return Change(
                cast(Kind, event.name), data.key, data.version, value, event.id
            )
        return None


def _read(event: Event, kind: type[T]) -> T:
    """Read what an event says."""
    try:
        return msgspec.json.decode(event.data, type=kind)
    except msgspec.DecodeError as error:
        raise unexpected(f"no event of the feed: {error}", "") from error

"""Server-sent events (the HTML standard, section 9.2), read as they come."""

from collections.abc import Iterator

from msgspec import Struct

from torua.client.errors import unexpected

EVENT_BYTES_MAX = 64 << 20
"""A value of 16 MiB, as base64 within JSON, and room to spare."""


class Event(Struct, frozen=True):
    """One event; ``name`` is empty where only a place was told.

    Attributes:
        name: what happened.
        data: what it says.
        id: the place behind it; that of the last event that had one.
    """

    name: str
    data: str
    id: str


class EventReader:
    """Makes events of bytes that come in any pieces.

    Invariants: what was fed and is not a whole event yet waits in `_rest`; `last_id`
    stays until another comes.
    """

    def __init__(self, last_id: str = "") -> None:
        """Begin with an empty stream, behind a place."""
        self._rest = bytearray()
        self._looked = 0
        self.last_id = last_id

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes, and yield the events that are whole by now.

        An empty name is a place without an event.

        Raises:
            UnexpectedAnswerError: what comes has no end.
        """
        self._rest += data
        while (end := self._rest.find(b"\n\n", max(0, self._looked - 1))) >= 0:
            block = bytes(self._rest[:end])
            del self._rest[: end + 2]
            self._looked = 0
            yield self._event(block)
        self._looked = len(self._rest)
        if self._looked > EVENT_BYTES_MAX:
            raise unexpected("an event without an end", "")

    def _event(self, block: bytes) -> Event:
        """Read one event."""
        name, data = "", []
        for line in block.decode(errors="replace").split("\n"):
            field, _, value = line.removesuffix("\r").partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
        return Event(name, "\n".join(data), self.last_id)

"""Frames: how messages share one byte stream, in pieces, by lane, and checked.

::

    frame   = header, payload (0 to 65,536 bytes), trailer
    header  = length u32 | lane u8 | flags u8 | number u32 | timeout u32, big-endian
    trailer = what the seal adds: 4 bytes of CRC-32C, or 16 of an AEAD tag

``length`` counts the payload alone.  A message is the payloads of the frames of one
``number``, up to the one that is flagged LAST; frames of other messages may come in
between.  ABORT gives a begun message up.  ``timeout`` is how many milliseconds the
sender of a request will still wait, 0 for no limit; that of the last frame counts.  An
empty message is a heartbeat.

Nothing here waits or touches a socket: bytes go in, messages come out.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple, Protocol

import google_crc32c

from torua.codec.rope import Bytes, Rope
from torua.errors import ProtocolError

FRAME_BYTES_MAX = 64 << 10
"""A payload: at 1 Gbit/s half a millisecond, so an urgent frame never waits longer."""

MESSAGE_BYTES_MAX = 48 << 20
"""A message: a bulk of 32 MiB with all that is around it, and half as much again."""

PARTIAL_MESSAGES_MAX = 8
"""Messages of one lane on their way in pieces: enough to be fair, few to remember."""

PARTIAL_BYTES_MAX = MESSAGE_BYTES_MAX
"""Bytes of one lane's unfinished messages together, so memory is bounded by lanes."""

TIMEOUT_MS_MAX = (1 << 32) - 1
"""What fits the header: 49 days."""

LAST, ABORT = 1, 2

_HEADER = Struct(">IBBII")
_HEADER_BYTES = _HEADER.size


class Lane(IntEnum):
    """How urgent a message is: a lower number goes first."""

    CONTROL = 0
    REPLICATION = 1
    WRITES = 2
    READS = 3
    RECOVERY = 4


_LANES = tuple(Lane)


class Message(NamedTuple):
    """A whole message, as it came: in one piece, where it was one frame."""

    lane: Lane
    body: Bytes
    timeout_ms: int


class Seal(Protocol):
    """How one direction of a connection proves that its frames are whole."""

    overhead: int

    def close(self, header: bytes, payload: bytes) -> Iterable[bytes]:
        """Give what follows the header on the wire.

        Args:
            header: as it is sent; it is protected too.
            payload: what the frame carries.
        """

    def open(self, header: bytes, sealed: bytes) -> bytes:
        """Check a frame, and give its payload.

        Args:
            header: as it came.
            sealed: the payload and the trailer, as they came.

        Raises:
            ProtocolError: this is not what the other side closed.
        """


class Checksum:
    """The seal against accidents: CRC-32C over header and payload.

    Invariants: it keeps no state; a frame is judged by itself.
    """

    overhead = 4

    def close(self, header: bytes, payload: bytes) -> Iterable[bytes]:
        """Add the checksum.

        Args:
            header: as `Seal` says.
            payload: as `Seal` says.
        """
        value = google_crc32c.extend(google_crc32c.value(header), payload)
        return payload, value.to_bytes(4)

    def open(self, header: bytes, sealed: bytes) -> bytes:
        """Compare the checksum.

        Args:
            header: as `Seal` says.
            sealed: as `Seal` says.
        """
        payload = sealed[:-4]
        value = google_crc32c.extend(google_crc32c.value(header), payload)
        if value != int.from_bytes(sealed[-4:]):
            raise ProtocolError("a frame's checksum is wrong")
        return payload


class FrameWriter:
    """Spells frames for one direction of one connection.

    Invariants: frames are written to the wire in the order in which they were made, for
    a seal may count them.
    """

    def __init__(self) -> None:
        """Begin a stream whose frames carry checksums."""
        self.seal: Seal = Checksum()

    def frame(
        self, lane: Lane, number: int, payload: bytes, flags: int, timeout_ms: int = 0
    ) -> list[bytes]:
        """Spell one frame, as buffers to be written one after the other.

        Args:
            lane: of the message.
            number: of the message, below 2**32; no other unfinished one has it.
            payload: at most `FRAME_BYTES_MAX` bytes of it.
            flags: `LAST`, `ABORT`, or 0 where more follows.
            timeout_ms: how long the sender will wait, 0 for no limit.
        """
        assert len(payload) <= FRAME_BYTES_MAX
        header = _HEADER.pack(len(payload), lane, flags, number, timeout_ms)
        return [header, *self.seal.close(header, payload)]

    def message(self, lane: Lane, number: int, body: bytes) -> list[bytes]:
        """Spell one whole message, its frames following each other.

        Args:
            lane: of the message.
            number: of the message, as in `frame`.
            body: the message.
        """
        last = max(0, (len(body) - 1) // FRAME_BYTES_MAX) * FRAME_BYTES_MAX
        buffers: list[bytes] = []
        for start in range(0, last + 1, FRAME_BYTES_MAX):
            piece = body[start : start + FRAME_BYTES_MAX]
            flags = LAST if start == last else 0
            buffers += self.frame(lane, number, piece, flags)
        return buffers


class _Partial:
    """A message of which the end has not come.

    Invariants: ``size`` is the sum of the lengths of ``pieces``.
    """

    __slots__ = ("lane", "pieces", "size")

    def __init__(self, lane: Lane) -> None:
        """Begin with nothing."""
        self.lane = lane
        self.pieces: list[bytes] = []
        self.size = 0


class FrameReader:
    """Makes messages of a byte stream, however it is chopped.

    Invariants: never more than one frame and what one `feed` brought is buffered;
    unfinished messages keep within `PARTIAL_MESSAGES_MAX` and `PARTIAL_BYTES_MAX` of
    their lane.  After a ProtocolError the stream is of no use any more.
    """

    def __init__(
        self,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        frames: list[int] | None = None,
    ) -> None:
        """Begin to read a stream whose frames carry checksums.

        Args:
            message_bytes_max: no message is longer.
            frames: counts what comes, by lane; None for a count of its own.
        """
        self.seal: Seal = Checksum()
        self.message_bytes_max = message_bytes_max
        self.frames = [0] * len(Lane) if frames is None else frames
        self._buffer = b""
        self._start = 0
        self._partials: dict[int, _Partial] = {}
        self._held = [0] * len(Lane)
        self._begun = [0] * len(Lane)

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; `read` then tells what they completed."""
        rest = self._buffer[self._start :]
        self._start = 0
        self._buffer = rest + data if rest else bytes(data)

    def read(self) -> Message | None:
        """Give the next whole message, None until more bytes come.

        The seal may be changed between two calls.

        Raises:
            ProtocolError: no correct peer sends this; see `torua.errors`.
        """
        buffer, seal = self._buffer, self.seal
        size = len(buffer)
        while size - self._start >= _HEADER_BYTES:
            begin = self._start + _HEADER_BYTES
            header = buffer[self._start : begin]
            length, lane, flags, number, timeout_ms = _HEADER.unpack(header)
            self._check(length, lane, flags)
            end = begin + length + seal.overhead
            if size < end:
                return None
            payload = seal.open(header, buffer[begin:end])
            self._start = end
            self.frames[lane] += 1
            body = self._add(_LANES[lane], flags, number, payload)
            if body is not None:
                return Message(_LANES[lane], body, timeout_ms)
        return None

    def _check(self, length: int, lane: int, flags: int) -> None:
        """Refuse a header before its payload is awaited."""
        if flags == LAST and length <= FRAME_BYTES_MAX and lane < len(_LANES):
            return
        if length > FRAME_BYTES_MAX:
            raise ProtocolError(f"a frame says it has {length} bytes")
        if lane >= len(_LANES):
            raise ProtocolError(f"there is no lane {lane}")
        if flags > ABORT:
            raise ProtocolError(f"there are no flags {flags}")
        if (flags == 0 and length == 0) or (flags == ABORT and length > 0):
            raise ProtocolError("a piece says nothing, or an end says too much")

    def _add(self, lane: Lane, flags: int, number: int, payload: bytes) -> Bytes | None:
        """Put a piece to its message; give the message if that was the last."""
        partial = self._partials.get(number) if self._partials else None
        if partial is None and flags == LAST:
            return self._sized(payload)
        if partial is None:
            partial = self._begin(lane, flags, number)
        if partial.lane is not lane:
            raise ProtocolError("a message changes its lane")
        if flags:
            self._end(number, partial)
        if flags == ABORT:
            return None
        partial.pieces.append(payload)
        partial.size += len(payload)
        if flags == LAST:
            return self._sized(Rope(partial.pieces))
        self._hold(lane, len(payload), partial)
        return None

    def _begin(self, lane: Lane, flags: int, number: int) -> _Partial:
        """Note that a message comes in pieces."""
        if flags == ABORT:
            raise ProtocolError("a message ends that never began")
        if self._begun[lane] >= PARTIAL_MESSAGES_MAX:
            raise ProtocolError("too many messages at once in pieces")
        self._begun[lane] += 1
        self._partials[number] = partial = _Partial(lane)
        return partial

    def _end(self, number: int, partial: _Partial) -> None:
        """Forget a message whose last piece is here."""
        del self._partials[number]
        self._begun[partial.lane] -= 1
        self._held[partial.lane] -= partial.size

    def _hold(self, lane: Lane, size: int, partial: _Partial) -> None:
        """Account for a piece that has to wait for more."""
        self._held[lane] += size
        if partial.size > self.message_bytes_max or self._held[lane] > (
            PARTIAL_BYTES_MAX
        ):
            raise ProtocolError("messages in pieces grow too large")

    def _sized(self, body: Bytes) -> Bytes:
        """Give a whole message back, unless it is too long."""
        if len(body) > self.message_bytes_max:
            raise ProtocolError(f"a message of {len(body)} bytes")
        return body

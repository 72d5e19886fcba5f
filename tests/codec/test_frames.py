"""Tests for `torua.codec.frames`: any chopping, any garbage."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.frames import (
    ABORT,
    FRAME_BYTES_MAX,
    LAST,
    PARTIAL_MESSAGES_MAX,
    FrameReader,
    FrameWriter,
    Lane,
    Message,
)
from torua.codec.seals import Sealed, derive, prove
from torua.errors import ProtocolError

KEY = bytes(range(32))
BODIES = st.lists(st.tuples(st.sampled_from(Lane), st.binary(max_size=300)))


def read_all(reader: FrameReader, chunks: list[bytes]) -> list[Message]:
    """Feed bytes in chunks, and collect all messages, put together.

    Args:
        reader: reads them.
        chunks: the stream, chopped.
    """
    found: list[Message] = []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.read()) is not None:
            found.append(message._replace(body=message.body[:]))
    return found


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    """Chop a stream at places given modulo its length.

    Args:
        data: the stream.
        cuts: where.
    """
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def stream(frames: list[list[bytes]]) -> bytes:
    """Join the buffers of several frames."""
    return b"".join(b"".join(frame) for frame in frames)


@given(BODIES, st.lists(st.integers(0, 1 << 20)), st.booleans())
def test_any_chopping_gives_the_same_messages(
    bodies: list[tuple[Lane, bytes]], cuts: list[int], sealed: bool
) -> None:
    """Where TCP cuts the stream makes no difference, sealed or not."""
    writer, reader = FrameWriter(), FrameReader()
    if sealed:
        writer.seal, reader.seal = Sealed(KEY), Sealed(KEY)
    frames = [writer.message(lane, n, body) for n, (lane, body) in enumerate(bodies)]
    found = read_all(reader, chop(stream(frames), cuts))
    assert [(m.lane, m.body) for m in found] == bodies


@given(st.binary(max_size=4000), st.lists(st.integers(0, 4000)), st.booleans())
def test_random_bytes_give_nothing_but_protocol_errors(
    data: bytes, cuts: list[int], sealed: bool
) -> None:
    """No garbage raises anything that a caller does not expect."""
    reader = FrameReader()
    if sealed:
        reader.seal = Sealed(KEY)
    with suppress(ProtocolError):
        read_all(reader, chop(data, cuts))


@given(st.binary(min_size=1, max_size=200), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_noticed(body: bytes, place: int, flip: int) -> None:
    """Neither header nor payload nor trailer can change without a ProtocolError."""
    for sealed in (False, True):
        writer, reader = FrameWriter(), FrameReader()
        if sealed:
            writer.seal, reader.seal = Sealed(KEY), Sealed(KEY)
        wire = bytearray(stream([writer.message(Lane.READS, 7, body)]))
        wire[place % len(wire)] ^= flip
        try:
            found = read_all(reader, [bytes(wire)])
        except ProtocolError:
            continue
        assert found == [], "a length that grew waits for more, and gets nothing"


def test_pieces_of_several_messages_come_in_between_each_other() -> None:
    """Each message gets its own pieces, and the last frame's time-out."""
    writer, reader = FrameWriter(), FrameReader()
    frames = [
        writer.frame(Lane.WRITES, 1, b"a", 0, 9),
        writer.frame(Lane.READS, 2, b"x", 0),
        writer.frame(Lane.CONTROL, 3, b"now", LAST),
        writer.frame(Lane.WRITES, 1, b"b", LAST, 5),
        writer.frame(Lane.READS, 2, b"", LAST),
    ]
    assert read_all(reader, [stream(frames)]) == [
        Message(Lane.CONTROL, b"now", 0),
        Message(Lane.WRITES, b"ab", 5),
        Message(Lane.READS, b"x", 0),
    ]


def test_an_aborted_message_leaves_nothing_behind() -> None:
    """After ABORT its number, its room and its place among the begun are free."""
    writer, reader = FrameWriter(), FrameReader()
    for _ in range(3 * PARTIAL_MESSAGES_MAX):
        begun = writer.frame(Lane.WRITES, 1, b"a", 0)
        ended = writer.frame(Lane.WRITES, 1, b"", ABORT)
        assert read_all(reader, [stream([begun, ended])]) == []
    whole = writer.message(Lane.WRITES, 1, b"b")
    assert read_all(reader, [stream([whole])]) == [Message(Lane.WRITES, b"b", 0)]


def test_a_header_of_100_mb_is_refused_before_its_payload() -> None:
    """Fourteen bytes are enough to know."""
    reader = FrameReader()
    reader.feed((100 << 20).to_bytes(4, "big") + bytes(10))
    with pytest.raises(ProtocolError, match="104857600 bytes"):
        reader.read()


@pytest.mark.parametrize(
    ("lane", "flags", "payload"),
    [(5, LAST, b""), (0, 3, b"a"), (0, 0, b""), (0, ABORT, b"a"), (0, ABORT, b"")],
)
def test_what_no_peer_sends_is_refused(lane: int, flags: int, payload: bytes) -> None:
    """Unknown lanes and flags, pieces of nothing, ends without a beginning."""
    header = len(payload).to_bytes(4, "big") + bytes((lane, flags)) + bytes(8)
    sealed = b"".join(FrameReader().seal.close(header, payload))
    with pytest.raises(ProtocolError):
        read_all(FrameReader(), [header + sealed])


def test_a_message_keeps_to_its_lane() -> None:
    """A piece by another lane is refused."""
    writer = FrameWriter()
    frames = [
        writer.frame(Lane.READS, 1, b"a", 0),
        writer.frame(Lane.WRITES, 1, b"b", LAST),
    ]
    with pytest.raises(ProtocolError, match="lane"):
        read_all(FrameReader(), [stream(frames)])


def test_only_so_many_messages_come_in_pieces_at_once() -> None:
    """One more than allowed, in one lane, is refused; another lane has its own."""
    writer, reader = FrameWriter(), FrameReader()
    for number in range(PARTIAL_MESSAGES_MAX):
        for lane in Lane:
            frame = writer.frame(lane, 10 * number + lane, b"a", 0)
            assert read_all(reader, [stream([frame])]) == []
    with pytest.raises(ProtocolError, match="at once"):
        read_all(reader, [stream([writer.frame(Lane.READS, 999, b"a", 0)])])


@pytest.mark.parametrize("size", [100, 101])
def test_a_message_is_bounded(size: int) -> None:
    """In one piece or many, a message over the limit is refused."""
    whole = stream([FrameWriter().message(Lane.READS, 1, bytes(size))])
    writer = FrameWriter()
    pieces = [writer.frame(Lane.READS, 1, bytes(size - 1), 0)]
    pieces.append(writer.frame(Lane.READS, 1, b"\0", LAST))
    for wire in (whole, stream(pieces)):
        if size > 100:
            with pytest.raises(ProtocolError):
                read_all(FrameReader(100), [wire])
        else:
            assert len(read_all(FrameReader(100), [wire])) == 1


def test_a_message_without_an_end_is_refused_when_it_is_too_long() -> None:
    """The limit holds before the last piece comes."""
    writer, reader = FrameWriter(), FrameReader(3 * FRAME_BYTES_MAX)
    frame = stream([writer.frame(Lane.READS, 1, bytes(FRAME_BYTES_MAX), 0)])
    assert read_all(reader, [frame] * 3) == []
    with pytest.raises(ProtocolError, match="too large"):
        read_all(reader, [frame])


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_large_message_is_cut_at_the_frame_limit(extra: int, frames: int) -> None:
    """Around a multiple of the limit neither a byte nor an empty piece comes of it."""
    body = bytes(frames * FRAME_BYTES_MAX + extra)
    reader = FrameReader()
    found = read_all(reader, FrameWriter().message(Lane.READS, 1, body))
    assert [message.body for message in found] == [body]
    assert reader.frames[Lane.READS] == frames + (extra > 0)


def test_sealed_frames_cannot_be_replayed_left_out_or_reordered() -> None:
    """The seal counts: only the next frame opens."""
    writer = FrameWriter()
    writer.seal = Sealed(KEY)
    first, second = (stream([writer.message(Lane.READS, 1, b"x")]) for _ in "12")
    for wire in (first + first, second, second + first):
        reader = FrameReader()
        reader.seal = Sealed(KEY)
        with pytest.raises(ProtocolError, match="seal"):
            read_all(reader, [wire])


def test_keys_and_proofs_depend_on_everything() -> None:
    """Secret, transcript and role each change what comes out."""
    secrets, transcripts, roles = (b"a" * 16, b"b" * 16), (b"1", b"2"), ("d", "a")
    every = [(s, t, r) for s in secrets for t in transcripts for r in roles]
    found = {derive(*one) for one in every} | {prove(*one) for one in every}
    assert len(found) == 2 * len(every)

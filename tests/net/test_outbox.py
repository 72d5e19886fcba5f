"""Tests for `torua.net.outbox`: who goes next, and what is dropped."""

from hypothesis import example, given
from hypothesis import strategies as st

from torua.codec.frames import FRAME_BYTES_MAX, LAST, FrameReader, FrameWriter, Lane
from torua.net import outbox
from torua.net.outbox import PATIENCE_FRAMES, Outbox, Outgoing, Purpose, Stage

SIZES = st.sampled_from([0, 1, 1000, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 300_000])
MESSAGES = st.lists(
    st.tuples(st.sampled_from(Lane), SIZES, st.sampled_from(Purpose)), max_size=40
)


def message(lane: Lane, size: int, purpose: Purpose = Purpose.NOTICE) -> Outgoing:
    """Make a message of so many bytes.

    Args:
        lane: of it.
        size: of it.
        purpose: of it.
    """
    return Outgoing(lane, bytes(size), purpose)


def lanes(box: Outbox) -> list[Lane]:
    """Take all there is, and tell from which lane each piece came."""
    found = []
    while (piece := box.take()) is not None:
        found.append(piece[0].lane)
    return found


@given(st.lists(st.one_of(SIZES, st.none()), max_size=60))
def test_the_control_lane_keeps_its_order(steps: list[int | None]) -> None:
    """Whatever the sizes, and whenever pieces are taken meanwhile (None)."""
    box, put, ended = Outbox(), list[int](), list[int]()
    for step in [*steps, *[None] * 400]:
        if step is not None:
            box.put(message(Lane.CONTROL, step))
            put.append(step)
        elif (piece := box.take()) is not None and piece[2] == LAST:
            ended.append(len(piece[0].body))
    assert ended == put


@example([(Lane.WRITES, n, Purpose.REQUEST) for n in (0, 65537, 65537)], [(2, 1)])
@given(MESSAGES, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 39))))
def test_all_pieces_make_up_all_messages(
    parts: list[tuple[Lane, int, Purpose]], withdrawals: list[tuple[int, int]]
) -> None:
    """The other side's reader gets each message that was not taken back, whole.

    The example: taken back after its turn came, but before its first piece went.
    """
    box, writer, reader = Outbox(), FrameWriter(), FrameReader()
    sent = [message(*part) for part in parts]
    for each in sent:
        box.put(each)
    found = 0
    for step in range(10_000):
        for when, which in withdrawals:
            if when == step and which < len(sent):
                box.withdraw(sent[which])
        piece = box.take()
        if piece is None:
            break
        taken, payload, flags = piece
        frame = writer.frame(taken.lane, taken.number, payload, flags)
        reader.feed(b"".join(frame))
        found += reader.read() is not None
    assert found == sum(each.stage is Stage.SENT for each in sent)
    assert all(each.stage in {Stage.SENT, Stage.DROPPED} for each in sent)
    assert (box.size, box.reply_size) == (0, 0)


def test_the_more_urgent_lane_goes_first() -> None:
    """Whatever was put before."""
    box = Outbox()
    for lane in reversed(Lane):
        box.put(message(lane, 10))
    assert lanes(box) == list(Lane)


def test_no_lane_starves() -> None:
    """Beside an endless urgent lane every other gets its share."""
    box = Outbox()
    for _ in range(100):
        box.put(message(Lane.CONTROL, 10))
    box.put(message(Lane.RECOVERY, 10))
    assert lanes(box).index(Lane.RECOVERY) == PATIENCE_FRAMES


def test_small_messages_of_a_lane_pass_a_large_one_by_turns() -> None:
    """Before each piece of the large one goes a piece's worth of small ones."""
    box = Outbox()
    box.put(message(Lane.WRITES, 10 * FRAME_BYTES_MAX))
    for _ in range(200):
        box.put(message(Lane.WRITES, 100))
    order = []
    while (piece := box.take()) is not None:
        order.append(len(piece[1]))
    assert order.index(FRAME_BYTES_MAX) >= 100
    assert order[-1] == FRAME_BYTES_MAX
    last_small = len(order) - 1 - order[::-1].index(100)
    assert order[:last_small].count(FRAME_BYTES_MAX) <= 2


def test_room_is_made_by_dropping_old_notices_of_lower_lanes() -> None:
    """Requests and more urgent notices stay; no more is dropped than needed."""
    box = Outbox()
    kept = [message(Lane.CONTROL, 10), message(Lane.RECOVERY, 10, Purpose.REQUEST)]
    old, new = message(Lane.RECOVERY, 1000), message(Lane.RECOVERY, 1000)
    for each in (*kept, old, new):
        box.put(each)
    assert box.make_room(Lane.WRITES, box.own_size - 1) == 1
    assert (old.stage, new.stage) == (Stage.DROPPED, Stage.WAITING)
    assert box.make_room(Lane.WRITES, 0) == 1
    assert {each.stage for each in kept} == {Stage.WAITING}


def test_a_cut_gives_up_what_was_begun_and_replies() -> None:
    """Requests and notices that wait may go by the next connection."""
    box = Outbox()
    large = message(Lane.CONTROL, 3 * FRAME_BYTES_MAX)
    reply = message(Lane.READS, 10, Purpose.REPLY)
    waiting = message(Lane.READS, 10, Purpose.REQUEST)
    for each in (large, reply, waiting):
        box.put(each)
    box.take()
    assert box.cut() == 2
    assert box.size == waiting.cost
    assert lanes(box) == [Lane.READS]
    assert waiting.stage is Stage.SENT


def test_a_withdrawn_message_makes_no_second_loss() -> None:
    """Taken back after its first piece, then cut: it is accounted for once."""
    box = Outbox()
    large = message(Lane.READS, 3 * FRAME_BYTES_MAX)
    box.put(large)
    box.take()
    assert box.withdraw(large)
    assert box.cut() == 0
    assert (box.size, box.clear()) == (0, 0)


def test_a_begun_message_that_is_taken_back_never_arrives() -> None:
    """Its other pieces are not sent; the other side forgets it."""
    box, writer, reader = Outbox(), FrameWriter(), FrameReader()
    large = message(Lane.READS, 3 * FRAME_BYTES_MAX)
    box.put(large)
    sent = 0
    while (piece := box.take()) is not None:
        box.withdraw(large)
        taken, payload, flags = piece
        sent += len(payload)
        reader.feed(b"".join(writer.frame(taken.lane, taken.number, payload, flags)))
        assert reader.read() is None
    assert sent == FRAME_BYTES_MAX
    assert large.stage is Stage.DROPPED


def test_numbers_wrap_around_without_a_zero() -> None:
    """0 is for heartbeats."""
    box = Outbox()
    box._number = outbox.NUMBER_MAX - 1
    pair = [message(Lane.READS, 1), message(Lane.READS, 1)]
    for each in pair:
        box.put(each)
    assert [each.number for each in pair] == [outbox.NUMBER_MAX, 1]

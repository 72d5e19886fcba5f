"""The change feed: each change once, over any number of connections."""

import json
import time
from threading import Event as Signal
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fakes import DROP, HANG, FakeNode, Says, problem
from torua.client import Change, Client, GoneError, Retry, UnexpectedAnswerError
from torua.client.events import EVENT_BYTES_MAX, Event, EventReader

pytestmark = pytest.mark.integration

QUICK = Retry(attempts=4, base_s=0.001, cap_s=0.002)


def put(number: int) -> bytes:
    """Spell the event of a put; its id is ``i`` and the number."""
    data = json.dumps({"key": "k", "version": number, "value": "é"})
    return f"id: i{number}\nevent: put\ndata: {data}\n\n".encode()


def stream(*pieces: bytes, cut: bool = False) -> Says:
    """Answer with a feed, which ends or breaks.

    Args:
        pieces: of the feed.
        cut: whether the last byte is missing.
    """
    body = b": torua change feed\n\n" + b"".join(pieces)
    headers = {"Content-Type": "text/event-stream"}
    return Says(200, body, headers, len(body) - 1 if cut else None)


def last_ids(*nodes: FakeNode) -> list[str | None]:
    """Return the places that nodes were asked to go on from."""
    return [
        each.headers.get("last-event-id", None) for node in nodes for each in node.heard
    ]


def test_changes_come_as_values(node: FakeNode) -> None:
    """Puts of text and of bytes, deletes; comments and unknown events are left out."""
    binary = b'id: b\nevent: put\ndata: {"key":"k","version":2,"value_base64":"/w=="}'
    gone = b'id: c\nevent: delete\ndata: {"key":"k","version":3}'
    news = b": still here\nid: d\n\nevent: news\ndata: 1\nid: e\n\n"
    node.script.append(stream(put(1), binary, b"\n\n", news, gone, b"\n\n"))
    with Client(node.url).kv.changes("p/", since="earliest") as changes:
        found = [next(changes) for _ in range(3)]
    assert found == [
        Change("put", "k", 1, "é".encode(), "i1"),
        Change("put", "k", 2, b"\xff", "b"),
        Change("delete", "k", 3, None, "c"),
    ]
    asked = parse_qs(urlsplit(node.heard[0].path).query)
    assert asked == {"prefix": ["p/"], "since": ["earliest"]}


def test_it_goes_on_where_it_broke_at_another_node(
    node: FakeNode, other: FakeNode
) -> None:
    """In the middle of an event, at an end in good order, after a place alone."""
    place = b": still here\nid: i3b\n\n"
    answers = [
        stream(put(1), put(2), cut=True),
        stream(put(2), put(3), place),
        stream(put(4)),
    ]
    node.usual = other.usual = lambda _: answers.pop(0) if answers else HANG
    client = Client([node.url, other.url], retry=QUICK)
    with client.kv.changes(since="i0") as changes:
        assert [next(changes).version for _ in range(4)] == [1, 2, 3, 4]
        assert changes.id == "i4"
    assert sorted(str(each) for each in last_ids(node, other)) == ["i0", "i1", "i3b"]
    assert node.heard
    assert other.heard


def test_a_feed_from_now_on_goes_on_from_the_first_place(node: FakeNode) -> None:
    """The place that is told at once counts, though nothing has changed yet."""
    node.script.extend([stream(b"id: n\n\n"), DROP, stream(put(1))])
    with Client(node.url, retry=QUICK).kv.changes() as changes:
        assert next(changes).version == 1
    assert last_ids(node) == [None, "n", "n"]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_the_logs_no_longer_have_is_told(node: FakeNode, at_once: bool) -> None:
    """By an answer or by an event: with the place that they still have."""
    event = b'event: gone\ndata: {"earliest":"i9"}\n\n'
    node.usual = problem(410, "gone", earliest="i9") if at_once else stream(event)
    changes = Client(node.url).kv.changes(since="i1")
    with pytest.raises(GoneError) as caught:
        next(changes)
    assert (caught.value.earliest, caught.value.status) == ("i9", 410)


def test_a_feed_that_nobody_serves_is_an_error_and_can_be_tried_again(
    node: FakeNode,
) -> None:
    """From the same place."""
    node.script.extend([problem(503)] * 4)
    node.usual = stream(put(2))
    changes = Client(node.url, retry=QUICK).kv.changes(since="i1")
    with pytest.raises(Exception, match="503"):
        next(changes)
    assert next(changes).version == 2
    assert set(last_ids(node)) == {"i1"}
    changes.close()


def test_closing_ends_a_wait_in_another_thread(node: FakeNode) -> None:
    """Without an error; and what is closed stays so."""
    began = Signal()
    found: list[int] = []
    body = put(1) + b" " * 64
    node.usual = Says(200, body, cut=len(body) - 1, holds=True)
    changes = Client(node.url).kv.changes()

    def follow() -> None:
        """Take all that comes."""
        for change in changes:
            found.append(change.version)
            began.set()

    thread = Thread(target=follow)
    thread.start()
    assert began.wait(5)
    closed_at = time.monotonic()
    changes.close()
    thread.join(5)
    assert time.monotonic() - closed_at < 5
    assert not thread.is_alive()
    assert found == [1]
    assert list(changes) == []


events = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", ""]), st.text("ab é{}:"), st.text("xyz")
    )
)


@given(events=events, data=st.data())
def test_events_are_the_same_in_any_pieces(
    events: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    """However the network cuts them."""
    spelled = "".join(
        f"id: {id}\n" + (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
        for name, text, id in events
    ).encode()
    reader, found, place = EventReader(), [], 0
    while place < len(spelled):
        size = data.draw(st.integers(1, 20))
        found += list(reader.feed(spelled[place : place + size]))
        place += size
    assert found == [Event(name, text, id) for name, text, id in events]


def test_an_event_without_an_end_is_refused() -> None:
    """A stream of something else does not fill the memory."""
    reader = EventReader()
    piece = b"x" * (EVENT_BYTES_MAX // 4)
    with pytest.raises(UnexpectedAnswerError):
        for _ in range(5):
            list(reader.feed(piece))

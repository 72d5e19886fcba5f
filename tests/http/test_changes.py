"""The change feed over HTTP."""

import pytest

from tests.http.fakes import FakeBatch
from tests.http.wire import Wire, World, request
from torua.core.changes import Change
from torua.errors import GoneError
from torua.http import limits

PUT = Change(b"k", 7, b"v", 7, 0)
BINARY = Change(b"b", 8, b"\xff", 8, 0)
DELETE = Change("ä\n".encode(), 9, None, 9, 0)


def listen(world: World, target: str = "/changes", **headers: str) -> Wire:
    """Open a feed.

    Args:
        world: with the site.
        target: path and query.
        headers: of the request.
    """
    wire = world.connect()
    wire.send(request("GET", target, b"", **headers))
    return wire


def heard(wire: Wire) -> list[str]:
    """Return the chunks that came since, without what frames them."""
    data = wire.value().decode()
    wire.clear()
    data = data.split("\r\n\r\n", 1)[1] if data.startswith("HTTP/") else data
    chunks = []
    while data:
        size, _, rest = data.partition("\r\n")
        count = int(size, 16)
        chunks.append(rest.encode()[:count].decode())
        data = rest.encode()[count + 2 :].decode()
    return chunks


def test_events_are_told_as_they_come() -> None:
    """Each with its place, its kind and its data; deletes have no value."""
    world = World()
    wire = listen(world)
    head = wire.value().partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 200")
    assert b"content-type: text/event-stream" in head
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert heard(wire) == [": torua change feed\n\nid: begin\n\n"]
    events = ((PUT, "c1"), (BINARY, "c2"), (DELETE, "c3"))
    world.feeds.feed.batches.put(FakeBatch(events))
    assert heard(wire) == [
        'id: c1\nevent: put\ndata: {"key":"k","version":7,"value":"v"}\n\n'
        'id: c2\nevent: put\ndata: {"key":"b","version":8,"value_base64":"/w=="}\n\n'
        'id: c3\nevent: delete\ndata: {"key":"ä\\n","version":9}\n\n'
    ]


def test_silence_is_a_comment_that_moves_the_place() -> None:
    """A client that reconnects after a quiet day does not fall behind the log."""
    world = World()
    wire = listen(world)
    heard(wire)
    world.feeds.feed.batches.put(FakeBatch(cursor="c9"))
    assert heard(wire) == [": still here\nid: c9\n\n"]


def test_a_feed_that_cannot_go_on_says_from_where_on_it_could() -> None:
    """And ends, in good order."""
    world = World()
    wire = listen(world)
    heard(wire)
    world.feeds.feed.batches.put(FakeBatch(gone="e1"))
    assert heard(wire) == ['event: gone\ndata: {"earliest":"e1"}\n\n', ""]
    assert world.feeds.feed.closed == 1
    wire.send(request("GET", "/health"))
    assert wire.responses()[0].status == 200


def test_the_last_event_goes_before_since() -> None:
    """A browser that reconnects sends both, and means where it is."""
    world = World()
    listen(world, "/changes?prefix=a%2F&since=s")
    listen(world, "/changes?since=s", Last_Event_ID="l")
    listen(world)
    assert world.feeds.asked == [(b"a/", "s"), (b"", "l"), (b"", "")]


def test_a_place_that_is_gone_is_410_with_the_earliest() -> None:
    """The client decides whether to begin there."""
    world = World()
    world.feeds.failure = GoneError("no longer", earliest="e1")
    response = world.ask("GET", "/changes?since=s")
    assert response.status == 410
    assert response.json["earliest"] == "e1"
    assert response.json["type"] == "urn:torua:problem:gone"


def test_head_opens_no_feed() -> None:
    """It tells the type and ends."""
    world = World()
    response = world.ask("HEAD", "/changes")
    assert response.headers["content-type"] == "text/event-stream"
    assert world.feeds.asked == []


def test_a_client_that_goes_closes_the_feed() -> None:
    """Nothing is read for nobody."""
    world = World()
    wire = listen(world)
    assert world.feeds.feed.asked == 1
    wire.hang_up()
    assert world.feeds.feed.closed == 1
    assert world.clock.getDelayedCalls() == []


def test_nothing_is_read_for_a_client_that_takes_nothing() -> None:
    """Its feed rests until it takes on, or is cut off after a while."""
    world = World()
    wire = listen(world)
    assert wire.producer is not None
    wire.producer.pauseProducing()
    for _ in range(3):
        world.feeds.feed.batches.put(FakeBatch(((PUT, "c1"),)))
    assert world.feeds.feed.asked == 1
    wire.producer.resumeProducing()
    assert world.feeds.feed.asked == 4
    wire.producer.pauseProducing()
    world.clock.advance(limits.STALL_S)
    assert wire.aborted
    wire.hang_up()
    assert world.feeds.feed.closed == 1
    assert world.clock.getDelayedCalls() == []


def test_a_site_that_drains_ends_its_feeds() -> None:
    """A node that stops does not wait for clients that listen for ever."""
    world = World()
    wire = listen(world)
    heard(wire)
    drained = world.site.drain()
    assert heard(wire) == [""]
    assert wire.disconnecting
    wire.hang_up()
    assert drained.called
    assert world.feeds.feed.closed == 1


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_old_client_is_told_until_the_connection_ends(version: str) -> None:
    """HTTP/1.0 has no chunks."""
    world = World()
    wire = world.connect()
    wire.send(f"GET /changes HTTP/{version}\r\nHost: x\r\n\r\n".encode())
    world.feeds.feed.batches.put(FakeBatch(gone="e1"))
    assert b'data: {"earliest":"e1"}\n\n' in wire.value()
    assert (b"chunked" in wire.value()) is (version == "1.1")
    assert wire.disconnecting is (version == "1.0")

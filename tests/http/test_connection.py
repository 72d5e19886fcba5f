"""Connections: bounds, refusals, slow clients, pipelines, garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import ITCPTransport
from zope.interface import directlyProvides

from tests.http.wire import Wire, World, held, request
from torua.core.kv import VALUE_BYTES_MAX
from torua.http import limits


def put_head(length: int, *more: str) -> bytes:
    """Spell the head of a PUT whose body has ``length`` bytes.

    Args:
        length: as it is declared.
        more: further headers.
    """
    head = ["PUT /kv/k HTTP/1.1", "Host: x", f"Content-Length: {length}", *more]
    return "\r\n".join([*head, "\r\n"]).encode()


CHUNKED = b"PUT /kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_declared_too_large_is_refused_at_once() -> None:
    """413 comes before the body, the connection closes, and no 100 is sent."""
    wire = World().connect()
    wire.send(put_head(VALUE_BYTES_MAX + 1, "Expect: 100-continue"))
    assert b"100 Continue" not in wire.value()
    (response,) = wire.responses("PUT")
    assert response.status == 413
    assert response.headers["connection"] == "close"
    assert response.headers["content-type"] == "application/problem+json"
    assert wire.disconnecting


def test_a_refused_body_is_not_taken_for_requests() -> None:
    """What is still coming of it is dropped."""
    wire = World().connect()
    wire.send(put_head(VALUE_BYTES_MAX + 1))
    wire.send(request("GET", "/kv/k"))
    assert len(wire.responses("PUT")) == 1


@pytest.mark.parametrize("head", [put_head(VALUE_BYTES_MAX + 1), b"not HTTP\r\n"])
def test_a_refused_connection_lingers_for_a_while(head: bytes) -> None:
    """It is closed for writing at once, and drained until its time is over."""
    world = World()
    wire = world.connect()
    directlyProvides(wire, ITCPTransport)
    wire.send(head)
    assert len(wire.responses("PUT")) == 1
    assert (wire.half_closed, wire.aborted) == (True, False)
    wire.send(b"x" * (1 << 20))
    assert wire.producerState == "producing"
    world.clock.advance(limits.LINGER_S)
    assert wire.aborted
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []
    assert world.metric("torua_http_held_bytes") == 0


def test_a_body_of_the_largest_size_is_taken() -> None:
    """The limit holds to the byte."""
    world = World()
    value = b"v" * VALUE_BYTES_MAX
    assert world.ask("PUT", "/kv/k", value).status == 204
    assert world.ask("GET", "/kv/k").body == value


def test_a_body_that_is_wanted_is_asked_for() -> None:
    """A client that waits for 100 gets it when its headers are fine."""
    wire = World().connect()
    wire.send(put_head(1, "Expect: 100-continue"))
    assert wire.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"v")
    assert wire.responses("PUT")[0].status == 204


def test_chunks_are_taken() -> None:
    """A body without a length is put together from its chunks."""
    world = World()
    wire = world.connect()
    wire.send(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert wire.responses("PUT")[0].status == 204
    assert world.key_value.entries[b"k"].value == b"abcde"


def test_chunks_are_cut_when_they_pass_the_limit() -> None:
    """A body without a length is refused once it has become too large."""
    world = World()
    wire = world.connect()
    wire.send(CHUNKED)
    piece = b"100000\r\n" + b"v" * (1 << 20) + b"\r\n"
    for _ in range(16):
        wire.send(piece)
    assert wire.value() == b""
    assert world.metric("torua_http_held_bytes") == VALUE_BYTES_MAX
    wire.send(piece)
    (response,) = wire.responses("PUT")
    assert response.status == 413
    assert wire.disconnecting
    assert world.metric("torua_http_held_bytes") == 0
    assert world.key_value.calls == []


def test_a_route_without_a_body_drops_a_small_one() -> None:
    """It keeps the connection; a large one is refused."""
    assert (
        World().ask("GET", "/health", b"x" * limits.OTHER_BODY_BYTES_MAX).status == 200
    )
    large = b"x" * (limits.OTHER_BODY_BYTES_MAX + 1)
    assert World().ask("DELETE", "/kv/k", large).status == 413


def test_an_unknown_path_says_so_whatever_the_body() -> None:
    """404 and 405 come before 413."""
    head = put_head(1 << 40)
    for old, new, status in (
        (b"/kv/k", b"/nope", 404),
        (b"PUT /kv/k", b"PATCH /kv/k", 405),
    ):
        wire = World().connect()
        wire.send(head.replace(old, new))
        assert wire.responses("PUT")[0].status == status


def test_bodies_held_at_once_are_bounded() -> None:
    """Over the bound there is 429; what is let go makes room again."""
    world = World(held_bytes_max=10)
    first, second, third = world.connect(), world.connect(), world.connect()
    first.send(put_head(9) + b"12345678")
    second.send(put_head(5))
    (response,) = second.responses("PUT")
    assert response.status == 429
    assert response.headers["retry-after"] == "1"
    third.send(CHUNKED + b"3\r\nabc\r\n")
    world.clock.advance(0.1)
    assert third.responses("PUT")[0].status == 429
    first.hang_up()
    assert world.ask("PUT", "/kv/k", b"0123456789").status == 204
    assert world.metric("torua_http_held_bytes") == 0


def test_a_body_is_held_until_it_was_served() -> None:
    """A client that goes does not free what a handler still works on."""
    world = World()
    world.key_value.gate = gate = held()
    wire = world.connect()
    wire.send(request("PUT", "/kv/k", b"v" * 100))
    wire.hang_up()
    assert world.metric("torua_http_held_bytes") == 100
    assert world.metric("torua_http_requests_in_flight") == 1
    gate.callback(None)
    assert world.metric("torua_http_held_bytes") == 0
    assert world.metric("torua_http_requests_in_flight") == 0
    assert world.key_value.entries[b"k"].value == b"v" * 100


def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that come in one piece are served one after the other."""
    world = World()
    wire = world.connect()
    wire.send(
        request("PUT", "/kv/a", b"1")
        + request("GET", "/kv/a")
        + request("DELETE", "/kv/a")
        + request("GET", "/nope")
        + request("GET", "/kv/a")
    )
    responses = wire.responses("PUT", "GET", "DELETE", "GET", "GET")
    assert [each.status for each in responses] == [204, 200, 204, 404, 404]
    assert not wire.disconnecting


def test_a_pipelined_request_waits_for_the_one_before() -> None:
    """Nothing overtakes a request that takes its time."""
    world = World()
    world.key_value.gate = gate = held()
    wire = world.connect()
    wire.send(request("PUT", "/kv/a", b"1") + request("GET", "/health"))
    assert wire.value() == b""
    gate.callback(None)
    assert [each.status for each in wire.responses("PUT")] == [204, 200]


def test_a_request_may_come_byte_by_byte() -> None:
    """How it is cut into packets does not matter."""
    world = World()
    wire = world.connect()
    for byte in request("PUT", "/kv/a", b"xyz") * 2:
        wire.send(bytes([byte]))
    assert [each.status for each in wire.responses("PUT", "PUT")] == [204, 204]
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_a_client_that_asks_to_close_is_closed() -> None:
    """HTTP/1.0 and Connection: close end the connection after the answer."""
    for head in (
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ):
        wire = World().connect()
        wire.send(head)
        assert b" 200 OK\r\n" in wire.value()
        assert wire.disconnecting


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED.replace(b"chunked", b"gzip"),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"),
        CHUNKED + b"zz\r\n",
        CHUNKED + b"1\r\nvv\r\n",
    ],
)
def test_what_is_not_http_is_refused_as_a_problem(data: bytes) -> None:
    """One 400, as a problem with an id, and the connection closes."""
    wire = World().connect()
    wire.send(data)
    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    (response,) = wire.responses()
    assert response.status == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == response.json["request_id"] == "fresh"
    assert wire.disconnecting


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /kv?after=" + b"a" * 13_000 + b" HTTP/1.1\r\n", 414),
        (b"GET /" + b"a" * 30_000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 30_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000, 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 9000 + b"\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"A: " + b"b" * 9000 + b"\r\n") * 3, 431),
    ],
)
def test_a_head_is_bounded(data: bytes, status: int | None) -> None:
    """Long targets, long lines and many of them are refused before they are held."""
    wire = World().connect()
    wire.send(data)
    assert [each.status for each in wire.responses()] == ([status] if status else [])


@given(data=st.lists(st.one_of(st.binary(), st.just(b"\r\n"), st.just(CHUNKED))))
def test_garbage_never_raises(data: list[bytes]) -> None:
    """Whatever arrives, nothing is raised, and no answer is a mistake of ours."""
    world = World()
    wire = world.connect()
    for piece in data:
        wire.send(piece)
    assert all(each.status < 500 for each in wire.responses("PUT"))
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_a_client_slow_with_its_head_is_told_so() -> None:
    """A byte now and then does not hold a connection."""
    world = World()
    wire = world.connect()
    for _ in range(4):
        wire.send(b"G")
        world.clock.advance(limits.HEADERS_S / 4)
    assert wire.responses()[0].status == 408
    assert wire.disconnecting


def test_a_client_slow_with_its_body_is_told_so() -> None:
    """A body has a time that grows with its length."""
    world = World()
    wire = world.connect()
    wire.send(put_head(10 * limits.BODY_BYTES_PER_S))
    world.clock.advance(limits.BODY_S)
    assert wire.value() == b""
    world.clock.advance(10)
    assert wire.responses("PUT")[0].status == 408
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_the_next_request_has_its_own_time() -> None:
    """The time of a pipelined request begins after the answer to the one before."""
    world = World()
    wire = world.connect()
    wire.send(request("GET", "/health") + b"GET /hea")
    assert len(wire.responses()) == 1
    world.clock.advance(limits.HEADERS_S)
    wire.send(b"l")
    assert wire.value() == b""
    world.clock.advance(limits.HEADERS_S)
    assert wire.responses()[0].status == 408


def test_an_idle_connection_is_closed_without_a_word() -> None:
    """A kept connection has its time, and is cut off where it does not close."""
    world = World()
    wire = world.connect()
    wire.send(request("GET", "/health"))
    wire.clear()
    world.clock.advance(limits.IDLE_S)
    assert wire.disconnecting
    assert wire.value() == b""
    world.clock.advance(15)
    assert wire.aborted


def test_a_slow_handler_is_waited_for() -> None:
    """No time runs while it is we who are slow."""
    world = World()
    world.key_value.gate = gate = held()
    wire = world.connect()
    wire.send(request("GET", "/kv/k"))
    world.clock.advance(1000)
    gate.callback(None)
    assert wire.responses()[0].status == 404


def test_a_large_answer_goes_out_as_it_is_taken() -> None:
    """While the client takes nothing, nothing more is written."""
    world = World()
    value = bytes(range(256)) * 4096
    world.ask("PUT", "/kv/k", value)
    wire = world.connect()
    wire.send(b"")
    channel = wire.channel
    write = wire.write
    writes: list[int] = []

    def choke(data: bytes) -> None:
        """Take a piece, then have enough."""
        write(data)
        if len(data) == limits.PIECE_BYTES:
            writes.append(len(data))
            channel.pauseProducing()

    wire.write = choke  # type: ignore[method-assign]
    wire.send(request("GET", "/kv/k") + request("GET", "/health"))
    assert len(writes) == 1
    while len(writes) < len(value) // limits.PIECE_BYTES:
        world.clock.advance(limits.STALL_S - 1)
        channel.resumeProducing()
    world.clock.advance(limits.STALL_S - 1)
    channel.resumeProducing()
    got, health = wire.responses()
    assert got.body == value
    assert health.status == 200
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_answers_that_nobody_takes_are_bounded() -> None:
    """Clients that read nothing cannot have a node hold any number of values."""
    size = 2 * limits.PIECE_BYTES
    world = World(unread_bytes_max=2 * size)
    world.ask("PUT", "/kv/k", b"v" * size)
    wires = [Choked(world.site) for _ in range(3)]
    for wire in wires:
        wire.send(request("GET", "/kv/k"))
    refused = wires[2].responses()[0]
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert world.metric("torua_http_unread_bytes") == 2 * size
    for wire in wires:
        wire.hang_up()
    assert world.metric("torua_http_unread_bytes") == 0
    assert len(world.ask("GET", "/kv/k").body) == size


class Choked(Wire):
    """A client that has enough with each piece.

    Invariants: those of `Wire`.
    """

    def write(self, data: bytes) -> None:
        """Take one piece, and no more."""
        super().write(data)
        self.channel.pauseProducing()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_takes_nothing_is_given_up(leaves: bool) -> None:
    """A large answer is kept for a while only, or until the client goes."""
    world = World()
    world.ask("PUT", "/kv/k", b"v" * (1 << 20))
    wire = world.connect()
    write = wire.write

    def choke(data: bytes) -> None:
        """Have enough at once."""
        write(data)
        wire.channel.pauseProducing()

    wire.write = choke  # type: ignore[method-assign]
    wire.send(request("GET", "/kv/k"))
    if not leaves:
        world.clock.advance(limits.STALL_S)
        assert wire.aborted
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_connections_are_bounded_and_counted() -> None:
    """One too many is closed at once; one that goes makes room."""
    world = World(connections_max=2)
    first, _ = world.connect(), world.connect()
    assert world.metric("torua_http_connections") == 2
    assert world.site.buildProtocol(None) is None
    assert world.metric("torua_http_refused_connections_total") == 1
    first.hang_up()
    assert world.metric("torua_http_connections") == 1
    assert world.connect().channel is not None


def test_only_http_1_is_negotiated() -> None:
    """Over TLS nothing is promised that is not served."""
    assert World().site.acceptableProtocols() == [b"http/1.1"]

"""The short way for plain requests: it must not be told from the careful one."""

import re
from unittest.mock import patch
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from twisted.internet.defer import Deferred

from tests.http.wire import World, held, request
from torua.errors import UnavailableError
from torua.http import hot, limits
from torua.http.connection import Channel

DATE = re.compile(rb"Date: [^\r]*")
TIMES = re.compile(r".*(_created|_duration_seconds|process_|turn_seconds).*\n")

NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "a/b", "a%2Fb", "%", "%zz", "%ff", "", "é", "a#b", "a;b"]
    ),
    st.text('ab/%?=&+.;:{}|^~\\"<>[]` \t\x00', max_size=6),
    st.text(max_size=5).map(lambda text: quote(text, safe="/")),
)
QUERIES = st.one_of(
    st.just(""),
    st.sampled_from(
        ["?", "?ttl=5", "?ttl=-1", "?ttl=1&ttl=2", "?timeout_ms=100", "?timeout_ms=0"]
    ),
    st.sampled_from(["session", "any", "no", "bounded", "bounded&max_staleness=9"]).map(
        "?consistency={}".format
    ),
    st.sampled_from(["?a=%", "?%41=+"]),
)
ODD_LINES = [
    *"""
    Connection: close|connection: Keep-Alive|Connection: keep-alive, close
    If-Match: *|If-Match: "1"|If-None-Match: "1"|If-None-Match: *|If-Match: W/"1", "x"
    If-Match: 1|Idempotency-Key: k|Idempotency-Key: é|Idempotency-Key: |Range: x
    X-Request-Id: mine-1|X-Request-Id: not sane|x-request-id: two
    Content-Type: text/plain|Content-Encoding: gzip|Content-Encoding: identity
    Content-Range: x|Expect: 100-continue|Upgrade: h2c|Transfer-Encoding: chunked
    Transfer-Encoding: identity|Host: y|Content-Length: 1|Content-Length: +1
    Content-Length : 1|Cookie: a=b|Torua-Token: MC5oLjE|Torua-Token: no|No colon
    traceparent: x|X:
    """.strip()
    .replace("\n    ", "|")
    .split("|"),
    "Content-Type: " + "x" * 300,
    "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    " folded",
    "\tfolded",
    "Bad\x0bname: x",
    "X: a\x00b",
    "X: a\rb",
    "X: a\nb",
    "X:\t a \t",
]
LINES = st.one_of(st.sampled_from(ODD_LINES), st.text("aX-: \t\x7fé,", max_size=8))
METHODS = st.sampled_from(["GET", "GET", "PUT", "PUT", "DELETE", "HEAD", "POST", "get"])
VERSIONS = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "http/1.1"])
BODIES = st.one_of(st.just(b""), st.binary(max_size=8))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Spell a request, most of them nearly plain."""
    method, body = draw(METHODS), draw(BODIES)
    prefix = draw(st.sampled_from(["/kv/"] * 8 + ["/kv", "//kv/", "http://x/kv/"]))
    first = f"{method} {prefix}{draw(NAMES)}{draw(QUERIES)} {draw(VERSIONS)}"
    lines = [first, "Host: x", *draw(st.lists(LINES, max_size=2))]
    if body or method == "PUT":
        lines.append(
            f"Content-Length: {draw(st.sampled_from([0, 0, 0, 1, -1])) + len(body)}"
        )
    return "\r\n".join([*lines, "\r\n"]).encode() + body


class Twins:
    """The same site twice: one with the short way, one without.

    Invariants: both have seen the same bytes, on as many connections.
    """

    def __init__(
        self, held_bytes_max: int = limits.HELD_BYTES_MAX, *, admission: bool = False
    ) -> None:
        """Make both, and connect to them.

        Args:
            held_bytes_max: how many bytes of bodies they hold.
            admission: whether they refuse what is too much.
        """
        self.worlds = tuple(
            World(held_bytes_max=held_bytes_max, admission=admission) for _ in range(2)
        )
        self.worlds[1].site.protocol = Channel
        self.connect()

    def connect(self) -> None:
        """Open a connection to both."""
        self.wires = [world.connect() for world in self.worlds]

    def send(self, data: bytes) -> bytes:
        """Send to both; the answers must be the same but for the date."""
        for wire in self.wires:
            wire.send(data)
        return self.compare()

    def compare_metrics(self) -> None:
        """Compare all that is counted, but times."""
        metrics = [
            sorted(TIMES.sub("", generate_latest(world.registry).decode()).split("\n"))
            for world in self.worlds
        ]
        assert metrics[0] == metrics[1]

    def hold(self) -> list["Deferred[None]"]:
        """Have handlers of both wait."""
        gates = [held(), held()]
        for world, gate in zip(self.worlds, gates, strict=True):
            world.key_value.gate = gate
        return gates

    def let_go(self, gates: list["Deferred[None]"]) -> bytes:
        """Have handlers go on; the answers must be the same."""
        for gate in gates:
            gate.callback(None)
        return self.compare()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, so that timers that are armed anew run as well."""
        while seconds > 0 and not self.wires[0].disconnecting:
            for world in self.worlds:
                world.clock.advance(min(1.0, seconds))
            seconds -= 1.0
        self.compare()

    def compare(self) -> bytes:
        """Compare what was answered, and what else can be seen; return the answer."""
        short, careful = self.wires
        answers = [DATE.sub(b"Date: now", wire.value()) for wire in self.wires]
        assert answers[0] == answers[1]
        assert short.disconnecting == careful.disconnecting
        assert short.aborted == careful.aborted
        seen = [
            (world.key_value.writes, world.key_value.calls) for world in self.worlds
        ]
        assert seen[0] == seen[1]
        for wire in self.wires:
            wire.clear()
        return answers[0]


@given(pieces=st.lists(requests(), min_size=1, max_size=5))
def test_both_ways_answer_alike(pieces: list[bytes]) -> None:
    """Whole answers, metrics and what handlers saw are the same, whatever is asked."""
    twins = Twins()
    for piece in pieces:
        twins.send(piece)
        if twins.wires[0].disconnecting:
            twins.connect()
    twins.compare_metrics()


@pytest.mark.parametrize("line", ODD_LINES)
def test_each_odd_line_is_understood_alike(line: str) -> None:
    """Alone, twice, and beside a body that is there or not."""
    for method, body in (("GET", b""), ("PUT", b"v"), ("PUT", b"1\r\nv\r\n0\r\n\r\n")):
        for lines in ([line], [line, line], [f"Content-Length: {len(body)}", line]):
            twins = Twins()
            head = "\r\n".join([f"{method} /kv/a HTTP/1.1", "Host: x", *lines, "\r\n"])
            twins.send(head.encode() + body)
            if not twins.wires[0].disconnecting:
                twins.send(request("GET", "/kv/a"))
            twins.compare_metrics()


@given(
    pieces=st.lists(requests(), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    data=st.data(),
)
def test_both_ways_answer_alike_however_it_is_cut(
    pieces: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    """Requests that come joined, in parts, or while another waits, are the same."""
    twins = Twins()
    gates = twins.hold() if data.draw(st.booleans()) else []
    stream, at = b"".join(pieces), 0
    for cut in [*sorted(cuts), len(stream)]:
        if cut > at:
            twins.send(stream[at:cut])
            at = cut
    twins.let_go(gates)
    if data.draw(st.booleans()) and not twins.wires[0].disconnecting:
        for wire in twins.wires:
            wire.hang_up()
    twins.pass_time(70)
    twins.compare_metrics()


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/kv/a"),
        request("GET", "/kv/a%20b?consistency=any", Accept="*/*"),
        request("HEAD", "/kv/a", Connection="Keep-Alive"),
        request("PUT", "/kv/a", b"v", Content_Type="text/plain"),
        request("DELETE", "/kv/a", If_Match='"1"', X_Request_Id="x"),
    ],
)
def test_plain_requests_take_the_short_way(data: bytes) -> None:
    """What nearly all requests look like is not read by the careful way at all."""
    wire = World().connect()
    with patch.object(Channel, "dataReceived", side_effect=AssertionError):
        wire.send(data)
    assert wire.value().startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("cut", [50, 51, 60])
def test_a_body_may_come_behind_its_head(cut: int) -> None:
    """In another piece, and the beginning of the next request with it."""
    data = request("PUT", "/kv/a", b"v" * 20)
    assert data.index(b"v" * 20) == 51
    twins = Twins()
    with patch.object(Channel, "lineReceived", side_effect=AssertionError):
        short = twins.wires[0]
        short.send(data[: max(cut, 51)])
        short.send(data[max(cut, 51) :])
    assert b" 204 " in short.value()
    twins = Twins()
    twins.send(data[:cut])
    assert b" 204 " in twins.send(data[cut:] + request("GET", "/kv/a")[:9])
    assert b" 200 " in twins.send(request("GET", "/kv/a")[9:])
    twins.compare_metrics()


def test_a_body_that_does_not_come_is_told_so() -> None:
    """In the same time; nothing of it stays held."""
    twins = Twins()
    data = request("PUT", "/kv/a", b"v" * 20)
    twins.send(data[:-1])
    assert twins.worlds[0].metric("torua_http_held_bytes") == 19
    for world in twins.worlds:
        world.clock.advance(limits.BODY_S + 1)
    assert b" 408 " in twins.compare()
    twins.send(b"v")
    for wire in twins.wires:
        wire.hang_up()
    assert twins.worlds[0].metric("torua_http_held_bytes") == 0
    twins.compare_metrics()


def test_a_body_that_outgrows_the_room_is_refused_alike() -> None:
    """Where others came between, the rest of it finds none."""
    twins = Twins(held_bytes_max=100)
    first, data = twins.wires, request("PUT", "/kv/a", b"v" * 60)
    twins.send(data[:-50])
    twins.connect()
    twins.send(request("PUT", "/kv/b", b"v" * 85)[:-1])
    twins.wires = first
    assert b" 429 " in twins.send(data[-50:])
    twins.compare_metrics()


@pytest.mark.parametrize("size", [limits.PIECE_BYTES, limits.PIECE_BYTES + 1, 1 << 20])
def test_large_answers_are_alike(size: int) -> None:
    """A value that is written in pieces is, and the connection goes on after it."""
    twins = Twins()
    twins.send(request("PUT", "/kv/a", b"v" * size))
    twins.send(request("HEAD", "/kv/a"))
    assert len(twins.send(request("GET", "/kv/a"))) > size
    assert twins.send(request("GET", "/health")).startswith(b"HTTP/1.1 200")


def test_failures_are_alike() -> None:
    """Trouble, expected or not, is answered the same way."""
    twins = Twins()
    for failure in (UnavailableError("no", shard=1), ValueError("ours")):
        for world in twins.worlds:
            world.key_value.failure = failure
        twins.send(request("GET", "/kv/a"))


def test_bodies_are_accounted_for() -> None:
    """A body is held until it was served, though its client went; more gets 429."""
    twins = Twins(held_bytes_max=100)
    assert b" 429 " in twins.send(request("PUT", "/kv/a", b"v" * 101))
    twins.connect()
    gates = twins.hold()
    twins.send(request("PUT", "/kv/a", b"v" * 100))
    for wire, world in zip(twins.wires, twins.worlds, strict=True):
        wire.hang_up()
        assert world.metric("torua_http_held_bytes") == 100
    twins.let_go(gates)
    assert twins.worlds[0].metric("torua_http_held_bytes") == 0


def test_a_site_that_drains_closes_after_the_answer() -> None:
    """What is under way is answered, and the connection closed; both ways say so."""
    twins = Twins()
    gates = twins.hold()
    twins.send(request("GET", "/kv/a"))
    for world in twins.worlds:
        world.site.drain()
    answer = twins.let_go(gates)
    assert b"Connection: close" in answer
    assert twins.wires[0].disconnecting


def test_a_long_request_is_not_idleness() -> None:
    """The idle time does not run while a request is worked on, and does after it."""
    twins = Twins()
    gates = twins.hold()
    twins.send(request("GET", "/kv/a"))
    twins.pass_time(limits.IDLE_S * 2.5)
    assert not twins.wires[0].disconnecting
    twins.let_go(gates)
    twins.pass_time(limits.IDLE_S - 1)
    assert not twins.wires[0].disconnecting
    twins.pass_time(2)
    assert twins.wires[0].disconnecting


def test_headers_that_never_repeat_fill_no_memory() -> None:
    """What is remembered of headers is bounded."""
    reader = World().site.plain
    for number in range(5000):
        data = request("GET", "/kv/a", X_Request_Id=f"r{number}")
        plain = reader.read(data)
        assert plain is not None
        assert plain.head.request_id == f"r{number}"
    assert len(reader._blocks) <= hot._BLOCKS_MAX
    plain = reader.read(request("GET", "/kv/a", X=hot._BLOCK_BYTES_MAX * "x"))
    assert plain is not None
    assert max(map(len, reader._blocks)) <= hot._BLOCK_BYTES_MAX


def test_what_is_too_much_is_refused_alike() -> None:
    """The same requests get 429, at the same pace, and the others their answers."""
    twins = Twins(admission=True)
    gates = twins.hold()
    pairs = []
    for number in range(300):
        twins.connect()
        pairs.append(twins.wires)
        method = ("GET", "PUT", "DELETE")[number % 3]
        data = request(method, f"/kv/{number}", b"v" if method == "PUT" else b"")
        for wire in twins.wires:
            wire.send(data)
    twins.connect()
    twins.pass_time(3)
    for gate in gates:
        gate.callback(None)
    twins.pass_time(3)
    statuses = set()
    for twins.wires in pairs:
        statuses.add(twins.compare().split(b" ")[1])
    assert statuses == {b"404", b"204", b"429"}
    twins.compare_metrics()

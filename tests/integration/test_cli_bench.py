"""The load generator against real sockets on loopback."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from torua.cli import load, loader
from torua.cli.wire import Wire, WireState

pytestmark = pytest.mark.integration

DONE = b"HTTP/1.1 204 No Content\r\n\r\n"
PATIENCE_S = 300.0
"""Longer than a busy machine stands still: silence is no part of what is tested."""

PLAN = load.Plan("put", value_bytes=300_000, keys=5, batch=4)


def requests_of(stream: socket.socket) -> Iterator[bytes]:
    """Yield the body of each request that comes over a connection."""
    held = b""
    while data := stream.recv(1 << 16):
        held += data
        while b"\r\n\r\n" in held:
            head, _, rest = held.partition(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].split(b"\r")[0] or 0)
            if len(rest) < length:
                break
            yield rest[:length]
            held = rest[length:]


@contextmanager
def serving(answer: Callable[[int], bytes | None]) -> Iterator[str]:
    """Answer the n-th request of each connection; None closes it.

    Args:
        answer: what to answer, by the number of the request, from 0.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(stream: socket.socket) -> None:
        """Serve one connection.  Not Twisted: the client is what is tested."""
        with stream, suppress(OSError):
            for number, _ in enumerate(requests_of(stream)):
                said = answer(number)
                if said is None:
                    return
                for byte in range(0, len(said), 7):
                    stream.sendall(said[byte : byte + 7])

    def accept() -> None:
        """Serve each connection in a thread of its own."""
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def loaded(
    endpoint: str, plan: load.Plan = PLAN, processes: int = 1, **more: Any
) -> loader.Tally:
    """Send 20 operations over 3 connections, and return what was counted.

    Args:
        endpoint: where to.
        plan: what to ask.
        processes: how many send.
        more: of `loader.Drive`, in the place of what is usual here.
    """
    given = {"connections": 3, "timeout_s": PATIENCE_S, "operations": 20} | more
    drive = loader.Drive((endpoint,), **given)
    return loader.run(load.requests_of(plan), drive, processes)


def test_all_operations_are_done_and_counted() -> None:
    """Also where a request takes several writes, and an answer several reads."""
    with serving(lambda _: DONE) as endpoint:
        tally = loaded(endpoint)
    assert tally.operations == 20
    assert tally.errors == {}
    assert tally.latencies["put"].count == 20


def test_several_processes_count_together() -> None:
    """Each has its share of the connections and of the operations."""
    with serving(lambda _: DONE) as endpoint:
        tally = loaded(endpoint, load.Plan("get", keys=5), processes=2)
    assert tally.operations == tally.latencies["get"].count == 20


def test_refusals_that_say_when_to_come_again_are_counted() -> None:
    """By their headers, whatever stands in their bodies."""
    problem = b'Content-Length: 17\r\n\r\n{"retry_after":1}'
    told = b"HTTP/1.1 429 Overloaded\r\nRetry-After: 1\r\n" + problem
    untold = b"HTTP/1.1 503 Unavailable\r\n" + problem
    with serving(lambda number: untold if number % 4 == 3 else told) as endpoint:
        tally = loaded(endpoint, load.Plan("get", keys=5), connections=1)
    assert tally.errors == {"429": 15, "503": 5}
    assert tally.advised == 15


def test_a_run_ends_after_its_seconds() -> None:
    """However many operations that makes."""
    with serving(lambda _: DONE) as endpoint:
        tally = loaded(endpoint, operations=None, seconds=0.2)
    assert tally.operations > 3
    assert 0.2 <= tally.seconds < 3


def test_large_and_chunked_answers_are_taken_whole() -> None:
    """The next request goes out only then."""
    plain = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    with serving(lambda number: (plain, chunked)[number % 2]) as endpoint:
        tally = loaded(endpoint, load.Plan("get", keys=5))
    assert (tally.operations, tally.errors) == (20, {})


def test_refusals_are_counted_by_status() -> None:
    """They have no latency; those within a bulk answer count too."""
    overloaded = b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}"
    with serving(lambda _: overloaded) as endpoint:
        tally = loaded(endpoint)
    assert tally.errors == {"429": 20}
    assert tally.latencies == {}
    bulk = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"errors":1}'
    with serving(lambda _: bulk) as endpoint:
        tally = loaded(endpoint, load.Plan("bulk", keys=5, batch=4))
    requests = tally.latencies["bulk"].count
    assert tally.operations == 20 - requests
    assert tally.errors == {"refused in a bulk request": requests}


def test_a_body_that_comes_behind_its_head_is_read() -> None:
    """An answer to a bulk request tells of failures wherever it is cut."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
    ours, other = socket.socketpair()
    wire = Wire("127.0.0.1", 1)
    with ours, other:
        wire._socket, wire.state = ours, WireState.OPEN
        for piece, whole in ((head, False), (b'{"err', False), (b'ors":1}', True)):
            other.sendall(piece)
            assert wire.read() is whole
    assert wire.body == b'{"errors":1}'


def test_a_cut_connection_is_an_error_and_another_is_opened() -> None:
    """Each connection answers twice, then closes without an answer."""
    with serving(lambda number: DONE if number < 2 else None) as endpoint:
        tally = loaded(endpoint, connections=1)
    assert sum(tally.errors.values()) == 6
    assert tally.operations == 14


def test_what_was_cut_is_sent_to_another_endpoint_if_wanted() -> None:
    """Nothing is lost by it, and the time counts from the first attempt."""
    with serving(lambda _: None) as bad, serving(lambda _: DONE) as good:
        drive = loader.Drive((bad, good), connections=2, operations=9, again=True)
        tally = loader.run(load.requests_of(PLAN), drive)
    assert (tally.operations, tally.errors) == (9, {})


def test_a_connection_that_is_closed_in_good_order_is_no_error() -> None:
    """The answer said so."""
    closing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    answers: dict[int, bytes | None] = {0: closing}
    with serving(answers.get) as endpoint:
        tally = loaded(endpoint)
    assert (tally.operations, tally.errors) == (20, {})


def test_silence_is_an_error_in_time() -> None:
    """A request is given up after its timeout."""
    with serving(lambda _: b"") as endpoint:
        tally = loaded(endpoint, operations=3, timeout_s=0.2)
    assert tally.errors == {"no answer in time": 3}


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    """The one connection is busy with the first; the others wait, and that counts."""
    held = threading.Event()
    threading.Timer(0.3, held.set).start()
    with serving(lambda _: DONE if held.wait(5) else None) as endpoint:
        tally = loaded(endpoint, connections=1, rate=100.0, operations=10)
    assert tally.operations == 10
    assert tally.latencies["put"].percentile(0.6) > 0.2


def test_who_waits_too_long_for_a_connection_is_given_up() -> None:
    """It is counted as not sent, not as slow."""
    with serving(lambda _: b"") as endpoint:
        more: dict[str, Any] = {"rate": 100.0, "patience_s": 0.1, "timeout_s": 0.3}
        tally = loaded(endpoint, connections=1, operations=10, **more)
    assert tally.errors["no answer in time"] >= 1
    assert tally.errors["not sent in time"] + tally.errors["no answer in time"] == 10

"""The load generator against real sockets on loopback."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from torua.cli import load

pytestmark = pytest.mark.integration

DONE = b"HTTP/1.1 204 No Content\r\n\r\n"
PLAN = load.Plan(
    workload="put",
    concurrency=3,
    seconds=None,
    operations=20,
    value_bytes=300_000,
    keys=5,
    batch=4,
    seed=1,
)


def requests_of(stream: socket.socket) -> Iterator[bytes]:
    """Yield the body of each request that comes over a connection."""
    held = b""
    while data := stream.recv(1 << 16):
        held += data
        while b"\r\n\r\n" in held:
            head, _, rest = held.partition(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
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


def changed(**members: object) -> load.Plan:
    """Return the plan with other members."""
    return load.Plan(
        **{name: getattr(PLAN, name) for name in PLAN.__struct_fields__} | members
    )


def test_all_operations_are_done_and_counted() -> None:
    """Also where a request takes several writes, and an answer several reads."""
    with serving(lambda _: DONE) as endpoint:
        tally = load.run(PLAN, [endpoint], 5.0).tally
    assert tally.operations == 20
    assert tally.errors == {}
    assert len(tally.latencies["put"]) == 20


def test_a_run_ends_after_its_seconds() -> None:
    """However many operations that makes."""
    with serving(lambda _: DONE) as endpoint:
        result = load.run(changed(operations=None, seconds=0.2), [endpoint], 5.0)
    assert result.tally.operations > 3
    assert 0.2 <= result.seconds < 3


def test_refusals_are_counted_by_status() -> None:
    """They have no latency; those within a bulk answer count too."""
    overloaded = b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}"
    with serving(lambda _: overloaded) as endpoint:
        tally = load.run(PLAN, [endpoint], 5.0).tally
    assert tally.errors == {"429": 20}
    assert tally.latencies == {}
    bulk = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"errors": 1}'
    with serving(lambda _: bulk) as endpoint:
        plan = changed(workload="bulk", value_bytes=1)
        tally = load.run(plan, [endpoint], 5.0).tally
    requests = len(tally.latencies["bulk"])
    assert tally.operations == 20 - requests
    assert tally.errors == {"refused in a bulk request": requests}


def test_a_cut_connection_is_an_error_and_another_is_opened() -> None:
    """Each connection answers twice, then closes without an answer."""
    with serving(lambda number: DONE if number < 2 else None) as endpoint:
        tally = load.run(changed(concurrency=1), [endpoint], 5.0).tally
    assert sum(tally.errors.values()) == 6
    assert tally.operations == 14


def test_a_connection_that_is_closed_in_good_order_is_no_error() -> None:
    """The answer said so."""
    closing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    answers: dict[int, bytes | None] = {0: closing}
    with serving(answers.get) as endpoint:
        tally = load.run(PLAN, [endpoint], 5.0).tally
    assert (tally.operations, tally.errors) == (20, {})


def test_silence_is_an_error_in_time() -> None:
    """A request is given up after its timeout."""
    with serving(lambda _: b"") as endpoint:
        tally = load.run(changed(operations=3), [endpoint], 0.2).tally
    assert tally.errors == {"no answer in time": 3}

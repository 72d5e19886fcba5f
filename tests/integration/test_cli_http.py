"""The client of the commands against real sockets on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from torua.cli.failures import ExitCode, Failure, Refusal
from torua.cli.http import Client, key_target

pytestmark = pytest.mark.integration


class Api(BaseHTTPRequestHandler):
    """Answers with what it was asked; breaks off where the path says so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the path."""
        if self.path.endswith("broken"):
            self.close_connection = True
            return
        if self.path.endswith("silent"):
            self.server.silence.wait(5)  # type: ignore[attr-defined]
            return
        self.answer(200, self.path.encode())

    def do_PUT(self) -> None:
        """Answer with the body, or not at all."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("broken"):
            self.close_connection = True
            return
        if self.path.endswith("refused"):
            self.answer(412, b'{"detail": "version is 4", "request_id": "r-9"}')
            return
        self.answer(200, body)

    def answer(self, status: int, body: bytes) -> None:
        """Send an answer.

        Args:
            status: of HTTP.
            body: what it holds.
        """
        self.send_response(status)
        self.send_header("ETag", '"12"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing.

        Args:
            format: not looked at.
            args: not looked at.
        """


@contextmanager
def api() -> Iterator[str]:
    """Serve on a free port for a while; yields the endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.silence = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.silence.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


def test_bytes_go_and_come_as_they_are() -> None:
    """A value of every byte, and one of none."""
    with api() as endpoint:
        client = Client([endpoint])
        for value in (bytes(range(256)) * 100, b""):
            answer = client.ask("PUT", "/kv/k", body=value)
            assert (answer.body, answer.version()) == (value, 12)


@pytest.mark.parametrize("key", ["a/b//c", "..", ".", "a b?c%d", "%2F", "é😀", "a+b"])
def test_a_path_arrives_as_it_was_spelled(key: str) -> None:
    """No library on the way resolves dots or decodes slashes."""
    with api() as endpoint:
        answer = Client([endpoint]).ask("GET", key_target(key))
        assert answer.body.decode() == key_target(key)


def test_the_next_endpoint_is_asked_where_one_is_gone() -> None:
    """Nothing was sent to the first, so a write may go to the second."""
    with api() as endpoint:
        client = Client(["http://127.0.0.1:1", endpoint])
        assert client.ask("PUT", "/kv/k", body=b"v").endpoint == endpoint
        assert client.ask("GET", "/").endpoint == endpoint


def test_a_write_that_was_cut_off_is_unknown_and_not_repeated() -> None:
    """It may have happened: only the user may decide to try again."""
    with api() as endpoint, pytest.raises(Failure) as caught:
        Client([endpoint, endpoint]).ask("PUT", "/broken", body=b"v")
    assert caught.value.exit_code == ExitCode.UNKNOWN
    assert "broke the connection" in caught.value.message


def test_a_read_that_was_cut_off_goes_to_the_next() -> None:
    """A read is safe to repeat; where all break, nothing is available."""
    with api() as first, api() as second, pytest.raises(Failure) as caught:
        Client([first, second]).ask("GET", "/broken")
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert caught.value.message.count("broke the connection") == 2


def test_silence_ends_after_the_timeout() -> None:
    """A stopped process accepts and never answers."""
    with api() as endpoint, pytest.raises(Failure, match="did not answer in time"):
        Client([endpoint], timeout_s=0.2).ask("GET", "/silent")


def test_a_refusal_says_why_and_which_request() -> None:
    """Detail and request id, in one line."""
    with api() as endpoint, pytest.raises(Refusal) as caught:
        Client([endpoint]).ask("PUT", "/refused", body=b"v")
    assert caught.value.message == "version is 4 (412, request r-9)"
    assert caught.value.exit_code == ExitCode.NO


def test_what_is_no_api_is_said_so() -> None:
    """Another program's port is no stack trace."""
    with api() as endpoint:
        answer = Client([endpoint]).ask("GET", "/nodes")
        with pytest.raises(Failure, match="does not speak"):
            answer.json()

"""A node that answers what a test tells it, over real sockets on loopback."""

import json
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from msgspec import Struct


class Heard(Struct, frozen=True):
    """A request as it came; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Says(Struct, frozen=True):
    """An answer.

    Attributes:
        status: of HTTP.
        body: of the answer.
        headers: besides the length.
        cut: after how many bytes of the body the connection breaks; None for none.
        holds: whether it is held for a while before it breaks.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    cut: int | None = None
    holds: bool = False


DROP = Says(0)
"""The request is read, and the connection closed."""

HANG = Says(-1)
"""The request is read, and nothing comes until the node stops."""

Reply = Says | Callable[[Heard], Says]


def problem(status: int, code: str = "x", **members: object) -> Says:
    """Answer with a problem.

    Args:
        status: of HTTP.
        code: its stable name.
        members: what else it says; ``retry_after`` becomes a header too.
    """
    body = {"type": f"urn:torua:problem:{code}", "status": status, **members}
    headers = {"Content-Type": "application/problem+json"}
    if "retry_after" in members:
        headers["Retry-After"] = str(members["retry_after"])
    return Says(status, json.dumps(body).encode(), headers)


def told(value: object, **headers: str) -> Says:
    """Answer with JSON.

    Args:
        value: what to say.
        headers: ``Torua_Token`` for ``Torua-Token``.
    """
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Says(
        200,
        json.dumps(value).encode(),
        {"Content-Type": "application/json", **named},
    )


class FakeNode:
    """Answers by a script; once that is over, always with ``usual``.

    Invariants: `heard` has all requests, in the order in which they came.
    """

    def __init__(self) -> None:
        """Begin with nothing heard, and an answer that is no success."""
        self.heard: list[Heard] = []
        self.script: deque[Reply] = deque()
        self.usual: Reply = Says(500)
        self.stopped = Event()
        self.url = ""

    def reply(self, heard: Heard) -> Says:
        """Take note of a request, and say what is answered."""
        self.heard.append(heard)
        reply = self.script.popleft() if self.script else self.usual
        return reply if isinstance(reply, Says) else reply(heard)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers.

    Invariants: one request at a time; the connection is kept where the answer is whole.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one(self) -> None:
        """Answer one request, of any method.

        What the node says is written as it is; where it says to break off, or to say
        nothing, the connection is closed.
        """
        node: FakeNode = self.server.node  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        says = node.reply(Heard(self.command, self.path, headers, body))
        if says is HANG:
            node.stopped.wait(20)
        if says in (HANG, DROP):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(says.status)
        for name, value in says.headers.items():
            self.send_header(name, value)
        if says.status not in (204, 304):
            self.send_header("Content-Length", str(len(says.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(says.body[: says.cut])
        if says.holds:
            self.wfile.flush()
            node.stopped.wait(20)
        if says.cut is not None:
            self.close_connection = True

    do_GET = handle_one  # noqa: N815 - http.server looks for these names
    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing.

        Args:
            format: not looked at.
            args: not looked at.
        """


class _Server(ThreadingHTTPServer):
    """Listens.

    Invariants: it waits for none of its threads.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def fake_node() -> Iterator[FakeNode]:
    """Serve on a free port for a while."""
    server = _Server(("127.0.0.1", 0), _Handler)
    node = server.node = FakeNode()  # type: ignore[attr-defined]
    node.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield node
    finally:
        node.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def dead_url() -> str:
    """Return an endpoint where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"

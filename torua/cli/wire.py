"""One HTTP/1.1 connection without blocking, as lean as a load generator needs it.

    CLOSED --send--> CONNECTING --writable--> OPEN --answer--> OPEN (kept), or
                                                               SPENT (close said so)

Who uses it closes it, after an error or when it is spent.  Requests come as the bytes
that go over the wire.  Of an answer only its status and the begin of its body are kept;
that it is whole is told by its length, or by the last of its chunks.
"""

import errno
import socket
from enum import Enum

_READ_BYTES = 1 << 18
_BODILESS = frozenset({b"204", b"304"})
_BUSY = frozenset({b"429", b"503"})
_KEPT_BYTES = 1024
"""How much of a body is kept: enough to see how many operations of many failed."""

_CHUNKED = -1


class WireState(Enum):
    """Where a connection is in its life."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"
    SPENT = "spent"


class Wire:
    """A connection that is opened when needed, and kept.

    Invariants: at most one request is under way; what is read belongs to its answer;
    `status`, `body` and `advises`, whether it says when to come again, are of the last
    answer that was whole.
    """

    def __init__(self, host: str, port: int) -> None:
        """Name the other end; nothing is opened yet."""
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._out: memoryview | bytes = b""
        self._in = bytearray()
        self._left = 0
        self.state = WireState.CLOSED
        self.status = b""
        self.body = b""
        self.advises = False

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        assert self._socket is not None, "no connection"
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Tell whether to wait for it to become writable."""
        return bool(self._out)

    def send(self, request: bytes) -> None:
        """Send a request, over a new connection if there is none; OSError if it fails.

        It returns at once; what could not be sent yet goes with `flush`.
        """
        self._out = request
        if self.state is WireState.CLOSED:
            self._connect()
        else:
            self._write()

    def flush(self) -> None:
        """Send on, now that the socket takes something; OSError if it fails."""
        assert self._socket is not None, "no connection"
        if self.state is WireState.CONNECTING:
            trouble = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if trouble:
                raise OSError(trouble, "cannot connect")
            self.state = WireState.OPEN
        self._write()

    def read(self) -> bool:
        """Read what came; tell whether the answer is whole.

        Raises:
            OSError: the connection failed, or was closed within an answer.
        """
        assert self._socket is not None, "no connection"
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed by the other end")
        if self._left > 0:
            self._left -= len(data)
            if len(self.body) < _KEPT_BYTES:
                self.body += data[: _KEPT_BYTES - len(self.body)]
            return self._left <= 0
        if self._in:
            self._in += data
            data = bytes(self._in)
        return self._begun(data)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._out, self.state = None, b"", WireState.CLOSED
        self._in.clear()
        self._left = 0

    def _connect(self) -> None:
        """Begin to connect, and leave the rest to `flush`."""
        family, kind, protocol, _, address = socket.getaddrinfo(
            *self._address, type=socket.SOCK_STREAM
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state = WireState.CONNECTING
        trouble = self._socket.connect_ex(address)
        if trouble not in {0, errno.EINPROGRESS}:
            raise OSError(trouble, "cannot connect")

    def _write(self) -> None:
        """Send what the socket takes."""
        assert self._socket is not None, "no connection"
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        whole = sent == len(self._out)
        self._out = b"" if whole else memoryview(self._out)[sent:]

    def _begun(self, data: bytes) -> bool:
        """Take the begin of an answer; tell whether it is all of it."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._in[:] = data
            return False
        status = data[9:12]
        length = 0 if status in _BODILESS else _length(data, end)
        if length == _CHUNKED and not data.endswith(b"\r\n0\r\n\r\n"):
            self._in[:] = data
            return False
        self._in.clear()
        self.status, self.body = status, data[end + 4 : end + 4 + _KEPT_BYTES]
        self.advises = status in _BUSY and b"\r\nretry-after: " in data[:end].lower()
        if b"close" in data[:end] and b"\r\nconnection: close" in data[:end].lower():
            self.state = WireState.SPENT
        self._left = end + 4 + length - len(data) if length != _CHUNKED else 0
        return self._left <= 0


def _length(data: bytes, end: int) -> int:
    """Return the length of a body, or `_CHUNKED`.

    Raises:
        OSError: the answer does not say.
    """
    place = data.find(b"Content-Length: ", 0, end)
    if place >= 0:
        return int(data[place + 16 : data.find(b"\r", place)])
    head = data[:end].lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        return int(rest.partition(b"\r\n")[0])
    if b"\r\ntransfer-encoding: chunked" in head:
        return _CHUNKED
    raise OSError(errno.EPROTO, "an answer without a length")

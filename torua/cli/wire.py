"""One HTTP/1.1 connection without blocking, as lean as a load generator needs it.

    CLOSED --send--> CONNECTING --writable--> OPEN --answer--> OPEN (kept), or
                                                               SPENT (close said so)

Who uses it closes it, after an error or when it is spent.

It knows what Torua answers: a length, or no body; not chunks, not TLS.
"""

import errno
import socket
from contextlib import suppress
from enum import Enum

import msgspec

_READ_BYTES = 1 << 16
_BODILESS = frozenset({204, 304})


class WireState(Enum):
    """Where a connection is in its life."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"
    SPENT = "spent"


class Heard(msgspec.Struct, frozen=True):
    """An answer: its status and its body."""

    status: int
    body: bytes


class Wire:
    """A connection that is opened when needed, and kept.

    Invariants: at most one request is under way; what is read belongs to its answer.
    """

    def __init__(self, host: str, port: int) -> None:
        """Name the other end; nothing is opened yet."""
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._out = b""
        self._in = bytearray()
        self.state = WireState.CLOSED

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        assert self._socket is not None, "no connection"
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Tell whether to wait for it to become writable."""
        return bool(self._out)

    def send(self, request: bytes) -> None:
        """Send a request, over a new connection if there is none; OSError if it fails.

        It returns at once; what could not be sent yet goes with `turn`.
        """
        self._out = request
        self._in.clear()
        if self.state is WireState.CLOSED:
            self._connect()
        else:
            self._flush()

    def turn(self) -> Heard | None:
        """Do what can be done now; return the answer once it is whole.

        Raises:
            OSError: the connection failed, or was closed within an answer.
        """
        assert self._socket is not None, "no connection"
        if self._out:
            self._flush()
            return None
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed by the other end")
        self._in += data
        return self._parse()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._out, self.state = None, b"", WireState.CLOSED
        self._in.clear()

    def _connect(self) -> None:
        """Begin to connect, and leave the rest to `turn`."""
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

    def _flush(self) -> None:
        """Send what the socket takes."""
        assert self._socket is not None, "no connection"
        if self.state is WireState.CONNECTING:
            trouble = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if trouble:
                raise OSError(trouble, "cannot connect")
            self.state = WireState.OPEN
        with suppress(BlockingIOError):
            self._out = self._out[self._socket.send(self._out) :]

    def _parse(self) -> Heard | None:
        """Take a whole answer out of what was read; None where it is not whole."""
        end = self._in.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._in[:end]).lower()
        status = int(head[9:12])
        length = 0 if status in _BODILESS else _length(head)
        if len(self._in) < end + 4 + length:
            return None
        body = bytes(self._in[end + 4 : end + 4 + length])
        self._in.clear()
        if b"\r\nconnection: close" in head:
            self.state = WireState.SPENT
        return Heard(status, body)


def _length(head: bytes) -> int:
    """Return the length of a body; OSError where the answer does not say."""
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise OSError(errno.EPROTO, "an answer without a length")
    return int(rest.partition(b"\r\n")[0])

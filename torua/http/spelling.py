"""How answers stand on the wire, whichever way they are written."""

from functools import lru_cache
from time import time

from twisted.web.http import NO_BODY_CODES, RESPONSES, datetimeToString

from torua import __version__
from torua.http import limits
from torua.http.messages import Answer

SERVER = f"Torua/{__version__}"


def headers_of(answer: Answer, request_id: str, closing: bool) -> list[tuple[str, str]]:
    """List the headers of an answer, those of every answer among them.

    Args:
        answer: which.
        request_id: of its request.
        closing: whether the connection ends with it.
    """
    found = [
        ("Server", SERVER),
        ("Date", date()),
        ("X-Request-Id", request_id),
        *answer.headers,
    ]
    if answer.content_type is not None:
        found.append(("Content-Type", answer.content_type))
    if answer.status not in NO_BODY_CODES and answer.stream is None:
        found.append(("Content-Length", str(len(answer.body))))
    if closing:
        found.append(("Connection", "close"))
    return found


def date() -> str:
    """Spell the wall clock, as headers have it."""
    return _date(int(time()))


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Spell a second, once."""
    text: bytes = datetimeToString(second)
    return text.decode()


def spelled(
    answer: Answer, request_id: str, method: bytes, closing: bool
) -> bytes | None:
    """Spell an answer whole; None where the careful way must write it.

    Args:
        answer: which.
        request_id: of its request.
        method: of its request.
        closing: whether the connection ends with it.
    """
    body = b"" if method == b"HEAD" else answer.body
    if len(body) > limits.PIECE_BYTES or answer.stream is not None:
        return None
    lines = [
        f"{name}: {value}\r\n"
        for name, value in headers_of(answer, request_id, closing)
    ]
    text = "".join(lines)
    if text.count("\r") + text.count("\n") != 2 * len(lines):
        return None
    head = _status_line(answer.status) + text.encode("latin-1", "replace") + b"\r\n"
    return head + body


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    """Spell the first line of an answer."""
    return b"HTTP/1.1 %d %s\r\n" % (status, RESPONSES.get(status, b"Unknown Status"))

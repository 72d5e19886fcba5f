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
    return [
        ("Server", SERVER),
        ("Date", date()),
        ("X-Request-Id", request_id),
        *_own(answer, closing),
    ]


def _own(answer: Answer, closing: bool) -> list[tuple[str, str]]:
    """List the headers of an answer that only it has."""
    found = list(answer.headers)
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
    lines = ["", *map(": ".join, _own(answer, closing)), "\r\n"]
    text = "\r\n".join(lines)
    if text.count("\r") + text.count("\n") != 2 * len(lines):
        return None
    opening = _opening(answer.status, int(time()))
    return f"{opening}{request_id}{text}".encode("latin-1", "replace") + body


@lru_cache(maxsize=64)
def _opening(status: int, second: int) -> str:
    """Spell what all answers of a status begin with, within one second."""
    phrase = RESPONSES.get(status, b"Unknown Status").decode()
    return (
        f"HTTP/1.1 {status} {phrase}\r\n"
        f"Server: {SERVER}\r\nDate: {_date(second)}\r\nX-Request-Id: "
    )

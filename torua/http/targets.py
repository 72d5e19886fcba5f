"""Request targets: paths and queries, percent-encoded UTF-8, taken literally.

A path is matched as it came, so that a key keeps every slash, dot and percent sign;
only what was matched is decoded.
"""

import re
from itertools import product

from torua.errors import MalformedError

_NOT_ASCII = re.compile(rb"[^\x20-\x7e]")
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)
_DIGITS = "0123456789ABCDEFabcdef"
_ESCAPED = {a + b: bytes.fromhex(a + b) for a, b in product(_DIGITS, _DIGITS)}


def ascii_line(line: bytes) -> bytes:
    """Percent-encode what is not ASCII in a request line: many clients do not."""
    return _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line)


def split_target(target: bytes) -> tuple[str, str]:
    """Split a request target into its path and its query, both still encoded.

    Of an absolute target, as sent to proxies, scheme and host are left out.
    """
    text = target.decode("latin-1")
    path, _, query = _ABSOLUTE.sub("", text, count=1).partition("?")
    return path or "/", query


def decoded(text: str, what: str) -> str:
    """Decode percent-encoded UTF-8.

    Args:
        text: as it came, ASCII.
        what: what it is, for the error.

    Raises:
        MalformedError: a percent sign without two digits, or bytes that are not UTF-8.
    """
    if "%" not in text and text.isascii():
        return text
    first, *rest = text.split("%")
    try:
        parts = [_ESCAPED[part[:2]] + part[2:].encode() for part in rest]
        return (first.encode() + b"".join(parts)).decode()
    except KeyError as error:
        why = f"{what}: a percent sign without two hexadecimal digits"
        raise MalformedError(why) from error
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what}: not UTF-8 once percent-decoded") from error


def parse_query(text: str) -> dict[str, str]:
    """Read a query; a plus sign is a space there, as forms and most clients have it.

    Raises:
        MalformedError: it is not well encoded, or has one name twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, _, value = part.replace("+", " ").partition("=")
        name = decoded(name, "query")
        if name in found:
            raise MalformedError(f"query: {name!r} stands there twice")
        found[name] = decoded(value, f"query parameter {name!r}")
    return found

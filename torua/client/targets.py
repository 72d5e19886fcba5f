"""Paths, queries and headers, spelled so that every byte of a key arrives."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec

KEY_BYTES_MAX = 1024
Bytes = bytes | bytearray | memoryview


def segment(text: str) -> str:
    """Spell a name as one segment of a path; dots alone must not look like a step.

    Raises:
        ValueError: it is not Unicode (a lone surrogate).
    """
    spelled = quote(text, safe="")
    return spelled if spelled.strip(".") else spelled.replace(".", "%2E")


def key_path(key: str) -> str:
    """Spell the path of a key.

    Raises:
        ValueError: it has not 1 to 1,024 bytes of UTF-8.
    """
    checked_key(key)
    return f"/kv/{segment(key)}"


def checked_key(key: str) -> str:
    """Return a key that can be one, or raise ValueError."""
    length = len(key.encode())
    if not 1 <= length <= KEY_BYTES_MAX:
        raise ValueError(f"a key has 1 to {KEY_BYTES_MAX} bytes, this {length}")
    return key


def property_text(value: object) -> str:
    """Spell the key of a node as a path has it: numbers, dates, UUIDs as text."""
    plain = msgspec.to_builtins(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if not isinstance(plain, str | int | float):
        raise TypeError(f"a key of a node is one value, not {type(value).__name__}")
    return str(plain)


def query(parameters: Mapping[str, object]) -> str:
    """Spell query parameters, with a question mark; None leaves one out."""
    given = {
        name: _parameter(value)
        for name, value in parameters.items()
        if value is not None
    }
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def write_headers(
    if_version: int | None, if_absent: bool, idempotency_key: str | None
) -> dict[str, str]:
    """Spell what must hold for a write, and the promise that makes it safe to repeat.

    Args:
        if_version: the version that must be there; None asks nothing.
        if_absent: whether nothing must be there.
        idempotency_key: equal ones promise equal requests; made if not given.

    Raises:
        ValueError: both are asked.
    """
    if if_version is not None and if_absent:
        raise ValueError("if_version or if_absent, not both")
    headers = {"Idempotency-Key": idempotency_key or fresh_key()}
    if if_version is not None:
        headers["If-Match"] = f'"{if_version}"'
    if if_absent:
        headers["If-None-Match"] = "*"
    return headers


def version_of(headers: Mapping[str, str]) -> int | None:
    """Read the version in the ETag of an answer; None where there is none."""
    tag = headers.get("ETag", "").strip('"')
    return int(tag) if tag.isdecimal() else None


def fresh_key() -> str:
    """Make an idempotency key that nobody else makes."""
    return uuid4().hex


def as_bytes(value: Bytes) -> bytes:
    """Return bytes as they are, and other buffers copied; TypeError for the rest."""
    return value if isinstance(value, bytes) else bytes(memoryview(value))


def _parameter(value: object) -> str:
    """Spell one parameter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

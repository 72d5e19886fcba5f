"""What requests say besides their body: query parameters and conditions."""

import re
from collections.abc import Mapping
from hashlib import blake2b

from torua.core.kv import KEY_BYTES_MAX, Condition, IdempotencyKey
from torua.core.reading import LINEARIZABLE, Level, Reading, read_tokens
from torua.errors import MalformedError
from torua.http.limits import TIMEOUT_MS_MAX
from torua.http.messages import Ask
from torua.http.targets import decoded

TTL_S_MAX = 100 * 365 * 86400
"""A hundred years: well within 64-bit nanoseconds since 1970."""

STALENESS_MS_MAX = 86_400_000
CONSISTENCIES = tuple(level.value for level in Level)
_TIMEOUT_MS = 30_000
_TIMEOUTS_MS = range(1, TIMEOUT_MS_MAX + 1)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_WHOLE = re.compile(r"[0-9]{1,15}")
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_VERSION = re.compile(r'(W/)?"(0|[1-9][0-9]{0,18})"')
_IDEMPOTENCY = re.compile(r"[\x20-\x7e]{1,128}")
_BOOLEANS = {"": True, "true": True, "1": True, "false": False, "0": False}


def key_bytes(text: str) -> bytes:
    """Return a key as bytes; MalformedError where it is empty or too long."""
    key = text.encode()
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise MalformedError(f"a key has 1 to {KEY_BYTES_MAX} bytes, this {len(key)}")
    return key


def key_part(query: Mapping[str, str], name: str) -> bytes:
    """Read a key, or the beginning of one, from a query; empty where it is not there.

    Args:
        query: the parameters.
        name: which.
    """
    key = query.get(name, "").encode()
    if len(key) > KEY_BYTES_MAX:
        raise MalformedError(f"{name}: up to {KEY_BYTES_MAX} bytes")
    return key


def whole(query: Mapping[str, str], name: str, default: int, bounds: range) -> int:
    """Read a whole number from a query.

    Args:
        query: the parameters.
        name: which.
        default: what it is where it is not there.
        bounds: what it may be.
    """
    text = query.get(name)
    if text is None:
        return default
    if not _WHOLE.fullmatch(text) or int(text) not in bounds:
        least, most = bounds.start, bounds.stop - 1
        raise MalformedError(f"{name}: a whole number from {least} to {most}")
    return int(text)


def boolean(query: Mapping[str, str], name: str) -> bool:
    """Read a yes or no from a query; a bare name is a yes, none at all a no.

    Args:
        query: the parameters.
        name: which.
    """
    text = query.get(name, "false").lower()
    if text not in _BOOLEANS:
        raise MalformedError(f"{name}: true or false")
    return _BOOLEANS[text]


def timeout_s(query: Mapping[str, str]) -> float:
    """Return how long the caller waits, in seconds (``timeout_ms``)."""
    if "timeout_ms" not in query:
        return _TIMEOUT_MS / 1000
    return whole(query, "timeout_ms", _TIMEOUT_MS, _TIMEOUTS_MS) / 1000


def ttl_s(query: Mapping[str, str]) -> float | None:
    """Return how long the key shall live, in seconds; None for ever."""
    text = query.get("ttl")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise MalformedError("ttl: a number of seconds above 0")
    return checked_ttl_s(float(text))


def checked_ttl_s(seconds: float) -> float:
    """Return a time to live that is within bounds, or raise MalformedError."""
    if not 0 < seconds <= TTL_S_MAX:
        raise MalformedError(f"ttl: seconds above 0, up to {TTL_S_MAX}")
    return seconds


def reading(ask: Ask) -> Reading:
    """Read how fresh the caller wants what it reads (``consistency``).

    A session passes back the tokens that it was given; it may have none yet.
    """
    if not ask.query:
        return LINEARIZABLE
    level = ask.query.get("consistency", Level.LINEARIZABLE)
    if level not in CONSISTENCIES:
        raise MalformedError(f"consistency: one of {', '.join(CONSISTENCIES)}")
    if level == Level.BOUNDED and "max_staleness" not in ask.query:
        raise MalformedError("consistency=bounded: max_staleness is missing")
    staleness_ms = whole(ask.query, "max_staleness", 0, range(STALENESS_MS_MAX + 1))
    tokens = ask.headers.get("torua-token", "") if level == Level.SESSION else ""
    return Reading(Level(level), read_tokens(tokens), staleness_ms / 1000)


def conditions(headers: Mapping[str, str]) -> tuple[Condition, ...]:
    """Read If-Match and If-None-Match (RFC 9110, section 13.1).

    A tag that is well formed but none of ours matches no version; a weak one matches
    in If-None-Match only.
    """
    if "if-match" not in headers and "if-none-match" not in headers:
        return ()
    found = []
    for name, match in (("if-match", True), ("if-none-match", False)):
        text = headers.get(name)
        if text is not None:
            found.append(Condition(_versions(name, text, weak=not match), match))
    return tuple(found)


def _versions(name: str, text: str, *, weak: bool) -> tuple[int, ...] | None:
    """Return the versions that a list of entity tags means; None for ``*``."""
    if text.strip() == "*":
        return None
    rest = [part.strip(" \t") for part in _TAG.sub("T", text).split(",")]
    if "T" not in rest or not {"T", ""}.issuperset(rest):
        raise MalformedError(f'{name}: * or entity tags like "7", separated by commas')
    found = [_VERSION.fullmatch(tag) for tag in _TAG.findall(text)]
    return tuple(int(each[2]) for each in found if each and (weak or not each[1]))


def etag(version: int) -> str:
    """Spell a version as a strong entity tag."""
    return f'"{version}"'


def idempotency(ask: Ask) -> IdempotencyKey | None:
    """Read the caller's promise that equal keys mean the same request.

    Its scope is method and path; what must be equal is the body, its type, the
    conditions and the time to live.
    """
    text = ask.headers.get("idempotency-key")
    if text is None:
        return None
    if not _IDEMPOTENCY.fullmatch(text):
        raise MalformedError("Idempotency-Key: 1 to 128 printable ASCII characters")
    names = ("content-type", "if-match", "if-none-match")
    facts = [ask.headers.get(name, "") for name in names]
    digest = blake2b(digest_size=16)
    digest.update("\n".join([*facts, ask.query.get("ttl", ""), ""]).encode())
    digest.update(ask.body)
    scope = f"{ask.method} {decoded(ask.path, 'path')}"
    return IdempotencyKey(f"{text}\n{scope}", digest.digest())

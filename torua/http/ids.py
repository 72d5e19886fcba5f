"""Ids that callers bring along, and whether they are sane."""

import re
from random import Random, SystemRandom

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_dice = Random(SystemRandom().getrandbits(256))  # noqa: S311 no secret rests on ids


def fresh_id() -> str:
    """Make a request id that nobody else has."""
    return f"{_dice.getrandbits(64):016x}"


def sane_request_id(text: str | None) -> str | None:
    """Return a caller's request id; None where it is not fit for headers and logs."""
    return text if text and _REQUEST_ID.fullmatch(text) else None


def sane_traceparent(text: str | None) -> str:
    """Return a caller's W3C trace context, or nothing where it is not one."""
    return text if text and _TRACEPARENT.fullmatch(text) else ""

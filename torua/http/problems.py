"""Errors as RFC 9457 problems: the one table from error codes to statuses."""

from math import ceil

from msgspec import Struct, json

from torua.errors import InvalidError, ToruaError
from torua.http.messages import Answer

PROBLEM = "application/problem+json"
RETRY_AFTER_S = 1


class UnknownPathError(ToruaError):
    """Nothing is served at this path."""

    code = "unknown-path"


class MethodError(ToruaError):
    """The path is served, but not with this method; ``allow`` says which."""

    code = "method-not-allowed"


class SlowClientError(ToruaError):
    """The request did not come in within its time."""

    code = "request-timeout"


class MediaTypeError(ToruaError):
    """The body is of a type that the path does not take."""

    code = "unsupported-media-type"


class TargetTooLongError(ToruaError):
    """The request line is over the limit."""

    code = "uri-too-long"


class HeadersTooLargeError(ToruaError):
    """The headers are over the limit."""

    code = "headers-too-large"


class Kind(Struct, frozen=True):
    """What a class of errors is in HTTP."""

    status: int
    title: str


KINDS = {
    "malformed": Kind(400, "Malformed request"),
    "not-found": Kind(404, "Not found"),
    "unknown-path": Kind(404, "Nothing is served here"),
    "method-not-allowed": Kind(405, "Method not allowed"),
    "request-timeout": Kind(408, "Request not received in time"),
    "conflict": Kind(409, "Conflict"),
    "duplicate": Kind(409, "Exists already"),
    "related": Kind(409, "Has relationships"),
    "stale-schema": Kind(409, "The schema changed"),
    "gone": Kind(410, "Gone"),
    "precondition-failed": Kind(412, "Precondition failed"),
    "too-large": Kind(413, "Too large"),
    "uri-too-long": Kind(414, "Request target too long"),
    "unsupported-media-type": Kind(415, "Unsupported media type"),
    "unprocessable": Kind(422, "Unprocessable"),
    "invalid": Kind(422, "Invalid"),
    "query-too-large": Kind(422, "Query too large"),
    "query-timeout": Kind(422, "Query took too long"),
    "overloaded": Kind(429, "Overloaded"),
    "headers-too-large": Kind(431, "Headers too large"),
    "internal": Kind(500, "Internal error"),
    "protocol": Kind(500, "Internal error"),
    "unavailable": Kind(503, "Unavailable"),
    "moved": Kind(503, "Unavailable"),
    "stale-route": Kind(503, "Unavailable"),
    "startup": Kind(503, "Unavailable"),
    "corruption": Kind(503, "Unavailable"),
    "disk-failed": Kind(503, "Disk failed"),
    "outcome-unknown": Kind(504, "Outcome unknown"),
    "disk-full": Kind(507, "Disk full"),
}
"""Every error code.  Below this room nobody knows a status."""


def status_of(code: str) -> int:
    """Return the status of an error code; 500 for one that nobody knows."""
    return KINDS.get(code, KINDS["internal"]).status


def problem(error: ToruaError, request_id: str) -> Answer:
    """Answer with a problem.

    Args:
        error: what is wrong; its members come along, but for ``allow``, which is a
            header; so do all faults, where there may be more than one.
        request_id: the request's.
    """
    kind = KINDS.get(error.code, KINDS["internal"])
    members = {name: fact for name, fact in error.members.items() if name != "allow"}
    if kind.status in (429, 503):
        members["retry_after"] = _retry_after(members.get("retry_after"))
    body: dict[str, object] = {
        **members,
        "type": f"urn:torua:problem:{error.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail or kind.title,
        "request_id": request_id,
    }
    if isinstance(error, InvalidError):
        body["errors"] = [{"key": what, "why": why} for what, why in error.faults]
    headers = tuple(_headers(error, members))
    return Answer(kind.status, headers, json.encode(body), PROBLEM, error.code)


def _headers(
    error: ToruaError, members: dict[str, int | float | str | None]
) -> list[tuple[str, str]]:
    """Make the headers that some members stand in as well."""
    found: list[tuple[str, str]] = []
    if "retry_after" in members:
        found.append(("Retry-After", str(members["retry_after"])))
    if "allow" in error.members:
        found.append(("Allow", str(error.members["allow"])))
    return found


def _retry_after(wanted: object) -> int:
    """Return whole seconds, 1 or more, as the header takes them."""
    return (
        max(RETRY_AFTER_S, ceil(wanted))
        if isinstance(wanted, int | float)
        else RETRY_AFTER_S
    )

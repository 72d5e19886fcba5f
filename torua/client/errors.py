"""What can go wrong, as exceptions: the one table from statuses to classes.

ClientError
UnreachableError        nobody answered in time; nothing was done
OutcomeUnknownError     the write may or may not have happened (504, or a break)
UnexpectedAnswerError   whoever answered does not speak this API
AccessError 401 403     NotFoundError 404       ConflictError 409
GoneError 410           PreconditionError 412   TooLargeError 413
UnprocessableError 422  OverloadedError 429     UnavailableError 503
DiskFullError 507       BadRequestError, any other 4xx
ServerError, any other 5xx
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct


class Problem(Struct, frozen=True):
    """What an answer says of an error.

    Attributes:
        status: of HTTP; 0 where nobody answered.
        code: the last part of the problem's ``type``; it is stable.
        detail: one sentence for people.
        request_id: by which the logs of the nodes know the request.
        retry_after: in how many seconds to come again; None where it does not say.
        members: all that the problem says.
        endpoint: who answered, or was asked last.
    """

    status: int = 0
    code: str = ""
    detail: str = ""
    request_id: str = ""
    retry_after: float | None = None
    members: Mapping[str, object] = {}
    endpoint: str = ""


class ClientError(Exception):
    """A request that did not succeed.

    Invariants: but for `uncertain` it does not change.

    Attributes:
        problem: all that is known of it; its fields can be read here as well.
        uncertain: whether an attempt before the last one may have done something.
    """

    def __init__(self, problem: Problem) -> None:
        """Say what is known."""
        super().__init__(_line(problem))
        self.problem = problem
        self.uncertain = False

    @property
    def status(self) -> int:
        """The status of HTTP; 0 where nobody answered."""
        return self.problem.status

    @property
    def code(self) -> str:
        """The stable name of the problem, such as ``query-too-large``."""
        return self.problem.code

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return self.problem.detail

    @property
    def request_id(self) -> str:
        """By what the logs of the nodes know the request."""
        return self.problem.request_id

    @property
    def retry_after(self) -> float | None:
        """In how many seconds to come again; None where it was not said."""
        return self.problem.retry_after

    @property
    def members(self) -> Mapping[str, object]:
        """All that the problem says, members of its own (``shard``) among them."""
        return self.problem.members


class UnreachableError(ClientError):
    """No endpoint answered in time; nothing was done."""


class OutcomeUnknownError(ClientError):
    """The write may or may not have happened: look, and decide."""


class UnexpectedAnswerError(ClientError):
    """The answer is none of this API: is it the right endpoint?"""


class BadRequestError(ClientError):
    """The request is malformed."""


class AccessError(ClientError):
    """Who asks may not do that (401, 403)."""


class NotFoundError(ClientError):
    """It does not exist (404)."""


class ConflictError(ClientError):
    """The state of the cluster, or of a graph, forbids it now (409)."""


class GoneError(ClientError):
    """Changes that the logs no longer have (410); go on from `earliest`."""

    @property
    def earliest(self) -> str:
        """The first place in the feed that goes on; empty where it was not said."""
        return str(self.members.get("earliest", ""))


class PreconditionError(ClientError):
    """The version is another (412); read again, decide again."""


class TooLargeError(ClientError):
    """Over a limit on size (413)."""


class UnprocessableError(ClientError):
    """Well formed, but wrong in meaning (422)."""


class OverloadedError(ClientError):
    """A queue was full to the end (429); nothing was done."""


class ServerError(ClientError):
    """A mistake of the node's; its log has more, under the request id."""


class UnavailableError(ClientError):
    """No primary, no quorum or too few copies to the end (503); nothing was done."""


class DiskFullError(ClientError):
    """No room left (507); nothing was done."""


_KINDS: Mapping[int, type[ClientError]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: PreconditionError,
    413: TooLargeError,
    422: UnprocessableError,
    429: OverloadedError,
    503: UnavailableError,
    507: DiskFullError,
}

_MAYBE_DONE = frozenset((502, 504))
"""A gateway before the nodes says 502 where a node went away within a request."""


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, endpoint: str, *, writes: bool
) -> ClientError:
    """Make the exception that an answer stands for.

    Args:
        status: of the answer, none of success.
        headers: of the answer.
        body: of the answer: a problem (RFC 9457), or anything.
        endpoint: who answered.
        writes: whether the request was to change something, so that its outcome may be
            unknown.
    """
    members = _members(body)
    detail = members.get("detail") or members.get("title") or "no reason was given"
    after = members.get("retry_after", headers.get("Retry-After"))
    problem = Problem(
        status=status,
        code=str(members.get("type", "")).rpartition(":")[2],
        detail=str(detail),
        request_id=str(members.get("request_id") or headers.get("X-Request-Id", "")),
        retry_after=_seconds(after),
        members=members,
        endpoint=endpoint,
    )
    if status in _MAYBE_DONE:
        return OutcomeUnknownError(problem) if writes else UnavailableError(problem)
    if not 400 <= status < 600:
        return UnexpectedAnswerError(problem)
    return _KINDS.get(status, ServerError if status >= 500 else BadRequestError)(
        problem
    )


def unexpected(detail: str, endpoint: str) -> UnexpectedAnswerError:
    """Make the exception for an answer that can't be read.

    Args:
        detail: what is wrong with it.
        endpoint: who answered.
    """
    return UnexpectedAnswerError(Problem(detail=detail, endpoint=endpoint))


def _members(body: bytes) -> Mapping[str, object]:
    """Read a problem; nothing where it is none."""
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _seconds(text: object) -> float | None:
    """Read how long to wait; None where it is a date, or nonsense."""
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _line(problem: Problem) -> str:
    """Say in one line what is known."""
    facts = [str(problem.status)] if problem.status else []
    facts += [f"request {problem.request_id}"] if problem.request_id else []
    facts += [problem.endpoint] if problem.endpoint else []
    said = problem.detail.rstrip(".")
    return f"{said} ({', '.join(facts)})" if facts else said

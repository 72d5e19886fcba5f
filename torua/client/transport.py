"""Requests and answers: whom to ask, again and again, until the time is over.

Each endpoint has a pool of connections that are kept.  An attempt has a part of the
request's time, so that a node that accepts and never answers does not use up all of it;
the node is told how long it has (``timeout_ms``), and answers before we stop listening.
"""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import msgspec
import urllib3
from msgspec import Struct
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from torua.client.connections import open_pool
from torua.client.endpoints import Endpoints
from torua.client.errors import (
    ClientError,
    OutcomeUnknownError,
    Problem,
    UnreachableError,
    error_of,
    unexpected,
)
from torua.client.retrying import Course, Retry, jittered_s
from torua.client.session import Session
from torua.client.targets import query

TIMEOUT_MS_MAX = 60_000
"""The longest that nodes take for most requests."""

MARGIN_S = 0.25
"""So much earlier than we stop listening a node shall answer …"""

MARGIN_SHARE = 0.1
"""… or by such a share of the time, where that is less."""

T = TypeVar("T")


class Request(Struct, frozen=True):
    """What to ask.

    Attributes:
        method: of HTTP.
        path: percent-encoded.
        query: parameters; those that are None are left out.
        headers: besides those of the client.
        body: what to send; a file is read anew from where it stands for each attempt.
        writes: whether it changes something.
        repeatable: whether doing it twice is as good as once.
        patient: whether a refusal that another attempt may better (429, 503) is borne.
        timeout_s: for all attempts; None for the client's.
        whole: whether one attempt may take all the time.
        listen_s: how long the answer may be silent, once it began; None for as long as
            the attempt may take.
        told_ms_max: the longest ``timeout_ms`` that may be told; 0 to tell none.
    """

    method: str
    path: str
    query: Mapping[str, object] = {}
    headers: Mapping[str, str] = {}
    body: Any = None
    writes: bool = False
    repeatable: bool = True
    patient: bool = True
    timeout_s: float | None = None
    whole: bool = False
    listen_s: float | None = None
    told_ms_max: int = TIMEOUT_MS_MAX


class Answer(Struct, frozen=True):
    """What a node answered; ``headers`` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    endpoint: str

    def read(self, kind: type[T]) -> T:
        """Read the body as JSON of a kind, or raise `UnexpectedAnswerError`."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unexpected(f"no such answer: {error}", self.endpoint) from error


Check = Callable[[Answer], None]
"""Looks at an answer of success; raises a ClientError to have it made again."""


class Opened(Struct, frozen=True):
    """An answer whose body is still to be read; who has it releases it."""

    response: urllib3.BaseHTTPResponse
    endpoint: str


class Transport:
    """Asks endpoints, and keeps connections to them; any thread may call it.

    Invariants: an answer of success is returned, anything else raised; no attempt
    begins after the deadline of its request.
    """

    def __init__(  # noqa: PLR0913
        self,
        endpoints: Sequence[str],
        session: Session,
        *,
        timeout_s: float = 30.0,
        attempt_s: float = 10.0,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        headers: Mapping[str, str] | None = None,
        connections: int = 16,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            endpoints: URLs of nodes, at least one.
            session: takes in the tokens of all answers.
            timeout_s: for a request with all its attempts.
            attempt_s: for one attempt.
            retry: how stubborn to be.
            headers: sent with each request.
            connections: how many are kept to each endpoint.
            tls: for ``https`` endpoints; None for the system's authorities.
            clock: tells the time.
            sleep: waits so many seconds.
            random: draws pauses and turns.

        Raises:
            ValueError: an endpoint is no URL of a node.
        """
        self._random = random or Random()  # noqa: S311 - no secret
        self._pools: dict[str, tuple[urllib3.HTTPConnectionPool, str]] = {}
        for endpoint in endpoints:
            pool = open_pool(endpoint, connections, tls)
            self._pools[endpoint] = (pool, urlsplit(endpoint).path.rstrip("/"))
        self._endpoints = Endpoints(endpoints, self._random)
        self.session = session
        self._timeout_s = timeout_s
        self._attempt_s = attempt_s
        self._retry = retry
        self._headers = dict(headers or {})
        self._clock = clock
        self._sleep = sleep

    def close(self) -> None:
        """Close all connections that are not in use."""
        for pool, _ in self._pools.values():
            pool.close()

    def ask(self, request: Request, check: Check | None = None) -> Answer:
        """Send a request until it is answered.

        Args:
            request: what to ask.
            check: looks at an answer of success, and may raise a ClientError to have it
                taken as a failed attempt.

        Raises:
            ClientError: it was refused, or nobody answered in time, or the outcome of a
                write is unknown.
        """
        return self._attempts(request, partial(self._whole, request, check))

    def open(self, request: Request) -> Opened:
        """Send a request until an answer begins, and leave its body to be read.

        Args:
            request: what to ask.

        Raises:
            ClientError: as for `ask`.
        """
        return self._attempts(request, partial(self._opened, request))

    def lost(self, endpoint: str, failures: int) -> None:
        """Note that an endpoint broke off within an answer, and pause.

        Args:
            endpoint: which.
            failures: how many there were in a row, before this one.
        """
        self._endpoints.broke(endpoint, self._clock())
        self._sleep(jittered_s(self._retry, failures, self._random))

    def _course(self, request: Request) -> Course:
        """Begin the attempts of a request."""
        time_s = self._timeout_s if request.timeout_s is None else request.timeout_s
        deadline = self._clock() + time_s
        return Course(
            self._retry,
            deadline,
            repeatable=request.repeatable or not request.writes,
            patient=request.patient,
            random=self._random,
        )

    def _attempts(self, request: Request, attempt: Callable[[str, float], T]) -> T:
        """Make attempts until one succeeds, or none may be made any more."""
        course = self._course(request)
        start = request.body.tell() if hasattr(request.body, "tell") else None
        while True:
            if start is not None:
                request.body.seek(start)
            endpoint = self._endpoints.choose(self._clock(), course.tried)
            course.tried.append(endpoint)
            try:
                return attempt(endpoint, course.deadline - self._clock())
            except ClientError as error:
                self._pause(course, error)

    def _pause(self, course: Course, error: ClientError) -> None:
        """Wait before the next attempt, or raise what all of them came to."""
        now = self._clock()
        others = self._endpoints.has_other(now, course.tried)
        pause_s = course.failed(error, now, others=others)
        if pause_s is None:
            verdict = course.verdict(error)
            raise verdict from (None if verdict is error else error)
        self._sleep(pause_s)

    def _whole(
        self, request: Request, check: Check | None, endpoint: str, left_s: float
    ) -> Answer:
        """Make one attempt, and read all of the answer."""
        response = self._send(request, endpoint, left_s, preload=True)
        answer = Answer(response.status, response.headers, response.data, endpoint)
        if not _is_good(answer.status):
            raise error_of(
                answer.status,
                answer.headers,
                answer.body,
                endpoint,
                writes=request.writes,
            )
        if check is not None:
            check(answer)
        return answer

    def _opened(self, request: Request, endpoint: str, left_s: float) -> Opened:
        """Make one attempt, and leave a good answer to be read."""
        response = self._send(request, endpoint, left_s, preload=False)
        if _is_good(response.status):
            return Opened(response, endpoint)
        try:
            body = response.read()
        except (HTTPError, OSError):
            body = b""
        finally:
            response.close()
        raise error_of(
            response.status, response.headers, body, endpoint, writes=request.writes
        )

    def _send(
        self, request: Request, endpoint: str, left_s: float, *, preload: bool
    ) -> urllib3.BaseHTTPResponse:
        """Send a request once; a ClientError where no answer comes."""
        pool, prefix = self._pools[endpoint]
        limit_s = max(0.001, left_s if request.whole else min(left_s, self._attempt_s))
        parameters = {**_told(request, limit_s), **request.query}
        try:
            response = pool.urlopen(
                request.method,
                prefix + request.path + query(parameters),
                body=request.body,
                headers={**self._headers, **request.headers},
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(
                    connect=limit_s, read=request.listen_s or limit_s
                ),
                preload_content=preload,
            )
        except (HTTPError, OSError) as error:
            self._broken(error, request, endpoint)
        self._endpoints.answered(endpoint)
        self.session.saw(response.headers.get("Torua-Token"))
        return response

    def _broken(self, error: Exception, request: Request, endpoint: str) -> NoReturn:
        """Raise what a broken exchange means for the request."""
        self._endpoints.broke(endpoint, self._clock())
        never_sent = isinstance(error, NewConnectionError | ConnectTimeoutError)
        problem = Problem(detail=f"{endpoint} {_reason(error)}", endpoint=endpoint)
        if request.writes and not never_sent:
            raise OutcomeUnknownError(problem) from error
        raise UnreachableError(problem) from error


def _is_good(status: int) -> bool:
    """Tell whether a status is one of success; 304 is for who asked for it."""
    return 200 <= status < 300 or status == 304


def _told(request: Request, limit_s: float) -> dict[str, object]:
    """Tell the node how long it has."""
    if not request.told_ms_max:
        return {}
    wanted_s = limit_s - min(MARGIN_S, limit_s * MARGIN_SHARE)
    return {"timeout_ms": max(1, min(request.told_ms_max, round(wanted_s * 1000)))}


def _reason(error: Exception) -> str:
    """Say in few words why an endpoint did not answer."""
    if isinstance(error, ReadTimeoutError):
        return "did not answer in time"
    if isinstance(error, ConnectTimeoutError):
        return "cannot be reached in time"
    if isinstance(error, NewConnectionError):
        return "cannot be reached"
    return "broke the connection"

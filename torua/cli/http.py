"""A small client of the HTTP API for the commands: one request after another.

Every node serves every request, so several endpoints are one service: where the first
does not answer, the next is asked.  A request that may have arrived is sent again only
if it is safe to repeat (a read); for a write the outcome is then unknown, and said so.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from torua.cli.failures import ExitCode, Failure, Refusal

CONNECT_TIMEOUT_S = 3.0
"""A node that is there accepts at once; a silent machine must not hold up the next."""

DEFAULT_TIMEOUT_S = 30.0
SAFE_METHODS = frozenset({"GET", "HEAD"})


class Answer(msgspec.Struct, frozen=True):
    """What a node answered; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    endpoint: str = ""

    def json(self) -> Any:
        """Read the body as JSON; a `Failure` where it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            where = self.endpoint or "the endpoint"
            raise Failure(f"{where} does not speak Torua's API (no JSON)") from None

    def version(self) -> int | None:
        """Return the version in the ETag; None without one."""
        etag = self.headers.get("etag", "").strip('"')
        return int(etag) if etag.isdecimal() else None


class Client:
    """Asks the first endpoint that answers.

    Invariants: the endpoints keep their order, but the one that answered last is
    asked first; an answer below 400 is returned, any other raised.
    """

    def __init__(
        self, endpoints: Sequence[str], timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            endpoints: ``http://host:port`` each; at least one.
            timeout_s: how long one endpoint may take to answer.
        """
        assert endpoints, "a client without endpoints"
        self.endpoints = tuple(endpoints)
        self.timeout_s = timeout_s
        self._pools = {endpoint: _pool(endpoint, timeout_s) for endpoint in endpoints}
        self._first = 0

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return its answer, asking endpoint after endpoint.

        Args:
            method: of HTTP, in capitals.
            target: path and query, percent-encoded.
            body: what to send.
            headers: what to send with it.

        Raises:
            Refusal: the answer is not a success.
            Failure: nobody answered, or the outcome of a write is unknown.
        """
        answer = self.send(method, target, body, dict(headers or {}))
        if answer.status >= 300:
            raise Refusal(answer.status, problem_line(answer))
        return answer

    def send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        """Send a request to the first endpoint that answers, whatever it answers.

        Args:
            method: of HTTP, in capitals.
            target: path and query, percent-encoded.
            body: what to send.
            headers: what to send with it.
        """
        troubles = []
        for turn in range(len(self.endpoints)):
            index = (self._first + turn) % len(self.endpoints)
            endpoint = self.endpoints[index]
            try:
                answer = self._send_to(endpoint, method, target, body, headers)
            except HTTPError as error:
                if method not in SAFE_METHODS and not _never_sent(error):
                    raise Failure(
                        f"the outcome is unknown: {endpoint} {_reason(error)}"
                        f" during {method} {target}",
                        ExitCode.UNKNOWN,
                    ) from None
                troubles.append(f"{endpoint} {_reason(error)}")
                continue
            self._first = index
            return answer
        raise Failure(
            f"no endpoint answers: {'; '.join(troubles)}", ExitCode.UNAVAILABLE
        )

    def upload(
        self,
        target: str,
        file: BinaryIO,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Answer:
        """POST a file as it is read, to the first endpoint that can be reached.

        Args:
            target: path and query, percent-encoded.
            file: at its beginning; it is read from there for each endpoint.
            headers: what to send with it, its length among them.
            timeout_s: how long to wait for a part of it to be taken, or for the answer.

        Raises:
            Failure: nobody can be reached, or the connection broke on the way.
        """
        troubles = []
        for turn in range(len(self.endpoints)):
            index = (self._first + turn) % len(self.endpoints)
            endpoint = self.endpoints[index]
            file.seek(0)
            try:
                answer = self._send_to(
                    endpoint, "POST", target, file, dict(headers), timeout_s=timeout_s
                )
            except (HTTPError, OSError) as error:
                self._first = (index + 1) % len(self.endpoints)
                if not (isinstance(error, HTTPError) and _never_sent(error)):
                    why = _reason(error) if isinstance(error, HTTPError) else error
                    raise Failure(
                        f"{endpoint} {why} during the upload", ExitCode.UNKNOWN
                    ) from None
                troubles.append(f"{endpoint} {_reason(error)}")
                continue
            self._first = index
            return answer
        raise Failure(
            f"no endpoint answers: {'; '.join(troubles)}", ExitCode.UNAVAILABLE
        )

    def _send_to(  # noqa: PLR0913
        self,
        endpoint: str,
        method: str,
        target: str,
        body: bytes | BinaryIO | None,
        headers: dict[str, str],
        *,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send a request to one endpoint; an HTTPError where it does not answer."""
        patience = self.timeout_s if timeout_s is None else timeout_s
        response = self._pools[endpoint].urlopen(
            method,
            urlsplit(endpoint).path.rstrip("/") + target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(
                connect=min(CONNECT_TIMEOUT_S, patience), read=patience
            ),
        )
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, lowered, response.data, endpoint)


def _pool(endpoint: str, timeout_s: float) -> urllib3.HTTPConnectionPool:
    """Open a pool of connections to an endpoint; a `Failure` for a wrong one."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"}:
        raise Failure(f"not a URL of a node: {endpoint!r}", ExitCode.USAGE)
    kind = (
        urllib3.HTTPSConnectionPool
        if parts.scheme == "https"
        else urllib3.HTTPConnectionPool
    )
    timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s)
    return kind(host, port, timeout=timeout)


def _never_sent(error: HTTPError) -> bool:
    """Tell whether no byte of a failed request can have arrived."""
    return isinstance(error, NewConnectionError | ConnectTimeoutError)


def _reason(error: HTTPError) -> str:
    """Say in few words why an endpoint did not answer."""
    if isinstance(error, ReadTimeoutError):
        return "did not answer in time"
    if isinstance(error, NewConnectionError):
        return "cannot be reached"
    if isinstance(error, ConnectTimeoutError):
        return "cannot be reached in time"
    return "broke the connection"


def problem_line(answer: Answer) -> str:
    """Say in one line what an error answer says.

    Its faults where it lists some, else its detail; and its request id.
    """
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    said = problem.get("detail") or problem.get("title")
    said = said or f"{answer.endpoint} answered without a reason"
    faults = problem.get("errors")
    if isinstance(faults, list) and faults:
        said = "; ".join(f"{fault['key']}: {fault['why']}" for fault in faults)
    request = problem.get("request_id") or answer.headers.get("x-request-id")
    facts = [str(answer.status), *([f"request {request}"] if request else [])]
    return f"{str(said).rstrip('.')} ({', '.join(facts)})"


def key_target(key: str) -> str:
    """Spell the path of a key; a key of dots only must not look like a path's step."""
    try:
        spelled = quote(key, safe="")
    except UnicodeEncodeError:
        raise Failure("a key must be UTF-8", ExitCode.USAGE) from None
    if not spelled.strip("."):
        spelled = spelled.replace(".", "%2E")
    return f"/kv/{spelled}"


def with_query(path: str, **parameters: str | int | float | None) -> str:
    """Add query parameters to a path, leaving out those that are None.

    Args:
        path: percent-encoded, without a query.
        parameters: names and plain values.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    try:
        query = urlencode(given, quote_via=quote)
    except UnicodeEncodeError:
        raise Failure("a key must be UTF-8", ExitCode.USAGE) from None
    return f"{path}?{query}" if query else path

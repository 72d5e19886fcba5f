"""Loading a cluster with requests, and counting what came of them.

Closed loop: each of the concurrent clients sends its next request when the last is
answered, over one connection that it keeps.  So a stall of the cluster is seen as few
slow requests, not as the many that an open world would have sent meanwhile.  The
clients share one thread: threads would wait for each other in the interpreter, and that
wait would be measured too.
"""

import base64
import json
import random
import selectors
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Client, key_target
from torua.cli.wire import Heard, Wire, WireState

TICK_S = 0.1
"""How often requests are looked at that took too long."""

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class Request(NamedTuple):
    """What to send, and how many operations it holds."""

    kind: str
    method: str
    target: str
    body: bytes
    operations: int


class Plan(msgspec.Struct, frozen=True):
    """What load to make.

    Attributes:
        workload: ``put``, ``get``, ``bulk`` or ``mixed`` (half puts, half gets).
        concurrency: how many clients at once.
        seconds: how long; None where `operations` says how much.
        operations: how many in all; None where `seconds` says how long.
        value_bytes: the size of each value.
        keys: how many different keys.
        batch: how many puts a bulk request holds.
        seed: of the choice of keys.
    """

    workload: str
    concurrency: int
    seconds: float | None
    operations: int | None
    value_bytes: int
    keys: int
    batch: int
    seed: int


class Tally:
    """What one client counted.

    Invariants: `latencies` holds the seconds of each request that succeeded, by kind;
    `errors` counts the others by what they said.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.latencies: dict[str, list[float]] = {}
        self.errors: Counter[str] = Counter()
        self.operations = 0

    def add(self, other: "Tally") -> None:
        """Take in what another client counted."""
        for kind, values in other.latencies.items():
            self.latencies.setdefault(kind, []).extend(values)
        self.errors += other.errors
        self.operations += other.operations


class Result(msgspec.Struct, frozen=True):
    """What a run measured, all clients together."""

    seconds: float
    tally: Tally


def key_name(number: int) -> str:
    """Name the key of a number."""
    return f"bench/{number:08d}"


def value_of(plan: Plan) -> bytes:
    """Make the value that is put: random bytes, so that nothing compresses."""
    return random.Random(plan.seed).randbytes(plan.value_bytes)  # noqa: S311 - no secret


def bulk_body(numbers: Sequence[int], value: bytes) -> bytes:
    """Spell puts of one value to many keys as NDJSON.

    Args:
        numbers: of the keys.
        value: of all of them.
    """
    spelled = base64.b64encode(value).decode()
    lines = (
        json.dumps({"op": "put", "key": key_name(each), "value_base64": spelled})
        for each in numbers
    )
    return "".join(f"{line}\n" for line in lines).encode()


def fill(client: Client, plan: Plan) -> None:
    """Put every key once, so that reads find them.

    Args:
        client: where to.
        plan: which keys, and what values.

    Raises:
        Failure: a put was refused.
    """
    value = value_of(plan)
    batch = max(1, min(500, (1 << 20) // (plan.value_bytes + 1)))
    for first in range(0, plan.keys, batch):
        numbers = range(first, min(first + batch, plan.keys))
        answer = client.ask("POST", "/bulk", body=bulk_body(numbers, value))
        if errors := answer.json()["errors"]:
            raise Failure(f"{errors} of {len(numbers)} puts were refused")


def run(plan: Plan, endpoints: Sequence[str], timeout_s: float) -> Result:
    """Make the load and return what was measured.

    Args:
        plan: what load to make.
        endpoints: the clients take turns in choosing one, and stay with it.
        timeout_s: how long one request may take.
    """
    loaders = [
        Loader(plan, place, endpoints[place % len(endpoints)], timeout_s)
        for place in range(plan.concurrency)
    ]
    began = time.perf_counter()
    end = began + (float("inf") if plan.seconds is None else plan.seconds)
    with selectors.DefaultSelector() as selector:
        for loader in loaders:
            loader.begin(selector, end)
        while any(loader.busy for loader in loaders):
            for key, _ in selector.select(TICK_S):
                key.data.turn(selector, end)
            now = time.perf_counter()
            for loader in loaders:
                loader.expire(selector, now, end)
    seconds = time.perf_counter() - began
    total = Tally()
    for loader in loaders:
        total.add(loader.tally)
    return Result(seconds, total)


class Loader:
    """One client: sends, waits, counts, sends the next.

    Invariants: at most one request is under way; each is counted once, in `tally`.
    """

    def __init__(
        self, plan: Plan, place: int, endpoint: str, timeout_s: float = 30.0
    ) -> None:
        """Prepare to send.

        Args:
            plan: what load to make.
            place: which of the concurrent clients this is; chooses its dice.
            endpoint: whom to ask.
            timeout_s: how long one request may take.
        """
        self._plan = plan
        self._timeout_s = timeout_s
        self._host, port = address_of(endpoint)
        self._wire = Wire(self._host, port)
        self._dice = random.Random(plan.seed * 1_000_003 + place)  # noqa: S311 - no secret
        self._value = value_of(plan)
        each, more = divmod(plan.operations or 0, plan.concurrency)
        self._left = float("inf") if plan.operations is None else each + (place < more)
        self._request: Request | None = None
        self._sent = 0.0
        self._watched = False
        self.tally = Tally()

    @property
    def busy(self) -> bool:
        """Tell whether a request is under way."""
        return self._request is not None

    def begin(self, selector: selectors.BaseSelector, end: float) -> None:
        """Send the next request, unless all is done.

        Args:
            selector: waits for the answer.
            end: when to send none any more.
        """
        assert self._request is None, "a request is under way"
        while self._left > 0 and (now := time.perf_counter()) < end:
            request = self._request = self.next_request()
            self._left -= request.operations
            self._sent = now
            try:
                self._wire.send(spelled(request, self._host))
            except OSError as error:
                self._lost(selector, error.strerror or "no connection")
            else:
                self._watch(selector)
                return
        self._unwatch(selector)
        self._wire.close()

    def turn(self, selector: selectors.BaseSelector, end: float) -> None:
        """Take what came; count an answer that is whole, and go on.

        Args:
            selector: waits for what is missing.
            end: when to send nothing any more.
        """
        try:
            heard = self._wire.turn()
        except OSError as error:
            self._lost(selector, error.strerror or "no connection")
            self.begin(selector, end)
            return
        if heard is not None:
            self.count(heard)
            if self._wire.state is WireState.SPENT:
                self._unwatch(selector)
                self._wire.close()
            self.begin(selector, end)
        else:
            self._watch(selector)

    def expire(self, selector: selectors.BaseSelector, now: float, end: float) -> None:
        """Give a request up that took too long.

        Args:
            selector: waited for it.
            now: the time.
            end: when to send nothing any more.
        """
        if self.busy and now - self._sent > self._timeout_s:
            self._lost(selector, "no answer in time")
            self.begin(selector, end)

    def count(self, heard: Heard) -> None:
        """Count the answer of the request that is under way.

        An operation that was refused within a bulk request is an error.
        """
        assert self._request is not None, "an answer to nothing"
        request, self._request = self._request, None
        if heard.status >= 300:
            self.tally.errors[str(heard.status)] += 1
            return
        latency = time.perf_counter() - self._sent
        self.tally.latencies.setdefault(request.kind, []).append(latency)
        refused = json.loads(heard.body)["errors"] if request.kind == "bulk" else 0
        self.tally.operations += request.operations - refused
        if refused:
            self.tally.errors["refused in a bulk request"] += refused

    def next_request(self) -> Request:
        """Choose the next request."""
        plan, dice = self._plan, self._dice
        if plan.workload == "bulk":
            count = int(min(plan.batch, self._left))
            numbers = [dice.randrange(plan.keys) for _ in range(count)]
            return Request(
                "bulk", "POST", "/bulk", bulk_body(numbers, self._value), count
            )
        target = key_target(key_name(dice.randrange(plan.keys)))
        reads = {"get": 1.0, "mixed": 0.5, "put": 0.0}[plan.workload]
        if dice.random() < reads:
            return Request("get", "GET", target, b"", 1)
        return Request("put", "PUT", target, self._value, 1)

    def _lost(self, selector: selectors.BaseSelector, why: str) -> None:
        """Count a request that got no answer, and close its connection."""
        self.tally.errors[why.lower()] += 1
        self._request = None
        self._unwatch(selector)
        self._wire.close()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        """Wait for what comes next on the connection."""
        events = selectors.EVENT_WRITE if self._wire.wants_write else 0
        events = events or selectors.EVENT_READ
        if self._watched:
            if selector.get_key(self._wire).events != events:
                selector.modify(self._wire, events, self)
        else:
            selector.register(self._wire, events, self)
            self._watched = True

    def _unwatch(self, selector: selectors.BaseSelector) -> None:
        """Wait for nothing any more."""
        if self._watched:
            selector.unregister(self._wire)
            self._watched = False


def spelled(request: Request, host: str) -> bytes:
    """Spell a request as it goes over the wire.

    Args:
        request: what to ask.
        host: whom.
    """
    kind = "application/x-ndjson" if request.kind == "bulk" else DEFAULT_CONTENT_TYPE
    head = (
        f"{request.method} {request.target} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(request.body)}\r\n\r\n"
    )
    return head.encode() + request.body


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint; a `Failure` where it is not plain HTTP."""
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        raise Failure(f"bench speaks plain HTTP only, not {endpoint}", ExitCode.USAGE)
    return parts.hostname, parts.port or 80

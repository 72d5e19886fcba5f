"""Loading a cluster with requests, and counting what came of them.

Closed loop: each of the concurrent clients sends its next request when the last is
answered, over one connection that it keeps.  So a stall of the cluster is seen as few
slow requests, not as the many that an open world would have sent meanwhile.
"""

import base64
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from torua.cli.failures import Failure
from torua.cli.http import Client, key_target

Request = tuple[str, str, str, bytes | None, int]
"""Kind, method, target, body, and how many operations it holds."""


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
        Loader(plan, place, Client([endpoints[place % len(endpoints)]], timeout_s))
        for place in range(plan.concurrency)
    ]
    began = time.perf_counter()
    end = began + (float("inf") if plan.seconds is None else plan.seconds)
    threads = [
        threading.Thread(target=loader.run, args=(end,), daemon=True)
        for loader in loaders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    total = Tally()
    for loader in loaders:
        total.add(loader.tally)
    return Result(seconds, total)


class Loader:
    """One client: sends, waits, counts.

    Invariants: at most one request is under way; each is counted once, in `tally`.
    """

    def __init__(self, plan: Plan, place: int, client: Client) -> None:
        """Prepare to send.

        Args:
            plan: what load to make.
            place: which of the concurrent clients this is; chooses its dice.
            client: whom to ask.
        """
        self._plan = plan
        self._client = client
        self._dice = random.Random(plan.seed * 1_000_003 + place)  # noqa: S311 - no secret
        self._value = value_of(plan)
        each, more = divmod(plan.operations or 0, plan.concurrency)
        self._left = float("inf") if plan.operations is None else each + (place < more)
        self.tally = Tally()

    def run(self, end: float) -> None:
        """Send one request after the other until ``end``, or all of its share."""
        while self._left > 0 and time.perf_counter() < end:
            self.step()

    def step(self) -> None:
        """Send one request and count what came of it.

        What fails is counted too, and the loop goes on.
        """
        kind, method, target, body, operations = self._request()
        self._left -= operations
        sent = time.perf_counter()
        try:
            answer = self._client.ask(method, target, body=body)
        except Failure as failure:
            self.tally.errors[_kind_of(failure)] += 1
            return
        latency = time.perf_counter() - sent
        self.tally.latencies.setdefault(kind, []).append(latency)
        refused = answer.json()["errors"] if kind == "bulk" else 0
        self.tally.operations += operations - refused
        if refused:
            self.tally.errors["refused in a bulk request"] += refused

    def _request(self) -> Request:
        """Choose the next request."""
        plan, dice = self._plan, self._dice
        if plan.workload == "bulk":
            count = int(min(plan.batch, self._left))
            numbers = [dice.randrange(plan.keys) for _ in range(count)]
            return "bulk", "POST", "/bulk", bulk_body(numbers, self._value), count
        target = key_target(key_name(dice.randrange(plan.keys)))
        reads = {"get": 1.0, "mixed": 0.5, "put": 0.0}[plan.workload]
        if dice.random() < reads:
            return "get", "GET", target, None, 1
        return "put", "PUT", target, self._value, 1


def _kind_of(failure: Failure) -> str:
    """Group failures: by status, else by what their exit code means."""
    status = getattr(failure, "status", None)
    return str(status) if status else failure.message.partition(":")[0]

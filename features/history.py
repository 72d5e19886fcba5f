"""Clients that remember what they asked and were told, and what must hold of it.

`Load` runs clients in threads: some read, put, delete and compare-and-set a few keys
that they share, and for each shard two write keys of their own as fast as they are
answered, so that a gap in its service shows.  Keys change every few seconds, so that
no history of one key grows long.

What nobody was told (a cut connection, a time-out, 504) may or may not have happened.
Histories are judged by the checker of the simulation: `tests.simulation.history`.
"""

import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import urllib3
from cluster import Cluster, Node, eventually, key_path

sys.path.append(str(Path(__file__).parents[1]))

from tests.simulation.history import History, Request
from torua.core.kv import (
    Condition,
    Delete,
    Entry,
    Get,
    Outcome,
    Put,
)
from torua.core.routing import even_slots, shard_of

Asking = Get | Put | Delete

EPOCH_S = 4.0
"""How long one set of keys is in use."""

TIMEOUT_MS = 1500
"""What clients of shared keys wait; failover takes longer, so they learn of 504."""

PULSE_TIMEOUT_MS = 600
AVOID_S = 3.0
"""How long a client leaves a node alone that was silent."""

RETRY_S = 12.0
"""How long a client repeats a request under its idempotency key."""

REPEATED = 0.2
"""Of the requests with an idempotency key that were answered, how many are sent again:
they must have the same answer."""

READERS = 8

_DETAILS = re.compile(r"[0-9a-f]{6,}|\d+\.\d+|(?<=shard )\d+")
"""What differs between sentences that say the same: ids, times, shards."""

_AT_VERSION = re.compile(rb"the key is at version (\d+)")


class RefusedError(Exception):
    """The request was not begun, by all that the answer says."""


class UnknownError(Exception):
    """Nobody told what became of the request."""


class Answer(NamedTuple):
    """A write that was acknowledged: for whoever looks at gaps."""

    shard: int
    at: float
    node: str


TIMEOUT_MS_MAX = 60_000
"""The longest that a node may be told to take; a client may wait longer yet."""


class Asked(NamedTuple):
    """One attempt: what is asked, and of whom.  It is given up after ``timeout_ms``."""

    operation: Asking
    node: Node
    timeout_ms: int
    idempotency: str = ""
    consistency: str = ""


def ask(asked: Asked) -> tuple[Outcome, int | None]:
    """Ask a node once; return the outcome, and the shard that the answer names."""
    method, headers = _spelled(asked)
    key = asked.operation.key.decode()
    target = f"{key_path(key)}?timeout_ms={min(asked.timeout_ms, TIMEOUT_MS_MAX)}"
    if asked.consistency:
        target += f"&consistency={asked.consistency}"
    body = asked.operation.value if isinstance(asked.operation, Put) else None
    try:
        answer = asked.node.ask(
            method, target, body, asked.timeout_ms / 1000 + 0.3, **headers
        )
    except urllib3.exceptions.NewConnectionError as error:
        raise RefusedError(type(error).__name__) from error
    except urllib3.exceptions.HTTPError as error:
        raise UnknownError(type(error).__name__) from error
    shard = answer.headers.get("Torua-Shard")
    return _read(asked.operation, answer), None if shard is None else int(shard)


def _spelled(asked: Asked) -> tuple[str, dict[str, str]]:
    """Return the method and the headers of a request."""
    headers = {"Idempotency_Key": asked.idempotency} if asked.idempotency else {}
    for each in getattr(asked.operation, "conditions", ()):
        name = "If_Match" if each.match else "If_None_Match"
        headers[name] = "*" if each.versions is None else f'"{each.versions[0]}"'
    methods = {Get: "GET", Put: "PUT", Delete: "DELETE"}
    return methods[type(asked.operation)], headers


def _read(operation: Asking, answer: urllib3.BaseHTTPResponse) -> Outcome:
    """Return what an answer says; raise where it says that it knows nothing."""
    tag = answer.headers.get("ETag")
    version = int(tag.strip('"')) if tag else None
    match answer.status:
        case 200:
            data = answer.data
            entry = Entry(operation.key, version, len(data), value=data)
            return Outcome(version, entry)
        case 204:
            return Outcome(version)
        case 404 if isinstance(operation, Get):
            return Outcome()
        case 412:
            found = _AT_VERSION.search(answer.data)
            at = int(found[1]) if found else None
            return Outcome(at, error="precondition-failed")
        case 429 | 503 | 507:
            raise RefusedError(f"{answer.status} {detail_of(answer)}")
        case 504:
            raise UnknownError(f"504 {detail_of(answer)}")
    raise AssertionError((operation, answer.status, answer.data[:300]))


def detail_of(answer: urllib3.BaseHTTPResponse) -> str:
    """Return the sentence of a problem."""
    try:
        return str(answer.json().get("detail", ""))
    except ValueError:
        return repr(answer.data[:80])


class Load:
    """Clients at work on a cluster, and what they saw.

    Invariants: a client has one request at a time; every request that may have had an
    effect stands in the history.
    """

    def __init__(self, cluster: Cluster, seed: int = 1, clients: int = 4) -> None:
        """Prepare; nothing is asked before `start`.

        Args:
            cluster: its nodes are asked in turn, whether they live or not.
            seed: for what the clients choose.
            clients: how many share keys.
        """
        self.cluster = cluster
        self.history = History()
        self.answers: list[Answer] = []
        self.trouble: Counter = Counter()
        self.wrong: list[str] = []
        self.pause_s = 0.01
        self.began = time.monotonic()
        self._seed = seed
        self._clients = clients
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._shards: list[int] = []

    def start(self) -> None:
        """Start all clients."""
        self._shards = [each["shard"] for each in self.cluster.any().json("/shards")]
        self.began = time.monotonic()
        for number in range(self._clients):
            self._run(self._share, f"client-{number}")
        for shard in self._shards:
            for number in range(2):
                self._run(self._pulse, f"pulse-{shard}-{number}", shard, number)

    def attach(self, operation: Asking, node: Node, timeout_ms: int) -> None:
        """Have a client of its own ask a node once, with patience.

        Args:
            operation: what it asks.
            node: whom.
            timeout_ms: how long it waits.
        """

        def client(name: str) -> None:
            request = self._begin(name, operation)
            self._attempt(request, Asked(operation, node, timeout_ms))

        self._run(client, f"attached-{len(self._threads)}")

    def stop(self) -> None:
        """Stop all clients, wait for their last answers, and raise what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join(RETRY_S + 30)
            assert not thread.is_alive(), f"{thread.name} hangs"
        assert not self.wrong, self.wrong[:3]

    def abandon(self) -> None:
        """Stop all clients, whatever they saw: the scenario failed before."""
        self._stop.set()

    def wait_for_answers(self, count: int = 50, within_s: float = 30.0) -> None:
        """Wait until every shard answered so many more writes.

        Args:
            count: how many.
            within_s: or fail.
        """
        since = time.monotonic()

        def enough() -> bool:
            counts = Counter(each.shard for each in self.answers if each.at > since)
            return all(counts[shard] >= count for shard in self._shards)

        eventually(enough, within_s, f"each shard answers {count} writes", 0.2)

    def gaps(self, since: float = 0.0, until: float = 0.0) -> dict[int, float]:
        """Return the longest time without an answered write, a shard.

        One that was made by a split counts from its first answer.

        Args:
            since: by `time.monotonic`; from the start of the clients, if 0.
            until: as above; now, if 0.
        """
        since, until = since or self.began, until or time.monotonic()
        longest = {}
        answers = list(self.answers)
        for shard in {*self._shards, *(each.shard for each in answers)}:
            times = sorted(
                each.at
                for each in answers
                if each.shard == shard and since <= each.at <= until
            )
            began = since if shard in self._shards or not times else times[0]
            edges = [began, *times, until]
            longest[shard] = max(later - earlier for earlier, later in pairwise(edges))
        return longest

    def verify(self) -> str:
        """Read every key back, then judge all histories; return what was judged."""
        nodes = self.cluster.running()
        keys = sorted(
            {op.key for each in self.history.requests for op in each.operations}
        )
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda pair: self._read_back(*pair, nodes), enumerate(keys)))
        began = time.monotonic()
        self.history.check()
        by_key = self.history.by_key()
        total = sum(map(len, by_key.values()))
        unknown = sum(op.outcome is None for ops in by_key.values() for op in ops)
        return (
            f"{total} operations on {len(by_key)} keys are linearizable,"
            f" {unknown} of unknown outcome; checked in"
            f" {time.monotonic() - began:.1f} s; trouble: {dict(self.trouble)}"
        )

    def _read_back(self, number: int, key: bytes, nodes: list[Node]) -> None:
        """Read a key through one node, the next key through the next."""
        request = self._begin("reader", Get(key))
        node = nodes[number % len(nodes)]
        end = time.monotonic() + RETRY_S
        while True:
            try:
                outcome, _ = ask(Asked(Get(key), node, 5000))
            except (RefusedError, UnknownError) as error:
                assert time.monotonic() < end, (node.name, key, error)
            else:
                request.answered((outcome,), time.monotonic())
                return

    def _run(self, client: object, *arguments: object) -> None:
        """Start a client in a thread of its own."""
        name = str(arguments[0])

        def run() -> None:
            try:
                client(*arguments)
            except Exception as error:
                self.wrong.append(f"{name}: {type(error).__name__} {error}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _begin(self, client: str, operation: Asking) -> Request:
        """Note a request."""
        with self._lock:
            return self.history.begin(client, (operation,), time.monotonic())

    def _epoch(self) -> int:
        """Tell which set of keys is in use."""
        return int((time.monotonic() - self.began) / EPOCH_S)

    def _share(self, name: str) -> None:
        """Work on keys that others work on too."""
        dice = random.Random(f"{self._seed} {name}")
        seen: dict[bytes, int | None] = {}
        epoch, turn = -1, 0
        while not self._stop.is_set():
            if epoch != self._epoch():
                epoch, seen = self._epoch(), {}
                keys = list(keys_of(self._shards, f"shared/{epoch}", len(self._shards)))
            key = dice.choice(keys)
            turn += 1
            operation = self._choose(dice, key, f"{name} {turn}", seen.get(key))
            idempotency = f"{name}-{turn}" if dice.random() < 0.5 else ""
            self._request(name, operation, idempotency, dice, seen)
            self._stop.wait(self.pause_s * 2 * dice.random())

    def _choose(
        self, dice: random.Random, key: bytes, value: str, version: int | None
    ) -> Asking:
        """Choose what to do with a key."""
        kind = dice.random()
        if kind < 0.4:
            return Get(key)
        if kind < 0.7:
            return Put(key, value.encode())
        if kind < 0.8:
            return Delete(key)
        if version is None:
            condition = Condition(None, match=False)
        else:
            condition = Condition((version,), match=True)
        return Put(key, value.encode(), conditions=(condition,))

    def _request(
        self,
        name: str,
        operation: Asking,
        idempotency: str,
        dice: random.Random,
        seen: dict[bytes, int | None],
    ) -> None:
        """Do one request, with all its repetitions."""
        request = self._begin(name, operation)
        end = time.monotonic() + RETRY_S
        if isinstance(operation, Get):
            idempotency = ""
        while True:
            node = dice.choice(list(self.cluster.nodes.values()))
            asked = Asked(operation, node, TIMEOUT_MS, idempotency)
            outcome = self._attempt(request, asked)
            if outcome is not None:
                seen[operation.key] = outcome.version
                if not idempotency or dice.random() >= REPEATED:
                    return
            is_over = self._stop.is_set() or time.monotonic() > end
            if not idempotency or is_over:
                return
            time.sleep(0.05)

    def _attempt(self, request: Request, asked: Asked) -> Outcome | None:
        """Ask once; note what came of it; return the outcome if there is one."""
        if asked.node._pool is None:
            time.sleep(0.05)
            return None
        request.attempted()
        try:
            outcome, shard = ask(asked)
        except RefusedError as error:
            request.refused()
            self._note(error)
            time.sleep(0.02)
            return None
        except UnknownError as error:
            self._note(error)
            return None
        now = time.monotonic()
        request.answered((outcome,), now)
        if not isinstance(asked.operation, Get) and shard is not None:
            self.answers.append(Answer(shard, now, asked.node.name))
        return outcome

    def _note(self, error: Exception) -> None:
        """Count trouble."""
        with self._lock:
            self.trouble[
                re.sub(r"[0-9a-f]{6,}|\d+\.\d+|(?<=shard )\d+", "…", str(error))[:60]
            ] += 1

    def _pulse(self, name: str, shard: int, number: int) -> None:
        """Write to one shard as fast as it answers, through the nodes in turn.

        One client writes to the lower half of its slots, one to the upper, so that each
        shard is written still where it is split.
        A node that failed to answer is left alone for a while, as a client would: what
        shall be seen is whether the shard is served, not how patient its clients are.
        """
        turn, epoch, key = number, -1, b""
        avoided: dict[str, float] = {}
        while not self._stop.is_set():
            if epoch != self._epoch():
                epoch = self._epoch()
                half = 2 * shard + number
                key = next(keys_of([half], f"{name}/{epoch}", 2 * len(self._shards)))
            turn += 1
            now = time.monotonic()
            nodes = [
                each
                for each in list(self.cluster.nodes.values())
                if avoided.get(each.name, 0.0) < now
            ]
            if not nodes:
                avoided.clear()
                continue
            node = nodes[turn % len(nodes)]
            operation = Put(key, f"{name} {turn}".encode())
            request = self._begin(name, operation)
            asked = Asked(operation, node, PULSE_TIMEOUT_MS)
            if self._attempt(request, asked) is None and self._is_silent(now):
                avoided[node.name] = now + AVOID_S
            self._stop.wait(self.pause_s)

    @staticmethod
    def _is_silent(began: float) -> bool:
        """Tell whether an attempt that failed took so long that nobody was there."""
        return time.monotonic() - began > PULSE_TIMEOUT_MS / 1000


def keys_of(shards: list[int], prefix: str, total: int) -> Iterator[bytes]:
    """Give a key of each shard; found by trying.

    Args:
        shards: which, by number.
        prefix: of the keys.
        total: how many shards there are.
    """
    slots = even_slots(total)
    for shard in shards:
        number = 0
        while shard_of(slots, f"{prefix}/{number}".encode()) != shard:
            number += 1
        yield f"{prefix}/{number}".encode()

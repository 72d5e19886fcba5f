"""Clients as a program should be: one retry, at another node, and then it gives up.

Each has keys of its own, and reads what it wrote.  What is counted is what it would
have to tell its own users: a request that failed twice, a wrong answer, a long wait.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable

import urllib3
from cluster import key_path

PAUSE_S = 0.5
"""Before the retry; a node that refuses says one second or less."""

TIMEOUT_S = 10.0


class Patient:
    """Clients that read and write, half and half, until they are stopped."""

    def __init__(
        self,
        endpoints: Callable[[], list[str]],
        *,
        keys: int = 200,
        size: int = 100,
        pause_s: float = 0.0,
    ) -> None:
        """Prepare.

        ``endpoints`` tells the URLs of the nodes as they are now; each client has so
        many ``keys`` with values of a ``size``, and rests between two requests.
        """
        self._endpoints = endpoints
        self._keys = keys
        self._size = size
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.pool = urllib3.PoolManager(maxsize=64, num_pools=64)
        self.held: dict[str, bytes] = {}
        self.done = 0
        self.retried: list[str] = []
        self.failed: list[str] = []
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self.gap_s = 0.0
        self._last = time.monotonic()

    def start(self, clients: int) -> None:
        """Have so many clients begin."""
        self._last = time.monotonic()
        for number in range(clients):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop all, and wait for their last requests."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * TIMEOUT_S)

    def report(self) -> str:
        """Tell what they saw."""
        return (
            f"{self.done} requests, {len(self.retried)} retried, {len(self.failed)}"
            f" failed, {len(self.wrong)} wrong; slowest {self.slowest_s:.2f} s,"
            f" longest gap {self.gap_s:.2f} s"
        )

    def check(self) -> None:
        """Raise where a request failed, an answer was wrong, or a write is lost."""
        assert not self.wrong, self.wrong[:5]
        assert not self.failed, (len(self.failed), self.failed[:5])
        base = self._endpoints()[0]
        for key, value in self.held.items():
            answer = self.pool.request("GET", base + key_path(key), retries=False)
            assert (answer.status, answer.data) == (200, value), key

    def _run(self, number: int) -> None:
        """Read and write, one key after another."""
        dice = random.Random(number)
        turn = 0
        while not self._stop.wait(self._pause_s):
            key = f"patient/{number}/{dice.randrange(self._keys)}"
            turn += 1
            if key in self.held and dice.random() < 0.5:
                self._get(key, dice)
            else:
                self._put(key, f"{turn}:".encode() + dice.randbytes(self._size), dice)

    def _get(self, key: str, dice: random.Random) -> None:
        """Read a key of one's own; it must have the last value."""
        answer = self._ask("GET", key, None, dice)
        if answer is not None and (answer.status, answer.data) != (200, self.held[key]):
            self.wrong.append(f"{key}: {answer.status} {answer.data[:40]!r}")

    def _put(self, key: str, value: bytes, dice: random.Random) -> None:
        """Write a key of one's own."""
        if self._ask("PUT", key, value, dice) is not None:
            self.held[key] = value
        else:
            self.held.pop(key, None)

    def _ask(self, method, key, body, dice):
        """Ask one node, then another; None where both failed."""
        once = {"Idempotency-Key": uuid.uuid4().hex} if body is not None else {}
        began = time.monotonic()
        nodes = dice.sample(self._endpoints(), 2)
        for attempt, base in enumerate(nodes):
            answer, why = self._try(method, base + key_path(key), body, once)
            if answer is not None:
                self._note(time.monotonic() - began)
                return answer
            said = f"{time.time():.2f} {method} {base} {key}: {why}"
            (self.failed if attempt else self.retried).append(said)
            time.sleep(0 if attempt else PAUSE_S)
        return None

    def _try(self, method, url, body, headers):
        """Ask one node; an answer, or why there is none to be used."""
        try:
            answer = self.pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=TIMEOUT_S,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return None, type(error).__name__
        if answer.status == 429 or answer.status >= 500:
            return None, f"{answer.status} {answer.data[:200]!r}"
        return answer, ""

    def _note(self, seconds: float) -> None:
        """Count a request that went well."""
        with self._lock:
            now = time.monotonic()
            self.gap_s = max(self.gap_s, now - self._last)
            self._last = now
            self.done += 1
            self.slowest_s = max(self.slowest_s, seconds)

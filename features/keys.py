"""Many keys at once: checked through every node, written beside the steps."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import urllib3
from cluster import Cluster, Node, key_path

CHECKERS = 8


def check_all(cluster: Cluster, *, or_refused: bool = False) -> None:
    """Get every acknowledged key through every node that runs, byte for byte.

    With ``or_refused`` a key may be refused with 503, but never be absent or wrong.
    """

    def check(pair: tuple[Node, str]) -> None:
        node, key = pair
        answer = node.ask("GET", key_path(key))
        if or_refused and answer.status == 503:
            return
        assert answer.status == 200, (node.name, key, answer.status, answer.data[:200])
        allowed = {cluster.written[key], *cluster.maybe.get(key, ())}
        assert answer.data in allowed, (node.name, key, len(answer.data))

    pairs = [(node, key) for node in cluster.running() for key in cluster.written]
    with ThreadPoolExecutor(CHECKERS) as pool:
        list(pool.map(check, pairs))


class Writers:
    """Clients that write, each key after the other, until they are stopped.

    Each has keys of its own, and remembers what was acknowledged; of a write that
    failed nobody knows whether it happened, so both values are then allowed.
    """

    def __init__(self, cluster: Cluster, nodes: list[Node]) -> None:
        """Prepare to write through these nodes."""
        self._cluster = cluster
        self._nodes = nodes
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: dict[str, list[str]] = {}
        self.slowest_s: dict[str, float] = {}
        self.done: dict[str, int] = {}

    def start(self, name: str, keys: list[str], timeout_ms: int = 5000) -> None:
        """Start one client: it writes its keys in turn, through the nodes in turn."""
        self.failures[name], self.slowest_s[name], self.done[name] = [], 0.0, 0
        thread = threading.Thread(
            target=self._write, args=(name, keys, timeout_ms), daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Stop all clients and wait for their last requests."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive(), "a client hangs"

    def _write(self, name: str, keys: list[str], timeout_ms: int) -> None:
        turn = 0
        while not self._stop.is_set():
            key = keys[turn % len(keys)]
            node = self._nodes[turn % len(self._nodes)]
            turn += 1
            value = f"{name} {turn}".encode()
            began = time.monotonic()
            try:
                answer = node.ask(
                    "PUT", f"{key_path(key)}?timeout_ms={timeout_ms}", value
                )
                trouble = "" if answer.status == 204 else f"{answer.status}"
            except urllib3.exceptions.HTTPError as error:
                trouble = type(error).__name__
            passed = time.monotonic() - began
            if trouble:
                self.failures[name].append(
                    f"{node.name} {key} {trouble} {passed:.2f} s"
                )
                self._cluster.maybe.setdefault(key, set()).add(value)
                self._stop.wait(0.05)
            else:
                self._cluster.written[key] = value
                self.slowest_s[name] = max(self.slowest_s[name], passed)
                self.done[name] += 1

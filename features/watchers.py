"""Clients that watch for one thing each: repetition, and keys that must be there."""

import threading
import time

from history import Asked, RefusedError, UnknownError, ask

from torua.core.kv import Get, Put


class Repeaters:
    """Clients that put each key once, however often they must ask.

    Invariants: a key stands in ``versions`` once its put was answered.
    """

    def __init__(self, cluster):
        """Prepare."""
        self._cluster = cluster
        self._stop = threading.Event()
        self._threads = []
        self.versions = {}
        self.wrong = []
        self.attempts = 0
        self.slowest_s = 0.0

    def start(self, count):
        """Start so many."""
        for number in range(count):
            thread = threading.Thread(target=self._client, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self):
        """Stop them, and wait for their last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _client(self, number):
        """Put key after key."""
        turn = 0
        while not self._stop.is_set():
            turn += 1
            try:
                self._put(f"once/{number}/{turn}".encode(), turn)
            except Exception as error:
                self.wrong.append(repr(error))
                return

    def _put(self, key, turn):
        """Ask until there is an answer, through the nodes in turn."""
        began = time.monotonic()
        while time.monotonic() < began + 20:
            nodes = list(self._cluster.nodes.values())
            node = nodes[turn % len(nodes)]
            turn, self.attempts = turn + 1, self.attempts + 1
            try:
                asked = Asked(Put(key, key), node, 1000, f"once {key.decode()}")
                self.versions[key] = ask(asked)[0].version
            except (RefusedError, UnknownError):
                time.sleep(0.02)
            else:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                return
        raise AssertionError(f"no answer for {key!r}")


class Reader:
    """Reads keys in turn for as long as it may, and notes how long each took.

    Invariants: a key is read again until it is there.
    """

    def __init__(self, cluster):
        """Take the keys that were acknowledged so far."""
        self._cluster = cluster
        self._keys = sorted(cluster.written)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.slowest = (0.0, "")
        self.count = 0
        self.wrong = []

    def start(self):
        """Begin."""
        self._thread.start()

    def stop(self):
        """End."""
        self._stop.set()
        self._thread.join(30)

    def _read(self):
        """Read on."""
        while not self._stop.is_set():
            for key in self._keys:
                self._key(key)
                if self._stop.is_set() or self.wrong:
                    return

    def _key(self, key):
        """Read one until it is answered."""
        began = time.monotonic()
        operation = Get(key.encode())
        while time.monotonic() < began + 20:
            nodes = [each for each in self._cluster.running() if each._pool]
            self.count += 1
            try:
                outcome = ask(Asked(operation, nodes[self.count % len(nodes)], 1000))[0]
            except (RefusedError, UnknownError):
                time.sleep(0.01)
                continue
            if not outcome.entry or outcome.entry.value != self._cluster.written[key]:
                self.wrong.append(f"{key}: {outcome}")
            took = time.monotonic() - began
            self.slowest = max(self.slowest, (took, key))
            return
        self.wrong.append(f"{key}: unreadable for 20 s")

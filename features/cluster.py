"""Nodes as real processes on loopback, for scenarios.

Every port is chosen by the node itself (port 0) and read from its ``node.json``; every
wait has a deadline; every process ends with its scenario.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import cbor2
import urllib3

START_S = 30.0
"""A node starts within a second or so; with both processors busy it takes longer."""

STOP_S = 15.0
"""What the contract promises for SIGTERM."""

_LOG_LINES = 40
_DROPS = re.compile(
    r'^torua_(?:net|membership)_drops_total\{reason="([^"]+)"\} (\S+)$', re.MULTILINE
)
_ORDINARY_DROPS = {"unreachable", "late-answer", "late-reply", "cut", "overloaded"}
"""What is dropped when a node of ours stops or is slow; no stranger causes it."""

_KEPT_HEAD_BYTES = 20
"""What stands before the CBOR of a small kept file: magic, length, checksum."""


class Node:
    """One ``twist torua-node``, and how to reach it."""

    def __init__(self, root: Path, name: str) -> None:
        """Name it; nothing runs yet."""
        self.name = name
        self.data_dir = root / name
        self.log = root / f"{name}.log"
        self.process: subprocess.Popen | None = None
        self.about: dict = {}
        self._pool: urllib3.HTTPConnectionPool | None = None

    def spawn(self, *options: str) -> None:
        """Start the process; on the same ports as before if it ran before."""
        http, cluster = "127.0.0.1:0", "127.0.0.1:0"
        if self.about:
            http, cluster = self.about["http"], self.about["cluster"]
        words = [
            *("--name", self.name, "--data-dir", str(self.data_dir)),
            *("--http", http, "--cluster", cluster),
            *options,
        ]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                node_command(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )

    def wait_until_listening(self) -> None:
        """Wait for the ``node.json`` of this very process."""

        def listens() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.process.returncode}:\n{self.tail()}"
                )
            try:
                about = json.loads((self.data_dir / "node.json").read_text())
            except (FileNotFoundError, ValueError):
                return False
            if about["pid"] != self.process.pid:
                return False
            self.about = about
            return True

        eventually(listens, START_S, f"{self.name} listens")
        host, port = self.about["http"].rsplit(":", 1)
        self._pool = urllib3.HTTPConnectionPool(host, int(port), maxsize=110)

    @property
    def cluster_port(self) -> int:
        """Return the number of its UDP and TCP cluster ports."""
        return int(self.about["cluster"].rsplit(":", 1)[1])

    @property
    def url(self) -> str:
        """Return where its HTTP API is."""
        return f"http://{self.about['http']}"

    @property
    def runs(self) -> bool:
        """Tell whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        timeout_s: float = 30.0,
        **more: str,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request to it, and return whatever it answers."""
        return self._pool.urlopen(
            method,
            target,
            body=body,
            headers={name.replace("_", "-"): value for name, value in more.items()},
            timeout=timeout_s,
            retries=False,
            redirect=False,
        )

    def json(self, target: str) -> dict | list:
        """Return a JSON answer; an error where it is none or not a success."""
        answer = self.ask("GET", target, timeout_s=5.0)
        assert answer.status == 200, (target, answer.status, answer.data)
        return answer.json()

    def ready(self) -> bool:
        """Tell whether it serves."""
        try:
            return self.ask("GET", "/ready", timeout_s=2.0).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def green(self) -> bool:
        """Tell whether it serves, and sees every shard served."""
        return self.ready() and self.json("/health")["status"] == "green"

    def drops(self) -> Counter:
        """Return how much it dropped of what strangers sent, by reason."""
        text = self.ask("GET", "/metrics").data.decode()
        counted = {reason: float(count) for reason, count in _DROPS.findall(text)}
        return Counter(
            {
                reason: count
                for reason, count in counted.items()
                if reason not in _ORDINARY_DROPS
            }
        )

    def life(self) -> dict:
        """Return what it keeps of itself: ``node_id``, ``name``, ``boot_epoch``."""
        return cbor2.loads((self.data_dir / "identity").read_bytes()[_KEPT_HEAD_BYTES:])

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(STOP_S)

    def tail(self) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return "(no log)"
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def close(self) -> None:
        """End it, however it is."""
        if self.runs:
            self.signal(signal.SIGKILL)
            self.process.wait(STOP_S)
        if self._pool is not None:
            self._pool.close()


class Cluster:
    """The nodes of one scenario, their data below one temporary directory."""

    def __init__(self) -> None:
        """Make the directory; nothing runs yet."""
        self.root = Path(tempfile.mkdtemp(prefix="torua-features-"))
        self.nodes: dict[str, Node] = {}
        self.written: dict[str, bytes] = {}
        self.maybe: dict[str, set[bytes]] = {}
        self.options: list[str] = []

    def node(self, name: str) -> Node:
        """Return a node by name, a new one if need be."""
        return self.nodes.setdefault(name, Node(self.root, name))

    def form(self, count: int, *options: str) -> None:
        """Start so many nodes and wait until all are ready."""
        self.options = list(options)
        first = self.node("node-1")
        first.spawn("--bootstrap-expect", str(count), *options)
        first.wait_until_listening()
        others = [self.node(f"node-{number}") for number in range(2, count + 1)]
        seed = first.about["cluster"]
        for each in others:
            each.spawn("--bootstrap-expect", str(count), "--join", seed, *options)
        for each in others:
            each.wait_until_listening()
        self.wait_until_ready()

    def restart(self, *names: str) -> None:
        """Start nodes again, without ``--join``, and wait until they listen."""
        nodes = [self.nodes[name] for name in names or self.nodes]
        for each in nodes:
            each.spawn(*self.options)
        for each in nodes:
            each.wait_until_listening()

    def wait_until_ready(self) -> None:
        """Wait until every node that runs serves, and sees every shard served."""
        for each in self.running():
            eventually(each.green, START_S, f"{each.name} is ready, its health green")

    def running(self) -> list[Node]:
        """Return the nodes that run."""
        return [each for each in self.nodes.values() if each.runs]

    def any(self) -> Node:
        """Return some node that runs."""
        return self.running()[0]

    def put(self, key: str, value: bytes, node: Node | None = None) -> None:
        """Put a key and remember that it was acknowledged."""
        answer = (node or self.any()).ask("PUT", key_path(key), value)
        assert answer.status == 204, (key, answer.status, answer.data)
        self.written[key] = value

    def coordinator(self) -> Node:
        """Return the node that all that run call the coordinator."""
        names: set = set()

        def agreed() -> bool:
            names.clear()
            names.update(each.json("/health")["coordinator"] for each in self.running())
            return len(names) == 1 and None not in names

        eventually(agreed, START_S, "all name the same coordinator")
        return self.nodes[names.pop()]

    def logs(self) -> str:
        """Return the last lines of each node's log."""
        parts = (f"--- {each.name}\n{each.tail()}" for each in self.nodes.values())
        return "\n".join(parts)

    def close(self, *, keep: bool) -> None:
        """End all processes; remove the data unless it shall be kept."""
        for each in self.nodes.values():
            each.close()
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)


def eventually(
    condition: Callable[[], object], within_s: float, what: str, pause_s: float = 0.05
) -> float:
    """Wait until something holds; return how many seconds it took."""
    began = time.monotonic()
    while not condition():
        passed = time.monotonic() - began
        assert passed < within_s, f"not within {within_s} s: {what}"
        time.sleep(pause_s)
    return time.monotonic() - began


def key_path(key: str) -> str:
    """Spell the path of a key."""
    return f"/kv/{quote(key, safe='')}"


def node_command(words: list[str]) -> list[str]:
    """Return the command line of ``twist torua-node``, as this Python has it."""
    return [sys.executable, "-P", "-m", "twisted", "torua-node", *words]


def torua_command(*words: str) -> list[str]:
    """Return the command line of ``torua``, as this Python has it."""
    return [
        *(sys.executable, "-P", "-c"),
        "from torua.cli.main import main; main(prog_name='torua')",
        *words,
    ]


def clean_environment() -> dict[str, str]:
    """Return this environment without what would configure Torua."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TORUA_")
    }


def run_torua(
    *words: str, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Run a ``torua`` command to its end."""
    return subprocess.run(
        torua_command(*words),
        input=stdin,
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env=clean_environment(),
        check=False,
    )

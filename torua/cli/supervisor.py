"""Running the daemons of a local cluster as child processes.

    STARTING --ready--> UP --exit--> DOWN --back-off--> UP
        |                               (or stays down, with --no-restart)
        +--exit or too slow--> Failure

A node that ends before the cluster was ready once is a failure to start: it will not
go better the second time.  After that, one that ends is started again, ever slower.
The children are in process groups of their own, so that Ctrl-C reaches the supervisor
only, and it stops them.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click
import msgspec

from torua.cli import cluster_file
from torua.cli.cluster_file import ClusterFile, LocalNode
from torua.cli.failures import Failure
from torua.cli.http import Client
from torua.cli.log_tail import LogTail

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.2
STOP_TIMEOUT_S = 15.0
"""A node that was asked to stop has this long, as the contract says."""

SETTLE_S = 5.0
"""Shards are opened within this long after a start, unless something is wrong."""

LAST_LINES = 8
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""After so long a life the next end is a new trouble, not the same one again."""


class NodePlan(msgspec.Struct, frozen=True):
    """One daemon to run: where it listens and keeps its data, and its command line."""

    name: str
    http: str
    cluster: str
    data_dir: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        """Return where its output goes."""
        return self.data_dir / "output.log"

    @property
    def url(self) -> str:
        """Return where its HTTP API is."""
        return f"http://{self.http}"


class NodeProcess:
    """One daemon, its process and its log.

    Invariants: at most one process runs; `backoff_s` doubles with each end and begins
    anew after a steady life.
    """

    def __init__(self, plan: NodePlan, clock: Callable[[], float]) -> None:
        """Prepare to run it.

        Args:
            plan: what to run.
            clock: tells seconds that never go back.
        """
        self.plan = plan
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._backoff_s = BACKOFF_FIRST_S
        self._restart_at: float | None = None
        plan.data_dir.mkdir(parents=True, exist_ok=True)
        self.log = LogTail(plan.log)

    @property
    def pid(self) -> int | None:
        """Return the process's id; None while none runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the daemon, its output appended to its log."""
        self._restart_at = None
        self._started = self._clock()
        self.log.mark()
        with self.plan.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self.plan.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def ended(self) -> int | None:
        """Return the exit status if it ended since the last question."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is not None:
            self._process = None
        return status

    def plan_restart(self) -> float:
        """Choose when to start again; returns in how many seconds that is."""
        if self._clock() - self._started > STEADY_S:
            self._backoff_s = BACKOFF_FIRST_S
        delay = self._backoff_s
        self._backoff_s = min(2 * delay, BACKOFF_MAX_S)
        self._restart_at = self._clock() + delay
        return delay

    def restart_is_due(self) -> bool:
        """Tell whether the moment chosen by `plan_restart` has come."""
        return self._restart_at is not None and self._clock() >= self._restart_at

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False if it still runs after ``timeout_s``."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._process = None
        return True


class Supervisor:
    """All daemons of a local cluster, and the file that tells of them.

    Invariants: once the cluster was ready the file names the processes that run; a
    start that failed leaves the file as it was; when `run` is over, no process runs.
    """

    def __init__(
        self,
        plans: Sequence[NodePlan],
        data_dir: Path,
        *,
        restart: bool,
        ready_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run the daemons.

        Args:
            plans: one for each; at least one.
            data_dir: of the whole local cluster.
            restart: whether a daemon that ends is started again.
            ready_timeout_s: how long the cluster may take to be ready.
            clock: tells seconds that never go back.
        """
        self._nodes = [NodeProcess(plan, clock) for plan in plans]
        self._data_dir = data_dir
        self._restart = restart
        self._ready_timeout_s = ready_timeout_s
        self._clock = clock
        self._stop = threading.Event()
        self._was_ready = False

    def run(self, when_ready: Callable[[float], None]) -> None:
        """Run the cluster until a signal to stop comes.

        Args:
            when_ready: called once, with the seconds that it took.

        Raises:
            Failure: it did not get ready.
        """
        before = {number: signal.signal(number, self._on_signal) for number in STOPS}
        began = self._clock()
        try:
            for node in self._nodes:
                node.start()
            if self._wait_until_ready(began + self._ready_timeout_s):
                self._was_ready = True
                self._write_file()
                self._wait_for_shards(self._clock() + SETTLE_S)
                when_ready(self._clock() - began)
            while not self._stop.wait(POLL_S):
                self._look_after()
        finally:
            self._stop_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Remember that the end was asked for."""
        self._stop.set()

    def _wait_until_ready(self, deadline: float) -> bool:
        """Wait until each node is; False if the end was asked for before."""
        waiting = {node.plan.name: node for node in self._nodes}
        why = ""
        while waiting:
            if self._stop.wait(POLL_S):
                return False
            for node in self._nodes:
                if (status := node.ended()) is not None:
                    raise Failure(self._stillborn(node, status))
            if self._clock() > deadline:
                raise Failure(
                    f"{', '.join(waiting)} not ready after"
                    f" {self._ready_timeout_s:.0f} s: {why}"
                )
            for name, node in list(waiting.items()):
                why = _unready(node.plan.url)
                if why:
                    break
                del waiting[name]
        return True

    def _wait_for_shards(self, deadline: float) -> None:
        """Wait until no node sees a shard without a primary; say so if one stays so.

        A shard that cannot be served keeps nobody from using, and mending, the rest.
        """
        for node in self._nodes:
            while (trouble := _red(node.plan.url)) and self._clock() < deadline:
                if self._stop.wait(POLL_S):
                    return
            if trouble:
                click.echo(f"{node.plan.name}: health is red: {trouble}", err=True)

    def _look_after(self) -> None:
        """Report what went wrong since the last look; start again what is due."""
        for node in self._nodes:
            for line in node.log.troubles():
                click.echo(f"{node.plan.name}: {line}", err=True)
            if (status := node.ended()) is not None:
                click.echo(self._obituary(node, status), err=True)
                if self._restart:
                    delay = node.plan_restart()
                    click.echo(f"{node.plan.name}: starts again in {delay:.0f} s")
                self._write_file()
            if node.restart_is_due():
                node.start()
                self._write_file()
                click.echo(f"{node.plan.name}: started again (pid {node.pid})")

    def _stillborn(self, node: NodeProcess, status: int) -> str:
        """Say why a node did not start: its one line, if it left just one."""
        match node.log.last_lines(2):
            case [line]:
                return f"{node.plan.name} did not start: {line}"
            case _:
                return self._obituary(node, status)

    def _obituary(self, node: NodeProcess, status: int) -> str:
        """Say how a node ended, with its last log lines, on standard error."""
        for line in node.log.last_lines(LAST_LINES):
            click.echo(f"  {node.plan.name} | {line}", err=True)
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {signal.Signals(-status).name}"
        return f"{node.plan.name} ended with {how}; its log: {node.plan.log}"

    def _stop_all(self) -> None:
        """Ask all to stop, wait, kill what is left."""
        running = [node for node in self._nodes if node.pid is not None]
        for node in running:
            node.signal(signal.SIGTERM)
            node.signal(signal.SIGCONT)
        deadline = self._clock() + STOP_TIMEOUT_S
        for node in running:
            if not node.wait(max(0.0, deadline - self._clock())):
                click.echo(f"{node.plan.name} did not stop in time: killed", err=True)
                node.signal(signal.SIGKILL)
                node.wait(STOP_TIMEOUT_S)
        if self._was_ready:
            self._write_file(supervised=False)

    def _write_file(self, *, supervised: bool = True) -> None:
        """Write where the nodes are and which processes they are."""
        nodes = tuple(
            LocalNode(
                name=node.plan.name,
                http=node.plan.http,
                cluster=node.plan.cluster,
                pid=node.pid,
                data_dir=str(node.plan.data_dir.absolute()),
                log=str(node.plan.log.absolute()),
            )
            for node in self._nodes
        )
        content = ClusterFile(
            endpoints=tuple(node.plan.url for node in self._nodes),
            nodes=nodes,
            pid=os.getpid() if supervised else None,
        )
        cluster_file.write(self._data_dir, content)


def _unready(url: str) -> str:
    """Ask a node whether it serves; returns why not, or an empty string."""
    try:
        Client([url], timeout_s=2.0).ask("GET", "/ready")
    except Failure as failure:
        return failure.message
    return ""


def _red(url: str) -> str:
    """Ask a node for the cluster's health; returns why it is red, or nothing."""
    try:
        health = Client([url], timeout_s=2.0).ask("GET", "/health").json()
    except Failure as failure:
        return failure.message
    reasons = "; ".join(health.get("reasons") or ["no reason given"])
    return reasons if health.get("status") == "red" else ""


def node_command(options: Sequence[str]) -> tuple[str, ...]:
    """Return the command line of a daemon, of this very installation of Torua.

    It is what ``twist torua-node`` runs; ``-P`` keeps the directory that the user
    happens to be in out of the module path.
    """
    return (sys.executable, "-P", "-m", "twisted", "torua-node", *options)

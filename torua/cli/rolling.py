"""``torua rolling-restart``: every node restarted, one at a time, nobody the wiser.

    for each node, the coordinator last:
        end it -> a new life of it answers -> it is ready -> the cluster is green

Nothing is restarted while the cluster is not green.  Where a step takes too long the
command ends, and says how to go on: nodes that were started since then are left alone.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from torua.cli import cluster_file
from torua.cli.cluster_file import DEFAULT_DIR
from torua.cli.display import Display
from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Client

POLL_S = 0.2
ASK_TIMEOUT_S = 2.0
"""A node that is being started answers at once or not at all."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Fields = Mapping[str, Any]


@click.command("rolling-restart")
@click.argument("names", metavar="[NODE]…", nargs=-1)
@click.option(
    "--command",
    "template",
    metavar="COMMAND",
    help="Restarts a node, {name}: 'ssh {name} systemctl restart torua'.  [default:"
    " SIGTERM to a node of `torua up`, which starts it again]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIR,
    show_default=True,
    help="Of `torua up`, where there is no --command.",
)
@click.option(
    "--timeout",
    "patience_s",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    help="How many seconds one node may take until all is green again.",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Leave nodes alone that were started after this, as in 2026-01-31T12:00:00Z.",
)
@click.pass_obj
def rolling_restart(  # noqa: PLR0913 - click hands in each option
    client: Client,
    *,
    names: tuple[str, ...],
    template: str | None,
    data_dir: Path,
    patience_s: float,
    since: str | None,
) -> None:
    """Restart all nodes, or NODEs, one at a time, the coordinator last.

    Each is ended, and waited for until it is ready and every copy of every shard is in
    sync again.  Where that takes too long nothing more is restarted.
    """
    how = _by_command(template) if template else _by_signal(data_dir)
    began = _parsed(since) if since else datetime.now(UTC)
    round_ = Round(client, how, patience_s, began)
    with Display() as display:
        round_.run(names, display)
    click.echo("all restarted, and green")


class Round:
    """One round of restarts.

    Invariants: a node is restarted only while the cluster is green, and once.
    """

    def __init__(
        self,
        client: Client,
        restart: Callable[[str], None],
        patience_s: float,
        since: datetime,
    ) -> None:
        """Prepare.

        Args:
            client: whom to ask.
            restart: ends a node, by name, and has it started again.
            patience_s: how long to wait for each.
            since: nodes that were started after this need no restart.
        """
        self._client = client
        self._restart = restart
        self._patience_s = patience_s
        self._since = since
        self._steps = (0, 0)

    def run(self, names: tuple[str, ...], display: Display) -> None:
        """Restart all.

        Args:
            names: these only, if any.
            display: shows how far it is.

        Raises:
            Failure: a node is not there; or a step took too long.
        """
        left = self._chosen(names)
        total = len(left)
        while left:
            self._steps = (total - len(left), total)
            node = self._next(left)
            left.remove(node)
            if self._is_young(node):
                display.say(f"{node}: was started a moment ago, and is left alone")
                continue
            self._wait(node, display, self._trouble, "not restarted yet")
            took = self._one(node, display)
            display.say(f"{node}: restarted; ready and green after {took:.1f} s")

    def _one(self, node: str, display: Display) -> float:
        """Restart a node, and wait; returns how many seconds it took."""
        began = time.monotonic()
        display.show("all", f"{node}: is being restarted", self._steps)
        self._restart(node)

        def trouble() -> str:
            """Say what is not as it should be; nothing where all is."""
            lives = self._uptime(node)
            if lives is None:
                return f"{node} does not answer"
            if lives >= time.monotonic() - began:
                return f"{node} has not ended yet"
            return self._unready(node) or self._trouble()

        self._wait(node, display, trouble, "restarted")
        return time.monotonic() - began

    def _wait(
        self, node: str, display: Display, trouble: Callable[[], str], what: str
    ) -> None:
        """Wait until there is no trouble any more."""
        deadline = time.monotonic() + self._patience_s
        while why := _asked(trouble):
            display.show("all", f"{node}: {why}", self._steps)
            if time.monotonic() > deadline:
                raise Failure(
                    f"{node}: {what}, but after {self._patience_s:.0f} s {why}; when"
                    " that is mended, go on with: torua rolling-restart --since"
                    f" {self._since.strftime(TIME_FORMAT)}",
                    ExitCode.UNAVAILABLE,
                )
            time.sleep(POLL_S)

    # What the cluster says

    def _nodes(self) -> list[Fields]:
        """List the nodes that belong; not those that left for good."""
        listed: list[Fields] = self._client.ask("GET", "/nodes").json()
        return [each for each in listed if each["status"] != "left"]

    def _chosen(self, names: tuple[str, ...]) -> list[str]:
        """Return whom to restart; a Failure where one is unknown, or dead."""
        listed = {each["name"]: each["status"] for each in self._nodes()}
        chosen = list(names or listed)
        for name in chosen:
            if name not in listed:
                raise Failure(f"no node is called {name!r}", ExitCode.NO)
        dead = [name for name, status in listed.items() if status == "dead"]
        if dead:
            raise Failure(
                f"{', '.join(dead)} is dead: start it, or have it removed by torua"
                " nodes leave, before others are ended",
                ExitCode.NO,
            )
        return chosen

    def _next(self, left: list[str]) -> str:
        """Choose the next node: the coordinator only when nobody else is left."""
        leads = {each["name"]: each["coordinator"] for each in self._nodes()}
        return min(left, key=lambda name: leads.get(name, False))

    def _uptime(self, node: str) -> float | None:
        """Tell how long a node has lived; None where it does not answer."""
        told = self._client.ask("GET", f"/nodes/{quote(node, safe='')}/info").json()
        lives: float | None = told["uptime"]
        return lives

    def _is_young(self, node: str) -> bool:
        """Tell whether a node was started after the round began."""
        lives = self._uptime(node)
        if lives is None:
            return False
        return datetime.now(UTC) - timedelta(seconds=lives) > self._since

    def _unready(self, node: str) -> str:
        """Say why a node does not serve; nothing where it does."""
        view = next((each for each in self._nodes() if each["name"] == node), None)
        if view is None or view["status"] in {"dead", "suspect"}:
            return f"{node} is not back yet"
        why = _unready(f"http://{view['http']}")
        return f"{node} is not ready: {why}" if why else ""

    def _trouble(self) -> str:
        """Say why the cluster is not green; nothing where it is, in every node's eyes.

        A shard is green where all copies of it are in sync on nodes that live.
        """
        health = self._client.ask("GET", "/health").json()
        if health["status"] != "green":
            reasons = "; ".join(health.get("reasons") or ["no reason given"])
            return f"health is {health['status']}: {reasons}"
        for shard in self._client.ask("GET", "/shards").json():
            if shard["state"] != "green":
                return f"shard {shard['shard']} is {shard['state']}"
            late = [copy["node"] for copy in shard["copies"] if not copy["in_sync"]]
            if late:
                return f"shard {shard['shard']} catches up on {', '.join(late)}"
        return ""


def _unready(url: str) -> str:
    """Ask a node itself whether it serves; returns why not, or nothing."""
    try:
        Client([url], ASK_TIMEOUT_S).ask("GET", "/ready")
    except Failure as failure:
        return failure.message
    return ""


def _asked(trouble: Callable[[], str]) -> str:
    """Ask what the trouble is; that nobody answers is one as well."""
    try:
        return trouble()
    except Failure as failure:
        return failure.message


def _by_signal(data_dir: Path) -> Callable[[str], None]:
    """Return what ends a node of a local cluster; its supervisor starts it again."""
    found = cluster_file.read(data_dir)
    if found is None or found.pid is None:
        raise Failure(
            f"no `torua up` runs in {data_dir}: say how a node is restarted, with"
            " --command 'ssh {name} systemctl restart torua'",
            ExitCode.USAGE,
        )

    def restart(name: str) -> None:
        """Send SIGTERM."""
        local = cluster_file.read(data_dir)
        nodes = local.nodes if local else ()
        pids = [each.pid for each in nodes if each.name == name]
        if not pids or pids[0] is None:
            raise Failure(f"{name} does not run in {data_dir}")
        try:
            os.kill(pids[0], signal.SIGTERM)
        except ProcessLookupError:
            raise Failure(f"{name} does not run in {data_dir}") from None

    return restart


def _by_command(template: str) -> Callable[[str], None]:
    """Return what restarts a node by a command of the operator's."""
    if "{name}" not in template:
        raise Failure("--command must name the node: {name}", ExitCode.USAGE)
    words = shlex.split(template)

    def restart(name: str) -> None:
        """Run the command; no shell reads it."""
        given = [word.replace("{name}", name) for word in words]
        try:
            done = subprocess.run(given, check=False)  # noqa: S603 - the operator's
        except OSError as error:
            raise Failure(f"{given[0]}: {error.strerror}") from None
        if done.returncode:
            raise Failure(
                f"{name}: {shlex.join(given)} ended with status {done.returncode}"
            )

    return restart


def _parsed(text: str) -> datetime:
    """Read a time; a Failure where it is none."""
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise Failure(
            f"not a time like 2026-01-31T12:00:00Z: {text!r}", ExitCode.USAGE
        ) from None

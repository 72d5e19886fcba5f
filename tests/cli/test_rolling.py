"""What ``torua rolling-restart`` does, in which order, and when it stops."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeClient, run
from torua.cli import cluster_file, rolling
from torua.cli.cluster_file import ClusterFile, LocalNode
from torua.cli.failures import Failure
from torua.cli.http import Answer

COMMAND = ("rolling-restart", "--command", "restart {name}", "--timeout", "1")


class Town:
    """Three nodes that answer from memory, and are restarted in no time.

    Invariants: ``restarted`` are those that were, in order.
    """

    def __init__(self) -> None:
        """All are well, and c coordinates."""
        self.started = dict.fromkeys("abc", time.monotonic() - 1000)
        self.status = dict.fromkeys("abc", "healthy")
        self.health = ["green"]
        self.restarted: list[str] = []
        self.client = FakeClient(self._answer)

    def restart(self, name: str) -> None:
        """Begin another life of a node."""
        self.restarted.append(name)
        self.started[name] = time.monotonic()

    def _answer(
        self, method: str, target: str, body: object, headers: object
    ) -> Answer:
        """Answer as a node would.

        Args:
            method: of HTTP.
            target: path and query.
            body: ignored.
            headers: ignored.
        """
        told: Any = []
        if target == "/nodes":
            told = [
                {"name": name, "status": status, "coordinator": name == "a", "http": ""}
                for name, status in self.status.items()
            ]
        elif target == "/health":
            status = self.health.pop(0) if len(self.health) > 1 else self.health[0]
            told = {"status": status, "reasons": ["shard 1 has 1 of 2 copies"]}
        elif target.endswith("/info"):
            told = {"uptime": time.monotonic() - self.started[target.split("/")[2]]}
        return Answer(200, {}, json.dumps(told).encode())


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """Have nodes restarted by hand, ready at once, without sleep."""
    town = Town()
    monkeypatch.setattr(rolling, "_by_command", lambda template: town.restart)
    monkeypatch.setattr(rolling, "_unready", lambda url: "")
    monkeypatch.setattr(rolling, "POLL_S", 0.0)
    return town


def test_all_are_restarted_the_coordinator_last(town: Town) -> None:
    """One at a time."""
    result = run(town.client, *COMMAND)
    assert result.exit_code == 0, result.stderr
    assert town.restarted == ["b", "c", "a"]
    assert result.stdout.endswith("all restarted, and green\n")


def test_only_those_named_are_restarted(town: Town) -> None:
    """A name that is none is a no, and nothing is done."""
    assert run(town.client, *COMMAND, "c").exit_code == 0
    assert town.restarted == ["c"]
    assert run(town.client, *COMMAND, "c", "d").exit_code == 1
    assert town.restarted == ["c"]


def test_the_next_waits_until_all_is_green_again(town: Town) -> None:
    """What it waits for is told."""
    town.health = ["green", "yellow", "yellow", "green"]
    result = run(town.client, *COMMAND)
    assert town.restarted == ["b", "c", "a"]
    assert "b: health is yellow: shard 1 has 1 of 2 copies" in result.stdout


def test_nothing_more_is_restarted_where_it_does_not_get_green(town: Town) -> None:
    """The line says what is wrong, and how to go on, which leaves the first alone."""
    town.health = ["green", "yellow"]
    result = run(town.client, *COMMAND)
    assert (result.exit_code, town.restarted) == (3, ["b"])
    assert "after 1 s health is yellow: shard 1 has 1 of 2" in result.stderr
    since = result.stderr.split("--since ")[1].split()[0]
    town.health = ["green"]
    town.started["b"] += 1.5
    again = run(town.client, *COMMAND, "--since", since)
    assert again.exit_code == 0, again.stderr
    assert town.restarted == ["b", "c", "a"]
    assert "b: was started a moment ago" in again.stdout


def test_nothing_is_begun_with_a_dead_node(town: Town) -> None:
    """Another one down might be one too many."""
    town.status["c"] = "dead"
    result = run(town.client, *COMMAND)
    assert (result.exit_code, town.restarted) == (1, [])
    assert "c is dead" in result.stderr


def test_a_time_that_is_none_is_refused(town: Town) -> None:
    """Before anything is done."""
    assert run(town.client, *COMMAND, "--since", "noon").exit_code == 2
    assert town.restarted == []


def test_a_command_is_run_with_the_name_and_must_succeed(tmp_path: Path) -> None:
    """No shell reads it."""
    touched = tmp_path / "$x-b"
    program = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    restart = rolling._by_command(
        f"{sys.executable} -c '{program}' '{tmp_path}/$x-{{name}}'"
    )
    restart("b")
    assert touched.exists()
    with pytest.raises(Failure, match="status 3"):
        rolling._by_command(f"{sys.executable} -c 'exit(3)' {{name}}")("b")
    with pytest.raises(Failure, match="must name the node"):
        rolling._by_command("reboot")


def test_a_local_node_is_ended_by_its_process_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the cluster file tells it at that moment; where nobody supervises, refused."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    nodes = tuple(
        LocalNode(n, "", "", pid, "", "") for n, pid in (("a", 7), ("b", None))
    )
    cluster_file.write(tmp_path, ClusterFile((), nodes, 1))
    restart = rolling._by_signal(tmp_path)
    restart("a")
    assert sent == [(7, signal.SIGTERM)]
    with pytest.raises(Failure, match="b does not run"):
        restart("b")
    cluster_file.write(tmp_path, ClusterFile((), nodes, None))
    with pytest.raises(Failure, match="--command"):
        rolling._by_signal(tmp_path)

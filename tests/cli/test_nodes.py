"""What ``torua nodes`` and ``rebalance`` show and have done."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.fakes import FakeClient, answering, run
from torua.cli import shard, tasks
from torua.cli.http import Answer

TASK = {
    "id": "evacuate-1",
    "node": "node-2",
    "detail": "move everything off node-2",
    "state": "running",
    "done": 0,
    "total": 4,
    "unit": "copies",
    "seconds": 1.5,
    "eta": None,
    "facts": {"primaries_left": 2, "bytes_left": 0},
    "errors": [],
}


def cluster(*tasks: dict[str, Any] | None, status: str = "healthy") -> FakeClient:
    """Return a cluster in which an evacuation goes so.

    Args:
        tasks: what is told of it, time after time; None where it is not known.
        status: of the node.
    """
    told: Iterator[dict[str, Any] | None] = iter(tasks)

    def answer(method: str, target: str, body: object, headers: object) -> Answer:
        """Answer as a node would.

        Args:
            method: of HTTP.
            target: path and query.
            body: ignored.
            headers: ignored.
        """
        if target.startswith("/tasks/"):
            task = next(told)
            return Answer(200 if task else 404, {}, json.dumps(task or {}).encode())
        said = {"node": "node-2", "name": "node-2", "status": status, "task": "t/1"}
        return Answer(200, {}, json.dumps(said).encode())

    return FakeClient(answer)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not sleep."""
    monkeypatch.setattr(tasks, "POLL_S", 0.0)


def test_nodes_without_a_command_are_listed_or_described() -> None:
    """With options, too; a command's name needs `list` before it."""
    for words, target in (
        ((), "/nodes"),
        (("-o", "json"), "/nodes"),
        (("node-2", "-o", "json"), "/nodes/node-2/info"),
        (("list", "leave", "-o", "json"), "/nodes/leave/info"),
    ):
        client = answering(Answer(200, {}, b"[]"))
        assert run(client, "nodes", *words).exit_code == 0, words
        assert [each[1] for each in client.asked] == [target]


def test_help_names_the_commands() -> None:
    """It asks nobody."""
    client = answering(Answer(200, {}, b"[]"))
    said = run(client, "nodes", "--help").stdout
    assert "evacuate" in said
    assert client.asked == []


def test_maintenance_goes_on_and_off() -> None:
    """Of several nodes at once."""
    answer = json.dumps({"nodes": {"a": "maintenance", "b": "full"}}).encode()
    client = answering(Answer(200, {}, answer))
    result = run(client, "nodes", "maintenance", "a", "b")
    assert result.stdout == "a: maintenance\nb: takes its share\n"
    run(client, "nodes", "maintenance", "a", "--off")
    assert [json.loads(body or b"") for _, _, body, _ in client.asked] == [
        {"nodes": ["a", "b"], "enabled": True},
        {"nodes": ["a"], "enabled": False},
    ]


def test_an_evacuation_is_followed_to_its_end() -> None:
    """A line for each change; its node may be silent for a while."""
    half = TASK | {"done": 2, "facts": {"primaries_left": 0}}
    done = half | {"done": 4, "state": "done"}
    client = cluster(None, TASK, TASK, half, done)
    result = run(client, "nodes", "evacuate", "node-2")
    assert result.stdout.splitlines() == [
        "running: 0 of 4 copies, primaries left 2",
        "running: 2 of 4 copies",
        "done: 4 of 4 copies",
        "node-2 is empty, and can be stopped",
    ]
    assert client.asked[0][:2] == ("POST", "/nodes/node-2/evacuate")
    assert client.asked[1][1] == "/tasks/t%2F1"


def test_an_evacuation_that_is_called_off_is_a_no() -> None:
    """With the reason."""
    off = TASK | {"state": "failed", "errors": ["it was called off"]}
    result = run(cluster(off), "nodes", "evacuate", "node-2")
    assert result.exit_code == 1
    assert "called off" in result.stderr


def test_an_evacuation_that_nobody_tells_of_ends_some_time() -> None:
    """Its node died, perhaps."""
    result = run(cluster(*[None] * tasks.SILENCE_MAX), "nodes", "evacuate", "node-2")
    assert result.exit_code == 3


def test_an_evacuation_is_only_begun_where_that_is_enough() -> None:
    """The task's id is told."""
    client = cluster()
    result = run(client, "nodes", "evacuate", "node-2", "--no-wait")
    assert result.stdout == "node-2 is evacuated; task t/1\n"


def test_who_leaves_is_emptied_or_removed() -> None:
    """As it lives or not."""
    done = TASK | {"state": "done"}
    live = run(cluster(done), "nodes", "leave", "node-2")
    assert live.stdout.endswith("node-2 is empty: stop it now\n")
    client = cluster(status="dead")
    assert run(client, "nodes", "leave", "node-2").stdout == "node-2 is removed\n"
    assert client.asked[-1][:2] == ("DELETE", "/nodes/node-2")


def balance(copies: int, under_way: int, *moves: object) -> Answer:
    """Tell of balance as a node would.

    Args:
        copies: how many are to be moved.
        under_way: how many are being moved.
        moves: the next ones.
    """
    told: dict[str, object] = {"even": not copies, "moves": moves}
    told |= {"copies_to_move": copies, "primaries_to_move": 1, "under_way": under_way}
    return Answer(200, {}, json.dumps(told).encode())


def test_rebalance_tells_what_is_left() -> None:
    """Or that nothing is."""
    move = {"role": "replica", "shard": 7, "source": "a", "target": "b"}
    result = run(answering(balance(3, 2, move)), "rebalance")
    assert "3 copies, 1 primaries; under way: 2" in result.stdout
    assert "next: a copy of shard 7 from a to b" in result.stdout
    assert "even" in run(answering(balance(0, 0)), "rebalance").stdout


def test_rebalance_can_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until nothing is to be moved and what moves has arrived; it is asked for once."""
    monkeypatch.setattr(shard, "POLL_S", 0.0)
    answers = iter([balance(3, 2), balance(3, 2), balance(0, 1), balance(0, 0)])
    client = FakeClient(lambda *_: next(answers))
    lines = run(client, "rebalance", "--watch").stdout.splitlines()
    assert [line.rsplit(" ")[-1] for line in lines] == ["2", "1", "moved"]
    asked = ["/cluster/rebalance", *["/cluster/rebalance?dry_run=true"] * 3]
    assert [each[1] for each in client.asked] == asked

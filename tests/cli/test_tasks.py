"""What ``torua tasks`` shows, and how long work is followed."""

import json

import pytest

from tests.cli.fakes import FakeClient, answering, run
from tests.cli.test_nodes import TASK
from torua.cli import tasks
from torua.cli.http import Answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not sleep."""
    monkeypatch.setattr(tasks, "POLL_S", 0.0)


def test_tasks_are_listed() -> None:
    """One a line, with a guess where there is one."""
    told = [TASK, TASK | {"eta": 7.4}]
    client = answering(Answer(200, {}, json.dumps(told).encode()))
    first, second = run(client, "tasks").stdout.splitlines()
    assert first.endswith("running: 0 of 4 copies, primaries left 2, 1.5 s")
    assert second.endswith("about 7 s more")
    assert json.loads(run(client, "tasks", "-o", "json").stdout) == told


def test_one_task_is_described() -> None:
    """With all that was counted."""
    client = answering(Answer(200, {}, json.dumps(TASK).encode()))
    said = run(client, "tasks", "evacuate-1").stdout
    assert "primaries_left" in said
    assert client.asked[0][1] == "/tasks/evacuate-1"


def watched(*states: str) -> FakeClient:
    """Return a cluster where a task is under way.

    Args:
        states: in which it is, time after time; ``ctrl-c`` interrupts the command.
    """
    left = iter(states)

    def answer(method: str, target: str, body: object, headers: object) -> Answer:
        """Answer as a node would.

        Args:
            method: of HTTP.
            target: path and query.
            body: ignored.
            headers: ignored.
        """
        over = TASK | {"id": "old", "state": "done"}
        if target == "/tasks":
            return Answer(200, {}, json.dumps([over, TASK]).encode())
        state = next(left)
        if state == "ctrl-c":
            raise KeyboardInterrupt
        told = TASK | {"state": state, "eta": 3.0 if state == "running" else None}
        return Answer(200, {}, json.dumps(told).encode())

    return FakeClient(answer)


def test_watching_follows_what_is_under_way() -> None:
    """To its end; what is over is left alone, and a guess alone is no new line."""
    client = watched("running", "running", "done")
    result = run(client, "tasks", "--watch")
    assert [each[1] for each in client.asked[1:]] == ["/tasks/evacuate-1"] * 3
    assert result.stdout.splitlines() == [
        "running: 0 of 4 copies, primaries left 2, about 3 s more",
        "done: 0 of 4 copies, primaries left 2",
    ]


def test_watching_nothing_says_so() -> None:
    """And ends well."""
    result = run(answering(Answer(200, {}, b"[]")), "tasks", "--watch")
    assert (result.stdout, result.exit_code) == ("nothing is under way\n", 0)


def test_an_interrupt_ends_the_watching_only() -> None:
    """The line says that the work goes on, and how to look at it again."""
    result = run(watched("running", "ctrl-c"), "tasks", "--watch")
    assert result.exit_code == 130
    assert "it goes on: torua tasks evacuate-1 --watch" in result.stderr

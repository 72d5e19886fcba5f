"""What ``torua config`` shows, and what it asks for."""

import json
from typing import Any

from tests.cli.fakes import FakeClient, answering, run
from torua.cli.http import Answer

VIEW: dict[str, Any] = {
    "version": 3,
    "config": {
        "replication.replicas": 3,
        "replication.min_copies": None,
        "allocation.forced_zones": ["a", "b"],
    },
    "changed": ["replication.replicas"],
    "acknowledged": ["n1", "n2"],
    "pending": ["n3"],
    "nodes": [
        {"name": "n1", "node_id": "1", "version": 3, "without": []},
        {"name": "n2", "node_id": "2", "version": 3, "without": ["breakers"]},
        {"name": "n3", "node_id": "3", "version": None, "without": []},
    ],
    "keys": {
        "replication.replicas": {"default": 2, "takes": "a number", "help": "copies"},
        "replication.min_copies": {"default": None, "takes": "null", "help": "h"},
        "allocation.forced_zones": {"default": [], "takes": "a list", "help": "h"},
    },
}


def told(status: int = 200, **changes: object) -> FakeClient:
    """Return a cluster that answers so.

    Args:
        status: of HTTP.
        changes: what is other than usual.
    """
    return answering(Answer(status, {}, json.dumps(VIEW | changes).encode()))


def test_every_key_is_shown_and_who_acts_upon_it() -> None:
    """A table, then the version, who acknowledged and who did not."""
    lines = run(told(), "config", "get").stdout.splitlines()
    assert lines[0].split() == ["key", "value", "default"]
    assert lines[1].split() == ["replication.replicas", "3", "2"]
    assert lines[3].split() == ["allocation.forced_zones", "a,b", "[]"]
    assert lines[4:] == [
        "version 3, acknowledged by n1, n2",
        "not yet by n3",
        "n2 was started without breakers",
    ]


def test_one_key_is_explained() -> None:
    """With its default, and what it takes; one that there is not is a no."""
    shown = run(told(), "config", "get", "replication.replicas").stdout
    assert "a number" in shown
    assert "copies" in shown
    result = run(told(), "config", "get", "-o", "json", "replication.replicas")
    assert json.loads(result.stdout)["value"] == 3
    assert run(told(), "config", "get", "x.y").exit_code == 1


def test_values_are_json_or_words_or_lists_of_them() -> None:
    """They go in one request, with the version that they are for."""
    client = told()
    words = ("replication.replicas=3", "allocation.forced_zones=a,b", "a.c=word")
    view = VIEW["config"] | {"a.c": "word"}
    client = told(config=view)
    result = run(client, "config", "set", *words, "--if-version", "2")
    assert result.exit_code == 0
    ((method, target, body, headers),) = client.asked
    assert (method, target) == ("PUT", "/cluster/config")
    assert json.loads(body or b"") == {
        "replication.replicas": 3,
        "allocation.forced_zones": ["a", "b"],
        "a.c": "word",
    }
    assert headers["If-Match"] == '"2"'
    assert result.stdout.splitlines()[0] == "replication.replicas = 3"
    assert "not yet by n3" in result.stdout


def test_a_reset_asks_for_the_default() -> None:
    """It is null that does so."""
    client = told()
    run(client, "config", "reset", "replication.min_copies")
    assert json.loads(client.asked[0][2] or b"") == {"replication.min_copies": None}


def test_all_that_is_wrong_is_told_in_the_line() -> None:
    """Each key with why."""
    faults = [
        {"key": "a.b", "why": "there is no such key"},
        {"key": "c.d", "why": "no"},
    ]
    result = run(told(422, errors=faults), "config", "set", "a.b=1", "c.d=2")
    assert result.exit_code == 5
    assert "a.b: there is no such key; c.d: no" in result.stderr


def test_what_is_no_setting_is_refused_before_it_is_sent() -> None:
    """A word without an equals sign."""
    client = told()
    assert run(client, "config", "set", "a.b").exit_code == 2
    assert client.asked == []

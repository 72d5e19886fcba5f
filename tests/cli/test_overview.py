"""What ``torua status``, ``nodes`` and ``shards`` show."""

import json
from typing import Any

import pytest

from tests.cli.fakes import FakeClient, answering, run
from torua.cli.http import Answer
from torua.cli.overview import sharing

HEALTH = {
    "status": "green",
    "node": "node-1",
    "coordinator": "node-2",
    "reasons": [],
    "notes": ["one copy a shard"],
}
INFO = {
    "cluster_id": "c-1",
    "cluster_name": "torua",
    "coordinator": "2" * 32,
    "coordinator_version": 1,
    "term": 3,
    "state_version": 9,
    "total_nodes": 3,
    "healthy_nodes": 3,
    "total_shards": 4,
    "assigned_shards": 4,
    "cluster_state": "green",
    "uptime": 3725.0,
}


def a_node(number: int, shards: int, status: str = "healthy") -> dict[str, Any]:
    """Describe a node as the API does.

    Args:
        number: part of its name.
        shards: how many copies it has.
        status: of its membership.
    """
    return {
        "node_id": str(number) * 32,
        "name": f"node-{number}",
        "address": f"127.0.0.1:{number}",
        "http": f"127.0.0.1:8{number}",
        "status": status,
        "coordinator": number == 2,
        "shard_count": shards,
        "primaries": shards,
        "roles": ["data", "voter"],
        "zone": "",
        "version": "0.1.0",
        "health_score": 0,
    }


NODES = [a_node(1, 1), a_node(2, 2), a_node(3, 1)]
COPY = {
    "node": "node-1",
    "role": "primary",
    "state": "started",
    "in_sync": True,
    "position": 5,
}
SHARDS = [
    {
        "shard": 0,
        "state": "green",
        "primary": "node-1",
        "copies": [COPY],
        "keys": None,
        "bytes": 12,
    }
]
DETAIL = {
    "node_id": "1" * 32,
    "name": "node-1",
    "uptime": None,
    "copies": [
        {
            "shard": 0,
            "role": "primary",
            "state": "started",
            "position": 5,
            "keys": 2,
            "bytes": 12,
        }
    ],
}


def cluster(**changed: object) -> FakeClient:
    """Return a cluster that answers; ``changed`` replaces members of its health."""
    answers: dict[str, object] = {
        "/health": HEALTH | changed,
        "/cluster/info": INFO,
        "/nodes": NODES,
        "/shards": SHARDS,
        "/nodes/node%2F1/info": DETAIL,
    }
    return FakeClient(
        lambda method, target, *_: Answer(200, {}, json.dumps(answers[target]).encode())
    )


def test_status_tells_what_matters_first() -> None:
    """Health, coordinator, healthy nodes, and how the shards are shared."""
    result = run(cluster(), "status")
    assert result.exit_code == 0
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert said["health"].strip() == "green"
    assert said["coordinator"].strip() == "node-2 (term 3)"
    assert said["nodes"].strip() == "3/3 healthy"
    assert said["shards"].strip() == "4, 4 assigned, shared 1/1/2, copies 1/1/2"
    assert said["asked"].strip() == "node-1, up 1 h 2 min"
    assert said["note"].strip() == "one copy a shard"


def test_status_fails_where_health_is_red() -> None:
    """A script need not read the words."""
    client = cluster(status="red", coordinator=None, reasons=["no coordinator"])
    result = run(client, "status")
    assert result.exit_code == 3
    assert "none (term 3)" in result.stdout
    assert "no coordinator" in result.stdout


def test_status_is_red_where_a_shard_is_that_another_node_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node that is asked may not know what its peers cannot open."""
    monkeypatch.setitem(SHARDS[0], "state", "red")
    result = run(cluster(), "status")
    assert result.exit_code == 3
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert said["health"].strip() == "red"
    assert said["reason"].strip() == "shard 0 is red, on node-1"
    asjson = json.loads(run(cluster(), "status", "-o", "json").stdout)
    assert asjson["health"] == HEALTH


def test_status_in_json_holds_all_answers() -> None:
    """Programs get what the API said."""
    said = json.loads(run(cluster(), "status", "-o", "json").stdout)
    assert said == {"health": HEALTH, "info": INFO, "nodes": NODES, "shards": SHARDS}


def test_a_dead_node_without_shards_has_no_share() -> None:
    """A node that is gone is no zero in the sharing, one that still counts is."""
    assert (
        sharing([a_node(1, 2), a_node(2, 0), a_node(3, 0, "dead")], "primaries")
        == "0/2"
    )
    assert sharing([a_node(1, 2), a_node(3, 2, "dead")], "shard_count") == "2/2"
    assert sharing([], "primaries") == "-"


def test_nodes_lists_each_on_a_line() -> None:
    """Name, status and numbers stand under their headings."""
    lines = run(cluster(), "nodes").stdout.splitlines()
    assert lines[0].split()[:5] == [
        "name",
        "status",
        "coordinator",
        "shards",
        "primaries",
    ]
    assert lines[2].split()[:5] == ["node-2", "healthy", "yes", "2", "2"]
    assert lines[2].split()[9:11] == ["data,voter", "-"]
    assert [line.rstrip() for line in lines] == lines


def test_one_node_is_described_with_its_copies() -> None:
    """A name is percent-encoded; what is unknown is a dash."""
    result = run(cluster(), "nodes", "node/1")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["uptime", "-"] in lines
    assert ["0", "primary", "started", "5", "2", "12"] in lines


def test_shards_lists_each_on_a_line() -> None:
    """What is not known is a dash, and so are replicas where there are none."""
    lines = run(cluster(), "shards").stdout.splitlines()
    assert lines[1].split() == [
        *("0", "green", "node-1", "-", "1/1", "-", "12"),
        *("-", "-"),
    ]


def test_shards_names_the_replicas_and_what_they_lack() -> None:
    """Whoever is not in sync is told with its state."""
    caught_up = COPY | {"node": "node-2", "role": "replica"}
    behind = caught_up | {"node": "node-3", "state": "init", "in_sync": False}
    copies = [COPY, caught_up, behind]
    answer = Answer(200, {}, json.dumps([SHARDS[0] | {"copies": copies}]).encode())
    lines = run(answering(answer), "shards").stdout.splitlines()
    assert "  node-2,node-3 (init)  " in lines[1]
    assert "2/3" in lines[1].split()


@pytest.mark.parametrize(
    ("words", "answer"),
    [(("nodes",), NODES), (("shards",), SHARDS), (("nodes", "node/1"), DETAIL)],
)
def test_json_is_passed_on_as_it_came(words: tuple[str, ...], answer: object) -> None:
    """Programs get what the API said."""
    assert json.loads(run(cluster(), *words, "-o", "json").stdout) == answer

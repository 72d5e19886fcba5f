"""What ``torua shard`` has done."""

import json

from tests.cli.fakes import answering, run
from torua.cli.http import Answer

PATH = "/shards/force-allocate"


def test_a_shard_is_forced_as_it_was_said() -> None:
    """Number, node, and whether loss is accepted, which it is not by itself."""
    client = answering(Answer(200, {}, b"{}"))
    words = ("shard", "force-allocate", "2", "--node", "node-1")
    assert run(client, *words).exit_code == 0
    result = run(client, *words, "--accept-data-loss")
    assert result.stdout == "shard 2 goes on with what node-1 has of it\n"
    asked = [(target, json.loads(body or b"")) for _, target, body, _ in client.asked]
    without = {"shard": 2, "node": "node-1", "accept_data_loss": False}
    assert asked == [(PATH, without), (PATH, without | {"accept_data_loss": True})]


def test_a_refusal_is_a_no_with_its_rule() -> None:
    """A script sees 1, a person the rule."""
    problem = b'{"detail":"shard 2 is not red: node-2 lives"}'
    client = answering(Answer(409, {}, problem))
    result = run(client, "shard", "force-allocate", "2", "--node", "node-1")
    assert result.exit_code == 1
    assert "not red: node-2 lives" in result.stderr


def test_without_a_node_nothing_is_asked() -> None:
    """The command line is wrong."""
    client = answering(Answer(200, {}, b"{}"))
    assert run(client, "shard", "force-allocate", "2").exit_code == 2
    assert client.asked == []


def test_a_shard_is_explained_in_a_table() -> None:
    """What it wants, its copies, and the other nodes."""
    told = {
        "shard": 2,
        "wants": "1 more of its 2 copies",
        "copies": [
            {
                "node": "n1",
                "role": "primary",
                "state": "started",
                "in_sync": True,
                "why": "it is one of the 2 copies",
            }
        ],
        "others": [{"node": "n2", "decider": "maintenance", "why": "it is so"}],
    }
    client = answering(Answer(200, {}, json.dumps(told).encode()))
    lines = run(client, "shard", "explain", "2").stdout.splitlines()
    assert lines[0] == "shard 2 wants 1 more of its 2 copies"
    assert lines[2].startswith("n1    primary, started")
    assert lines[3].split() == ["n2", "-", "maintenance", "it", "is", "so"]
    assert client.asked[0][1] == "/shards/explain?shard=2"
    shown = run(client, "shard", "explain", "2", "-o", "json").stdout
    assert json.loads(shown) == told


def test_a_shard_is_moved_by_hand() -> None:
    """A copy, or the lead; tried, or begun."""
    told = {"shard": 2, "node": "n2", "source": "n1", "role": "", "dry_run": False}
    client = answering(Answer(200, {}, json.dumps(told).encode()))
    result = run(client, "shard", "assign", "2", "n2")
    assert result.stdout == "a copy of shard 2 moves from n1 to n2\n"
    result = run(client, "shard", "assign", "2", "n2", "--primary", "--dry-run")
    assert result.stdout == "the lead of shard 2 would move from n1 to n2\n"
    assert [json.loads(body or b"") for _, _, body, _ in client.asked] == [
        {"shard": 2, "node": "n2", "role": "replica", "dry_run": False},
        {"shard": 2, "node": "n2", "role": "primary", "dry_run": True},
    ]

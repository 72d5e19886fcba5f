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

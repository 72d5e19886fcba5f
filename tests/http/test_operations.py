"""What operators ask for, over HTTP."""

import cbor2
import pytest

from tests.http.wire import World
from torua.errors import ConflictError

PATH = "/shards/force-allocate"
BODY = b'{"shard":2,"node":"n1","accept_data_loss":true}'


def test_a_shard_is_forced_as_it_was_said() -> None:
    """In JSON, with or without its type, or in CBOR."""
    world = World()
    assert world.ask("POST", PATH, BODY).status == 200
    named = {"Content_Type": "application/json"}
    assert world.ask("POST", PATH, BODY, **named).json == {"shard": 2, "node": "n1"}
    spelled = cbor2.dumps({"shard": 3, "node": "n2"})
    named = {"Content_Type": "application/cbor"}
    assert world.ask("POST", PATH, spelled, **named).status == 200
    assert world.operations.asked == [(2, "n1", True)] * 2 + [(3, "n2", False)]


def test_a_rule_that_forbids_it_is_409() -> None:
    """The detail names the rule."""
    world = World()
    world.operations.failure = ConflictError("n3 lives and has all of it")
    response = world.ask("POST", PATH, BODY)
    assert response.status == 409
    assert response.json["detail"] == "n3 lives and has all of it"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"shard":"2","node":"n"}', b'{"shard":1}', b"\xff"]
)
def test_what_is_none_is_malformed(body: bytes) -> None:
    """Nothing is done where it is not clear what."""
    world = World()
    assert world.ask("POST", PATH, body).status == 400
    assert world.operations.asked == []


def test_another_type_is_refused() -> None:
    """A form is not JSON."""
    named = {"Content_Type": "application/x-www-form-urlencoded"}
    assert World().ask("POST", PATH, BODY, **named).status == 415


def test_nodes_are_put_into_maintenance_together() -> None:
    """And out of it again; by id or by name."""
    world = World()
    body = b'{"nodes":["n1","n2"],"enabled":true}'
    response = world.ask("POST", "/nodes/maintenance", body)
    assert response.json == {"nodes": {"n1": "maintenance", "n2": "maintenance"}}
    body = b'{"nodes":["n1"],"enabled":false}'
    assert world.ask("POST", "/nodes/maintenance", body).status == 200
    assert world.operations.asked == [
        ("maintenance", ("n1", "n2"), True),
        ("maintenance", ("n1",), False),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"nodes":[],"enabled":true}',
        b'{"nodes":["n1"]}',
        b'{"nodes":"n1","enabled":true}',
        b'{"nodes":["n1"],"enabled":1}',
        b'{"nodes":["n1"],"enabled":true,"for":"ever"}',
    ],
)
def test_maintenance_of_nobody_or_of_who_knows_is_malformed(body: bytes) -> None:
    """Nothing is done."""
    world = World()
    assert world.ask("POST", "/nodes/maintenance", body).status == 400
    assert world.operations.asked == []


def test_an_evacuation_is_answered_with_its_task() -> None:
    """It is under way by then."""
    world = World()
    response = world.ask("POST", "/nodes/n%201/evacuate")
    assert response.json == {"node": "n 1", "task": "task-1"}
    world.operations.failure = ConflictError("n1 can't be emptied")
    assert world.ask("POST", "/nodes/n1/evacuate").status == 409


def test_a_dead_node_is_removed_by_delete() -> None:
    """By id or by name; a rule may forbid it."""
    world = World()
    assert world.ask("DELETE", "/nodes/n3").json == {"node": "n3"}
    world.operations.failure = ConflictError("n3 lives")
    assert world.ask("DELETE", "/nodes/n3").status == 409
    assert world.operations.asked == [("remove", "n3")] * 2


def test_rebalance_tells_what_is_still_to_be_moved() -> None:
    """At least, and what comes next; or only that, with dry_run."""
    world = World()
    response = world.ask("POST", "/cluster/rebalance")
    assert response.json == {
        "even": False,
        "copies_to_move": 2,
        "primaries_to_move": 1,
        "under_way": 0,
        "moves": [],
    }
    world.ask("POST", "/cluster/rebalance?dry_run=true")
    assert world.operations.asked == [("rebalance", False), ("rebalance", True)]


def test_a_shard_is_explained() -> None:
    """Of each copy why it is there, of each other node what keeps it from one."""
    world = World()
    response = world.ask("GET", "/shards/explain?shard=3")
    assert response.json["shard"] == 3
    assert response.json["copies"][0]["why"] == "it is one of 2"
    assert response.json["others"] == [
        {"node": "n2", "decider": "maintenance", "why": "it is in maintenance"}
    ]
    for query in ("", "?shard=", "?shard=x", "?shard=-1"):
        assert world.ask("GET", f"/shards/explain{query}").status == 400


def test_a_shard_is_assigned_by_hand() -> None:
    """A copy by default; tried only, where that is said."""
    world = World()
    body = b'{"shard":1,"node":"n2","role":"primary","dry_run":true}'
    response = world.ask("POST", "/shards/assign", body)
    assert response.json == {
        "shard": 1,
        "node": "n2",
        "role": "primary",
        "source": "n1",
        "dry_run": True,
    }
    assert world.ask("POST", "/shards/assign", b'{"shard":1,"node":"n2"}').status == 200
    wrong = b'{"shard":1,"node":"n2","role":"king"}'
    assert world.ask("POST", "/shards/assign", wrong).status == 400
    assert world.operations.asked == [
        ("assign", 1, "n2", "primary", True),
        ("assign", 1, "n2", "replica", False),
    ]


def test_a_split_is_begun_by_half_or_by_slots() -> None:
    """The answer names the new shard, and the task that follows it."""
    world = World()
    response = world.ask("POST", "/shards/2/split")
    assert response.json == {"shard": 2, "child": 9, "task": "split-9"}
    body = b'{"slots":[[20,30],[4,5]]}'
    assert world.ask("POST", "/shards/2/split", body).status == 200
    assert world.operations.asked == [(2, None), (2, ((4, 5), (20, 30)))]
    assert world.ask("DELETE", "/shards/2/split").json == {"shard": 2, "child": 9}


def test_slots_that_are_none_split_nothing() -> None:
    """Nor is there a shard with such a name."""
    world = World()
    for body in (b'{"slots":[]}', b'{"slots":[[0,4096]]}', b'{"slots":[[1]]}'):
        assert world.ask("POST", "/shards/2/split", body).status == 400
    assert world.ask("POST", "/shards/x/split").status == 404
    assert world.operations.asked == []

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

"""The configuration, over HTTP."""

from collections.abc import Mapping

import cbor2
import pytest

from tests.http.wire import World
from torua.core.ids import NodeId
from torua.core.kv import Call, Condition
from torua.core.views import ConfigKey, ConfigView, NodeConfigured
from torua.errors import InvalidError, PreconditionError, ToruaError
from torua.http.configuration import routes

PATH = "/cluster/config"
VIEW = ConfigView(
    version=7,
    config={"a.b": 1},
    changed=("a.b",),
    acknowledged=("n1",),
    pending=("n2",),
    nodes=(
        NodeConfigured("n1", NodeId("1"), 7),
        NodeConfigured("n2", NodeId("2"), None),
    ),
)


class FakeConfiguring:
    """Notes what it is asked for.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked: list[tuple[dict[str, object], tuple[Condition, ...]]] = []
        self.failure: ToruaError | None = None

    async def show(self, call: Call, *, explained: bool = False) -> ConfigView:
        """Tell it.

        Args:
            call: who asks.
            explained: whether the keys come, too.
        """
        if explained:
            return ConfigView(7, {}, (), (), (), (), {"a.b": ConfigKey(1, "t", "h")})
        return VIEW

    async def change(
        self,
        changes: Mapping[str, object],
        conditions: tuple[Condition, ...],
        call: Call,
    ) -> ConfigView:
        """Note it.

        Args:
            changes: what is asked for.
            conditions: as they were said.
            call: who asks.
        """
        self.asked.append((dict(changes), conditions))
        if self.failure is not None:
            raise self.failure
        return VIEW


@pytest.fixture
def configuring() -> FakeConfiguring:
    """Return what does it."""
    return FakeConfiguring()


@pytest.fixture
def world(configuring: FakeConfiguring) -> World:
    """Return a site that has it done."""
    return World(routes(configuring))


def test_the_version_is_the_entity_tag(world: World) -> None:
    """Whoever reads it can make a change that depends on it; explained or not."""
    response = world.ask("GET", PATH)
    assert (response.status, response.headers["etag"]) == (200, '"7"')
    assert response.json["acknowledged"] == ["n1"]
    assert response.json["pending"] == ["n2"]
    assert response.json["nodes"][1]["version"] is None
    assert "keys" not in response.json
    explained = world.ask("GET", f"{PATH}?explain").json
    assert explained["keys"] == {"a.b": {"default": 1, "takes": "t", "help": "h"}}


def test_a_change_comes_with_its_condition(
    world: World, configuring: FakeConfiguring
) -> None:
    """In JSON, with or without its type, or in CBOR."""
    world.ask("PUT", PATH, b'{"a.b":1,"c.d":null}', If_Match='"6"')
    body = cbor2.dumps({"a.b": [1, b"x"]})
    world.ask("PUT", PATH, body, Content_Type="application/cbor")
    assert configuring.asked == [
        ({"a.b": 1, "c.d": None}, (Condition((6,), True),)),
        ({"a.b": [1, b"x"]}, ()),
    ]


def test_all_that_is_wrong_is_a_list(
    world: World, configuring: FakeConfiguring
) -> None:
    """A problem with errors, a key and a reason each."""
    configuring.failure = InvalidError("no", (("a.b", "it is so"), ("c", "it is not")))
    response = world.ask("PUT", PATH, b"{}")
    assert response.status == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["errors"] == [
        {"key": "a.b", "why": "it is so"},
        {"key": "c", "why": "it is not"},
    ]


def test_another_version_is_412(world: World, configuring: FakeConfiguring) -> None:
    """As for keys."""
    configuring.failure = PreconditionError("the configuration is at version 7")
    assert world.ask("PUT", PATH, b"{}", If_Match='"6"').status == 412


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{"])
def test_what_is_no_object_is_malformed(
    world: World, configuring: FakeConfiguring, body: bytes
) -> None:
    """Nothing is changed."""
    assert world.ask("PUT", PATH, body).status == 400
    assert configuring.asked == []

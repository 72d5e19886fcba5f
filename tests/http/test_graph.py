"""Nodes and relationships over HTTP, kept in shards in memory."""

from itertools import count
from typing import Any

import cbor2
import pytest
from msgspec import json, structs
from twisted.internet.task import Clock

from tests.http.wire import Response
from tests.http.wire import World as Site
from tests.node.graph.shards import (
    CITY,
    KNOWS,
    LIVES,
    PERSON,
    SHARDED,
    FakeShards,
    check_consistent,
    graves,
)
from torua.core.graph.schema import Column, Graph, RelTable
from torua.core.graph.types import Kind, Type
from torua.errors import NotFoundError, StaleSchemaError
from torua.http.graph import routes
from torua.node.graph.entries import Entries
from torua.node.graph.writes import Writes

NODE = "/graph/nodes/Person/1"
EDGE = "/graph/edges/KNOWS/1/2"
LIKES = RelTable(30, "LIKES", ((16, 16), (16, 17)))
MAIN = structs.replace(
    SHARDED,
    name="main",
    nodes=(
        structs.replace(
            PERSON,
            columns=(
                *PERSON.columns,
                Column(2, "photo", Type(Kind.BLOB)),
                Column(3, "born", Type(Kind.DATE)),
                Column(4, "stars", Type(Kind.INT64), 3),
            ),
        ),
        CITY,
    ),
    rels=(KNOWS, LIVES, LIKES),
)


class Schemas:
    """The schema of one graph.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with the graph as it is."""
        self.known = {"main": MAIN}
        self.coming: Graph | None = None

    def graph(self, name: str) -> Graph:
        """Return it."""
        if name not in self.known:
            raise NotFoundError(f"there is no graph {name}")
        return self.known[name]

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return what was coming, if anything was.

        Args:
            name: which.
            version: at least.
            timeout_s: how long.
        """
        if self.coming is not None and self.coming.version >= version:
            self.known[name] = self.coming
        return self.graph(name)


class World:
    """A site over shards in memory.

    Invariants: ids of relationships are counted up.
    """

    def __init__(self) -> None:
        """Begin with two people and a city."""
        self.clock = Clock()
        self.store = FakeShards(self.clock)
        self.schemas = Schemas()
        numbers = count(1)
        self.writes = Writes(
            self.store,
            self.store,
            self.clock,
            lambda size: next(numbers).to_bytes(size),
        )
        entries = Entries(self.store, self.schemas, self.writes, "n1")
        self.site = Site(routes(entries))
        for path in (NODE, "/graph/nodes/Person/2", "/graph/nodes/City/a%2Fb"):
            assert self.ask("PUT", path).status == 204

    def ask(
        self, method: str, target: str, body: object = None, **headers: str
    ) -> Response:
        """Ask, with a body in JSON where there is one.

        Args:
            method: of HTTP.
            target: what is asked.
            body: in plain values.
            headers: underscores in their names stand for dashes.
        """
        spelled = b"" if body is None else json.encode(body)
        return self.site.ask(method, target, spelled, **headers)

    def get(self, target: str) -> Any:
        """Get the properties of what is there."""
        return self.ask("GET", target).json["properties"]


def test_a_node_is_put_and_got() -> None:
    """What PUT takes GET gives; what is not named is NULL or its default."""
    world = World()
    given = {"name": "é", "photo": "AAE=", "born": "2001-02-03"}
    put = world.ask("PUT", NODE, given)
    assert (put.status, put.body) == (204, b"")
    got = world.ask("GET", NODE)
    assert got.status == 200
    assert got.headers["etag"] == put.headers["etag"]
    assert got.json == {
        "table": "Person",
        "key": 1,
        "version": int(got.headers["etag"].strip('"')),
        "properties": {"id": 1, **given, "stars": 3},
    }
    assert "torua-shard" in got.headers
    assert put.headers["torua-token"]
    assert world.ask("PUT", NODE, got.json).status == 204
    assert world.get(NODE) == got.json["properties"]


def test_patch_keeps_what_put_would_take_away() -> None:
    """PATCH sets what is named; PUT sets everything."""
    world = World()
    world.ask("PUT", NODE, {"name": "x", "stars": 5})
    assert world.ask("PATCH", NODE, {"name": "y"}).status == 204
    assert (world.get(NODE)["name"], world.get(NODE)["stars"]) == ("y", 5)
    assert world.ask("PATCH", NODE, {"stars": None}).status == 204
    assert (world.get(NODE)["name"], world.get(NODE)["stars"]) == ("y", None)
    world.ask("PUT", NODE, {})
    assert (world.get(NODE)["name"], world.get(NODE)["stars"]) == (None, 3)
    assert world.ask("PATCH", "/graph/nodes/Person/9", {}).status == 404


def test_keys_are_read_by_their_type() -> None:
    """Keys in a path are text; a slash in one is percent-encoded or not."""
    world = World()
    assert world.ask("GET", "/graph/nodes/City/a%2Fb").json["key"] == "a/b"
    assert world.ask("GET", "/graph/nodes/City/a/b").status == 200
    assert world.ask("GET", "/graph/nodes/person/1").status == 200
    assert world.ask("GET", "/graph/nodes/Person/x").status == 422
    assert world.ask("GET", "/graph/nodes/Person/1.5").status == 422
    assert world.ask("GET", "/graph/nodes/Person/3").status == 404


def test_cbor_works_wherever_json_does() -> None:
    """Bodies and answers."""
    world = World()
    body = cbor2.dumps({"name": "c", "photo": b"\x00\x01"})
    put = world.site.ask("PUT", NODE, body, Content_Type="application/cbor")
    assert put.status == 204
    got = world.site.ask("GET", NODE, Accept="application/cbor")
    assert cbor2.loads(got.body)["properties"]["photo"] == "AAE="


def test_conditions_are_those_of_keys() -> None:
    """If-Match and If-None-Match, on reads and writes."""
    world = World()
    tag = world.ask("GET", NODE).headers["etag"]
    assert world.ask("GET", NODE, If_None_Match=tag).status == 304
    assert world.ask("GET", NODE, If_Match='"999"').status == 412
    assert world.ask("PUT", NODE, {}, If_None_Match="*").status == 412
    assert world.ask("PUT", NODE, {}, If_Match='"999"').status == 412
    assert world.ask("DELETE", NODE, If_Match='"999"').status == 412
    assert world.ask("PUT", NODE, {}, If_Match=tag).status == 204
    assert world.ask("PUT", NODE, {}, If_Match=tag).status == 412
    new = "/graph/nodes/Person/77"
    assert world.ask("PUT", new, {}, If_Match="*").status == 412
    assert world.ask("DELETE", new, If_Match="*").status == 412
    assert world.ask("PUT", new, {}, If_None_Match="*").status == 204
    assert world.ask("PUT", EDGE, {}, If_Match="*").status == 412
    assert world.ask("PUT", EDGE, {}, If_None_Match="*").status == 204
    assert world.ask("PUT", EDGE, {}, If_None_Match="*").status == 412
    assert world.ask("DELETE", EDGE, If_Match='"999"').status == 412


def test_a_promise_is_kept_once() -> None:
    """A retry is answered as the request was, whatever happened since."""
    world = World()
    key, edge = "/graph/nodes/Person/5", "/graph/edges/KNOWS/5/1"
    for path in (key, edge):
        headers = {"Idempotency_Key": "k", "If_None_Match": "*"}
        first = world.ask("PUT", path, {}, **headers)
        again = world.ask("PUT", path, {}, **headers)
        assert (first.status, again.status) == (204, 204)
        assert again.headers["etag"] == first.headers["etag"]
        assert world.ask("GET", path).headers["etag"] == first.headers["etag"]
    refused = world.ask("PUT", key, {}, Idempotency_Key="l", If_Match='"1000"')
    again = world.ask("PUT", key, {}, Idempotency_Key="l", If_Match='"1000"')
    assert (refused.status, again.status) == (412, 412)


def test_relationships_keep_a_node_from_deletion_unless_it_is_detached() -> None:
    """409 says why; with ``detach`` all of them go."""
    world = World()
    world.ask("PUT", EDGE)
    assert world.ask("DELETE", NODE).status == 409
    assert world.ask("DELETE", "/graph/nodes/Person/2").status == 409
    assert world.ask("DELETE", "/graph/nodes/Person/2?detach=true").status == 204
    assert world.ask("DELETE", "/graph/nodes/Person/2").status == 204
    assert world.ask("GET", EDGE).status == 404
    assert world.ask("DELETE", NODE).status == 204
    assert len(graves(world.store, MAIN)) == 2
    assert world.ask("DELETE", NODE + "?detach=maybe").status == 400


def test_a_relationship_is_put_got_and_deleted() -> None:
    """There is one by PUT between two nodes."""
    world = World()
    assert world.ask("GET", EDGE).status == 404
    for since in (1, 2):
        assert world.ask("PUT", EDGE, {"since": since}).status == 204
    got = world.ask("GET", EDGE)
    assert got.json == {
        "table": "KNOWS",
        "from": {"table": "Person", "key": 1},
        "to": {"table": "Person", "key": 2},
        "id": "",
        "version": int(got.headers["etag"].strip('"')),
        "properties": {"since": 2},
    }
    assert world.ask("DELETE", EDGE).status == 204
    assert world.ask("DELETE", EDGE).status == 204
    assert world.ask("GET", EDGE).status == 404
    check_consistent(world.store, MAIN)


def test_a_relationship_needs_its_nodes() -> None:
    """Neither end is made on the way."""
    world = World()
    assert world.ask("PUT", "/graph/edges/KNOWS/1/9").status == 404
    assert world.ask("PUT", "/graph/edges/KNOWS/9/1").status == 404
    assert world.ask("PUT", "/graph/edges/LIVES/1/a%2Fb").status == 204
    world.ask("PUT", "/graph/nodes/City/c")
    assert world.ask("PUT", "/graph/edges/LIVES/1/c").status == 409


def test_of_several_relationships_one_is_named_by_its_id() -> None:
    """Without an id that is a conflict; with one it is read and deleted."""
    world = World()
    world.ask("PUT", EDGE)
    other = EDGE + "?id=0102"
    assert world.ask("PUT", other, {"since": 7}).status == 204
    refused = world.ask("GET", EDGE)
    assert refused.status == 409
    assert "'0102'" in refused.json["detail"]
    assert world.get(other) == {"since": 7}
    assert world.ask("DELETE", other).status == 204
    assert world.get(EDGE) == {"since": None}
    for bad in ("x", "0", "00" * 65):
        assert world.ask("GET", f"{EDGE}?id={bad}").status == 400


def test_tables_are_named_where_there_are_several_pairs() -> None:
    """A type between one pair of tables needs no names."""
    world = World()
    likes = "/graph/edges/LIKES/1/2"
    assert world.ask("PUT", likes).status == 422
    assert world.ask("PUT", likes + "?to_table=Person").status == 204
    assert world.ask("PUT", "/graph/edges/LIKES/1/a%2Fb?to_table=City").status == 204
    assert world.ask("PUT", likes + "?from_table=City").status == 422
    assert world.ask("PUT", likes + "?to_table=Nobody").status == 404


def test_a_stale_relationship_is_not_seen_and_does_not_stand_in_the_way() -> None:
    """A node's next life has no relationships; new ones can be made."""
    world = World()
    world.ask("PUT", EDGE, {"since": 1})
    spoiled = world.store.incoming

    async def nobody(*_: object) -> list[object]:
        """Find nothing: what comes to the node stays."""
        return []

    world.store.incoming = nobody  # type: ignore[assignment, method-assign]
    world.ask("DELETE", "/graph/nodes/Person/2?detach=true")
    world.store.incoming = spoiled  # type: ignore[method-assign]
    assert world.ask("GET", EDGE).status == 404
    world.ask("PUT", "/graph/nodes/Person/2")
    assert world.ask("GET", EDGE).status == 404
    assert world.ask("PUT", EDGE, {}, If_None_Match="*").status == 204
    assert world.get(EDGE) == {"since": None}
    check_consistent(world.store, MAIN)


@pytest.mark.parametrize(
    ("status", "method", "target", "body"),
    [
        (404, "GET", "/graph/nodes/Nobody/1", None),
        (404, "GET", NODE + "?graph=none", None),
        (404, "PUT", "/graph/edges/HATES/1/2", {}),
        (422, "PUT", NODE, {"age": 1}),
        (422, "PUT", NODE, {"name": 1}),
        (422, "PUT", NODE, {"id": 2}),
        (422, "PUT", NODE, {"name": "a", "NAME": "b"}),
        (422, "PUT", NODE, {"born": "yesterday"}),
        (422, "PUT", EDGE, {"since": 1.5}),
        (400, "PUT", NODE, [1]),
        (400, "PUT", NODE + "?timeout_ms=x", {}),
        (400, "GET", NODE + "?consistency=maybe", None),
        (404, "GET", "/graph/nodes/Person", None),
        (405, "POST", NODE, {}),
        (405, "PATCH", EDGE, {}),
        (422, "PUT", "/graph/nodes/City/" + "x" * 1025, {}),
        (413, "PUT", NODE, {"name": "x" * (9 << 20)}),
    ],
)
def test_wrong_input_is_the_callers_error(
    status: int, method: str, target: str, body: object
) -> None:
    """Each has its status, and nothing is written."""
    world = World()
    before = len(world.store.groups)
    answer = world.ask(method, target, body)
    assert answer.status == status
    assert len(world.store.groups) == before


def test_a_body_of_another_type_is_refused() -> None:
    """JSON and CBOR are taken."""
    world = World()
    answer = world.site.ask("PUT", NODE, b"x", Content_Type="text/csv")
    assert answer.status == 415
    assert world.site.ask("PUT", NODE, b"{").status == 400


def test_a_schema_that_changes_is_looked_up_again() -> None:
    """A request outlives a change of schema."""
    world = World()
    newer = structs.replace(MAIN, version=MAIN.version + 1)
    apply, calls = world.writes.apply, []

    async def once_stale(*args: Any) -> Any:
        """Refuse the first time, as a shard with a newer schema does."""
        calls.append(args)
        if len(calls) == 1:
            world.store.define(newer)
            world.schemas.known["main"] = newer
            raise StaleSchemaError("newer")
        return await apply(*args)

    world.writes.apply = once_stale  # type: ignore[assignment, method-assign]
    assert world.ask("PUT", NODE, {}).status == 204
    assert len(calls) == 2


def test_a_table_that_is_just_being_made_is_waited_for() -> None:
    """Whoever made it elsewhere may ask here before it is known."""
    world = World()
    world.schemas.known["main"] = structs.replace(MAIN, nodes=(CITY,), rels=())
    assert world.ask("GET", NODE).status == 404
    world.schemas.coming = structs.replace(MAIN, version=MAIN.version + 1)
    assert world.ask("GET", NODE).status == 200
    world.schemas.known["main"] = structs.replace(MAIN, nodes=(CITY,), rels=())
    assert "no KNOWS from" in world.ask("GET", EDGE).json["detail"]

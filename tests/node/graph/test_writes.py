"""Changes of graphs, written to several shards."""

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.node.graph.shards import (
    CALL,
    SHARDED,
    SINGLE,
    FakeShards,
    check_consistent,
    edges,
    graves,
    nodes,
    settle,
    visible,
)
from torua.core.graph.changes import Change, Changed, EdgeChange, NodeChange
from torua.core.graph.keys import node_key
from torua.core.graph.schema import Graph, node_table
from torua.core.graph.types import Cell
from torua.core.kv import Call, IdempotencyKey
from torua.core.routing import even_slots
from torua.core.splitting.moving import is_own
from torua.errors import (
    ConflictError,
    MovedError,
    NotFoundError,
    StaleSchemaError,
    TooLargeError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph.writes import Writes

T = TypeVar("T")
GRAPHS = pytest.mark.parametrize("graph", [SHARDED, SINGLE], ids=["sharded", "single"])


class World:
    """Writes over fake shards.

    Invariants: ids of relationships are counted up.
    """

    def __init__(self, graph: Graph = SHARDED, random: Random | None = None) -> None:
        """Begin empty."""
        self.graph = graph
        self.clock = Clock()
        self.store = FakeShards(self.clock, random=random)
        numbers = count(1)
        self.writes = Writes(
            self.store,
            self.store,
            self.clock,
            lambda size: next(numbers).to_bytes(size),
        )

    def version(self, table: str, key: Cell) -> int:
        """Return a node's version.

        Args:
            table: its table.
            key: its key.
        """
        spot = node_key(self.graph, node_table(self.graph, table), key)
        entry = self.store.shards[self.store.shard_of_key(spot)].view.get(spot)
        assert entry is not None
        return entry.version

    def apply(self, *changes: Change, call: Call = CALL) -> Changed:
        """Apply changes, and return what was done, or raise."""
        doing = Deferred.fromCoroutine(self.writes.apply(self.graph, changes, call))
        return result(doing, self.clock)

    def delete(self, table: str, key: Cell, *, detach: bool = False) -> Changed:
        """Delete a node as it stands.

        Args:
            table: its table.
            key: its key.
            detach: its relationships go with it.
        """
        version = self.version(table, key)
        return self.apply(NodeChange(table, key, None, version, detach))


def result(doing: "Deferred[T]", clock: Clock) -> T:
    """Return what a Deferred gives once time has passed, or raise.

    Args:
        doing: what to wait for.
        clock: makes time pass.
    """
    found: list[T | Failure] = []
    doing.addBoth(found.append)
    settle(clock)
    (got,) = found
    if isinstance(got, Failure):
        got.raiseException()
    return got


def person(key: int, name: str = "x", version: int | None = None) -> NodeChange:
    """Make or change a person.

    Args:
        key: whom.
        name: as it shall be.
        version: that was read; None to make one.
    """
    return NodeChange("Person", key, {"id": key, "name": name}, version)


def city(key: str) -> NodeChange:
    """Make a city."""
    return NodeChange("City", key, {"name": key})


def knows(source: int, target: int, edge_id: bytes = b"") -> EdgeChange:
    """Let a person know another.

    Args:
        source: who.
        target: whom.
        edge_id: of the relationship.
    """
    return EdgeChange("KNOWS", ("Person", source), ("Person", target), edge_id, {})


def related(table: str, source: int, target: str) -> EdgeChange:
    """Relate a person to a city.

    Args:
        table: how.
        source: who.
        target: to which.
    """
    return EdgeChange(table, ("Person", source), ("City", target), b"", {})


@GRAPHS
def test_nodes_and_relationships_of_one_statement_are_written(graph: Graph) -> None:
    """Ends that the same statement makes, on any shard, are joined."""
    world = World(graph)
    people = [person(key) for key in range(20)]
    chain = [knows(key, (key + 1) % 20) for key in range(20)]
    changed = world.apply(*chain, *people)
    assert (changed.nodes_created, changed.edges_created) == (20, 20)
    assert changed.atomic is (graph is SINGLE)
    assert changed.parts == ()
    assert len(visible(world.store, graph)) == 20
    check_consistent(world.store, graph)


def test_one_shard_is_one_record() -> None:
    """All that a statement does on one shard is one record, and says that it is."""
    world = World(SINGLE)
    before = sum(shard.records for shard in world.store.shards)
    changed = world.apply(person(1), person(2), knows(1, 2), knows(2, 1))
    assert changed.atomic
    assert changed.tokens
    assert sum(shard.records for shard in world.store.shards) == before + 1


@GRAPHS
def test_a_conflict_leaves_everything_as_it_was(graph: Graph) -> None:
    """What was changed since it was read is kept, and nothing else is done."""
    world = World(graph)
    world.apply(*(person(key) for key in range(8)))
    version = world.version("Person", 3)
    world.apply(person(3, "new", version))
    before = nodes(world.store, graph)
    changes = [person(key, "y", world.version("Person", key)) for key in range(3)]
    with pytest.raises(ConflictError, match="Person 3 was changed"):
        world.apply(*changes, person(3, "old", version))
    with pytest.raises(ConflictError, match="Person 2 exists already"):
        world.apply(person(9), person(2))
    with pytest.raises(ConflictError, match="Person 77 does not exist"):
        world.apply(person(9), knows(1, 77))
    assert nodes(world.store, graph) == before


@GRAPHS
def test_an_update_keeps_a_nodes_relationships(graph: Graph) -> None:
    """A node that is set anew is the same node."""
    world = World(graph)
    world.apply(person(1), person(2))
    world.apply(knows(1, 2))
    for name in ("a", "b"):
        world.apply(person(2, name, world.version("Person", 2)))
    assert len(visible(world.store, graph)) == 1
    assert nodes(world.store, graph)["Person", 2]["name"] == "b"


@GRAPHS
def test_a_node_with_relationships_is_not_deleted(graph: Graph) -> None:
    """Without DETACH there may be none, in either direction."""
    world = World(graph)
    world.apply(person(1), person(2))
    world.apply(knows(1, 2))
    for key in (1, 2):
        with pytest.raises(ConflictError, match="DETACH"):
            world.delete("Person", key)
    (edge,) = edges(world.store, graph)
    gone = EdgeChange(
        "KNOWS", ("Person", 1), ("Person", 2), edge.edge_id, None, edge.version
    )
    ends = [
        NodeChange("Person", key, None, world.version("Person", key)) for key in (1, 2)
    ]
    changed = world.apply(*ends, gone)
    assert (changed.nodes_deleted, changed.edges_deleted) == (2, 1)
    assert nodes(world.store, graph) == {}


@GRAPHS
def test_detach_takes_all_relationships_and_leaves_a_grave(graph: Graph) -> None:
    """What goes from a node goes with it; what comes to it goes as well."""
    world = World(graph)
    world.apply(*(person(key) for key in range(9)))
    world.apply(*(knows(key, 4) for key in range(9)), *(knows(4, k) for k in range(3)))
    version = world.version("Person", 4)
    changed = world.delete("Person", 4, detach=True)
    assert (changed.nodes_deleted, changed.edges_deleted) == (1, 12)
    assert edges(world.store, graph) == []
    assert graves(world.store, graph) == {("Person", 4, version)}


def test_what_can_not_be_removed_now_is_hidden() -> None:
    """A shard that is away keeps no node from being deleted, nor from a clean life."""
    world = World()
    world.apply(*(person(key) for key in range(9)))
    world.apply(*(knows(key, 4) for key in range(9) if key != 4))
    person_table = node_table(SHARDED, "Person")
    home = world.store.shard_of_key(node_key(SHARDED, person_table, 4))
    world.store.broken = set(range(4)) - {home}
    changed = world.delete("Person", 4, detach=True)
    assert changed.nodes_deleted == 1
    assert len(graves(world.store, SHARDED)) == 1
    world.store.broken = set()
    world.apply(person(4))
    assert visible(world.store, SHARDED) == []
    check_consistent(world.store, SHARDED)


def test_a_group_goes_to_the_shard_that_owns_all_of_it_by_now() -> None:
    """Under the same promise: it has the answer, where it was done before."""
    world = World()
    promise = IdempotencyKey("p", b"f")
    world.apply(person(1), call=replace(CALL, idempotency=promise))
    before = set(world.store.answered)
    world.store.moved = [MovedError("the slots have changed")]
    changed = world.apply(person(1), call=replace(CALL, idempotency=promise))
    assert (changed.nodes_created, changed.parts) == (1, ())
    assert set(world.store.answered) == before


def test_groups_whose_slots_part_are_made_anew() -> None:
    """What one shard owned goes to two, each row once."""
    world = World()
    world.store.slots, world.store.coming = even_slots(2), even_slots(4)
    changed = world.apply(*map(person, range(20)), knows(1, 2))
    assert (changed.nodes_created, changed.parts) == (20, ())
    assert changed.edges_created == 1
    assert {key for _, key in nodes(world.store, SHARDED)} == set(range(20))
    for number, shard in enumerate(world.store.shards):
        rows = [key for key in shard.view.entries if not is_own(key)]
        assert rows
        assert {world.store.shard_of_key(key) for key in rows} == {number}


def test_slots_that_move_forever_are_told() -> None:
    """Nothing was done then."""
    world = World()
    world.store.moved = [MovedError("the slots have changed") for _ in range(99)]
    with pytest.raises(MovedError):
        world.apply(person(1))


def test_a_shard_that_refuses_is_named_and_the_rest_holds() -> None:
    """Over several shards a statement is not atomic, and says so."""
    world = World()
    table = node_table(SHARDED, "Person")
    homes = {
        key: world.store.shard_of_key(node_key(SHARDED, table, key))
        for key in range(40)
    }
    world.apply(*(person(key) for key in range(40)))
    away = homes[0]
    known = {node_key(SHARDED, table, key): None for key in range(100, 140)}
    world.store.broken = {away}
    doing = Deferred.fromCoroutine(
        world.writes.apply(
            SHARDED, [person(key) for key in range(100, 140)], CALL, known
        )
    )
    changed = result(doing, world.clock)
    assert not changed.atomic
    assert changed.parts == (f"shard {away}: unavailable: shard {away} is red",)
    world.store.broken = set()
    made = [key for key in nodes(world.store, SHARDED) if key[1] >= 100]  # type: ignore[operator]
    assert 0 < changed.nodes_created == len(made) < 40


def test_the_only_shard_raises_what_it_refused() -> None:
    """Where nothing was done, that is an error and no answer."""
    world = World(SINGLE)
    world.store.broken = set(range(4))
    with pytest.raises(UnavailableError):
        world.apply(person(1), person(2))


@GRAPHS
def test_many_to_one_allows_one_relationship_a_source(graph: Graph) -> None:
    """A second one is refused, in the same statement and in a later one."""
    world = World(graph)
    world.apply(person(1), person(2), city("a"), city("b"))
    with pytest.raises(ConflictError, match="has a LIVES already"):
        world.apply(related("LIVES", 1, "a"), related("LIVES", 1, "b"))
    world.apply(related("LIVES", 1, "a"), related("LIVES", 2, "a"))
    with pytest.raises(ConflictError, match="has a LIVES already"):
        world.apply(related("LIVES", 1, "b"))
    edge = next(e for e in edges(world.store, graph) if e.source[1] == 1)
    gone = EdgeChange(
        "LIVES", ("Person", 1), ("City", "a"), edge.edge_id, None, edge.version
    )
    world.apply(gone, related("LIVES", 1, "b"))
    assert [each[:3] for each in visible(world.store, graph)] == [
        ("LIVES", 1, "b"),
        ("LIVES", 2, "a"),
    ]


def test_one_to_one_allows_one_relationship_a_target() -> None:
    """In a graph of one shard both sides are looked at."""
    world = World(SINGLE)
    world.apply(person(1), person(2), city("a"), city("b"))
    with pytest.raises(ConflictError, match="comes to City 'a' already"):
        world.apply(related("RULES", 1, "a"), related("RULES", 2, "a"))
    world.apply(related("RULES", 1, "a"))
    with pytest.raises(ConflictError, match="comes to City 'a' already"):
        world.apply(related("RULES", 2, "a"))
    with pytest.raises(ConflictError, match="has a RULES already"):
        world.apply(related("RULES", 1, "b"))


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=40, deadline=None)
def test_of_two_rulers_at_once_one_is_refused(seed: int) -> None:
    """However two statements meet, one relationship comes to a node."""
    world = World(SINGLE, Random(seed))
    world.apply(person(1), person(2), city("a"))
    together(
        world, [[related("RULES", 1, "a")], [related("RULES", 2, "a")]], Random(seed)
    )
    assert len(visible(world.store, SINGLE)) == 1


def test_a_promise_kept_before_is_answered_as_then() -> None:
    """A retry creates nothing twice, and its relationships have the same ids."""
    world = World()
    call = Call("r", idempotency=IdempotencyKey("k", b"f"))
    first = world.apply(person(1), person(2), call=call)
    again = world.apply(person(1), person(2), call=call)
    assert (first.nodes_created, again.nodes_created) == (2, 2)
    for _ in range(2):
        other = Call("r", idempotency=IdempotencyKey("k2", b"f"))
        assert world.apply(knows(1, 2), knows(1, 2), call=other).edges_created == 2
    assert len(visible(world.store, SHARDED)) == 2
    world.apply(knows(1, 2))
    assert len(visible(world.store, SHARDED)) == 3


def test_a_schema_that_a_shard_does_not_have_yet_is_waited_for() -> None:
    """A primary that has not written a schema yet gets some time; else: stale."""
    world = World()
    newer = Graph(7, "g", version=2, nodes=SHARDED.nodes, rels=SHARDED.rels)
    doing = Deferred.fromCoroutine(world.writes.apply(newer, [person(1)], CALL))
    world.clock.advance(0.011)
    world.store.define(newer)
    assert result(doing, world.clock).nodes_created == 1
    with pytest.raises(StaleSchemaError):
        world.apply(person(2))


def test_what_can_not_be_is_refused_before_anything_is_done() -> None:
    """Names, pairs, keys and sizes are checked first."""
    world = World()
    wrong: list[tuple[type[ToruaError], Change]] = [
        (NotFoundError, NodeChange("Nobody", 1, {})),
        (NotFoundError, NodeChange("Person", 1, {"age": 1})),
        (NotFoundError, EdgeChange("HATES", ("Person", 1), ("Person", 2), b"", {})),
        (UnprocessableError, NodeChange("Person", None, {})),
        (UnprocessableError, NodeChange("Person", 1, {"id": 2})),
        (UnprocessableError, NodeChange("Person", 1, None)),
        (UnprocessableError, related("KNOWS", 1, "a")),
        (TooLargeError, NodeChange("Person", 1, {"name": "x" * (8 << 20)})),
    ]
    for error, change in wrong:
        with pytest.raises(error):
            world.apply(change)
    with pytest.raises(UnprocessableError, match="twice"):
        world.apply(person(1), person(1))
    assert world.store.groups == []


def test_more_than_one_group_is_split_or_refused() -> None:
    """In a sharded graph the parts are said not to be atomic; in a single one: 413."""
    world = World(SINGLE)
    many = [person(key) for key in range(10_001)]
    with pytest.raises(TooLargeError):
        world.apply(*many)
    assert world.store.groups == []
    world = World()
    changed = world.apply(*many, *(knows(0, key) for key in range(10_001)))
    assert (changed.nodes_created, changed.edges_created) == (10_001, 10_001)
    assert not changed.atomic
    assert max(len(group.writes) for group in world.store.groups) <= 10_000
    check_consistent(world.store, SHARDED)


def together(
    world: World, statements: Sequence[Sequence[Change]], random: Random
) -> list[Changed | ToruaError]:
    """Run statements at once, begun in any order, and return what became of each.

    Args:
        world: where.
        statements: the changes of each.
        random: draws when each begins.
    """
    results: dict[int, Changed | ToruaError] = {}

    def begin(index: int) -> None:
        """Begin one."""
        applying = world.writes.apply(world.graph, statements[index], CALL)
        doing = Deferred.fromCoroutine(applying)
        doing.addCallbacks(
            lambda changed: results.__setitem__(index, changed),
            lambda failure: results.__setitem__(index, _expected(failure)),
        )

    for index in range(len(statements)):
        world.clock.callLater(random.randrange(30) / 1000, begin, index)
    settle(world.clock)
    return [results[index] for index in range(len(statements))]


def _expected(failure: Failure) -> ToruaError:
    """Return an error that is expected; raise any other."""
    error = failure.value
    if not isinstance(error, ToruaError):
        failure.raiseException()
    assert isinstance(error, ToruaError)
    return error


@given(seed=st.integers(0, 1 << 30), single=st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_dangles_however_statements_meet(seed: int, single: bool) -> None:
    """Whatever deletes, makes and relates nodes at once, readers see no loose end."""
    random = Random(seed)
    world = World(SINGLE if single else SHARDED, random)
    world.apply(*(person(key) for key in range(4)))
    for _ in range(3):
        statements: list[list[Change]] = []
        there = [key for _, key in nodes(world.store, world.graph)]
        for _ in range(random.randrange(2, 7)):
            key, other = random.randrange(4), random.randrange(4)
            if random.random() < 0.4 and key in there:
                version = world.version("Person", key)
                detach = random.random() < 0.7
                statements.append([NodeChange("Person", key, None, version, detach)])
            elif random.random() < 0.4:
                statements.append([person(key)])
            else:
                statements.append([knows(key, other)])
        together(world, statements, random)
        check_consistent(world.store, world.graph)

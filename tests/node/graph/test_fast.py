"""Statements that name all they touch, done without an engine."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from twisted.internet.defer import Deferred

from tests.node.graph.shards import (
    CALL,
    KNOWS,
    SHARDED,
    check_consistent,
    edges,
    nodes,
    visible,
)
from tests.node.graph.test_writes import World, result
from torua.core.cypher.plan import (
    CreateEdge,
    CreateNode,
    DeleteNode,
    FastWrite,
    FastWrites,
    Field,
    Literal,
    Parameter,
    SetNode,
)
from torua.core.graph.changes import Changed
from torua.core.graph.types import Cell
from torua.errors import ConflictError, TooLargeError, ToruaError, UnprocessableError

ID = Field(("id",))


def run(world: World, *each: FastWrite, rows: object = None) -> Changed:
    """Do a statement, for rows where there are any."""
    source = None if rows is None else Parameter("rows")
    writes = FastWrites(each, source, "row")
    given = {"rows": rows, "one": 1, "deep": {"name": "n"}}
    doing = world.writes.fast(world.graph, writes, given, CALL)
    return result(Deferred.fromCoroutine(doing), world.clock)


def make(*keys: int) -> tuple[CreateNode, list[dict[str, int]]]:
    """Make people."""
    return CreateNode("Person", (("id", ID),)), [{"id": key} for key in keys]


def relate(*, merge: bool, since: int | None = None) -> CreateEdge:
    """Let the people of a row know each other."""
    cells = () if since is None else (("since", Literal(since)),)
    ends = ("Person", Field(("a",))), ("Person", Field(("b",)))
    return CreateEdge("KNOWS", *ends, cells, merge)


def test_values_come_from_literals_parameters_and_rows() -> None:
    """All three are checked by their columns' types."""
    world = World()
    deep = Parameter("deep", ("name",))
    run(world, CreateNode("Person", (("id", Parameter("one")), ("name", deep))))
    create, rows = make(2, 3)
    assert run(world, create, rows=rows).nodes_created == 2
    assert nodes(world.store, SHARDED)["Person", 1] == {"id": 1, "name": "n"}
    wrong = CreateNode("Person", (("id", Literal("x")),))
    with pytest.raises(UnprocessableError, match=r"Person\.id"):
        run(world, wrong)
    with pytest.raises(UnprocessableError, match="no list"):
        run(world, create, rows=7)
    with pytest.raises(UnprocessableError, match="row has no field id"):
        run(world, create, rows=[{}])
    with pytest.raises(UnprocessableError, match="NULL"):
        run(world, create, rows=[{"id": None}])


def test_a_field_that_only_other_rows_have_is_null() -> None:
    """An engine takes rows so; where none has it, it is an error."""
    world = World()
    create = CreateNode("Person", (("id", ID), ("name", Field(("name",)))))
    run(world, create, rows=[{"id": 1}, {"name": "n", "id": 2}])
    assert nodes(world.store, SHARDED) == {
        ("Person", 1): {"id": 1, "name": None},
        ("Person", 2): {"id": 2, "name": "n"},
    }
    with pytest.raises(UnprocessableError, match="row has no field name"):
        run(world, create, rows=[{"id": 3}])
    with pytest.raises(TooLargeError, match="too many different names"):
        run(world, create, rows=[{f"n{at}": at} for at in range(3000)])


def test_what_is_not_there_is_left_alone() -> None:
    """MATCH of nobody does nothing, and is no error."""
    world = World()
    nobody = Literal(9)
    changed = run(
        world,
        SetNode("Person", nobody, (("name", Literal("x")),)),
        DeleteNode("Person", nobody),
        DeleteNode("Person", Literal(None)),
        CreateEdge("KNOWS", ("Person", nobody), ("Person", nobody), ()),
    )
    assert changed == Changed()
    assert nodes(world.store, SHARDED) == {}


def test_rows_that_touch_one_node_are_done_in_order() -> None:
    """The last value counts, and properties that are not named stay."""
    world = World()
    create, rows = make(1)
    run(world, create, rows=rows)
    name = SetNode("Person", ID, (("name", Field(("to",))),))
    changed = run(world, name, rows=[{"id": 1, "to": "a"}, {"id": 1, "to": "b"}])
    assert changed.nodes_updated == 1
    assert nodes(world.store, SHARDED)["Person", 1] == {"id": 1, "name": "b"}
    assert run(world, DeleteNode("Person", ID), rows=rows).nodes_deleted == 1


def test_merge_makes_a_relationship_only_where_there_is_none() -> None:
    """Properties that are given have to be equal; others do not matter."""
    world = World()
    create, rows = make(1, 2)
    run(world, create, rows=rows)
    pair = [{"a": 1, "b": 2}]
    assert run(world, relate(merge=True), rows=pair * 3).edges_created == 1
    assert run(world, relate(merge=True), rows=pair).edges_created == 0
    assert run(world, relate(merge=True, since=5), rows=pair).edges_created == 1
    assert run(world, relate(merge=True, since=5), rows=pair).edges_created == 0
    assert run(world, relate(merge=False, since=5), rows=pair * 2).edges_created == 2
    assert len({edge.edge_id for edge in edges(world.store, SHARDED)}) == 4


def test_a_property_that_is_not_given_has_its_default() -> None:
    """Nodes and relationships alike."""
    rel = structs.replace(
        KNOWS, columns=(structs.replace(KNOWS.columns[0], default=1999),)
    )
    world = World(structs.replace(SHARDED, rels=(rel,)))
    create, rows = make(1, 2)
    run(world, create, rows=rows)
    run(world, relate(merge=False), rows=[{"a": 1, "b": 2}])
    with_default = relate(merge=True, since=1999)
    assert run(world, with_default, rows=[{"a": 1, "b": 2}]).edges_created == 0


KEYS = st.integers(0, 4)
STEPS = st.one_of(
    st.tuples(st.just("create"), KEYS, KEYS),
    st.tuples(st.just("set"), KEYS, KEYS),
    st.tuples(st.just("delete"), KEYS, KEYS),
    st.tuples(st.just("detach"), KEYS, KEYS),
    st.tuples(st.just("merge"), KEYS, KEYS),
    st.tuples(st.just("relate"), KEYS, KEYS),
)


@given(batches=st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=8))
@settings(max_examples=120, deadline=None)
def test_statements_do_what_a_model_does(
    batches: Sequence[Sequence[tuple[str, int, int]]],
) -> None:
    """Nodes and relationships end as in a dict and a list, refusals included."""
    world = World()
    model = Model()
    for batch in batches:
        name = batch[0][0]
        same = [each for each in batch if each[0] == name]
        rows = [{"id": k, "a": k, "b": o, "name": str(o)} for _, k, o in same]
        expected = model.run(name, [(k, o) for _, k, o in same])
        try:
            run(world, write_of(name), rows=rows)
            refused = False
        except ConflictError:
            refused = True
        assert refused is (not expected)
        there = {key: cells["name"] for (_, key), cells in stored(world).items()}
        assert there == model.nodes
        pairs = sorted((source, target) for _, source, target, _ in related(world))
        assert pairs == sorted(model.edges)
        check_consistent(world.store, SHARDED)


def stored(world: World) -> dict[tuple[str, Cell], dict[str, Cell]]:
    """Return all nodes."""
    return nodes(world.store, SHARDED)


def related(world: World) -> list[tuple[str, Cell, Cell, bytes]]:
    """Return all relationships that readers see."""
    return visible(world.store, SHARDED)


def write_of(name: str) -> FastWrite:
    """Return what is done for each row."""
    writes: dict[str, FastWrite] = {
        "create": CreateNode("Person", (("id", ID), ("name", Field(("name",))))),
        "set": SetNode("Person", ID, (("name", Field(("name",))),)),
        "delete": DeleteNode("Person", ID),
        "detach": DeleteNode("Person", ID, True),
        "merge": relate(merge=True),
        "relate": relate(merge=False),
    }
    return writes[name]


class Model:
    """A graph in a dict and a list.

    Invariants: a statement that is refused changes nothing.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.nodes: dict[int, str] = {}
        self.edges: list[tuple[int, int]] = []

    def run(self, name: str, rows: Sequence[tuple[int, int]]) -> bool:
        """Do one statement; False where it is refused.

        Args:
            name: what is done for each row.
            rows: a key, and another one.
        """
        before = dict(self.nodes), list(self.edges)
        done = all([getattr(self, f"_{name}")(key, other) for key, other in rows])
        loose = any(not {*edge} <= {*self.nodes} for edge in self.edges)
        if not done or loose:
            self.nodes, self.edges = before
            return False
        return True

    def _create(self, key: int, other: int) -> bool:
        """Make a node that is not there."""
        if key in self.nodes:
            return False
        self.nodes[key] = str(other)
        return True

    def _set(self, key: int, other: int) -> bool:
        """Name a node that is there."""
        if key in self.nodes:
            self.nodes[key] = str(other)
        return True

    def _delete(self, key: int, _other: int) -> bool:
        """Remove a node; loose ends are seen later."""
        self.nodes.pop(key, None)
        return True

    def _detach(self, key: int, _other: int) -> bool:
        """Remove a node with its relationships."""
        self.nodes.pop(key, None)
        self.edges = [edge for edge in self.edges if key not in edge]
        return True

    def _relate(self, key: int, other: int) -> bool:
        """Relate two nodes that are there."""
        if {key, other} <= {*self.nodes}:
            self.edges.append((key, other))
        return True

    def _merge(self, key: int, other: int) -> bool:
        """Relate two nodes that are there and not related."""
        return (key, other) in self.edges or self._relate(key, other)


def test_errors_that_are_not_conflicts_leave_nothing_done() -> None:
    """A bad value in the last row refuses all rows."""
    world = World()
    create, rows = make(1, 2)
    with pytest.raises(ToruaError):
        run(world, create, rows=[*rows, {"id": "x"}])
    assert nodes(world.store, SHARDED) == {}

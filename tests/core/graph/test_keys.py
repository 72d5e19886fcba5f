"""Keys of rows are read as they were spelled, and lie with their nodes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.graph.values import keys, values
from torua.core.graph.keys import (
    GRAPH_BYTE,
    EdgeKey,
    GraveKey,
    NodeKey,
    SchemaKey,
    SweepKey,
    edge_between,
    edge_key,
    edges_prefix,
    grave_key,
    is_graph_key,
    node_key,
    node_keys,
    nodes_prefix,
    read_key,
    read_pk,
    schema_check,
    schema_key,
    spell_pk,
    sweep_key,
)
from torua.core.graph.schema import (
    KEY_VALUE_TABLE,
    MAIN_GRAPH,
    Column,
    Graph,
    NodeTable,
    Placement,
    RelTable,
)
from torua.core.graph.types import Kind, Type, check
from torua.core.routing import slot_of
from torua.core.state import SLOTS
from torua.errors import CorruptionError, UnprocessableError

TEXT = NodeTable(16, "T", (Column(0, "k", Type(Kind.STRING)),), "k")
NUMBER = NodeTable(17, "N", (Column(3, "id", Type(Kind.INT64)),), "id")
KNOWS = RelTable(18, "KNOWS", ((16, 17),))
graphs = st.builds(
    Graph,
    st.integers(0, 64),
    st.just("g"),
    st.sampled_from(Placement),
    st.integers(1, 1 << 40),
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.data())
def test_a_primary_key_is_read_as_it_was_spelled(data: st.DataObject) -> None:
    """Of every type that can be one, and two equal ones are spelled alike."""
    kind = data.draw(keys)
    value = data.draw(values(kind).filter(lambda each: each is not None))
    cell = check(kind, value, "k")
    assert read_pk(kind, spell_pk(kind, cell)) == cell
    for other in (Kind.BOOL, Kind.INTERVAL):
        with pytest.raises(UnprocessableError):
            spell_pk(Type(other), cell)


def test_equal_numbers_are_one_key() -> None:
    """Zero is zero, with whatever sign."""
    kind = Type(Kind.DOUBLE)
    assert spell_pk(kind, -0.0) == spell_pk(kind, 0.0) == spell_pk(kind, 0)


@given(st.lists(numbers, min_size=2))
def test_whole_numbers_sort_as_they_are_spelled(found: list[int]) -> None:
    """So that nodes stand in order."""
    kind = Type(Kind.INT64)
    assert sorted(found) == sorted(found, key=lambda each: spell_pk(kind, each))


@given(graphs, texts, numbers, st.binary(max_size=16), st.integers(0, 1 << 62))
def test_a_key_is_read_as_it_was_spelled(
    graph: Graph, text: str, number: int, edge: bytes, born: int
) -> None:
    """Of all five sorts; none is a user's."""
    source, target = (TEXT, text), (NUMBER, number)
    pks = spell_pk(Type(Kind.STRING), text), spell_pk(Type(Kind.INT64), number)
    made: dict[bytes, Any] = {
        node_key(graph, *source): NodeKey(graph.graph_id, 16, pks[0]),
        edge_key(graph, KNOWS, source, target, edge): EdgeKey(
            graph.graph_id, 18, 16, pks[0], 17, pks[1], edge
        ),
        grave_key(graph, *target, born): GraveKey(graph.graph_id, 17, pks[1], born),
        schema_key(graph.graph_id): SchemaKey(graph.graph_id),
        sweep_key(graph.graph_id, born): SweepKey(graph.graph_id, born),
    }
    for key, expected in made.items():
        assert read_key(key) == expected
        assert is_graph_key(key)
        assert key[0] == GRAPH_BYTE
    assert len(made) == 5


@given(graphs, texts, numbers, st.binary(max_size=16))
def test_a_row_lives_with_its_node(
    graph: Graph, text: str, number: int, edge: bytes
) -> None:
    """A relationship with its source, a grave with its node; a single graph in one."""
    node = node_key(graph, TEXT, text)
    knows = edge_key(graph, KNOWS, (TEXT, text), (NUMBER, number), edge)
    other = node_key(graph, NUMBER, number)
    assert slot_of(knows) == slot_of(node) == slot_of(grave_key(graph, TEXT, text, 9))
    assert 0 <= slot_of(node) < SLOTS
    if graph.placement is Placement.SINGLE:
        assert slot_of(other) == slot_of(node)


def test_a_graphs_nodes_spread() -> None:
    """Over nearly all slots; braces in a key mean nothing."""
    spread = [node_key(MAIN_GRAPH, TEXT, f"{{same}}{n}") for n in range(SLOTS)]
    assert len({slot_of(key) for key in spread}) > SLOTS / 2


@given(texts)
def test_keys_and_values_are_nodes_where_they_are(text: str) -> None:
    """A node of `KeyValue` lives at the slot of its key, tags and all."""
    row = node_key(MAIN_GRAPH, KEY_VALUE_TABLE, text)
    assert slot_of(row) == slot_of(text.encode())


@given(texts, texts, st.binary(max_size=5))
def test_relationships_of_a_node_stand_together(a: str, b: str, edge: bytes) -> None:
    """Under a prefix that no other node's have."""
    mine = edges_prefix(MAIN_GRAPH, TEXT, a)
    theirs = edge_key(MAIN_GRAPH, KNOWS, (TEXT, b), (NUMBER, 1), edge)
    assert theirs.startswith(mine) == (a == b)
    of_type = edges_prefix(MAIN_GRAPH, TEXT, b, KNOWS)
    assert theirs.startswith(of_type)
    assert node_key(MAIN_GRAPH, TEXT, a).startswith(nodes_prefix(MAIN_GRAPH, TEXT))


@given(graphs, texts, numbers, st.binary(max_size=16))
def test_keys_of_many_rows_are_those_of_each(
    graph: Graph, text: str, number: int, edge: bytes
) -> None:
    """What spells a table's keys, or joins two of them, spells them alike."""
    source = node_keys(graph, TEXT)(text)
    target = node_keys(graph, NUMBER)(number)
    assert source == node_key(graph, TEXT, text)
    whole = edge_key(graph, KNOWS, (TEXT, text), (NUMBER, number), edge)
    assert edge_between(KNOWS, source, target, edge) == whole


def test_what_is_too_long_or_nothing_is_refused() -> None:
    """Keys of nodes, and what tells relationships apart."""
    for text in (None, "x" * 1025, 5):
        with pytest.raises(UnprocessableError):
            node_key(MAIN_GRAPH, TEXT, text)
    with pytest.raises(UnprocessableError):
        edge_key(MAIN_GRAPH, KNOWS, (TEXT, "a"), (NUMBER, 1), b"x" * 65)


@given(st.binary(max_size=30))
def test_what_is_no_key_of_ours_is_said_to_be_none(data: bytes) -> None:
    """Whatever bytes stand there."""
    try:
        read_key(b"\xff" + data)
    except CorruptionError:
        return


def test_a_schemas_check_compares_its_version() -> None:
    """With what its entry begins with."""
    check_ = schema_check(MAIN_GRAPH)
    assert (check_.key, check_.begins) == (schema_key(0), bytes(7) + b"\1")

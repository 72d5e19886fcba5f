"""Commands about graphs compare, then set; what they left behind is listed."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.graph.test_ddl import PEOPLE, defined
from torua.codec.plain import read, spell
from torua.core.allocation import Command, execute
from torua.core.graph.commands import GRAPHS_MAX, DefineGraph, DropGraph
from torua.core.graph.keys import edge_key, grave_key, node_key
from torua.core.graph.remains import remains
from torua.core.graph.schema import (
    MAIN,
    MAIN_GRAPH,
    Graph,
    Placement,
    node_table,
    rel_table,
)
from torua.core.state import ClusterState
from torua.core.state_diff import diff, patch

NAMES = st.sampled_from([MAIN, "a", "b"])


def test_main_is_there_from_the_start() -> None:
    """Also in a state that was kept before there were graphs."""
    assert ClusterState().graphs == {MAIN: MAIN_GRAPH}
    old = spell(ClusterState(cluster_name="c"))
    assert b"graphs" in old
    assert read(spell_without_graphs(), ClusterState).graphs == {MAIN: MAIN_GRAPH}


def spell_without_graphs() -> bytes:
    """Spell a state as it was before."""
    return spell({"cluster_uuid": "u", "routing_version": 3})


@given(st.lists(st.tuples(NAMES, st.integers(0, 3), st.booleans()), max_size=20))
def test_a_command_that_comes_late_or_twice_does_nothing(
    steps: list[tuple[str, int, bool]],
) -> None:
    """Versions rise one by one, ids are given once, and differences say it all."""
    state = ClusterState(cluster_uuid="u")
    seen: dict[int, str] = {0: MAIN}
    for name, behind, drops in steps:
        known = state.graphs.get(name)
        command = next_command(state, name, behind, drops=drops)
        after = execute(state, command)
        if behind:
            assert after is state
        assert patch(state, diff(state, after)) == after
        assert execute(after, command) is after or name not in after.graphs
        for graph in after.graphs.values():
            assert seen.setdefault(graph.graph_id, graph.name) == graph.name
            assert graph.graph_id < after.next_graph
        if known is not None and name in after.graphs:
            assert after.graphs[name].version - known.version in (0, 1)
        assert MAIN in after.graphs
        state = after


def next_command(
    state: ClusterState, name: str, behind: int, *, drops: bool
) -> Command:
    """Make a command by a state that may be older.

    Args:
        state: the newest.
        name: of which graph.
        behind: by how many versions.
        drops: whether it shall be dropped.
    """
    known = state.graphs.get(name)
    if known is None:
        number = state.next_graph + behind
        return DefineGraph(name, 0, Graph(number, name, Placement.SINGLE))
    expect = known.version - behind
    if drops:
        return DropGraph(name, known.graph_id, expect)
    return DefineGraph(name, expect, replace(known, version=expect + 1))


def test_what_can_not_be_does_nothing() -> None:
    """Main can't be dropped, placement can't change, and there are so many graphs."""
    state = ClusterState(cluster_uuid="u")
    assert execute(state, DropGraph(MAIN, 0, 1)) is state
    moved = replace(MAIN_GRAPH, version=2, placement=Placement.SINGLE)
    assert execute(state, DefineGraph(MAIN, 1, moved)) is state
    other = replace(MAIN_GRAPH, version=2, name="other")
    assert execute(state, DefineGraph(MAIN, 1, other)) is state
    for number in range(1, GRAPHS_MAX):
        state = execute(
            state, DefineGraph(f"g{number}", 0, Graph(number, f"g{number}"))
        )
    more = DefineGraph("more", 0, Graph(GRAPHS_MAX, "more"))
    assert len(state.graphs) == GRAPHS_MAX
    assert execute(state, more) is state


def test_remains_are_of_what_was_dropped_and_of_nothing_else() -> None:
    """Of tables, of pairs, of the graph."""
    person, city = node_table(PEOPLE, "Person"), node_table(PEOPLE, "City")
    knows = rel_table(PEOPLE, "Knows")
    rows = {
        "person": node_key(PEOPLE, person, 1),
        "city": node_key(PEOPLE, city, 1),
        "grave": grave_key(PEOPLE, person, 1, 5),
        "to person": edge_key(PEOPLE, knows, (person, 1), (person, 2), b""),
        "to city": edge_key(PEOPLE, knows, (person, 1), (city, 2), b""),
    }

    def gone(new: Graph | None) -> set[str]:
        """Name the rows that a change leaves behind."""
        left = remains(PEOPLE, new)
        return {
            name
            for name, key in rows.items()
            if any(key.startswith(each.prefix) and each.has(key) for each in left)
        }

    assert gone(None) == set(rows)
    assert (
        gone(PEOPLE) == gone(defined(PEOPLE, "ALTER TABLE City ADD x INT64")) == set()
    )
    pair = "ALTER TABLE Knows DROP FROM Person TO City"
    assert gone(defined(PEOPLE, pair)) == {"to city"}
    assert gone(defined(PEOPLE, pair, "DROP TABLE City")) == {"to city", "city"}
    assert gone(defined(PEOPLE, "DROP TABLE Knows")) == {"to city", "to person"}
    both = defined(PEOPLE, "DROP TABLE Knows", "DROP TABLE Person")
    assert gone(both) == set(rows) - {"city"}

"""What may be asked of the coordinator about graphs; each compares, then sets.

A command that rests on another version of its graph does nothing, so a delayed or a
doubled one is harmless (R21); its sender learns from the committed state what became of
it.  What a schema may be is decided by `torua.core.graph.defining`, before.
"""

from msgspec import Struct
from msgspec.structs import replace

from torua.core.graph.schema import MAIN, Graph
from torua.core.state import ClusterState

GRAPHS_MAX = 64
"""Each is a database of every shard copy's engine."""


class DefineGraph(Struct, frozen=True, tag="define_graph"):
    """A graph shall have another schema, or there shall be a new one.

    Attributes:
        name: the graph's.
        expect: the version that the sender had applied; 0: there is no such graph.
        graph: as it shall be, at the next version; a new one under the next id.
    """

    name: str
    expect: int
    graph: Graph


class DropGraph(Struct, frozen=True, tag="drop_graph"):
    """A graph shall be gone, with all its rows; not `MAIN`.

    Attributes:
        name: the graph's.
        graph_id: the same's.
        expect: the version that the sender had applied.
    """

    name: str
    graph_id: int
    expect: int


def change_graphs(
    state: ClusterState, command: DefineGraph | DropGraph
) -> ClusterState:
    """Do what was asked for, if it is still meant; else return ``state`` itself.

    Args:
        state: the committed state.
        command: one that rests on another version does nothing.
    """
    known = state.graphs.get(command.name)
    if isinstance(command, DefineGraph):
        if not _is_next(state, known, command):
            return state
        fresh = known is None
        return replace(
            state,
            graphs=state.graphs | {command.name: command.graph},
            next_graph=state.next_graph + fresh,
        )
    if known is None or command.name == MAIN:
        return state
    if (known.graph_id, known.version) != (command.graph_id, command.expect):
        return state
    left = {name: graph for name, graph in state.graphs.items() if graph is not known}
    return replace(state, graphs=left)


def _is_next(state: ClusterState, known: Graph | None, command: DefineGraph) -> bool:
    """Tell whether a definition is of what stands now."""
    graph = command.graph
    if graph.name != command.name or graph.version != command.expect + 1:
        return False
    if known is None:
        free = len(state.graphs) < GRAPHS_MAX
        return free and command.expect == 0 and graph.graph_id == state.next_graph
    same = (known.graph_id, known.placement) == (graph.graph_id, graph.placement)
    return same and known.version == command.expect

"""Rows and schemas are read as they were spelled."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.graph.values import types, values
from torua.codec.plain import plain, read, spell
from torua.codec.rows import (
    Row,
    read_remains,
    read_row,
    read_schema,
    spell_remains,
    spell_row,
    spell_schema,
)
from torua.core.graph.commands import DefineGraph
from torua.core.graph.remains import Remains
from torua.core.graph.schema import Column, Graph, NodeTable
from torua.core.graph.types import Type, check


@given(st.data(), st.integers(0, 1 << 62))
def test_a_row_is_read_as_it_was_spelled(data: st.DataObject, born: int) -> None:
    """Cells of every type, NULLs too; the order does not show."""
    kinds = data.draw(st.dictionaries(st.integers(0, 999), types, max_size=4))
    cells = {n: check(kind, data.draw(values(kind)), "p") for n, kind in kinds.items()}
    spelled = spell_row(Row(born, cells))
    assert read_row(spelled) == Row(born, cells)
    assert spell_row(Row(born, dict(reversed(cells.items())))) == spelled


@given(types, st.data())
def test_a_schema_travels_whatever_its_types(kind: Type, data: st.DataObject) -> None:
    """In an entry, with its version in front, and in a command between nodes."""
    default = check(kind, data.draw(values(kind)), "p")
    table = NodeTable(16, "T", (Column(0, "c", kind, default),), "c")
    graph = Graph(3, "g", version=7, nodes=(table,))
    entry = spell_schema(graph)
    assert entry.startswith(bytes(7) + b"\7")
    assert read_schema(entry) == graph
    command = DefineGraph("g", 6, graph)
    assert read(spell([1, {"body": plain(command)}]), list) is not None
    assert read(spell(command), DefineGraph) == command


def test_what_is_to_be_swept_is_read_as_it_was_spelled() -> None:
    """All rows under a prefix, or some of them."""
    remains = (Remains(b"\xffn"), Remains(b"\xffe", 18), Remains(b"\xffe", 18, 16))
    assert read_remains(spell_remains(remains)) == remains

"""What makes the tables of one schema those of a later one."""

from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import spell_type
from torua.storage.exchange import quote
from torua.storage.layout import end_types, node_ddl, rel_ddl

Table = NodeTable | RelTable


def statements(old: Graph, new: Graph) -> list[str] | None:
    """Spell what turns an engine's tables into those of a new schema.

    Args:
        old: what it has.
        new: what it shall have.

    Returns:
        The statements, in order; None where it is better built anew.
    """
    before, after = _tables(old), _tables(new)
    dropped: list[Table] = [*old.rels, *old.nodes]
    found = [
        f"DROP TABLE {quote(table.name)}"
        for table in dropped
        if table.table_id not in after
    ]
    for id, table in before.items():
        if id in after:
            changes = _altered(old, table, new, after[id])
            if changes is None:
                return None
            found += changes
    found += [node_ddl(t, True) for t in new.nodes if t.table_id not in before]
    found += [rel_ddl(new, t, True) for t in new.rels if t.table_id not in before]
    return found


def _altered(
    old_graph: Graph, old: Table, new_graph: Graph, new: Table
) -> list[str] | None:
    """Spell what changes one table; None where it can't be told so."""
    if _shape(old_graph, old) != _shape(new_graph, new):
        return None
    found = []
    if old.name != new.name:
        found.append(f"ALTER TABLE {quote(old.name)} RENAME TO {quote(new.name)}")
    columns = _columns(f"ALTER TABLE {quote(new.name)}", old, new)
    return None if columns is None else found + columns


def _columns(alter: str, old: Table, new: Table) -> list[str] | None:
    """Spell what changes a table's columns; None where it can't be told so."""
    before = {c.column_id: c for c in old.columns}
    after = {c.column_id: c for c in new.columns}
    found = [
        f"{alter} DROP {quote(column.name)}"
        for id, column in before.items()
        if id not in after
    ]
    for id, column in after.items():
        known = before.get(id)
        if known is None and column.default is None:
            found.append(f"{alter} ADD {quote(column.name)} {spell_type(column.type)}")
        elif known is None or _type(known) != _type(column):
            return None
        elif known.name != column.name:
            found.append(f"{alter} RENAME {quote(known.name)} TO {quote(column.name)}")
    return found


def _tables(graph: Graph) -> dict[int, Table]:
    """Return all tables by id."""
    found: dict[int, Table] = {t.table_id: t for t in graph.nodes}
    found |= {t.table_id: t for t in graph.rels}
    return found


def _type(column: Column) -> tuple[object, object]:
    """Tell what of a column can't be altered."""
    return column.type, column.default


def _shape(graph: Graph, table: Table) -> object:
    """Tell what of a table can't be altered: its ends, or its key."""
    if isinstance(table, RelTable):
        return table.pairs, end_types(graph, table)
    keys = [c.column_id for c in table.columns if c.name == table.primary_key]
    return keys

"""From one schema to the next: what a definition makes of a graph, and what it may not.

Ids of tables and columns are never given twice, so that rows that a definition left
behind are of nothing, whatever is defined later.  A pair of tables that was dropped
from a relationship table can't be added again, for its rows have no id of their own.
"""

from typing import assert_never

from msgspec.structs import replace

from torua.core.graph.definitions import (
    AddColumn,
    AddPair,
    ColumnDefinition,
    CreateNodeTable,
    CreateRelTable,
    Ddl,
    DropColumn,
    DropPair,
    DropTable,
    RenameColumn,
    RenameTable,
)
from torua.core.graph.schema import (
    KEY_VALUE,
    Column,
    Graph,
    NodeTable,
    Placement,
    RelTable,
    find_column,
    find_table,
    next_column,
    tables,
)
from torua.core.graph.types import NAME, Kind
from torua.errors import UnprocessableError

TABLES_MAX = 1000
"""Each is a table of every shard's engine, and all stand in the cluster state."""

COLUMNS_MAX = 1000
"""A row is read, checked and logged whole."""

PAIRS_MAX = 256
"""Each is a table of the engine's own."""

RESERVED = frozenset(("_id", "_label", "_src", "_dst"))
"""Names that the engine gives to what every node and relationship has."""

HIDDEN = "tv_"
"""What names of columns begin with that no user sees."""

_NOT_KEYS = frozenset(
    (Kind.BOOL, Kind.INTERVAL, Kind.LIST, Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.UNION)
)


def define(graph: Graph, ddl: Ddl) -> Graph:
    """Return the graph as a definition makes it, one version on.

    Args:
        graph: as it is.
        ddl: what is asked for.

    Returns:
        The same object where IF [NOT] EXISTS leaves nothing to do.

    Raises:
        UnprocessableError: it can't be, for a reason that the detail names.
    """
    match ddl:
        case CreateNodeTable() | CreateRelTable() | DropTable() | RenameTable():
            made = _on_graph(graph, ddl)
        case AddColumn() | DropColumn() | RenameColumn():
            made = _on_columns(graph, ddl)
        case AddPair() | DropPair():
            made = _on_pairs(graph, ddl)
        case _:
            assert_never(ddl)
    return graph if made is graph else replace(made, version=graph.version + 1)


def check_name(name: str, what: str) -> None:
    """Raise UnprocessableError where a name can't be given.

    Args:
        name: as a user wrote it.
        what: what it shall name, for the error.
    """
    if not NAME.fullmatch(name):
        raise UnprocessableError(
            f"{what} {name!r}: a name has 1 to 128 letters, digits and _, "
            "and does not begin with a digit"
        )
    if name.lower() in RESERVED or name.lower().startswith(HIDDEN):
        raise UnprocessableError(f"{what} {name}: the name is reserved")


def _on_graph(
    graph: Graph, ddl: CreateNodeTable | CreateRelTable | DropTable | RenameTable
) -> Graph:
    """Create, drop or rename a table."""
    match ddl:
        case CreateNodeTable() | CreateRelTable():
            if ddl.if_not_exists and find_table(graph, ddl.name) is not None:
                return graph
            _check_new(graph, ddl.name)
            if isinstance(ddl, CreateNodeTable):
                return _create_node(graph, ddl)
            return _create_rel(graph, ddl)
        case DropTable():
            if ddl.if_exists and find_table(graph, ddl.name) is None:
                return graph
            return _drop(graph, _table(graph, ddl.name))
        case RenameTable():
            table = _table(graph, ddl.name)
            _check_new(graph, ddl.to)
            return _with(graph, replace(table, name=ddl.to))


def _check_new(graph: Graph, name: str) -> None:
    """Make sure that a table of a name can be added."""
    check_name(name, "table")
    if find_table(graph, name) is not None:
        raise UnprocessableError(f"there is a table {name} already")
    if len(tables(graph)) >= TABLES_MAX:
        raise UnprocessableError(f"a graph has up to {TABLES_MAX} tables")


def _create_node(graph: Graph, ddl: CreateNodeTable) -> Graph:
    """Add a node table."""
    columns = _columns(ddl.columns)
    table = NodeTable(
        table_id=graph.next_id,
        name=ddl.name,
        columns=columns,
        primary_key="",
        next_column=len(columns),
    )
    key = find_column(table, ddl.primary_key)
    if key is None:
        raise UnprocessableError(
            f"the primary key {ddl.primary_key} is no property of {ddl.name}"
        )
    if key.type.kind in _NOT_KEYS:
        raise UnprocessableError(
            f"{key.name}: a primary key can't be of type {key.type.kind}"
        )
    if key.default is not None:
        raise UnprocessableError(f"{key.name}: a primary key has no default")
    table = replace(table, primary_key=key.name)
    return replace(graph, nodes=(*graph.nodes, table), next_id=graph.next_id + 1)


def _create_rel(graph: Graph, ddl: CreateRelTable) -> Graph:
    """Add a relationship table."""
    sharded = graph.placement is Placement.SHARDED
    if sharded and ddl.multiplicity in ("ONE_ONE", "ONE_MANY"):
        raise UnprocessableError(
            f"{ddl.multiplicity}: a relationship is stored with the node that it goes "
            "from, so a sharded graph can't see to it that a node is gone to once; use "
            "MANY_MANY or MANY_ONE, or a graph of placement single"
        )
    pairs = tuple(_pair(graph, *pair) for pair in ddl.pairs)
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            raise UnprocessableError(f"FROM {' TO '.join(ddl.pairs[index])} twice")
    if not 1 <= len(pairs) <= PAIRS_MAX:
        raise UnprocessableError(f"a relationship table has 1 to {PAIRS_MAX} FROM … TO")
    columns = _columns(ddl.columns)
    table = RelTable(
        table_id=graph.next_id,
        name=ddl.name,
        pairs=pairs,
        columns=columns,
        multiplicity=ddl.multiplicity,
        next_column=len(columns),
    )
    return replace(graph, rels=(*graph.rels, table), next_id=graph.next_id + 1)


def _pair(graph: Graph, source: str, target: str) -> tuple[int, int]:
    """Return the ids of the node tables that a pair names."""
    ids = []
    for name in (source, target):
        table = find_table(graph, name)
        if not isinstance(table, NodeTable):
            raise UnprocessableError(f"there is no node table {name}")
        if table.name == KEY_VALUE:
            raise UnprocessableError(f"relationships can't go from or to {KEY_VALUE}")
        ids.append(table.table_id)
    return ids[0], ids[1]


def _columns(definitions: tuple[ColumnDefinition, ...]) -> tuple[Column, ...]:
    """Make the columns of a new table."""
    if len(definitions) > COLUMNS_MAX:
        raise UnprocessableError(f"a table has up to {COLUMNS_MAX} properties")
    names: dict[str, None] = {}
    for each in definitions:
        _check_column(each)
        if each.name.casefold() in names:
            raise UnprocessableError(f"the property {each.name} stands twice")
        names[each.name.casefold()] = None
    return tuple(
        Column(index, each.name, each.type, each.default)
        for index, each in enumerate(definitions)
    )


def _check_column(definition: ColumnDefinition) -> None:
    """Make sure that a column can be."""
    check_name(definition.name, "property")
    if definition.type.kind is Kind.SERIAL:
        raise UnprocessableError(
            f"{definition.name}: SERIAL is not supported: it counts in one engine, and "
            "a graph has one for each copy of each shard; use UUID or INT64, and give "
            "the values"
        )


def _drop(graph: Graph, table: NodeTable | RelTable) -> Graph:
    """Drop a table; its rows are swept away."""
    if isinstance(table, RelTable):
        return replace(graph, rels=tuple(r for r in graph.rels if r is not table))
    for rel in graph.rels:
        if any(table.table_id in pair for pair in rel.pairs):
            raise UnprocessableError(
                f"{table.name} can't be dropped: the relationships {rel.name} use it"
            )
    return replace(graph, nodes=tuple(n for n in graph.nodes if n is not table))


def _on_columns(graph: Graph, ddl: AddColumn | DropColumn | RenameColumn) -> Graph:
    """Add, drop or rename a property."""
    table = _table(graph, ddl.table)
    match ddl:
        case AddColumn():
            found = find_column(table, ddl.column.name)
            if found is not None and ddl.if_not_exists:
                return graph
            return _with(graph, _add_column(table, ddl.column))
        case DropColumn():
            found = find_column(table, ddl.name)
            if found is None and ddl.if_exists:
                return graph
            return _with(graph, _drop_column(table, _column(table, ddl.name)))
        case RenameColumn():
            return _with(graph, _rename_column(table, ddl))


def _add_column(
    table: NodeTable | RelTable, definition: ColumnDefinition
) -> NodeTable | RelTable:
    """Add a property; nodes and relationships that are there have its default."""
    _check_column(definition)
    _check_free(table, definition.name)
    if len(table.columns) >= COLUMNS_MAX:
        raise UnprocessableError(f"a table has up to {COLUMNS_MAX} properties")
    number = next_column(table)
    column = Column(number, definition.name, definition.type, definition.default)
    return replace(table, columns=(*table.columns, column), next_column=number + 1)


def _drop_column(table: NodeTable | RelTable, column: Column) -> NodeTable | RelTable:
    """Drop a property; what rows have of it is of nothing from now on."""
    if isinstance(table, NodeTable) and column.name == table.primary_key:
        raise UnprocessableError(f"{column.name} is the primary key of {table.name}")
    left = tuple(each for each in table.columns if each is not column)
    return replace(table, columns=left, next_column=next_column(table))


def _rename_column(
    table: NodeTable | RelTable, ddl: RenameColumn
) -> NodeTable | RelTable:
    """Rename a property; no row knows."""
    column = _column(table, ddl.name)
    check_name(ddl.to, "property")
    _check_free(table, ddl.to)
    columns = tuple(
        replace(each, name=ddl.to) if each is column else each for each in table.columns
    )
    if isinstance(table, NodeTable) and column.name == table.primary_key:
        return replace(table, columns=columns, primary_key=ddl.to)
    return replace(table, columns=columns)


def _on_pairs(graph: Graph, ddl: AddPair | DropPair) -> Graph:
    """Let relationships of a table go between others too, or no longer."""
    table = _table(graph, ddl.table)
    if not isinstance(table, RelTable):
        raise UnprocessableError(f"{table.name} is no relationship table")
    pair = _pair(graph, ddl.source, ddl.target)
    spelled = f"FROM {ddl.source} TO {ddl.target}"
    there = pair in table.pairs
    if isinstance(ddl, AddPair):
        if there and ddl.if_not_exists:
            return graph
        return _with(graph, _add_pair(table, pair, spelled))
    if there:
        return _with(graph, _drop_pair(table, pair))
    if ddl.if_exists:
        return graph
    raise UnprocessableError(f"{table.name} does not go {spelled}")


def _add_pair(table: RelTable, pair: tuple[int, int], spelled: str) -> RelTable:
    """Let relationships go between two more tables."""
    if pair in table.pairs:
        raise UnprocessableError(f"{table.name} goes {spelled} already")
    if pair in table.dropped:
        raise UnprocessableError(
            f"{table.name} went {spelled} once, and can't again; create another table"
        )
    if len(table.pairs) >= PAIRS_MAX:
        raise UnprocessableError(f"a relationship table has 1 to {PAIRS_MAX} FROM … TO")
    return replace(table, pairs=(*table.pairs, pair))


def _drop_pair(table: RelTable, pair: tuple[int, int]) -> RelTable:
    """Let relationships go between two tables no longer."""
    left = tuple(each for each in table.pairs if each != pair)
    if not left:
        raise UnprocessableError(f"{table.name} would go nowhere; drop the table")
    return replace(table, pairs=left, dropped=(*table.dropped, pair))


def _table(graph: Graph, name: str) -> NodeTable | RelTable:
    """Return a table that may be changed."""
    table = find_table(graph, name)
    if table is None:
        raise UnprocessableError(f"there is no table {name}")
    if table.name == KEY_VALUE:
        raise UnprocessableError(f"{KEY_VALUE} can't be changed")
    return table


def _column(table: NodeTable | RelTable, name: str) -> Column:
    """Return a column that must be there."""
    column = find_column(table, name)
    if column is None:
        raise UnprocessableError(f"{table.name} has no property {name}")
    return column


def _check_free(table: NodeTable | RelTable, name: str) -> None:
    """Make sure that a table has no column of a name."""
    if find_column(table, name) is not None:
        raise UnprocessableError(f"{table.name} has a property {name} already")


def _with(graph: Graph, table: NodeTable | RelTable) -> Graph:
    """Put a table in the place of its former self."""
    if isinstance(table, NodeTable):
        nodes = tuple(
            table if each.table_id == table.table_id else each for each in graph.nodes
        )
        return replace(graph, nodes=nodes)
    rels = tuple(
        table if each.table_id == table.table_id else each for each in graph.rels
    )
    return replace(graph, rels=rels)

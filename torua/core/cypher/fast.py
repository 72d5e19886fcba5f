"""Writes whose effects are known from the text, the parameters and the schema.

After an optional ``UNWIND $rows AS row``, and with no RETURN, either

- CREATE of nodes;
- MATCH of one node by its key, then SET of its properties, or DELETE of it;
- MATCH of two nodes by their keys, then CREATE or MERGE of one relationship.

All values are literals, parameters or fields of the row.  A literal is only taken where
it is of its column's kind, for else the engine may convert it or refuse it, and its
word counts; all else is left to shadow execution.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from torua.core.cypher.expressions import comparison, conjuncts, source
from torua.core.cypher.plan import (
    CreateEdge,
    CreateNode,
    DeleteNode,
    FastWrite,
    FastWrites,
    Literal,
    Parameter,
    SetNode,
    Source,
)
from torua.core.cypher.syntax import (
    Clause,
    Create,
    Delete,
    Direction,
    Match,
    Merge,
    NodePattern,
    Path,
    Properties,
    SetClause,
    SetItem,
    Span,
    Statement,
    Unwind,
)
from torua.core.graph.schema import (
    Graph,
    NodeTable,
    RelTable,
    find_column,
    find_table,
)
from torua.core.graph.types import Kind

Cells = tuple[tuple[str, Source], ...]

_INTEGERS = {
    Kind.INT8,
    Kind.INT16,
    Kind.INT32,
    Kind.INT64,
    Kind.UINT8,
    Kind.UINT16,
    Kind.UINT32,
    Kind.UINT64,
    Kind.INT128,
}
_LITERALS: dict[type, set[Kind]] = {
    bool: {Kind.BOOL},
    int: _INTEGERS | {Kind.DOUBLE},
    float: {Kind.DOUBLE},
    str: {Kind.STRING},
}


class _SlowError(Exception):
    """The statement is of none of the shapes."""


def fast_writes(statement: Statement, graph: Graph) -> FastWrites | None:
    """Return what a statement writes, if that is known without reading.

    Args:
        statement: parsed.
        graph: its schema.
    """
    if len(statement.branches) != 1 or not statement.write:
        return None
    clauses = statement.branches[0]
    rows, row = None, ""
    first = clauses[0]
    if isinstance(first, Unwind):
        found = source(statement, first.expression)
        if not isinstance(found, Parameter):
            return None
        rows, row, clauses = found, first.variable, clauses[1:]
    try:
        each = _Reader(statement, graph, row).read(clauses)
    except _SlowError:
        return None
    return FastWrites(each, rows, row)


class _Reader:
    """Reads the clauses after UNWIND.

    Invariants: `known` has the nodes that are matched by key so far.
    """

    def __init__(self, statement: Statement, graph: Graph, row: str) -> None:
        """Begin with no node known; ``row`` is the variable of the rows."""
        self.statement = statement
        self.graph = graph
        self.row = row
        self.known: dict[str, tuple[NodeTable, Source]] = {}
        self.named = Counter(token.name.lower() for token in statement.tokens)

    def read(self, clauses: Sequence[Clause]) -> tuple[FastWrite, ...]:
        """Read them all.

        Args:
            clauses: of the one branch.

        Raises:
            _SlowError: they are of none of the shapes.
        """
        matches = 0
        while matches < len(clauses) and isinstance(clauses[matches], Match):
            matches += 1
        for clause in clauses[:matches]:
            assert isinstance(clause, Match)
            self._match(clause)
        rest = clauses[matches:]
        match len(self.known), rest:
            case 0, creates if creates:
                return tuple(w for each in creates for w in self._create(each))
            case 1, [SetClause() as change]:
                return (self._set(change),)
            case 1, [Delete() as change]:
                return (self._delete(change),)
            case 2, [(Create() | Merge()) as change]:
                return (self._connect(change),)
        raise _SlowError

    def _match(self, clause: Match) -> None:
        """Note the nodes of a MATCH."""
        if clause.optional or clause.hint:
            raise _SlowError
        keys = self._compared(clause.where)
        for path in clause.paths:
            node = path.nodes[0]
            new = node.variable and node.variable not in (*self.known, self.row)
            if path.rels or path.variable or not new:
                raise _SlowError
            given = dict(self._cells(self._table(node), node.properties))
            compared = keys.pop(node.variable, {})
            if given and compared:
                raise _SlowError
            given.update(compared)
            self.known[node.variable] = self._keyed(node, given)
        if keys:
            raise _SlowError

    def _compared(self, where: Span | None) -> dict[str, dict[str, Source]]:
        """Read the equalities of a WHERE, which must be all of it."""
        found: dict[str, dict[str, Source]] = {}
        for span in conjuncts(self.statement, where) if where is not None else ():
            one = comparison(self.statement, span, self.row)
            if one is None or one.operator != "=" or one.value is None:
                raise _SlowError
            mine = found.setdefault(one.variable, {})
            if one.name in mine:
                raise _SlowError
            mine[one.name] = one.value
        return found

    def _keyed(
        self, node: NodePattern, given: dict[str, Source]
    ) -> tuple[NodeTable, Source]:
        """Return a node's table and key, which must be all that is given of it."""
        table = self._table(node)
        if len(given) != 1 or len(node.properties) > 1:
            raise _SlowError
        name, value = next(iter(given.items()))
        column = find_column(table, name)
        if column is None or column.name != table.primary_key:
            raise _SlowError
        self._check(table, name, value)
        return table, value

    def _table(self, node: NodePattern) -> NodeTable:
        """Return the one table of a node pattern."""
        if len(node.labels) != 1:
            raise _SlowError
        table = find_table(self.graph, node.labels[0])
        if not isinstance(table, NodeTable):
            raise _SlowError
        return table

    def _cells(self, table: NodeTable | RelTable, properties: Properties) -> Cells:
        """Read the braces of a pattern, or what is set."""
        cells: dict[str, Source] = {}
        for name, span in properties:
            value = source(self.statement, span, self.row)
            if value is None or name.lower() in map(str.lower, cells):
                raise _SlowError
            cells[self._check(table, name, value)] = value
        return tuple(cells.items())

    def _check(self, table: NodeTable | RelTable, name: str, value: Source) -> str:
        """Return a column's name in the schema, if the value may go there."""
        column = find_column(table, name)
        if column is None:
            raise _SlowError
        if isinstance(value, Literal) and value.value is not None:
            kinds = _LITERALS.get(type(value.value), set())
            if column.type.kind not in kinds:
                raise _SlowError
        return column.name

    def _create(self, clause: Clause) -> Iterable[FastWrite]:
        """Read a CREATE of nodes."""
        if not isinstance(clause, Create):
            raise _SlowError
        for path in clause.paths:
            node = path.nodes[0]
            if path.rels or path.variable or self._is_mentioned(node):
                raise _SlowError
            table = self._table(node)
            cells = self._cells(table, node.properties)
            if table.primary_key not in dict(cells):
                raise _SlowError
            yield CreateNode(table.name, cells)

    def _is_mentioned(self, node: NodePattern) -> bool:
        """Tell whether a new node's variable may be used again."""
        return bool(node.variable) and self.named[node.variable] > 1

    def _set(self, clause: SetClause) -> SetNode:
        """Read a SET of the node that is known."""
        ((variable, (table, key)),) = self.known.items()
        items = [each for item in clause.items for each in self._items(item, variable)]
        cells = self._cells(table, tuple(items))
        if table.primary_key in dict(cells):
            raise _SlowError
        return SetNode(table.name, key, cells)

    def _items(self, item: SetItem, variable: str) -> Properties:
        """Read one assignment."""
        if self._alone(item.target) != variable:
            raise _SlowError
        return ((item.name, item.value),) if item.name else item.properties

    def _alone(self, span: Span) -> str:
        """Return the folded variable that is all of an expression, or nothing."""
        token = self.statement.tokens[span.start]
        single = span.stop - span.start == 1 and token.is_name
        return token.name.lower() if single else ""

    def _delete(self, clause: Delete) -> DeleteNode:
        """Read a DELETE of the node that is known."""
        ((variable, (table, key)),) = self.known.items()
        if [self._alone(span) for span in clause.items] != [variable]:
            raise _SlowError
        return DeleteNode(table.name, key, clause.detach)

    def _connect(self, clause: Create | Merge) -> CreateEdge:
        """Read a CREATE or MERGE of a relationship between the nodes that are known."""
        if len(clause.paths) != 1 or (isinstance(clause, Merge) and clause.actions):
            raise _SlowError
        path = clause.paths[0]
        table = self._rel_table(path)
        left, right = (self._end(node) for node in path.nodes)
        rel = path.rels[0]
        source_end, target_end = left, right
        if rel.direction is Direction.IN:
            source_end, target_end = right, left
        pair = (source_end[0].table_id, target_end[0].table_id)
        if pair not in table.pairs or table.multiplicity != "MANY_MANY":
            raise _SlowError
        return CreateEdge(
            table.name,
            (source_end[0].name, source_end[1]),
            (target_end[0].name, target_end[1]),
            self._cells(table, rel.properties),
            isinstance(clause, Merge),
        )

    def _rel_table(self, path: Path) -> RelTable:
        """Return the one table of a path of one relationship."""
        if len(path.rels) != 1 or path.variable:
            raise _SlowError
        rel = path.rels[0]
        one = len(rel.types) == 1 and rel.length is None
        if not one or rel.direction is Direction.BOTH:
            raise _SlowError
        table = find_table(self.graph, rel.types[0])
        if not isinstance(table, RelTable):
            raise _SlowError
        return table

    def _end(self, node: NodePattern) -> tuple[NodeTable, Source]:
        """Return the known node at an end of a relationship."""
        known = self.known.get(node.variable)
        if known is None or node.labels or node.properties:
            raise _SlowError
        return known

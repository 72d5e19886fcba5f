"""What a statement may touch: tables, columns, and how far from nodes given by key.

One walk over the clauses, with the variables that are in scope, answers three
questions; to each the answer is a superset of the truth, and that suffices, because a
statement that runs on more than it touches gives the same result.

**Which tables.** A node pattern touches the tables of its labels; all, if it has none
and its variable is new; those of its variable, if it is not. A relationship pattern
touches the pairs of its types (all types, if it names none) whose ends its two node
patterns allow, and so their end tables; of a pattern of variable length the
nodes in between are of any end table of its types, all pairs of which it touches.
Nothing but patterns reads tables: `allowed` refuses CALL and LOAD.  A node pattern next
to a relationship of fixed length allows no table that is not at that end of one of its
pairs, for a match has all parts of its clause; variables bound before are left alone.

**Which columns.** ``v.name`` touches that column; any other mention of ``v`` touches
all, unless it is all there is between the brackets of COUNT, ID, LABEL, LABELS, or it
is handed on by WITH under a name, where mentions of that name count. A path touches all
that its parts have. Variables of lists and lambdas hide none of ours: a mention too
many is no harm.  Functions that lead from one thing to others (START_NODE and the
like), and weighted or filtered paths, make it all columns of all tables.

**How far.** See `frontier`; the walk hands it each pattern, in the order in which
patterns bind variables, subqueries as patterns of their own.

**Which rows.** A conjunct of a MATCH's WHERE that compares a property of a new variable
with a literal or a parameter holds of every node that the variable ever stands for:
others need not be gathered.  Over a table with several such variables it is the OR; a
pattern in OPTIONAL MATCH or a subquery, nodes within a path of variable length and
variables without such a conjunct let everything pass.
"""

from collections.abc import Iterable
from typing import TypeVar

from torua.core.cypher.expressions import (
    Comparison,
    comparison,
    conjuncts,
    source,
    written,
)
from torua.core.cypher.frontier import Columns, Edge, Entity, Reach
from torua.core.cypher.parser import Parser
from torua.core.cypher.patterns import Made, MadeEdge, narrow
from torua.core.cypher.syntax import (
    Clause,
    Create,
    Delete,
    Match,
    Merge,
    NodePattern,
    Path,
    Projection,
    RelPattern,
    SetClause,
    SetItem,
    Span,
    Statement,
    Unwind,
)
from torua.core.cypher.tables import Pair, Tables
from torua.core.cypher.tokens import words
from torua.core.graph.fragments import Scan

FILTERS_MAX = 8
"""A longer condition costs more than it saves."""

_CLAUSES = 2
_UNREAD = words("COUNT ID LABEL LABELS OFFSET")
_LEADING = words("START_NODE STARTNODE END_NODE ENDNODE")


Name = TypeVar("Name", str, Pair)

Scope = dict[str, Entity]
"""Variables by folded name, of entities only; other values are not kept."""


class Footprint:
    """Walks a statement once; then says what it touches.

    Invariants: `nodes` and `pairs` only grow; None instead of columns means all of
    them, and stays.

    Attributes:
        named: the tables that patterns name, each of them some: an engine that has
            only those takes the statement for what it is where there are others; None
            where a pattern names none, or is of variable length and of several pairs.
    """

    def __init__(self, text: str, statement: Statement, tables: Tables) -> None:
        """Walk ``statement``, whose text is ``text``, over the schema of ``tables``."""
        self.tokens = statement.tokens
        self.statement = statement
        self.tables = tables
        self.parser = Parser(text, statement.tokens)
        self.nodes: dict[str, Columns] = {}
        self.pairs: dict[Pair, Columns] = {}
        self.filters: dict[str, list[str] | None] = {}
        self.reach = Reach(tables)
        self.written: set[str] = set()
        self.named: set[str] | None = set()
        self.write = statement.write
        for branch in statement.branches:
            scope: Scope = {}
            for clause in branch:
                scope = self._clause(clause, scope)
        if self.write or any(token.word in _LEADING for token in self.tokens):
            self._take_all()

    def match_and_return(self) -> tuple[Match, Projection] | None:
        """Return both clauses of a reading MATCH … RETURN; None where it is none."""
        branches = self.statement.branches
        if self.write or len(branches) != 1 or len(branches[0]) != _CLAUSES:
            return None
        match, result = branches[0]
        if not isinstance(match, Match) or not isinstance(result, Projection):
            return None
        return match, result

    def _take_all(self) -> None:
        """Touch all columns and all rows of what is touched."""
        self.nodes = dict.fromkeys(self.nodes)
        self.pairs = dict.fromkeys(self.pairs)
        self.filters = dict.fromkeys(self.filters)

    def gather(self) -> tuple[Scan, ...]:
        """Return scans of all that the statement may touch."""
        nodes = (
            Scan(name, columns=self.node_columns(name), where=self._where(name))
            for name in self.tables.all_nodes
            if name in self.nodes
        )
        rels = (
            Scan(pair[0], pair[1:], columns=self.pair_columns(pair))
            for pair in self.tables.all_pairs
            if pair in self.pairs
        )
        return (*nodes, *rels)

    def node_columns(self, name: str) -> tuple[str, ...] | None:
        """Return what is touched of a node table: sorted names, or None for all."""
        columns = self.nodes[name]
        return None if columns is None else tuple(sorted(columns))

    def pair_columns(self, pair: Pair) -> tuple[str, ...] | None:
        """Return what is touched of a pair: sorted names, or None for all.

        It is one at least, where there is one, for the engine can't copy rows of
        which it is given no column.
        """
        columns = self.pairs[pair]
        if columns is None:
            return None
        return tuple(sorted(columns)) or self.tables.columns(pair[0])[:1]

    def _where(self, name: str) -> str:
        """Return what all nodes that are touched of a table have in common."""
        listed = self.filters.get(name)
        if not listed or len(listed) > FILTERS_MAX:
            return ""
        return " OR ".join(f"({each})" for each in dict.fromkeys(listed))

    def _clause(self, clause: Clause, scope: Scope) -> Scope:
        """Walk one clause; return the variables after it."""
        match clause:
            case Match():
                self._match(clause, scope, nested=False)
            case Unwind():
                self.refer(clause.expression, scope)
                scope.pop(clause.variable, None)
            case Projection():
                return self._project(clause, scope)
            case Create():
                made = self._patterns(clause.paths, scope)
                self._refer_made(made, scope)
                self._note_written(made)
            case Merge():
                made = self._patterns(clause.paths, scope)
                self._note_written(made)
                self._connect(made, (), rebind=False)
                self._refer_made(made, scope)
                self._assign(clause.actions, scope)
            case SetClause():
                self._assign(clause.items, scope)
            case Delete():
                self._delete(clause, scope)
        return scope

    def _match(self, clause: Match, scope: Scope, *, nested: bool) -> None:
        """Walk a MATCH, or the inside of a subquery."""
        made = self._patterns(clause.paths, scope)
        compared = self._compared(clause.where)
        plain = not nested and not clause.optional
        self._connect(made, compared, rebind=plain)
        self._refer_made(made, scope)
        if clause.where is not None:
            self.refer(clause.where, scope)
        for node, entity in made.nodes:
            if id(entity) in made.fresh:
                self._filter(node, entity, compared if plain else None)

    def _compared(self, where: Span | None) -> list[Comparison]:
        """Return the comparisons that must hold for a condition to hold."""
        if where is None:
            return []
        spans = conjuncts(self.statement, where)
        found = (comparison(self.statement, span) for span in spans)
        return [each for each in found if each is not None]

    def _filter(
        self, node: NodePattern, entity: Entity, compared: Iterable[Comparison] | None
    ) -> None:
        """Note which nodes a new variable may stand for; None: any."""
        mine: list[Comparison] = []
        if compared is not None:
            mine = [one for one in compared if node.variable == one.variable != ""]
            mine += [
                Comparison(node.variable, name, "=", None, f"`{name}` = {text}")
                for name, span in node.properties
                if source(self.statement, span) is not None
                for text in [written(self.tokens, span)]
            ]
        for table in entity.nodes:
            usable = [
                f"n.{one.text}" for one in mine if self.tables.column(table, one.name)
            ]
            listed = self.filters.setdefault(table, [])
            if not usable or listed is None:
                self.filters[table] = None
            else:
                listed.append(" AND ".join(usable))

    def _patterns(self, paths: Iterable[Path], scope: Scope) -> Made:
        """Bind the variables of patterns, and touch their tables."""
        made = Made([], [], set())
        for path in paths:
            first = len(made.nodes), len(made.edges)
            for node in path.nodes:
                known = scope.get(node.variable) if node.variable else None
                entity = self._node(node, scope)
                made.nodes.append((node, entity))
                if entity is not known:
                    made.fresh.add(id(entity))
            at = [entity for _, entity in made.nodes[first[0] :]]
            for place, rel in enumerate(path.rels):
                made.edges.append(self._rel(rel, at[place], at[place + 1], scope))
            if path.variable:
                rels = [made_rel for _, _, _, made_rel in made.edges[first[1] :]]
                scope[path.variable] = Entity(parts=(*at, *rels))
        narrow(made)
        for _, entity in made.nodes:
            self._touch_nodes(entity.nodes)
        for rel, _left, _right, entity in made.edges:
            self._touch_pairs(rel, entity)
        return made

    def _refer_made(self, made: Made, scope: Scope) -> None:
        """Walk what stands in the braces of patterns, once they are connected."""
        for node, entity in made.nodes:
            self._refer_properties(node, entity, scope)
        for rel, _left, _right, entity in made.edges:
            self._refer_properties(rel, entity, scope)

    def _node(self, node: NodePattern, scope: Scope) -> Entity:
        """Return what a node pattern stands for."""
        labels = self.tables.node_names(node.labels)
        self._name(labels)
        known = scope.get(node.variable) if node.variable else None
        if known is not None and known.nodes:
            self._touch_nodes(labels)
            return known
        if not labels:
            self.named = None
        entity = Entity(nodes=labels or self.tables.all_nodes)
        if node.variable:
            scope[node.variable] = entity
        return entity

    def _rel(
        self, rel: RelPattern, left: Entity, right: Entity, scope: Scope
    ) -> MadeEdge:
        """Return what a relationship pattern stands for."""
        known = scope.get(rel.variable) if rel.variable else None
        if known is not None:
            self.reach.refuse("a relationship's variable is matched twice")
        entity = Entity(
            pairs=self.tables.pairs(rel.types), recursive=rel.length is not None
        )
        if rel.variable:
            scope[rel.variable] = entity
        plain = rel.length is None or (rel.length.plain and len(entity.pairs) == 1)
        if rel.types and plain:
            self._name(pair[0] for pair in entity.pairs)
        else:
            self.named = None
        return (rel, left, right, entity)

    def _name(self, names: Iterable[str]) -> None:
        """Note that a pattern names tables."""
        if self.named is not None:
            self.named.update(names)

    def _touch_nodes(self, names: Iterable[str]) -> None:
        """Touch node tables."""
        for name in names:
            self.nodes.setdefault(name, set())

    def _touch_pairs(self, rel: RelPattern, entity: Entity) -> None:
        """Touch pairs, and the tables at their ends."""
        for pair in entity.pairs:
            self.pairs.setdefault(pair, set())
            self._touch_nodes(pair[1:])
            if rel.length is not None:
                self.filters.update(dict.fromkeys(pair[1:]))
        if rel.length is not None and not rel.length.plain:
            self._use(entity, None)

    def _refer_properties(
        self, pattern: NodePattern | RelPattern, entity: Entity, scope: Scope
    ) -> None:
        """Walk what stands in a pattern's braces."""
        for name, span in pattern.properties:
            self._use(entity, name)
            self.refer(span, scope)

    def _connect(
        self, made: Made, compared: Iterable[Comparison], *, rebind: bool
    ) -> None:
        """Hand a pattern to `frontier`, and say which nodes are given by key.

        A node that was bound before is given by key in what follows only if the
        clause keeps no row where it is not: if ``rebind``.
        """
        for node, entity in made.nodes:
            if id(entity) not in made.fresh and not rebind:
                continue
            for name, span in node.properties:
                value = source(self.statement, span)
                if value is not None:
                    self.reach.anchor(entity, name, value, many=False)
            for one in compared:
                same = one.variable == node.variable != "" and one.value is not None
                if same and one.operator in ("=", "IN") and one.value is not None:
                    many = one.operator == "IN"
                    self.reach.anchor(entity, one.name, one.value, many=many)
        edges = [
            Edge(left, right, rel.direction, rel.length, entity.pairs)
            for rel, left, right, entity in made.edges
        ]
        self.reach.add([entity for _, entity in made.nodes], edges, made.fresh)

    def _project(self, clause: Projection, scope: Scope) -> Scope:
        """Walk a WITH or a RETURN; return the variables after it."""
        after: Scope = dict(scope) if clause.star else {}
        if clause.final and clause.star:
            for each in scope.values():
                self._use(each, None)
        for item in clause.items:
            entity = None if clause.final else self._alone(item.expression, scope)
            name = self._named(item.expression, item.alias)
            after.pop(name, None)
            if entity is None:
                self.refer(item.expression, scope)
            else:
                after[name] = entity
        self._refer_rest(clause, scope, after)
        return after

    def _refer_rest(self, clause: Projection, scope: Scope, after: Scope) -> None:
        """Walk what follows the items of a projection."""
        for span, _ in clause.order:
            self.refer(span, {**scope, **after})
            self.refer(span, scope)
        for extra in (clause.skip, clause.limit):
            if extra is not None:
                self.refer(extra, scope)
        if clause.where is not None:
            self.refer(clause.where, after)

    def _alone(self, span: Span, scope: Scope) -> Entity | None:
        """Return the entity whose variable is all of an expression."""
        token = self.tokens[span.start]
        if span.stop - span.start == 1 and token.is_name:
            return scope.get(token.name.lower())
        return None

    def _named(self, span: Span, alias: str | None) -> str:
        """Return the folded name of an item; empty if it has none."""
        if alias is not None:
            return alias.lower()
        token = self.tokens[span.start]
        single = span.stop - span.start == 1 and token.is_name
        return token.name.lower() if single else ""

    def _note_written(self, made: Made) -> None:
        """Note tables of which a clause makes nodes."""
        for _, entity in made.nodes:
            if id(entity) in made.fresh:
                self.written.update(entity.nodes)

    def _assign(self, items: Iterable[SetItem], scope: Scope) -> None:
        """Walk what SET assigns."""
        for item in items:
            target = self._alone(item.target, scope)
            self.written.update(
                self.tables.all_nodes if target is None else target.nodes
            )
            self.refer(item.target, scope)
            self.refer(item.value, scope)

    def _delete(self, clause: Delete, scope: Scope) -> None:
        """Walk a DELETE: of nodes, everything that may hang on them is touched."""
        for span in clause.items:
            entity = self._alone(span, scope)
            self.written.update(
                self.tables.all_nodes if entity is None else entity.nodes
            )
            self.refer(span, scope)
            if entity is None or not entity.pairs or entity.nodes:
                self._touch_nodes(self.tables.all_nodes)
                for pair in self.tables.pairs(()):
                    self.pairs.setdefault(pair, None)
                self.reach.refuse("nodes are deleted")

    def refer(self, span: Span, scope: Scope) -> None:
        """Walk an expression: touch what its variables mention.

        Args:
            span: the expression.
            scope: the variables that it may mention.
        """
        place = span.start
        while place < span.stop:
            place = self._refer_at(place, scope)

    def _refer_at(self, place: int, scope: Scope) -> int:
        """Walk what begins at one token; return the place after it."""
        token, after = self.tokens[place], self.tokens[place + 1]
        if after.word == "{" and token.word in ("EXISTS", "COUNT"):
            match, end = self.parser.subquery_at(place + 1)
            self._match(match, dict(scope), nested=True)
            return end
        if token.word == "(":
            found = self.parser.pattern_at(place)
            if found is not None:
                pattern = Match(optional=True, paths=(found[0],))
                self._match(pattern, dict(scope), nested=True)
                return found[1]
        if not token.is_name or self.tokens[place - 1].word == ".":
            return place + 1
        if after.word == "(" and token.word in _UNREAD | {"LENGTH"}:
            return self._refer_unread(place, scope)
        entity = scope.get(token.name.lower())
        if entity is None:
            return place + 1
        name = self.tokens[place + 2] if after.word == "." else None
        self._use(entity, name.name if name is not None and name.is_name else None)
        return place + 1

    def _refer_unread(self, place: int, scope: Scope) -> int:
        """Pass ``COUNT(v)`` and the like, which read no property of ``v``."""
        inner = place + 2
        if self.tokens[inner].word == "DISTINCT":
            inner += 1
        entity = scope.get(self.tokens[inner].name.lower())
        if entity is None or self.tokens[inner + 1].word != ")":
            return place + 1
        plain = not entity.recursive and not entity.parts
        if plain or self.tokens[place].word == "LENGTH":
            return inner + 2
        return place + 1

    def _use(self, entity: Entity, name: str | None) -> None:
        """Touch a column of an entity's tables; all of them if it has no name."""
        for part in entity.parts:
            self._use(part, None)
        if entity.recursive:
            ends = {end: None for pair in entity.pairs for end in pair[1:]}
            self._take(self.nodes, ends, None)
            name = None
        self._take(self.nodes, entity.nodes, name)
        self._take(self.pairs, entity.pairs, name)

    def _take(
        self, touched: dict[Name, Columns], names: Iterable[Name], column: str | None
    ) -> None:
        """Touch a column of each table; all if it has no name, or none has it."""
        found = {
            name: self.tables.column(name, column) if column else None for name in names
        }
        unknown = not any(found.values())
        for name, spelled in found.items():
            kept = touched.setdefault(name, set())
            if unknown:
                touched[name] = None
            elif spelled and kept is not None:
                kept.add(spelled)

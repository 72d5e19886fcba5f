"""What every shard can answer by itself, and how the answers merge: strategy S2.

*Shape.* One MATCH of one path, one RETURN. The path is one node with labels, or two
with one relationship of fixed length and named types, drawn with a direction. The node
where relationships begin is *owned*: relationships are stored with it. Variables are
mentioned as ``v.name`` only (or ``count(v)``), the far node's as its primary key only.
Functions are from a short list; they can neither run away nor lead elsewhere.

*Argument.* Each node is on one shard, ghosts left out by ``tv_ghost = false``; each
relationship is on the shard of the node where it begins, with a row (perhaps a ghost)
that has the key of the far node; so each match is found on exactly one shard, unless
the far node is gone, which graves tell (`Scatter.hop`). So the rows before grouping are
the disjoint union of the shards' rows. Sums, counts, least and greatest values, lists
and sets of disjoint parts merge to those of the whole, group by group; an average is
its sum by its count. The first n rows in some order are among the shards' first n;
likewise of distinct rows. A shard's LIMIT is SKIP plus LIMIT.

An ORDER BY of grouped or distinct rows must name one of their columns.
"""

from collections.abc import Iterable

from msgspec import Struct

from torua.core.cypher.allowed import AGGREGATES, BEFORE_BRACKET
from torua.core.cypher.expressions import conjuncts, source, written
from torua.core.cypher.footprint import Footprint
from torua.core.cypher.plan import (
    Literal,
    Merge,
    MergedColumn,
    Merging,
    Parameter,
    Scatter,
)
from torua.core.cypher.syntax import (
    Direction,
    Item,
    Match,
    NodePattern,
    Projection,
    RelPattern,
    Span,
)
from torua.core.cypher.tokens import Token, TokenKind, words
from torua.core.graph.fragments import Text
from torua.core.graph.schema import KEY_VALUE

TOKENS_MAX = 500
"""What is longer is not run on storage workers."""

SAFE = words(
    "ABS CEIL FLOOR ROUND SIGN LOWER UPPER TOLOWER TOUPPER LCASE UCASE TRIM LTRIM RTRIM"
    " SIZE LEFT RIGHT SUBSTRING SUBSTR STARTS_WITH ENDS_WITH CONTAINS PREFIX SUFFIX"
    " COALESCE IFNULL NULLIF GREATEST LEAST CONCAT REVERSE"
)
"""Functions that take time and room in proportion to their arguments."""

_HOW = {
    "COUNT": Merging.COUNT,
    "SUM": Merging.SUM,
    "MIN": Merging.MIN,
    "MAX": Merging.MAX,
    "AVG": Merging.AVG,
    "COLLECT": Merging.COLLECT,
}
_DISTINCT = {
    "COUNT": Merging.COUNT_DISTINCT,
    "MIN": Merging.MIN,
    "MAX": Merging.MAX,
    "COLLECT": Merging.COLLECT_DISTINCT,
}
_FOREIGN = frozenset("{|!&") | {"<<", ">>", "=~"}


class _Unfit(Exception):  # noqa: N818
    """The statement is not of the shape; the argument says why."""


class _Shape(Struct, frozen=True):
    """A statement of the shape.

    Attributes:
        match: its MATCH.
        result: its RETURN.
        owned: the variable of the node that must be no ghost.
        far: the variable of the far node; empty if it has none.
        key: the far node's only property; folded.
        pattern: the path as Cypher, with ``owned`` in it.
    """

    match: Match
    result: Projection
    owned: str
    far: str
    key: str
    pattern: str


def scatter(footprint: Footprint) -> Scatter | str:
    """Split a statement into what each shard answers, and how that merges.

    Args:
        footprint: of the statement.

    Returns:
        A reason where it is not of the shape.
    """
    try:
        shape = _shape(footprint)
        return _Splitter(footprint, shape).scatter()
    except _Unfit as unfit:
        return str(unfit)


def alone(footprint: Footprint) -> Text | None:
    """Return what one shard answers for all, where only its nodes are read.

    Args:
        footprint: of a statement that reads nothing but nodes given by key.

    Returns:
        None where the statement has another shape than one node and a RETURN.
    """
    try:
        shape = _shape(footprint)
        _check_result(footprint, shape)
    except _Unfit:
        return None
    if shape.match.paths[0].rels:
        return None
    tokens = footprint.tokens
    start = shape.result.items[0].expression.start - 1
    if shape.result.distinct:
        start -= 1
    stop = len(tokens) - (2 if tokens[-2].word == ";" else 1)
    rest = written(tokens, Span(start, stop))
    return Text(f"{_matching(footprint, shape)} {rest}")


def _shape(footprint: Footprint) -> _Shape:
    """Check the shape of a statement."""
    branches = footprint.statement.branches
    _check_tokens(footprint.tokens)
    _check_values(footprint)
    if len(branches) != 1 or len(branches[0]) != 2:
        raise _Unfit("it is more than one MATCH and a RETURN")
    match, result = branches[0]
    if not isinstance(match, Match) or not isinstance(result, Projection):
        raise _Unfit("it is more than one MATCH and a RETURN")
    if match.optional or match.hint or len(match.paths) != 1 or result.star:
        raise _Unfit("it is more than a MATCH of one path")
    path = match.paths[0]
    if path.variable or len(path.rels) > 1:
        raise _Unfit("it follows more than one relationship")
    if not all(node.labels for node in path.nodes):
        raise _Unfit("a node has no label")
    if not path.rels:
        return _one_node(footprint, match, result, path.nodes[0])
    return _one_hop(footprint, match, result)


def _check_tokens(tokens: list[Token]) -> None:
    """Refuse what can't be written down again, or is too long to be run there."""
    if len(tokens) > TOKENS_MAX:
        raise _Unfit("the statement is long")
    if any("`" in token.name for token in tokens):
        raise _Unfit("a name has a backtick in it")


def _check_values(footprint: Footprint) -> None:
    """Leave values of keys to those who know which of them are not shown."""
    columns = footprint.nodes.get(KEY_VALUE, set())
    if columns is None or "value" in columns:
        raise _Unfit(f"values of {KEY_VALUE} may be too large to be shown")


def _one_node(
    footprint: Footprint, match: Match, result: Projection, node: NodePattern
) -> _Shape:
    """Check the shape of a scan."""
    owned = node.variable or "tv_n"
    pattern = _node(footprint, node, owned)
    shape = _Shape(match, result, owned, "", "", pattern)
    _check_where(footprint, shape)
    return shape


def _one_hop(footprint: Footprint, match: Match, result: Projection) -> _Shape:
    """Check the shape of a hop along the stored direction."""
    left, right = match.paths[0].nodes
    rel = match.paths[0].rels[0]
    if rel.length is not None or rel.direction is Direction.BOTH or not rel.types:
        raise _Unfit("the relationship has no direction, no type, or a variable length")
    near, far = (left, right) if rel.direction is Direction.OUT else (right, left)
    if far.variable and far.variable in (near.variable, rel.variable):
        raise _Unfit("a variable stands for two things")
    owned = near.variable or "tv_n"
    tables = footprint.tables
    keys = {tables.key(name).lower() for name in tables.node_names(far.labels)}
    if len(keys) != 1:
        raise _Unfit("the far node's tables have different keys")
    key = keys.pop()
    if any(name.lower() != key for name, _ in far.properties):
        raise _Unfit("more than the key of the far node is needed")
    arrow = _rel(footprint, rel)
    pattern = f"{_node(footprint, near, owned)}-{arrow}->" + (
        _node(footprint, far, far.variable)
    )
    shape = _Shape(match, result, owned, far.variable, key, pattern)
    _check_where(footprint, shape)
    return shape


def _node(footprint: Footprint, node: NodePattern, variable: str) -> str:
    """Write a node pattern down."""
    labels = ":".join(("", "|".join(f"`{label}`" for label in node.labels)))
    name = f"`{_spelled(footprint, variable)}`" if variable else ""
    return f"({name}{labels}{_properties(footprint, node)})"


def _spelled(footprint: Footprint, variable: str) -> str:
    """Return a variable as it is written first, for columns are named after it."""
    for token in footprint.tokens:
        if token.is_name and token.name.lower() == variable:
            return token.name
    return variable


def _rel(footprint: Footprint, rel: RelPattern) -> str:
    """Write a relationship pattern down, without its direction."""
    types = "|".join(f"`{name}`" for name in rel.types)
    name = f"`{_spelled(footprint, rel.variable)}`" if rel.variable else ""
    return f"[{name}:{types}{_properties(footprint, rel)}]"


def _properties(footprint: Footprint, pattern: NodePattern | RelPattern) -> str:
    """Write the braces of a pattern down; only constants may stand there."""
    parts = []
    for name, span in pattern.properties:
        if source(footprint.statement, span) is None:
            raise _Unfit("a pattern's property is computed")
        parts.append(f"`{name}`: {written(footprint.tokens, span)}")
    return f" {{{', '.join(parts)}}}" if parts else ""


def _matching(footprint: Footprint, shape: _Shape) -> str:
    """Write the MATCH down, ghosts left out."""
    where = f"`{shape.owned}`.tv_ghost = false"
    if shape.match.where is not None:
        where += f" AND ({written(footprint.tokens, shape.match.where)})"
    return f"MATCH {shape.pattern} WHERE {where}"


def _check_where(footprint: Footprint, shape: _Shape) -> None:
    """Check the condition of a MATCH."""
    if shape.match.where is not None:
        for span in conjuncts(footprint.statement, shape.match.where):
            _check(footprint, shape, span, SAFE)


def _check_result(footprint: Footprint, shape: _Shape) -> None:
    """Check all expressions of a RETURN that one shard answers alone."""
    result = shape.result
    spans = [item.expression for item in result.items]
    spans += [span for span, _ in result.order]
    spans += [span for span in (result.skip, result.limit) if span is not None]
    aliases = {item.alias.lower() for item in result.items if item.alias}
    for span in spans:
        _check(footprint, shape, span, SAFE | AGGREGATES, aliases)


def _check(
    footprint: Footprint,
    shape: _Shape,
    span: Span,
    functions: frozenset[str],
    free: Iterable[str] = (),
) -> None:
    """Refuse an expression that a shard can't, or must not, compute."""
    tokens = footprint.tokens
    for place in range(span.start, span.stop):
        token = tokens[place]
        if token.word in _FOREIGN:
            raise _Unfit(f"{token.word} stands in an expression")
        if not token.is_name or tokens[place - 1].word == ".":
            continue
        if tokens[place + 1].word == "(":
            known = functions | BEFORE_BRACKET
            if token.word not in known - {"EXISTS"}:
                raise _Unfit(f"{token.name} is not a function for shards")
        elif token.name.lower() not in free or tokens[place + 1].word == ".":
            _check_mention(footprint, shape, place)


def _check_mention(footprint: Footprint, shape: _Shape, place: int) -> None:
    """Refuse a mention of a variable that is not of one property, or of count(v)."""
    token, dot = footprint.tokens[place], footprint.tokens[place + 1]
    path = shape.match.paths[0]
    variables = {node.variable for node in path.nodes}
    variables |= {rel.variable for rel in path.rels}
    variable = token.name.lower()
    if variable not in variables:
        if dot.word == "." or token.kind is TokenKind.QUOTED:
            raise _Unfit(f"{token.name} is nothing that is known")
        return
    if _is_counted(footprint.tokens, place):
        return
    name = footprint.tokens[place + 2] if dot.word == "." else dot
    if dot.word != "." or not name.is_name:
        raise _Unfit(f"all of {token.name} is wanted")
    if variable == shape.far and name.name.lower() != shape.key:
        raise _Unfit(f"more than the key of {token.name} is wanted")


def _is_counted(tokens: list[Token], place: int) -> bool:
    """Tell whether ``count(v)`` stands around a variable."""
    around = [tokens[place - 2].word, tokens[place - 1].word, tokens[place + 1].word]
    return around == ["COUNT", "(", ")"]


class _Splitter:
    """Writes the fragment, item by item.

    Invariants: ``partials`` are the fragment's items; each column's ``at`` is the place
    of one of them.
    """

    def __init__(self, footprint: Footprint, shape: _Shape) -> None:
        """Begin without any item."""
        self.footprint = footprint
        self.tokens = footprint.tokens
        self.shape = shape
        self.result = shape.result
        self.partials: list[str] = []
        self.columns: list[MergedColumn] = []
        self.aliases = [(item.alias or "").lower() for item in self.result.items]
        named = [alias for alias in self.aliases if alias]
        if len(set(named)) < len(named):
            raise _Unfit("two columns have one name")

    def scatter(self) -> Scatter:
        """Write all of it.

        Items come first, for what is sorted by may be one of them.
        """
        for item in self.result.items:
            self._item(item)
        grouped = any(column.how is not Merging.KEY for column in self.columns)
        if grouped and self.result.distinct:
            raise _Unfit("distinct groups")
        closed = grouped or self.result.distinct
        order = tuple(
            (self._sorted(span, closed=closed), down)
            for span, down in self.result.order
        )
        skip, limit = self._number(self.result.skip), self._number(self.result.limit)
        merge = Merge(
            tuple(self.columns),
            grouped,
            self.result.distinct,
            order,
            0 if skip is None else skip,
            limit,
        )
        text = f"{_matching(self.footprint, self.shape)} RETURN "
        if self.result.distinct:
            text += "DISTINCT "
        text += ", ".join(self.partials)
        if not grouped:
            text += self._first(merge, order)
        names = (t.name for t in self.tokens if t.kind is TokenKind.PARAMETER)
        used = tuple(name for name in dict.fromkeys(names) if f"${name}" in text)
        hop = bool(self.shape.match.paths[0].rels)
        return Scatter(Text(text), merge, used, hop)

    def _item(self, item: Item) -> None:
        """Write what one column needs."""
        span = item.expression
        call = self._call(span)
        at, name = len(self.partials), item.alias or ""
        if call is None:
            _check(self.footprint, self.shape, span, SAFE)
            self.columns.append(MergedColumn(name, Merging.KEY, at))
            self._partial(written(self.tokens, span), item.alias)
            return
        function, distinct, inner = call
        known = _DISTINCT if distinct else _HOW
        if function not in known:
            raise _Unfit(f"{function} of parts is not {function} of the whole")
        how = known[function]
        self.columns.append(MergedColumn(name, how, at))
        argument = written(self.tokens, inner)
        if argument != "*":
            _check(self.footprint, self.shape, inner, SAFE)
        if how is Merging.AVG:
            self._partial(f"sum({argument})", None)
            self._partial(f"count({argument})", None)
        elif how in (Merging.COUNT_DISTINCT, Merging.COLLECT_DISTINCT):
            self._partial(f"collect(DISTINCT {argument})", None)
        else:
            self._partial(f"{function.lower()}({argument})", None)

    def _partial(self, text: str, alias: str | None) -> None:
        """Add an item to the fragment; an alias keeps what it is sorted by apart."""
        named = f" AS `{alias.replace('`', '``')}`" if alias else ""
        self.partials.append(text + named)

    def _call(self, span: Span) -> tuple[str, bool, Span] | None:
        """Read ``function(DISTINCT argument)`` of an aggregate; None if it is none."""
        tokens, closing = self.tokens, self.footprint.statement.closing
        found = [
            place
            for place in range(span.start, span.stop)
            if tokens[place].word in AGGREGATES and tokens[place + 1].word == "("
        ]
        if not found:
            return None
        first = tokens[span.start].word
        whole = found == [span.start] and closing[span.start + 1] == span.stop - 1
        if not whole:
            raise _Unfit("an aggregate stands within an expression")
        distinct = tokens[span.start + 2].word == "DISTINCT"
        inner = Span(span.start + (3 if distinct else 2), span.stop - 1)
        if inner.start >= inner.stop:
            raise _Unfit("an aggregate has no argument")
        return first, distinct, inner

    def _sorted(self, span: Span, *, closed: bool) -> int:
        """Find the column to sort by; add a hidden one if that changes nothing else."""
        text = written(self.tokens, span)
        single = span.stop - span.start == 1
        for place, item in enumerate(self.result.items):
            if single and self.aliases[place] == text.strip("`").lower() != "":
                return place
            if written(self.tokens, item.expression) == text:
                return place
        if closed:
            raise _Unfit("it is sorted by what is not returned")
        mentioned = {
            token.name.lower() for token in self.tokens[span.start : span.stop]
        }
        if mentioned & set(self.aliases) - {""}:
            raise _Unfit("it is sorted by an expression of a column")
        _check(self.footprint, self.shape, span, SAFE)
        self.columns.append(
            MergedColumn("", Merging.KEY, len(self.partials), hidden=True)
        )
        self._partial(text, f"tv_sort_{len(self.partials)}")
        return len(self.columns) - 1

    def _number(self, span: Span | None) -> int | Parameter | None:
        """Read a SKIP or a LIMIT."""
        if span is None:
            return None
        value = source(self.footprint.statement, span)
        if isinstance(value, Parameter) and not value.path:
            return value
        if isinstance(value, Literal) and type(value.value) is int and value.value >= 0:
            return value.value
        raise _Unfit("LIMIT or SKIP is computed")

    def _first(self, merge: Merge, order: tuple[tuple[int, bool], ...]) -> str:
        """Write ORDER BY and LIMIT of each shard; nothing where it can't be said."""
        if not isinstance(merge.skip, int) or merge.limit is None:
            return ""
        if not isinstance(merge.limit, int) and merge.skip:
            return ""
        count = (
            f"${merge.limit.name}"
            if isinstance(merge.limit, Parameter)
            else str(merge.limit + merge.skip)
        )
        parts = []
        for (span, down), (place, _) in zip(self.result.order, order, strict=True):
            hidden = self.columns[place].hidden
            text = (
                f"tv_sort_{self.columns[place].at}"
                if hidden
                else (written(self.tokens, span))
            )
            parts.append(f"{text} DESC" if down else text)
        ordering = f" ORDER BY {', '.join(parts)}" if parts else ""
        return f"{ordering} LIMIT {count}"

"""Which far nodes a path reaches, where nobody asks how often or by which way.

*Shape.* One MATCH of one path: two nodes with labels, and between them one relationship
pattern ``*1..n`` that has neither variable nor properties, all of one table that leads
from one node table to the same; one of the nodes is given by one key.  Then one RETURN,
in which a row that comes twice makes no difference: it is DISTINCT, or it aggregates,
and each aggregate is a MIN, a MAX, or of DISTINCT values.  Functions are those of
`scatter`: what they give depends on nothing but their arguments.  The condition of the
MATCH does nothing but compare, so that it can't fail on a pair that is struck out.

*Claim.* Let the key be of node p, and F the nodes that walks of 1 to n steps from p end
in.  On a graph of no nodes but p and F the statement gives what it gives on the whole
one, if its path is replaced by its two nodes, side by side, and these are asked to
differ where p is not in F.

*Argument.* The engine's paths are walks: a relationship may be in one twice.  So which
nodes lie within the path is nobody's concern, and (p, f) is matched at least once if
and only if f is in F.  The pattern that is left matches p with p and F, each once; p is
struck out where it is not in F.  So the rows before the condition are the same but for
how often each is there, and so they are behind it; what RETURN makes of them does not
depend on that.  F is found by rounds: a node that was found in some round needs no
second expansion, for what is within reach of a later visit is so of the first.
"""

from collections.abc import Iterable, Sequence

from torua.core.cypher.allowed import AGGREGATES, BEFORE_BRACKET
from torua.core.cypher.footprint import Footprint
from torua.core.cypher.plan import Reached
from torua.core.cypher.scatter import SAFE
from torua.core.cypher.syntax import Match, NodePattern, Projection, RelPattern, Span
from torua.core.cypher.tokens import Token, TokenKind, tokenize

_FUNCTIONS = SAFE | AGGREGATES | BEFORE_BRACKET | {"ID"}
_COMPUTING = frozenset("+-*/%^[")
_FIRST = 1
"""Where the path begins, after MATCH."""


def reached(footprint: Footprint, statement: str) -> Reached | None:
    """Tell what to run on the nodes that are reached; None for other shapes.

    Args:
        footprint: of the statement, which has nodes given by key.
        statement: its text without comments.
    """
    shape = footprint.match_and_return()
    if shape is None:
        return None
    match, result = shape
    table = _table(footprint, match)
    if table is None or not _is_set(footprint.tokens, match, result):
        return None
    return _parted(statement, match, table)


def _table(footprint: Footprint, match: Match) -> str | None:
    """Return the table of all nodes of a path, if it is of the shape."""
    path, reach = match.paths[0], footprint.reach
    only = (len(match.paths), len(path.rels), reach.clauses) == (1, 1, 1)
    if not only or match.optional or match.hint or path.variable:
        return None
    left, right = path.nodes
    pairs = footprint.tables.pairs(path.rels[0].types)
    if not _is_plain(path.rels[0]) or len(pairs) != 1 or pairs[0][1] != pairs[0][2]:
        return None
    table = pairs[0][1]
    names = [footprint.tables.node_names(node.labels) for node in (left, right)]
    if names != [(table,), (table,)] or left.variable == right.variable:
        return None
    anchors = reach.anchors()
    single = len(anchors) == 1 and len(anchors[0].keys) == 1 and not anchors[0].many
    return table if single else None


def _is_plain(rel: RelPattern) -> bool:
    """Tell whether a relationship pattern is of one step or more, and no more said."""
    length = rel.length
    if rel.variable or rel.properties or length is None:
        return False
    return length.plain and length.lower == 1


def _is_set(tokens: Sequence[Token], match: Match, result: Projection) -> bool:
    """Tell whether how often a row is matched makes no difference to the answer."""
    shown = [item.expression for item in result.items]
    shown += [span for span, _ in result.order]
    shown += [span for span in (result.skip, result.limit) if span is not None]
    called = list(_called(tokens, shown))
    if result.star or any(tokens[at].word not in _FUNCTIONS for at in called):
        return False
    if match.where is not None and not _compares(tokens, match.where):
        return False
    summed = [at for at in called if tokens[at].word in AGGREGATES]
    return bool(summed or result.distinct) and all(
        tokens[at].word in ("MIN", "MAX")
        or (tokens[at].word in ("COUNT", "COLLECT") and _is_distinct(tokens, at))
        for at in summed
    )


def _compares(tokens: Sequence[Token], where: Span) -> bool:
    """Tell whether a condition calls and computes nothing."""
    called = (tokens[at].word for at in _called(tokens, [where]))
    inside = (token.word for token in tokens[where.start : where.stop])
    return BEFORE_BRACKET.issuperset(called) and _COMPUTING.isdisjoint(inside)


def _is_distinct(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether an aggregate is of DISTINCT values."""
    return tokens[at + 2].word == "DISTINCT"


def _called(tokens: Sequence[Token], spans: Iterable[Span]) -> Iterable[int]:
    """Go through the names that brackets follow."""
    for span in spans:
        for at in range(span.start, span.stop):
            if tokens[at].is_name and tokens[at + 1].word == "(":
                yield at


def _parted(text: str, match: Match, table: str) -> Reached | None:
    """Take the relationship out of a statement's path."""
    tokens = tokenize(text)
    left, right = match.paths[0].nodes
    after = _closed(tokens, _FIRST)
    second = next(at for at in range(after, len(tokens)) if tokens[at].word == "(")
    if not _is_walk(tokens[after:second]):
        return None
    end = tokens[_closed(tokens, second) - 1].end
    near, one = _node(text, tokens[_FIRST : _FIRST + 2], tokens[after - 1].end, left)
    far, other = _node(text, tokens[second : second + 2], end, right)
    head = f"{text[: tokens[_FIRST].start]}{near}, {far}"
    where, rest = "", text[end:]
    if match.where is not None:
        last = tokens[match.where.stop - 1].end
        where, rest = text[tokens[match.where.start].start : last], text[last:]
    apart = f"id({one}) <> id({other})"
    whole = f"{head} WHERE {where}{rest}" if where else f"{head}{rest}"
    also = f" AND ({where})" if where else ""
    return Reached(table, whole, f"{head} WHERE {apart}{also}{rest}")


def _closed(tokens: Sequence[Token], start: int) -> int:
    """Return the place after a node pattern, which begins with a bracket."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at].word, 0)
        if not depth:
            return at + 1
    raise AssertionError("brackets match")


def _is_walk(tokens: Sequence[Token]) -> bool:
    """Tell whether nothing but bounds stands behind the asterisk of a relationship."""
    words = [token.word for token in tokens]
    bounds = tokens[words.index("*") + 1 : words.index("]")]
    return all(
        token.kind is TokenKind.INTEGER or token.word == ".." for token in bounds
    )


def _node(
    text: str, tokens: Sequence[Token], end: int, node: NodePattern
) -> tuple[str, str]:
    """Write a node pattern down, given a variable if it has none; and that one.

    Args:
        text: the statement.
        tokens: the pattern's bracket, and what follows it.
        end: where the pattern ends.
        node: what it says.
    """
    bracket, name = tokens
    if node.variable:
        return text[bracket.start : end], name.text
    made = f"tv_{bracket.start}"
    return f"({made}{text[bracket.end : end]}", made

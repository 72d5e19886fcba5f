"""How a statement is run over shards: the planner's answer, as values.

A plan names one strategy, and always the gather that would do instead (`Plan.gather`),
for when the strategy's conditions do not hold at the moment of running (graves on a
shard, a budget that is met, a table that was altered).  Who does what:

- the executor runs `Route`, `Scatter`, `Frontier` and `Scan`: it asks shards;
- a query worker runs `Plan.statement` on what was gathered, or merges by `Merge`;
- the writer runs `FastWrite`.
"""

from enum import StrEnum

from msgspec import Struct

from torua.core.graph.fragments import Scan, Text


class Strategy(StrEnum):
    """How a statement is answered, best first.

    NONE: no table is read: the statement runs in a query worker as it is.
    ROUTE: by the shards of a few keys.
    SCATTER: every shard answers a fragment, the answers are merged.
    FRONTIER: what surrounds a few keys is gathered hop by hop.
    GATHER: whole tables are gathered.
    DDL: it changes the schema; nothing else in the plan is filled.
    """

    NONE = "none"
    ROUTE = "route"
    SCATTER = "scatter"
    FRONTIER = "frontier"
    GATHER = "gather"
    DDL = "ddl"


class Literal(Struct, frozen=True, tag="literal"):
    """A value that stands in the statement: None, bool, int, float, str or a list."""

    value: object


class Parameter(Struct, frozen=True, tag="parameter"):
    """A value that comes with the statement.

    Attributes:
        name: of the parameter.
        path: fields to follow from there, as in ``$row.address.city``.
    """

    name: str
    path: tuple[str, ...] = ()


class Field(Struct, frozen=True, tag="field"):
    """A value of the row that ``UNWIND $rows AS row`` is at; all of it if no path."""

    path: tuple[str, ...] = ()


Source = Literal | Parameter | Field
"""Where a value comes from.  It is checked against its column's type when used."""


class Anchor(Struct, frozen=True):
    """Nodes that a statement names by their keys.

    Attributes:
        table: by name.
        keys: each one key, or a list of keys (`many`); duplicates are one node.  A key
            that is NULL names nothing.
        many: each source gives a list.
    """

    table: str
    keys: tuple[Source, ...]
    many: bool = False


class Route(Struct, frozen=True):
    """The statement touches nothing but the nodes of `anchors`.

    Where all of them hash to one shard and `fragment` is there, that shard's answer to
    it is the answer: rows in order, only columns to be shown.  Else the nodes are
    gathered with Fetch (the columns that `Plan.gather` says of their tables), and the
    statement runs on them.  A table that the statement names and that has no
    anchor's node stays empty.

    In a `single` graph `anchors` is empty, and `home` is set: everything is on
    one shard, so `Plan.gather` is asked of that one.
    """

    anchors: tuple[Anchor, ...]
    fragment: Text | None = None
    home: bool = False


class Merging(StrEnum):
    """How a column of partial answers becomes a column of the answer.

    KEY: rows with equal values of all KEY columns are one group; NULL equals NULL.
    SUM: of the non-NULL values; NULL if there is none.  Likewise MIN, MAX.
    COUNT: the sum of the shards' counts; 0 if there is none.
    AVG: two partial columns, a sum (NULL if none) and a count; their quotient,
        a DOUBLE.
    COLLECT: the lists, one after the other; their order is not defined.
    COUNT_DISTINCT: lists of values; how many distinct non-NULL ones.
    COLLECT_DISTINCT: lists of values; the distinct ones.
    """

    KEY = "key"
    SUM = "sum"
    COUNT = "count"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    COLLECT = "collect"
    COUNT_DISTINCT = "count_distinct"
    COLLECT_DISTINCT = "collect_distinct"


class MergedColumn(Struct, frozen=True):
    """One column of the answer.

    Attributes:
        name: of the column; empty: the partial column's name as the engine spelled it,
            where AVG( stands for a leading SUM(, and COUNT( for COLLECT( in a
            COUNT_DISTINCT: that is the name the whole statement would give it.
        how: from which partial columns it comes, and how.
        at: the number of its partial column (AVG's sum; its count is the next one).
        hidden: only sorted by, not shown; such columns are the last ones.
    """

    name: str
    how: Merging
    at: int
    hidden: bool = False


class Merge(Struct, frozen=True):
    """How the shards' answers become one.

    Steps, in this order: concatenate; if `grouped`, group by the KEY columns and
    aggregate (no KEY column: exactly one row, even if there is none); else if
    `distinct`, equal rows are one; sort by `order` (NULL counts as largest, as the
    engine has it: last when ascending, first when descending); skip; limit; drop hidden
    columns, which are the last ones.

    Attributes:
        columns: of the answer, hidden ones (to sort by) last.
        grouped: there is an aggregate.
        distinct: without an aggregate: equal rows are one.
        order: numbers in `columns`, each with whether it is descending.
        skip: how many rows to leave out.
        limit: how many to keep; None for all.  Both may be parameters.
    """

    columns: tuple[MergedColumn, ...]
    grouped: bool = False
    distinct: bool = False
    order: tuple[tuple[int, bool], ...] = ()
    skip: int | Parameter = 0
    limit: int | Parameter | None = None


class Scatter(Struct, frozen=True):
    """Every shard answers `fragment`; a query worker merges the answers.

    Attributes:
        fragment: for each shard; its parameters are names only (see `parameters`).
        parameters: names of the statement's parameters that the fragment uses.
        merge: how the answers become one.
        hop: it follows relationships, so it is not sound while any shard has graves
            (`Piece.graves`): then use `Plan.gather`.
    """

    fragment: Text
    merge: Merge
    parameters: tuple[str, ...] = ()
    hop: bool = False


class Along(Struct, frozen=True):
    """Relationships that a round of a frontier follows.

    Attributes:
        table: the relationship table, by name.
        pair: names of the node tables it goes from and to.
        outgoing: from nodes of the first table of the pair, along the stored
            direction; else from nodes of the second, against it.
        columns: of the relationships, by name; None for all.
    """

    table: str
    pair: tuple[str, str]
    outgoing: bool
    columns: tuple[str, ...] | None = None


class Reached(Struct, frozen=True):
    """What to run on the far nodes of a path, where only which they are matters.

    Attributes:
        table: of all nodes; the statements name no other.
        statement: the path's two nodes side by side, where it leads back to the anchor.
        apart: likewise, where it does not: they have to differ.
    """

    table: str
    statement: str
    apart: str


class Frontier(Struct, frozen=True):
    """What surrounds a few nodes is gathered, and the statement runs on it.

    The executor keeps, per node table, the keys it has seen; per `Along`, those that it
    has expanded; and the relationships found.

    1. The keys seen are the anchors'.
    2. For each round, for each `Along` of it: Expand from those keys seen *before this
       round*, of the table it starts from, that were not yet expanded along it (where
       it is outgoing: at the shard of each key; else at all shards).  Relationships are
       kept once, by table, pair and ``tv_id``; their far keys count as seen.
    3. Fetch all keys seen, with the columns that `nodes` names for their tables.  The
       worker drops relationships whose far end is missing or was born again.
    4. The statement runs on that; tables of the graph not touched are empty.

    Where `reached` is there, and no shard that was read has graves, and all keys seen
    are nodes, then no relationship need be kept: its statement runs on the nodes.
    Where `shortest` is there, only relationships of shortest ways are kept, and rounds
    end where there is one (see `torua.core.cypher.shortest`).

    Attributes:
        anchors: where it begins.
        rounds: what is followed in each round, in order.
        nodes: node tables with the columns to fetch (None: all).
        reached: of one anchor's node, what needs no relationships.
        shortest: the pair whose shortest ways between two anchors' nodes are all that
            is wanted.
    """

    anchors: tuple[Anchor, ...]
    rounds: tuple[tuple[Along, ...], ...]
    nodes: tuple[tuple[str, tuple[str, ...] | None], ...]
    reached: Reached | None = None
    shortest: tuple[str, str, str] | None = None


class CreateNode(Struct, frozen=True, tag="create_node"):
    """CREATE of one node: it must not exist.

    Attributes:
        table: by name.
        cells: a source for each property given, the key among them.
    """

    table: str
    cells: tuple[tuple[str, Source], ...]


class SetNode(Struct, frozen=True, tag="set_node"):
    """MATCH of one node by its key, then SET; nothing where it does not exist.

    Attributes:
        table: by name.
        key: which node.
        cells: a source for each property set, in order; the last one counts.
    """

    table: str
    key: Source
    cells: tuple[tuple[str, Source], ...]


class DeleteNode(Struct, frozen=True, tag="delete_node"):
    """MATCH of one node by its key, then DELETE; nothing where it does not exist.

    Attributes:
        table: by name.
        key: which node.
        detach: its relationships go with it; else there may be none.
    """

    table: str
    key: Source
    detach: bool = False


class CreateEdge(Struct, frozen=True, tag="create_edge"):
    """MATCH of two nodes by key, then CREATE or MERGE of a relationship between them.

    Nothing where either node does not exist.

    Attributes:
        table: by name.
        source: node table and key where it begins.
        target: node table and key where it ends.
        cells: a source for each property given.
        merge: only where there is no relationship of the table between them yet that
            has these properties.
    """

    table: str
    source: tuple[str, Source]
    target: tuple[str, Source]
    cells: tuple[tuple[str, Source], ...]
    merge: bool = False


FastWrite = CreateNode | SetNode | DeleteNode | CreateEdge


class FastWrites(Struct, frozen=True):
    """A statement that needs no gather to know what it writes.

    Attributes:
        each: what is done, in order, for every row.
        rows: the list of `UNWIND`, whose items are the rows; None: once, without row.
        variable: that the rows are bound to; for messages.
    """

    each: tuple[FastWrite, ...]
    rows: Parameter | None = None
    variable: str = ""


class Plan(Struct, frozen=True):
    """How to run one statement.

    Attributes:
        strategy: which of the fields below to use.
        why: sentences for people, the first says why this strategy; the rest why not
            better ones, or what is gathered.
        statement: to run in a query worker: the user's, without comments.
        write: it changes something.
        parameters: names of all parameters in it.
        ordered: the order of the answer's rows is defined.
        gather: what the statement may touch; always filled but for NONE and DDL.
        named: the tables that its patterns name, if each names some: other tables make
            no difference to it then, whatever the gather is.
        route: of ROUTE.
        scatter: of SCATTER.
        frontier: of FRONTIER.
        writes: a write that needs no gather; to be preferred to everything else.
    """

    strategy: Strategy
    why: tuple[str, ...]
    statement: str
    write: bool = False
    parameters: tuple[str, ...] = ()
    ordered: bool = False
    gather: tuple[Scan, ...] = ()
    named: tuple[str, ...] | None = None
    route: Route | None = None
    scatter: Scatter | None = None
    frontier: Frontier | None = None
    writes: FastWrites | None = None

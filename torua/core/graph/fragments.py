"""What a node asks one shard copy's graph engine for: reads that our planner made.

All fragments of one request are read in one transaction, at one instant of the shard.
Each answers with a table.  `Fetch`, `Scan` and `Expand` name their columns alike:

- nodes: the columns that were asked for, under the schema's names, the primary key
  always among them; then ``tv_ver`` (the row's version) and ``tv_born`` (the version at
  which the node was made);
- relationships: ``tv_from``, ``tv_to`` (the keys of both ends), the columns asked for,
  then ``tv_id``, ``tv_ver``, and ``tv_born`` (the far end's, as it was when the
  relationship was made).

Ghosts (far ends that live elsewhere) are never among nodes.
"""

import re

from msgspec import Struct

from torua.core.graph.schema import KEY_VALUE
from torua.core.graph.types import Cell
from torua.core.ids import AllocId

_KEY_VALUE = re.compile(rf"\b{KEY_VALUE}\b", re.IGNORECASE)


class Text(Struct, frozen=True, tag="text"):
    """Cypher that our planner wrote.

    Attributes:
        text: over the engine's tables, hidden columns included.
        parameters: a value for each ``$name`` in it.
    """

    text: str
    parameters: dict[str, Cell] = {}


class Fetch(Struct, frozen=True, tag="fetch"):
    """Nodes of one table by their keys; those that are absent are left out.

    Attributes:
        table: by name.
        keys: cells of the primary key's type.
        columns: by name; None for all.
    """

    table: str
    keys: tuple[Cell, ...]
    columns: tuple[str, ...] | None = None


class Scan(Struct, frozen=True, tag="scan"):
    """All nodes of a table, or all relationships of one pair of a table.

    Attributes:
        table: by name.
        pair: names of the node tables it goes from and to; None for a node table.
        columns: by name; None for all.
        where: a predicate over the variable ``n`` (a node) or ``r`` (a relationship)
            and parameters; empty for none.
        parameters: a value for each ``$name`` in it.
    """

    table: str
    pair: tuple[str, str] | None = None
    columns: tuple[str, ...] | None = None
    where: str = ""
    parameters: dict[str, Cell] = {}


class Expand(Struct, frozen=True, tag="expand"):
    """The relationships of one pair of a table that some nodes have.

    Attributes:
        table: the relationship table, by name.
        pair: names of the node tables it goes from and to.
        keys: of nodes of the first table of the pair where ``outgoing``, else of the
            second.
        outgoing: along the stored direction, or against it.
        columns: by name; None for all.
        ends: answer with nothing but the far ends' keys, each once.
        both: in both directions, where the pair is of one table; a loop may come twice,
            and far ends are named ``tv_to``.
    """

    table: str
    pair: tuple[str, str]
    keys: tuple[Cell, ...]
    outgoing: bool = True
    columns: tuple[str, ...] | None = None
    ends: bool = False
    both: bool = False


Fragment = Text | Fetch | Scan | Expand


class CopyRead(Struct, frozen=True):
    """What is asked of one copy, all of it in one transaction.

    Attributes:
        alloc: which copy.
        at_least: the record that must be shown.
        fragments: what to read.
        keep: whether the transaction stays open, for another round or until it is
            released.
        session: the transaction to read in; empty for a new one.
    """

    alloc: AllocId
    at_least: int
    fragments: tuple[Fragment, ...]
    keep: bool = False
    session: str = ""


class Piece(Struct, frozen=True):
    """A part of the answer of one shard copy.

    Attributes:
        seq: the record up to which the copy was read; the same for all pieces.
        session: names the open transaction; empty where it is closed.
        graves: whether some deleted node's relationships may still be there.
        results: (number of the fragment, an Arrow IPC stream), in order.
        more: whether the next piece is to be asked for under ``session``.
    """

    seq: int
    session: str
    graves: bool
    results: tuple[tuple[int, bytes], ...]
    more: bool = False


def wants_keys(fragments: tuple[Fragment, ...]) -> bool:
    """Tell whether users' keys are read as nodes."""
    for fragment in fragments:
        match fragment:
            case Text(text=text):
                found = _KEY_VALUE.search(text) is not None
            case Fetch(table=table) | Scan(table=table, pair=None):
                found = table == KEY_VALUE
            case Scan() | Expand():
                found = False
        if found:
            return True
    return False

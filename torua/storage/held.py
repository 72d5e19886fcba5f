"""Small tables of one view that stand in memory too, while nobody changes them.

What surrounds a node is found by many small reads, for each of which the engine takes
half a millisecond, whatever it finds, and its thread has to be woken.  A table of which
so much was read that it could have been read whole meanwhile is read whole once; what
is asked of it then is found by looking through it.

A transaction shows what was there when it began: what stands here is for it only if its
table was not changed since.  A *moment* counts the changes of the view; a transaction
has the one that it began at.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from torua.core.graph.fragments import Expand, Fetch, Fragment, Scan
from torua.core.graph.schema import KEY_VALUE, Graph, node_table
from torua.core.graph.types import Kind
from torua.storage.columns import column
from torua.storage.exchange import column_types, key_type
from torua.storage.graphapply import SIMPLE

ROWS_MAX = 1 << 15
"""To look through so many takes 0.4 ms, as long as the engine takes for a few keys."""

BYTES_MAX = 16 << 20
"""All tables of one view."""

LETTERS_MAX = 1 << 20
"""A table with more text is not held: the engine keeps an answer in its pool."""

DUE_S = 0.002
"""So much time has to be spent on a table before it is thought of."""

ROW_S = 1e-6
"""To read a row takes about so long: the engine is asked for so much before."""

_PLACES_MAX = 256

Place = tuple[str, tuple[str, str] | None, tuple[str, ...] | None]
"""A table, a pair of it if it is one of relationships, and columns."""

_KEYS = SIMPLE - {Kind.BOOL}
_SIZED = SIMPLE | {Kind.UINT64, Kind.FLOAT, Kind.DOUBLE, Kind.DATE, Kind.TIMESTAMP}


class Held:
    """The tables of one view that stand in memory.

    Invariants: what stands here is what the engine shows now; `size` is the bytes of
    it.

    Threading: the view's.

    Attributes:
        moment: how many changes there were.
        size: in bytes.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.moment = 0
        self.size = 0
        self._since: dict[str, int] = {}
        self._all_since = 0
        self._tables: dict[Place, pa.Table] = {}
        self._spent_s: dict[Place, float] = {}

    def find(self, graph: Graph, fragment: Fragment, moment: int) -> pa.Table | None:
        """Answer a fragment; None where its table does not stand here.

        Args:
            graph: the schema of the view.
            fragment: what to read.
            moment: of the transaction to read in.
        """
        place = _place(graph, fragment)
        if place not in self._tables or place is None or not self._lasts(place, moment):
            return None
        table = self._tables.pop(place)
        self._tables[place] = table
        return _part(graph, fragment, table)

    def spent(
        self, graph: Graph, fragment: Fragment, took_s: float, moment: int
    ) -> Scan | None:
        """Note how long the engine took for what was not found here.

        Args:
            graph: the schema of the view.
            fragment: what was read.
            took_s: how long it took.
            moment: of the transaction in which it was read.

        Returns:
            The table that may be read whole now.
        """
        place = _place(graph, fragment)
        if place is None or not self._lasts(place, moment):
            return None
        if len(self._spent_s) >= _PLACES_MAX:
            self._spent_s.clear()
        self._spent_s[place] = self._spent_s.get(place, 0.0) + took_s
        if self._spent_s[place] < DUE_S:
            return None
        scan = Scan(*place)
        if texts_of(graph, scan) is None:
            self._spent_s[place] = float("-inf")
            return None
        return scan

    def fits(self, scan: Scan, rows: int, letters: int) -> bool:
        """Tell whether a table shall be read whole now.

        Args:
            scan: of the table.
            rows: that it has.
            letters: of all its texts.
        """
        place = (scan.table, scan.pair, scan.columns)
        due = self._spent_s.get(place, 0.0) >= rows * ROW_S
        small = rows <= ROWS_MAX and letters <= LETTERS_MAX
        if not small:
            self._spent_s[place] = float("-inf")
        return due and small

    def put(self, scan: Scan, table: pa.Table) -> None:
        """Hold a table; those that were used least recently make room.

        Args:
            scan: what it was read by, in a transaction that shows what is there now.
            table: all of its rows.
        """
        place = (scan.table, scan.pair, scan.columns)
        self._drop(place)
        self._tables[place] = table.combine_chunks()
        self.size += table.nbytes
        while self.size > BYTES_MAX:
            self._drop(next(iter(self._tables)))

    def changed(self, names: Iterable[str]) -> None:
        """Let go of tables that were changed."""
        self.moment += 1
        gone = set(names)
        self._since.update(dict.fromkeys(gone, self.moment))
        for place in [*self._tables, *self._spent_s]:
            if place[0] in gone:
                self._drop(place)

    def clear(self) -> None:
        """Let go of everything: no table is what it was."""
        self.moment += 1
        self._all_since = self.moment
        self._since.clear()
        self._tables.clear()
        self._spent_s.clear()
        self.size = 0

    def _lasts(self, place: Place, moment: int) -> bool:
        """Tell whether a table is now what it was at some moment."""
        return moment >= max(self._since.get(place[0], 0), self._all_since)

    def _drop(self, place: Place) -> None:
        """Let go of one table, if it stands here; it has to come to be due again."""
        self._spent_s.pop(place, None)
        table = self._tables.pop(place, None)
        if table is not None:
            self.size -= table.nbytes


def texts_of(graph: Graph, scan: Scan) -> list[str] | None:
    """List the columns of a scan that are text; None where others vary in size.

    Args:
        graph: the schema.
        scan: of a table.
    """
    types = column_types(graph, scan.table, scan.pair)
    names = scan.columns
    if names is None:
        names = tuple(name for name in types if not name.startswith("tv_"))
    if scan.pair is None:
        names = (*names, node_table(graph, scan.table).primary_key)
    else:
        names = (*names, "tv_from", "tv_to")
    kinds = {name: types[name].kind for name in names}
    if not _SIZED.issuperset(kinds.values()):
        return None
    return [name for name, kind in kinds.items() if kind is Kind.STRING]


def _place(graph: Graph, fragment: Fragment) -> Place | None:
    """Tell which table a fragment could be answered from, if any."""
    found: Place
    match fragment:
        case Expand(table=table, pair=pair, columns=columns):
            near = node_table(graph, pair[0 if fragment.outgoing else 1])
            found = (table, pair, () if fragment.ends else columns)
        case Fetch(table=table, columns=columns):
            near = node_table(graph, table)
            found = (table, None, columns)
        case Scan(table=table, pair=pair, columns=columns, where=""):
            return None if table == KEY_VALUE else (table, pair, columns)
        case _:
            return None
    plain = key_type(near).kind in _KEYS and near.name != KEY_VALUE
    return found if plain else None


def _part(graph: Graph, fragment: Fragment, table: pa.Table) -> pa.Table:
    """Find in a whole table what a fragment asks for."""
    match fragment:
        case Expand():
            return _expanded(graph, fragment, table)
        case Fetch(table=name, keys=keys):
            node = node_table(graph, name)
            values = column(key_type(node), keys)
            return table.filter(
                pc.is_in(table.column(node.primary_key), value_set=values)
            )
    return table


def _expanded(graph: Graph, expand: Expand, table: pa.Table) -> pa.Table:
    """Find the relationships of some nodes, or their far ends."""
    near = node_table(graph, expand.pair[0 if expand.outgoing else 1])
    keys = column(key_type(near), expand.keys)
    sides = [("tv_from", "tv_to"), ("tv_to", "tv_from")]
    if not expand.both:
        sides = [sides[0 if expand.outgoing else 1]]
    masks = [pc.is_in(table.column(here), value_set=keys) for here, _ in sides]
    if not expand.ends:
        return table.filter(masks[0] if len(masks) == 1 else pc.or_(*masks))
    found = [
        chunk
        for mask, (_, there) in zip(masks, sides, strict=True)
        for chunk in table.column(there).filter(mask).chunks
    ]
    name = "tv_to" if expand.both else sides[0][1]
    kind = table.column(name).type
    return pa.table({name: pa.chunked_array(found, kind).unique()})

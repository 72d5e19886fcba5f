"""Tables that stand in memory answer as the engine does, and only while they may."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.integration import graphs
from tests.integration.graphs import GRAPH, WIDER, Copy
from torua.core.graph.fragments import CopyRead, Expand, Fetch, Fragment, Piece, Scan
from torua.core.ids import AllocId
from torua.storage import held
from torua.storage.graphview import GraphView, Place
from torua.storage.held import Held
from torua.storage.kuzu import Limits

PAIR = ("Person", "Person")
COUNT = 20
ASKED: tuple[Fragment, ...] = (
    Fetch("Person", (1, 3, 99), ("name",)),
    Fetch("Person", (), ("name",)),
    Fetch("City", ("Ulm", "Rome"), ()),
    Scan("City"),
    Scan("KNOWS", PAIR, ()),
    Expand("KNOWS", PAIR, (1, 2, 2), columns=()),
    Expand("KNOWS", PAIR, (1, 2), outgoing=False, columns=()),
    Expand("KNOWS", PAIR, (1, 2), columns=(), ends=True),
    Expand("KNOWS", PAIR, (1, 2), outgoing=False, columns=(), ends=True),
    Expand("KNOWS", PAIR, (1, 2), columns=(), both=True),
    Expand("KNOWS", PAIR, (1, 2), columns=(), ends=True, both=True),
    Expand("KNOWS", ("Person", "City"), ("Ulm",), outgoing=False, columns=()),
)
UNSIZED = (Fetch("Person", (1,)), Expand("KNOWS", PAIR, (1,)))


class Read:
    """A copy, and a view whose tables are due at once.

    Invariants: one view is open.
    """

    def __init__(self, place: Path) -> None:
        """Make both in an empty directory.

        Args:
            place: the directory.
        """
        self.copy = Copy(place / "map.db")
        self.copy.view.keep_journal(keys=False)
        limits = Limits(pool_bytes=64 << 20, db_bytes=1 << 30, threads=1)
        at = Place(place / "map.db", place, "ladybug", limits)
        self.graph = GRAPH
        self.view = GraphView(at, GRAPH, lambda: None)

    def asked(self, *fragments: Fragment, session: str = "") -> CopyRead:
        """Ask for what the map holds now, in a transaction that stays open."""
        at = self.copy.view.applied_seq
        return CopyRead(AllocId("a"), at, fragments, True, session)

    def by_engine(self, *fragments: Fragment, session: str = "") -> Piece:
        """Read in the engine, or what stands in memory."""
        until = time.monotonic() + 10
        if session:
            return self.view.read_on(session, fragments, until, keep=True)
        at = self.copy.view.applied_seq
        return self.view.read(self.graph, at, fragments, until, keep=True)

    def at_once(self, *fragments: Fragment, session: str = "") -> Piece | None:
        """Read what stands in memory."""
        return self.view.read_at_once(
            self.graph, self.asked(*fragments, session=session)
        )


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Have some people know each other, and some know a city.

    Args:
        tmp_path: for the map and the engine.
        monkeypatch: has tables be due at once.
    """
    monkeypatch.setattr(held, "DUE_S", 0.0)
    made = Read(tmp_path)
    made.copy.write(*(graphs.person(at, f"p{at}") for at in range(COUNT)))
    made.copy.write(graphs.city("Ulm"), graphs.city("Bonn"))
    made.copy.write(*(graphs.knows(at, at * 7 % COUNT) for at in range(COUNT)))
    made.copy.write(graphs.knows(1, 2, edge=b"again"), graphs.knows(2, 1))
    made.copy.write(graphs.knows(5, "Ulm"), graphs.knows(6, "Ulm"))
    yield made
    made.view.close()
    made.copy.view.close()


def rows(piece: Piece | None) -> list[list[tuple[object, ...]]]:
    """Return what came of each fragment, each row once, in some order."""
    assert piece is not None
    found = []
    for _, data in piece.results:
        table = pa.ipc.open_stream(data).read_all()
        columns = [table.column(name).to_pylist() for name in table.column_names]
        found.append(sorted(set(zip(*columns, strict=True)), key=repr))
    return found


def test_what_stands_in_memory_is_what_the_engine_shows(read: Read) -> None:
    """Whatever is asked, once its table was asked often enough."""
    for fragment in ASKED:
        expected = read.by_engine(fragment)
        found = read.at_once(fragment)
        assert rows(found) == rows(expected), fragment
    assert read.view.held_bytes > 0


@pytest.mark.parametrize("fragment", UNSIZED)
def test_columns_of_any_size_stay_with_the_engine(
    read: Read, fragment: Fragment
) -> None:
    """Nobody knows what it would take to read them all."""
    read.by_engine(fragment)
    read.by_engine(fragment)
    assert read.at_once(fragment) is None


@pytest.mark.parametrize(("name", "most"), [("ROWS_MAX", 5), ("LETTERS_MAX", 10)])
def test_large_tables_stay_with_the_engine(
    read: Read, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """They would fill the engine's pool, or take long to look through."""
    monkeypatch.setattr(held, name, most)
    for _ in range(3):
        read.by_engine(ASKED[0])
    assert read.at_once(ASKED[0]) is None


def test_a_table_is_held_once_that_much_was_read_of_it(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read it whole takes as long as many small reads."""
    monkeypatch.setattr(held, "DUE_S", 1000.0)
    read.by_engine(ASKED[0])
    assert read.at_once(ASKED[0]) is None
    monkeypatch.setattr(held, "DUE_S", 0.0)
    monkeypatch.setattr(held, "ROW_S", 1000.0)
    read.by_engine(ASKED[0])
    assert read.at_once(ASKED[0]) is None


def test_a_change_is_shown_and_open_transactions_show_what_was(read: Read) -> None:
    """Whether their tables stand in memory or not, and others' go on to stand."""
    know, fetch, towns = ASKED[5], ASKED[0], ASKED[3]
    read.by_engine(know, fetch, towns)
    before = read.at_once(know, fetch, towns)
    assert before is not None
    read.copy.write(graphs.knows_not(1, 7), graphs.person(3, "new"))
    assert read.at_once(know) is None
    after = read.by_engine(know, fetch, towns)
    assert rows(after)[0] == [row for row in rows(before)[0] if row[:2] != (1, 7)]
    assert "new" in repr(rows(after)[1])
    assert read.at_once(know, session=before.session) is None
    again = read.by_engine(know, fetch, towns, session=before.session)
    assert rows(again) == rows(before)
    assert rows(read.at_once(towns, session=before.session)) == [rows(before)[2]]
    assert rows(read.at_once(know, fetch)) == rows(after)[:2]


def test_another_schema_is_another_table(read: Read) -> None:
    """All columns are more than they were."""
    read.by_engine(ASKED[3])
    read.copy.write(graphs.schema(WIDER))
    assert read.at_once(ASKED[3]) is None
    read.graph = WIDER
    assert read.at_once(ASKED[3]) is None
    read.by_engine(ASKED[3])
    assert read.at_once(ASKED[3]) is not None


def test_tables_used_least_recently_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a view holds is bounded."""
    table = pa.table({"n": pa.array(["Ulm"]), "tv_ver": [1], "tv_born": [1]})
    monkeypatch.setattr(held, "BYTES_MAX", 2 * table.nbytes)
    tables = Held()
    scans = [Scan("City", None, columns) for columns in ((), ("n",), ("n", "n"))]
    for scan in scans[:2]:
        tables.put(scan, table)
    assert tables.find(GRAPH, scans[0], tables.moment) is not None
    tables.put(scans[2], table)
    found = [tables.find(GRAPH, scan, tables.moment) is not None for scan in scans]
    assert found == [True, False, True]
    assert tables.size == 2 * table.nbytes
    tables.changed(["City"])
    assert tables.size == 0

"""The journal of a map: which keys changed, for engines that follow it."""

import sqlite3
from pathlib import Path

import pytest

from tests.integration import graphs
from tests.integration.graphs import Copy
from torua.core.records import KvPut
from torua.storage import journal
from torua.storage.map import Map
from torua.storage.mapreader import Look, MapReader


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A map that keeps a journal."""
    made = Copy(tmp_path / "map.db")
    made.view.keep_journal(keys=False)
    return made


def look(copy: Copy, after: int = 0, limit: int = 1000) -> Look:
    """See what changed in a map.

    Args:
        copy: whose.
        after: which record.
        limit: about so many changes.
    """
    reader = MapReader(copy.view.path, 5)
    seen = reader.look(after, limit)
    reader.close()
    return seen


def test_a_map_that_no_graph_was_asked_of_keeps_none(tmp_path: Path) -> None:
    """Keys and values cost nothing more."""
    copy = Copy(tmp_path / "map.db")
    copy.write(graphs.person(1, "Ada"), KvPut(b"k", b"v", ""))
    assert look(copy).changes == []
    assert look(copy).begun.rows_from is None


def test_a_row_stands_once_with_its_last_state(copy: Copy) -> None:
    """However often it changed."""
    copy.write(graphs.person(1, "Ada"), KvPut(b"user", b"v", ""))
    copy.write(graphs.person(2, "Bea"))
    copy.write(graphs.person(1, "Ann"), graphs.no_person(2))
    seen = look(copy)
    assert [(c.version, c.created) for c in seen.changes] == [(4, 2), (None, 3)]
    assert (seen.seq, seen.applied, seen.last) == (4, 4, True)
    assert look(copy, after=4).changes == []


def test_a_row_that_was_there_before_is_not_new_again(copy: Copy) -> None:
    """An engine may have its older state."""
    copy.write(graphs.person(1, "Ada"))
    copy.write(graphs.no_person(1))
    copy.write(graphs.person(1, "Ada"))
    assert [c.created for c in look(copy).changes] == [0]


def test_a_record_is_never_cut(copy: Copy) -> None:
    """A look ends with a whole record, even where that is more than was asked for."""
    for start in (0, 10, 20):
        copy.write(*(graphs.person(start + i, "x") for i in range(10)))
    first = look(copy, after=0, limit=5)
    assert (first.seq, len(first.changes), first.last) == (2, 10, False)
    both = look(copy, after=0, limit=25)
    assert (both.seq, len(both.changes)) == (3, 20)
    assert look(copy, after=3, limit=25).last


def test_users_keys_are_noted_once_they_are_asked_for(copy: Copy) -> None:
    """They are many, and few ask."""
    copy.write(KvPut(b"a", b"1", ""))
    copy.view.keep_journal(keys=True)
    copy.write(KvPut(b"b", b"2", ""))
    assert [c.key for c in look(copy).changes] == [b"b"]
    assert look(copy).begun.keys_from == 2


def test_what_was_taken_up_is_forgotten_bit_by_bit(copy: Copy) -> None:
    """And the journal says from where it is whole."""
    copy.write(*(graphs.person(i, "x") for i in range(300)))
    copy.view.trim_journal(2)
    copy.write(graphs.person(1, "y"))
    assert look(copy).begun.rows_from == 2
    assert len(look(copy).changes) == 300 - journal.TRIM_ROWS
    copy.write(graphs.person(1, "z"))
    assert [c.version for c in look(copy).changes] == [4]


def test_it_is_begun_anew_where_nobody_takes_it_up(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that was read once must not grow a map for ever."""
    monkeypatch.setattr(journal, "ROWS_MAX", 5)
    copy.write(*(graphs.person(i, "x") for i in range(6)))
    assert look(copy).changes == []
    assert look(copy).begun.rows_from == 2


def test_it_outlives_the_map_s_closing_and_stays_out_of_its_digest(copy: Copy) -> None:
    """Equal maps are equal whether they keep one or not."""
    copy.write(graphs.person(1, "Ada"))
    digest, path = copy.view.digest(), copy.view.path
    copy.view.close()
    again = Map.open(path)
    assert again.digest() == digest
    assert len(look(copy).changes) == 1
    again.close()


def test_a_snapshot_has_none(copy: Copy, tmp_path: Path) -> None:
    """Another node's engines know nothing of this one's."""
    copy.write(graphs.person(1, "Ada"))
    copy.view.snapshot(tmp_path / "snapshot.db")
    with sqlite3.connect(tmp_path / "snapshot.db") as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        assert connection.execute(journal.FACTS).fetchone() is None


def test_a_map_of_before_gets_one(copy: Copy) -> None:
    """Maps were made when there was no journal."""
    path = copy.view.path
    copy.view.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE journal")
        connection.execute("DROP TABLE journal_facts")
    view = Map.open(path)
    view.keep_journal(keys=True)
    view.close()
    assert look(copy).begun.rows_from == 1

"""Imports, over shards in memory."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.node.graph.shards_in_memory import Now, ShardsInMemory
from tests.node.lone_node import result
from torua.codec.rows import Row, read_row, spell_row
from torua.core.graph.importing import (
    NDJSON,
    PARQUET,
    REPLACE,
    SKIP,
    Bad,
    Report,
    Wanted,
)
from torua.core.graph.keys import node_key, read_key
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Kind, Type
from torua.core.ids import NodeId
from torua.core.kv import Call
from torua.errors import (
    ConflictError,
    MalformedError,
    MovedError,
    NotFoundError,
    OutcomeUnknownError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph import sheet
from torua.node.graph.imports import Imports
from torua.node.tasks import Tasks

INT, TEXT = Type(Kind.INT64), Type(Kind.STRING)
PERSON = NodeTable(16, "Person", (Column(0, "id", INT), Column(1, "name", TEXT)), "id")
PLACE = NodeTable(17, "Place", (Column(0, "id", INT),), "id")
KNOWS = RelTable(18, "knows", ((16, 16),), (Column(0, "since", INT),))
LIVES = RelTable(19, "lives", ((16, 17), (17, 17)))
OWNS = RelTable(20, "owns", ((16, 17),), (), "ONE_MANY")
BORN = RelTable(21, "born", ((16, 17),), (), "MANY_ONE")
GRAPH = Graph(0, "main", nodes=(PERSON, PLACE), rels=(KNOWS, LIVES, OWNS, BORN))
CALL = Call("test")


class Pieces:
    """A file that comes in pieces.

    Invariants: each piece comes once.
    """

    def __init__(self, *pieces: bytes | Exception) -> None:
        """Begin before the first."""
        self.left = list(pieces)

    async def next(self) -> bytes | None:
        """Return the next piece."""
        if not self.left:
            return None
        piece = self.left.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


class NoOthers:
    """A cluster of one node.

    Invariants: none.
    """

    members: dict[NodeId, Any] = {}  # noqa: RUF012

    def handle(self, kind: str, handler: object) -> None:
        """Hear of nothing.

        Args:
            kind: of message.
            handler: never called.
        """


class World:
    """Imports over shards in memory.

    Invariants: time passes only when the test says so.
    """

    def __init__(self, spools: Path = Path("/nowhere")) -> None:
        """Begin with a schema and no rows."""
        self.clock = Clock()
        self.shards = ShardsInMemory(GRAPH)
        ids = iter(f"id{number}" for number in range(1000))
        others: Any = NoOthers()
        self.tasks = Tasks(
            NodeId("me"),
            "one",
            others,
            others,
            self.clock,
            wall_s=lambda: 0.0,
            fresh_id=lambda: next(ids),
        )
        worker: Any = Now()
        self.imports = Imports(
            self.shards,
            self.shards,
            self.shards,
            self.tasks,
            self.clock,
            worker=worker,
            spools=spools,
            random=Random(1),
            fresh_id=lambda: next(ids),
            registry=CollectorRegistry(),
        )

    def begin(self, table: str, *pieces: bytes | Exception, **how: Any):  # type: ignore[no-untyped-def]
        """Begin an import.

        Args:
            table: where to.
            pieces: the file.
            how: members of `Wanted`.
        """
        wanted = structs.replace(Wanted("main", table), **how)
        return Deferred.fromCoroutine(self.imports.run(wanted, Pieces(*pieces), CALL))

    def run(self, table: str, *pieces: bytes | Exception, **how: Any) -> Report:
        """Do an import.

        Args:
            table: where to.
            pieces: the file.
            how: members of `Wanted`.
        """
        doing = self.begin(table, *pieces, **how)
        self.clock.pump([0.5] * 40)
        report: Report = result(doing)
        return report

    def person(self, key: int) -> Row | None:
        """Read a person."""
        entry = self.shards.entries.get(node_key(GRAPH, PERSON, key))
        return None if entry is None else read_row(entry.value or b"")

    def people(self, *keys: int) -> None:
        """Have people there."""
        for key in keys:
            row = Row(0, {0: key, 1: f"p{key}"})
            self.shards.put(node_key(GRAPH, PERSON, key), spell_row(row))

    def edges(self) -> list[tuple[bytes, Row]]:
        """List the relationships that are there."""
        return [
            (key, read_row(entry.value or b""))
            for key, entry in sorted(self.shards.entries.items())
            if key[1:2] == b"e"
        ]


def test_nodes_are_written_once_each_in_batches_of_a_shard() -> None:
    """All rows are there, with their cells; an empty field is NULL."""
    world = World()
    report = world.run("Person", b"id,name\n1,An", b"n\n2,\n3,Bob\n")
    assert (report.rows, report.complete, report.errors) == (3, 3, ())
    assert report.stopped == ""
    assert world.person(1) == Row(0, {0: 1, 1: "Ann"})
    assert world.person(2) == Row(0, {0: 2})
    assert report.batches == len(world.shards.groups)
    assert result(Deferred.fromCoroutine(world.tasks.all(CALL)))[0].state == "done"


def test_relationships_know_when_their_far_ends_were_made() -> None:
    """The far end's version stands in the row; what it goes from is checked."""
    world = World()
    world.people(1, 2)
    born = world.shards.entries[node_key(GRAPH, PERSON, 2)].version
    report = world.run(
        "knows", b":START_ID(Person)|:END_ID(Person)|since\n1|2|7\n", delimiter="|"
    )
    assert report.rows == 1
    ((_, row),) = world.edges()
    assert row == Row(born, {0: 7})


def test_the_same_file_under_the_same_import_id_changes_nothing() -> None:
    """Neither nodes nor relationships are written twice."""
    world = World()
    nodes, edges = b"id,name\n1,A\n2,B\n", b"from,to,since\n1,2,7\n1,2,7\n"
    for rows in (2, 0):
        again = world.run("Person", nodes, import_id="x")
        assert (again.rows, again.unchanged, again.stopped) == (rows, 2 - rows, "")
    for rows in (2, 0):
        again = world.run("knows", edges, import_id="y")
        assert (again.rows, again.unchanged) == (rows, 2 - rows)
    assert len(world.edges()) == 2


def test_relationships_of_two_imports_are_told_apart() -> None:
    """Without an import id, every import is another."""
    world = World()
    world.people(1, 2)
    first, second = (world.run("knows", b"from,to\n1,2\n") for _ in range(2))
    assert first.import_id != second.import_id
    assert len(world.edges()) == 2


def test_a_bad_row_stops_the_import_and_is_named() -> None:
    """Nothing of its section is in; the line is that of the file."""
    world = World()
    report = world.run("Person", b'id,name\n1,"two\nlines"\nx,B\n3,C\n')
    assert report.stopped == "line 4: id: 'x' is not INT64"
    assert report.code == "unprocessable"
    assert (report.rows, report.complete, report.beyond) == (0, 0, ())
    assert world.person(1) is None


def test_bad_rows_are_left_out_where_that_is_allowed() -> None:
    """The others are in; each bad one is told of, in order."""
    world = World()
    world.people(5)
    data = b"id,name\n1,A\nx,B\n3\n5,E\n1,F\n6,F\n"
    report = world.run("Person", data, max_errors=4)
    assert report.stopped == ""
    assert report.rows == 2
    assert [bad.line for bad in report.errors] == [3, 4, 5, 6]
    assert report.errors[1] == Bad(4, "2 fields are wanted, 1 found")
    assert world.person(5) == Row(0, {0: 5, 1: "p5"})


def test_ends_that_are_missing_are_bad_rows() -> None:
    """Neither end of a relationship is made by it."""
    world = World()
    world.people(1, 2)
    report = world.run("knows", b"from,to\n1,2\n1,9\n9,1\n", max_errors=2)
    assert report.rows == 1
    assert [(bad.line, bad.detail.split(":")[0]) for bad in report.errors] == [
        (3, "to"),
        (4, "from"),
    ]


def test_a_node_that_is_there_can_be_left_or_replaced() -> None:
    """Replaced, it stays the node that it was, with all its properties new."""
    world = World()
    world.people(1)
    born = world.shards.entries[node_key(GRAPH, PERSON, 1)].version
    skipped = world.run("Person", b"id,name\n1,X\n2,Y\n", on_duplicate=SKIP)
    assert (skipped.rows, skipped.skipped) == (1, 1)
    assert world.person(1) == Row(0, {0: 1, 1: "p1"})
    replaced = world.run("Person", b"id,name\n1,X\n1,Z\n", on_duplicate=REPLACE)
    assert (replaced.rows, replaced.skipped) == (1, 1)
    assert world.person(1) == Row(born, {0: 1, 1: "Z"})


def test_a_batch_of_unknown_outcome_is_sent_again() -> None:
    """Whether it was done or not, its rows are in once, and counted."""
    world = World()
    world.shards.before = [UnavailableError("no primary"), OutcomeUnknownError("?")]
    world.shards.after = [OutcomeUnknownError("lost"), OutcomeUnknownError("lost")]
    report = world.run("Person", b"id\n1\n2\n3\n4\n")
    assert report.stopped == ""
    assert report.rows + report.unchanged == 4
    assert all(world.person(key) for key in (1, 2, 3, 4))


def test_a_shard_that_stays_away_stops_the_import() -> None:
    """The report says so, and what may be sent again."""
    world = World()
    world.shards.before = [UnavailableError("no primary")] * 1000
    doing = world.begin("Person", b"id\n1\n", import_id="mine")
    world.clock.pump([1.0] * 120)
    report: Report = result(doing)
    assert (report.code, report.complete) == ("unavailable", 0)
    assert report.import_id == "mine"


def test_whole_batches_behind_a_stop_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in is told of by the rows that are complete, and by batches beyond."""
    monkeypatch.setattr(sheet, "SECTION_ROWS", 2)
    world = World()
    world.people(1)
    world.shards.gate = Deferred()
    doing = world.begin("Person", b"id\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n")
    world.clock.pump([0.0] * 20)
    world.shards.gate.callback(None)
    report: Report = result(doing)
    assert report.stopped == "line 2: there is a node with this key already"
    assert report.complete == 0
    assert sum(batch.rows for batch in report.beyond) == report.rows
    assert [bool(world.person(key)) for key in (3, 6, 7, 10)] == [
        True,
        True,
        False,
        False,
    ]


def test_rows_at_the_beginning_can_be_skipped() -> None:
    """They count as complete, and keep their numbers in relationships' ids."""
    world = World()
    report = world.run("Person", b"id\n1\n2\n3\n", skip=2)
    assert (report.rows, report.complete) == (1, 3)
    assert world.person(1) is None
    whole, rest = World(), World()
    for each in (whole, rest):
        each.people(1, 2)
    whole.run("knows", b"from,to\n1,2\n2,1\n", import_id="a")
    rest.run("knows", b"from,to\n1,2\n2,1\n", import_id="a", skip=1)
    assert rest.edges()[0][0] in dict(whole.edges())


def test_json_names_its_fields() -> None:
    """Objects may differ in their names; types are kept; 1.5 is no whole number."""
    world = World()
    data = b'{"id":1,"name":"A"}\n\n{"name":"B","id":2}\n{"id":1.5}\nno\n{"id":"7"}'
    report = world.run("Person", data, form=NDJSON, max_errors=2)
    assert report.rows == 3
    assert [bad.line for bad in report.errors] == [4, 5]
    assert world.person(2) == Row(0, {0: 2, 1: "B"})


def test_parquet_is_kept_on_the_disk_while_it_is_read(tmp_path: Path) -> None:
    """Its rows are numbered; nothing of the file stays behind."""
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    world = World(tmp_path / "spools")
    table = pyarrow.table({"id": [1, 2, None], "name": ["A", None, "C"]})
    parquet.write_table(table, tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    report = world.run("Person", data[:50], data[50:], form=PARQUET, max_errors=1)
    assert report.rows == 2
    assert report.errors[0].line == 3
    assert list((tmp_path / "spools").iterdir()) == []
    broken = world.run("Person", data[:50], form=PARQUET)
    assert "not a Parquet file" in broken.stopped


def test_which_tables_relationships_go_from_and_to_can_be_said() -> None:
    """A table of several pairs wants it, in the header or beside it."""
    world = World()
    world.people(1)
    world.run("Place", b"id\n1\n2\n")
    assert "say which" in world.run("lives", b"from,to\n1,2\n").stopped
    assert world.run("lives", b":START_ID(Place),:END_ID(Place)\n1,2\n").rows == 1
    how = {"from_table": "person", "to_table": "Place"}
    assert world.run("lives", b"from,to\n1,2\n", **how).rows == 1
    assert {read_key(key).source_id for key, _ in world.edges()} == {16, 17}  # type: ignore[union-attr]


def test_a_node_has_one_relationship_where_its_table_says_so() -> None:
    """Of several in a file the first is in; so is one that was there before."""
    world = World()
    world.people(1, 2, 3)
    world.run("Place", b"id\n1\n2\n")
    assert world.run("born", b"from,to\n1,1\n", import_id="a").rows == 1
    data = b"from,to\n1,2\n2,1\n2,2\n2,2\n3,1\n"
    report = world.run("born", data, max_errors=3)
    assert report.rows == 2
    assert [bad.line for bad in report.errors] == [2, 4, 5]
    assert world.run("born", b"from,to\n1,1\n", import_id="a").unchanged == 1
    assert "one relationship only" in world.run("born", b"from,to\n1,2\n").stopped


def test_relationships_that_need_a_look_at_their_far_end_are_refused() -> None:
    """It is said at once, and how they are made."""
    with pytest.raises(UnprocessableError, match="ONE_MANY"):
        result(World().begin("owns", b"from,to\n1,1\n"))


def test_an_import_follows_a_schema_that_changes_elsewhere() -> None:
    """Another version of the schema with the same table does no harm."""
    world = World()
    world.shards.gate = Deferred()
    doing = world.begin("Person", b"id\n1\n")
    world.shards.set_schema(structs.replace(GRAPH, version=2))
    world.clock.pump([0.0] * 20)
    world.shards.gate.callback(None)
    assert result(doing).rows == 1


def test_an_import_stops_where_its_table_is_changed() -> None:
    """Rows that were read for another table are not written."""
    world = World()
    world.shards.gate = Deferred()
    doing = world.begin("Person", b"id\n1\n")
    other = structs.replace(PERSON, columns=PERSON.columns[:1])
    world.shards.set_schema(structs.replace(GRAPH, version=2, nodes=(other, PLACE)))
    world.clock.pump([0.0] * 20)
    world.shards.gate.callback(None)
    report = result(doing)
    assert (report.rows, report.code) == (0, ConflictError.code)


def test_a_file_that_breaks_off_is_in_as_far_as_it_came() -> None:
    """The report says what is complete; the client may send the rest."""
    world = World()
    report = world.run("Person", b"id\n1\n", MalformedError("lost"))
    assert report.stopped == "lost"
    assert report.complete == 0


def test_tables_that_are_not_there_are_told_at_once() -> None:
    """Nothing is read of the file."""
    world = World()
    doing = world.begin("Nothing", b"id\n1\n")
    with pytest.raises(NotFoundError):
        result(doing)


def test_rows_of_slots_that_were_moved_are_written_where_they_are_now() -> None:
    """What was shared out by an old slot table is shared out anew, and is in once."""
    world = World()
    world.shards.before = [MovedError("moved")]
    rows = b"".join(b"%d\n" % number for number in range(20))
    report = world.run("Place", b"id\n", rows)
    assert (report.rows, report.unchanged) == (20, 0)
    keys = {node_key(GRAPH, PLACE, number) for number in range(20)}
    assert keys <= set(world.shards.entries)

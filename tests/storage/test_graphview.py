"""A graph's view follows its map, whatever happens to the map, and to it."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration import graphs
from tests.integration.graphs import GRAPH, WIDER, Copy
from torua.core.graph.fragments import Expand, Fetch, Fragment, Scan
from torua.core.graph.schema import MAIN_GRAPH, Graph
from torua.core.records import KvDelete, KvPut
from torua.errors import (
    QueryTooLargeError,
    TooLargeError,
    UnavailableError,
    UnprocessableError,
)
from torua.storage import graphverify
from torua.storage.graphview import GraphView, Place
from torua.storage.kuzu import EngineError, Limits

LIMITS = Limits(pool_bytes=64 << 20, db_bytes=1 << 30, threads=1)

ids = st.integers(0, 3)
cities = st.sampled_from(["Ulm", "Bonn"])
ends = st.one_of(ids, cities)
edge_ids = st.sampled_from([b"", b"\x00x"])
numbers = st.sampled_from(["-1.50", "0.00", "9999999.99"])
effects = st.one_of(
    st.builds(graphs.person, ids, st.sampled_from(["a", "b"])),
    st.builds(graphs.no_person, ids),
    st.builds(graphs.city, cities),
    st.builds(graphs.knows, ids, ends, numbers, edge_ids),
    st.builds(graphs.knows_not, ids, ends, edge_ids),
    st.builds(graphs.grave, ids, st.just(3)),
)
records = st.lists(effects, min_size=1, max_size=12, unique_by=lambda e: e.key)
steps = st.lists(
    st.one_of(
        records,
        st.sampled_from(["follow", "verify", "reopen", "widen", "trim", "narrow"]),
    ),
    max_size=25,
)


class Followed:
    """A copy, and the view of its graph.

    Invariants: one view is open.
    """

    def __init__(self, place: Path, graph: Graph = GRAPH) -> None:
        """Make both in an empty directory.

        Args:
            place: the directory.
            graph: the schema that is asked for.
        """
        self.copy = Copy(place / "map.db")
        self.copy.view.keep_journal(keys=False)
        self.graph = graph
        self._place = Place(place / "map.db", place, "ladybug", LIMITS)
        self.open()

    def open(self) -> None:
        """Open a view."""
        self.view = GraphView(self._place, self.graph, lambda: None)

    def reopen(self) -> None:
        """Close the view, and open it again."""
        self.view.close()
        self.open()

    def read(self, *fragments: Fragment) -> list[pa.Table]:
        """Read what the map holds now."""
        at, until = self.copy.view.applied_seq, time.monotonic() + 10
        piece = self.view.read(self.graph, at, fragments, until, keep=False)
        return [pa.ipc.open_stream(data).read_all() for _, data in piece.results]

    def same(self) -> bool:
        """Tell whether the view is what the map says."""
        _, same = self.view.verify(self.graph, time.monotonic() + 10)
        return same is True

    def step(self, step: object) -> None:
        """Do one thing.

        Args:
            step: effects of one record, or what else to do.
        """
        match step:
            case "follow":
                self.view.catch_up(self.graph, keys=False)
            case "verify":
                assert self.same()
            case "reopen":
                self.reopen()
            case "widen" | "narrow":
                columns = WIDER.nodes if step == "widen" else GRAPH.nodes
                version = self.graph.version + 1
                self.graph = Graph(
                    5, "people", version=version, nodes=columns, rels=GRAPH.rels
                )
                self.copy.write(graphs.schema(self.graph))
            case "trim":
                self.copy.view.trim_journal(self.view.applied)
            case list(changes):
                self.copy.write(*changes)

    def close(self) -> None:
        """Close both."""
        self.view.close()
        self.copy.view.close()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps)
def test_a_view_that_follows_is_one_that_was_built(done: list[object]) -> None:
    """Rows, deletions, ghosts, schemas, reopenings: it holds what the map says."""
    with TemporaryDirectory() as directory:
        followed = Followed(Path(directory))
        for step in done:
            followed.step(step)
        assert followed.same()
        assert followed.view.counts.rebuilds <= 1
        followed.close()


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    """An empty graph."""
    return Followed(tmp_path)


def test_no_graph_is_built_before_its_map_keeps_a_journal(tmp_path: Path) -> None:
    """What changes meanwhile would be lost."""
    copy = Copy(tmp_path / "map.db")
    place = Place(tmp_path / "map.db", tmp_path, "ladybug", LIMITS)
    view = GraphView(place, GRAPH, lambda: None)
    with pytest.raises(UnavailableError):
        view.catch_up(GRAPH, keys=False)
    view.close()
    copy.view.close()


def test_a_view_behind_the_journal_is_built_anew(followed: Followed) -> None:
    """As after more changes than the journal takes."""
    followed.copy.write(graphs.person(1, "Ada"))
    assert followed.same()
    followed.view.close()
    followed.copy.write(graphs.person(2, "Bea"))
    followed.copy.view.trim_journal(followed.copy.view.applied_seq)
    followed.copy.write(graphs.person(3, "Cleo"))
    followed.open()
    assert followed.same()
    assert followed.view.counts.rebuilds == 1


def test_a_damaged_file_is_built_anew(followed: Followed, tmp_path: Path) -> None:
    """The map has it all."""
    followed.copy.write(graphs.person(1, "Ada"))
    assert followed.same()
    followed.view.close()
    (tmp_path / "graph-5.ladybug").write_bytes(b"no database")
    followed.open()
    (people,) = followed.read(Scan("Person", columns=("name",)))
    assert people["name"].to_pylist() == ["Ada"]


def test_what_differs_from_the_map_is_found_and_built_anew(followed: Followed) -> None:
    """As where the engine lost a row."""
    followed.copy.write(graphs.person(1, "Ada"), graphs.person(2, "Bea"))
    assert followed.same()
    file = followed.view._ready()
    file.engine.rows("MATCH (n:Person) WHERE n.id = 2 SET n.name = 'Eve'")
    assert not followed.same()
    assert followed.same()


def test_ghosts_are_no_nodes(followed: Followed) -> None:
    """Neither the far end of a relationship, nor a node that was deleted."""
    followed.copy.write(graphs.person(1, "Ada"), graphs.knows(1, 2))
    followed.copy.write(graphs.knows(1, "Ulm"), graphs.no_person(1))
    scanned, fetched, out, back, towns = followed.read(
        Scan("Person"),
        Fetch("Person", (1, 2, 3)),
        Expand("KNOWS", ("Person", "Person"), (1,)),
        Expand("KNOWS", ("Person", "City"), ("Ulm",), outgoing=False),
        Scan("City"),
    )
    assert (scanned.num_rows, fetched.num_rows, towns.num_rows) == (0, 0, 0)
    assert (out["tv_to"].to_pylist(), back["tv_from"].to_pylist()) == ([2], [1])


@pytest.mark.parametrize("count", [0, 1, 2, 60, 200])
def test_keys_are_found_however_many_are_asked_for(
    followed: Followed, count: int
) -> None:
    """By parameter, by list, and by a join with a table."""
    followed.copy.write(*(graphs.person(i, f"p{i}") for i in range(100)))
    followed.copy.write(*(graphs.knows(i, i + 1) for i in range(100)))
    keys = tuple(range(50, 50 + count)) * 2
    found, out, back = followed.read(
        Fetch("Person", keys, ("name",)),
        Expand("KNOWS", ("Person", "Person"), keys, columns=()),
        Expand("KNOWS", ("Person", "Person"), keys, outgoing=False, columns=()),
    )
    assert found.column_names == ["id", "name", "tv_ver", "tv_born"]
    assert out.column_names == ["tv_from", "tv_to", "tv_id", "tv_ver", "tv_born"]
    there = sorted(set(keys) & set(range(100)))
    assert sorted(found["id"].to_pylist()) == there
    assert sorted(out["tv_from"].to_pylist()) == there
    assert sorted(back["tv_to"].to_pylist()) == sorted(set(keys) & set(range(1, 101)))


def test_far_ends_alone_are_each_told_once(followed: Followed) -> None:
    """By however many relationships they are reached."""
    followed.copy.write(*(graphs.person(i, f"p{i}") for i in range(4)))
    ends = (1, 3), (2, 3), (0, 1), (0, 2), (0, 0)
    followed.copy.write(*(graphs.knows(near, far) for near, far in ends))
    out, back = followed.read(
        Expand("KNOWS", ("Person", "Person"), (0, 1, 2), columns=(), ends=True),
        Expand("KNOWS", ("Person", "Person"), (1, 2, 3), False, (), ends=True),
    )
    assert (out.column_names, back.column_names) == (["tv_to"], ["tv_from"])
    assert sorted(out["tv_to"].to_pylist()) == [0, 1, 2, 3]
    assert sorted(back["tv_from"].to_pylist()) == [0, 1, 2]


def test_what_there_is_not_is_refused(followed: Followed) -> None:
    """And the view lives on."""
    for fragment in (
        Fetch("Person", (1,), ("nope",)),
        Scan("KNOWS", ("City", "Person")),
        Scan("Person", where="n.nope = 1"),
    ):
        with pytest.raises(UnprocessableError):
            followed.read(fragment)
    assert followed.same()


def test_users_keys_are_nodes_once_they_are_asked_for(tmp_path: Path) -> None:
    """Those from before, those that come; of a large value only its size."""
    followed = Followed(tmp_path, MAIN_GRAPH)
    followed.copy.write(KvPut(b"a", b"1", "text/plain"), KvPut(b"b", b"2", ""))
    large = KvPut(b"large", bytes(2 << 20), "")
    with pytest.raises(UnavailableError):
        followed.read(Scan("KeyValue"))
    followed.copy.view.keep_journal(keys=True)
    (rows,) = followed.read(Scan("KeyValue"))
    assert sorted(rows["key"].to_pylist()) == ["a", "b"]
    followed.copy.write(large, KvDelete(b"a"), KvPut(b"b", b"3", "x/y"))
    (rows,) = followed.read(Fetch("KeyValue", ("b",)))
    assert rows.select(["value", "content_type"]).to_pylist() == [
        {"value": b"3", "content_type": "x/y"}
    ]
    (rows,) = followed.read(Scan("KeyValue", columns=("size",)))
    found = {row["key"]: row["size"] for row in rows.to_pylist()}
    assert found == {"b": 1, "large": 2 << 20}
    followed.reopen()
    assert followed.same()
    assert followed.view.counts.rebuilds == 0


@pytest.mark.parametrize(
    "fragment",
    [
        Scan("KeyValue"),
        Scan("KeyValue", columns=("value",)),
        Scan("KeyValue", columns=("value",), where="n.key <> 'small'"),
        Scan("KeyValue", columns=("value",), where="n.value IS NULL"),
        Scan("KeyValue", columns=("value",), where="size(n.`Value`) < 5"),
        Fetch("KeyValue", ("large",)),
        Fetch("KeyValue", ("small", "large"), ("value",)),
        Fetch("KeyValue", (*map(str, range(60)), "large"), ("key", "value")),
    ],
    ids=repr,
)
def test_a_large_value_is_never_read_as_none(
    tmp_path: Path, fragment: Fragment
) -> None:
    """What would read one is refused, by name of its key."""
    followed = Followed(tmp_path, MAIN_GRAPH)
    small, most = KvPut(b"small", b"1", ""), KvPut(b"most", bytes(1 << 20), "")
    followed.copy.write(small, most, KvPut(b"large", bytes((1 << 20) + 1), ""))
    followed.copy.view.keep_journal(keys=True)
    with pytest.raises(TooLargeError, match="'large'"):
        followed.read(fragment)


def test_values_are_read_where_no_large_one_is_among_them(tmp_path: Path) -> None:
    """A filter by key, or the keys themselves, leave it out."""
    followed = Followed(tmp_path, MAIN_GRAPH)
    small, large = KvPut(b"small", b"1", ""), KvPut(b"large", bytes(2 << 20), "")
    followed.copy.write(small, large)
    followed.copy.view.keep_journal(keys=True)
    given: dict[str, Any] = {"k": "small"}
    for fragment in (
        Scan("KeyValue", where="n.key = $k", parameters=given),
        Fetch("KeyValue", ("small", "nobody")),
    ):
        (rows,) = followed.read(fragment)
        assert rows["value"].to_pylist() == [b"1"]
    (rows,) = followed.read(Scan("KeyValue", columns=("key", "content_type")))
    assert sorted(rows["key"].to_pylist()) == ["large", "small"]


def test_a_checkpoint_changes_nothing_that_is_read(followed: Followed) -> None:
    """And a file that was not closed is read as well."""
    followed.copy.write(graphs.person(1, "Ada"), graphs.knows(1, 2))
    assert followed.same()
    followed.view.checkpoint()
    followed.view.rest()
    assert followed.same()
    assert followed.view.counts.checkpoints >= 1
    assert 0 < followed.view.pool_share() < 1


def test_what_does_not_fit_into_memory_is_not_tried_again_and_again(
    tmp_path: Path,
) -> None:
    """Each try costs a process; with more memory it is tried at once."""
    followed = Followed(tmp_path)
    for first in range(0, 20_000, 500):
        numbers = range(first, first + 500)
        followed.copy.write(*(graphs.person(n, f"{n:05}" * 800) for n in numbers))
    with pytest.raises(EngineError, match="buffer pool is full"):
        followed.read(Scan("Person", columns=("id",)))
    with pytest.raises(UnavailableError, match="--graph-memory"):
        followed.read(Scan("Person", columns=("id",)))


def test_a_filter_that_leaves_too_much_is_refused_before_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the estimate; the view goes on, and is compared with its map in slices."""
    followed = Followed(tmp_path)
    for first in range(0, 4000, 500):
        numbers = range(first, first + 500)
        followed.copy.write(*(graphs.person(n, f"{n:05}" * 460) for n in numbers))
    with pytest.raises(QueryTooLargeError) as refusal:
        followed.read(Scan("Person", where="n.id >= 0"))
    assert refusal.value.members["limit"] == LIMITS.pool_bytes // 8
    assert 8 << 20 < int(str(refusal.value.members["estimate"])) < 12 << 20
    (rows,) = followed.read(Scan("Person", where="n.id < 300"))
    assert rows.num_rows == 300
    monkeypatch.setattr(graphverify, "SLICE_BYTES", 1 << 20)
    assert followed.same()

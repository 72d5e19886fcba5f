"""``torua load``: which tables files go to, and what is sent of them."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.fakes import FakeClient, run
from torua.cli import load_files, samples
from torua.cli.failures import ExitCode, Failure
from torua.cli.files import find_files, look
from torua.cli.http import Answer
from torua.cli.tables import Tables, in_order, missing, place

NOTHING: dict[str, Any] = {
    "unchanged": 0,
    "skipped": 0,
    "batches": 1,
    "complete": 0,
    "beyond": [],
    "errors": [],
    "stopped": "",
}


class Cluster(FakeClient):
    """A cluster with tables, that takes files.

    Invariants: `sent` is in the order of the uploads.
    """

    def __init__(self) -> None:
        """Begin without a table."""
        super().__init__(self._handle)
        self.statements: list[str] = []
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self.schema: dict[str, Any] = {"nodes": [], "relationships": []}
        self.breaks: list[Failure | Answer] = []

    def _handle(self, method: str, target: str, body: Any, *_: object) -> Answer:
        """Answer."""
        if target.startswith("/cypher"):
            statement = json.loads(body)["query"]
            self.statements.append(statement)
            self._define(statement)
            return Answer(200, {}, b'{"columns":[],"rows":[],"stats":{}}')
        return Answer(200, {}, json.dumps(self.schema).encode())

    def _define(self, statement: str) -> None:
        """Note a table."""
        words = statement.replace("IF NOT EXISTS ", "").split("(")[0].split()
        name = words[3]
        if words[1] == "NODE":
            self.schema["nodes"].append({"name": name})
            return
        inside = statement.partition("(")[2].replace(")", "").split(",")
        parts = [each.split() for each in inside]
        pairs = [{"from": p[1], "to": p[3]} for p in parts if p[0] == "FROM"]
        self.schema["relationships"].append({"name": name, "pairs": pairs})

    def upload(self, target: str, file: Any, headers: Any, timeout_s: float) -> Answer:
        """Take a file.

        Args:
            target: path and query.
            file: at any place.
            headers: sent with it.
            timeout_s: ignored.
        """
        file.seek(0)
        url = urlsplit(target)
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
        data = file.read()
        self.sent.append((url.path, query, data))
        if self.breaks:
            trouble = self.breaks.pop(0)
            if isinstance(trouble, Failure):
                raise trouble
            return trouble
        rows = data.count(b"\n") - 1
        table = url.path.rsplit("/", 1)[1]
        report = NOTHING | {"table": table, "rows": rows}
        return Answer(200, {}, json.dumps(report).encode())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass between attempts."""
    monkeypatch.setattr(load_files, "PAUSE_S", 0.0)


def write(directory: Path, **files: str) -> Path:
    """Write files, ``__`` in their names for a dot.

    Args:
        directory: where.
        files: their contents.
    """
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def test_the_demo_makes_its_tables_and_sends_its_files() -> None:
    """Nodes come first; the queries that it shows are told."""
    client = Cluster()
    result = run(client, "load", "--demo")
    assert result.exit_code == 0, result.output
    assert len(client.statements) == 16
    assert len(client.sent) == 18
    kinds = ["from_table" in query for _, query, _ in client.sent]
    assert kinds == sorted(kinds)
    assert all(query["delimiter"] == "|" for _, query, _ in client.sent)
    assert result.output.count("torua cypher '") == 3


def test_the_demo_is_small_and_names_its_source() -> None:
    """Its readme says where it is from, and under which licence."""
    inside = list(samples.SOCIAL.iterdir())
    assert sum(path.stat().st_size for path in inside) < 400_000
    readme = (samples.SOCIAL / "README.md").read_text()
    assert "LDBC" in readme
    assert "Attribution-ShareAlike" in readme


def test_every_relationship_of_the_demo_has_both_ends() -> None:
    """No file of it has a row that an import refuses."""
    keys: dict[str, set[str]] = {}
    files = sorted(samples.SOCIAL.glob("*.csv"))
    for path in files:
        if "_" not in path.stem:
            lines = path.read_text().splitlines()[1:]
            keys[path.stem] = {line.split("|")[0] for line in lines}
            assert len(keys[path.stem]) == len(lines)
    for path in files:
        if "_" in path.stem:
            start, _, end, *_ = path.stem.split("_")
            for line in path.read_text().splitlines()[1:]:
                fields = line.split("|")
                assert fields[0] in keys[start]
                assert fields[1] in keys[end]


def test_the_whole_network_is_loaded_with_the_schema_of_the_package(
    tmp_path: Path,
) -> None:
    """Files called like those of the known data set need no schema beside them."""
    write(
        tmp_path,
        Person__csv="id:ID(Person)|firstName:STRING\n1|A\n",
        Person_knows_Person_1__csv=":START_ID(Person)|:END_ID(Person)\n1|1\n",
    )
    client = Cluster()
    assert run(client, "load", str(tmp_path)).exit_code == 0
    assert any("workAt" in each for each in client.statements)
    assert client.sent[1][0] == "/graph/import/knows"


def test_tables_are_guessed_from_headers_and_first_rows(tmp_path: Path) -> None:
    """Keys, types and ends are those that the files show."""
    write(
        tmp_path,
        City__csv="name,id,size,founded,seen,flag\nBonn,1,2.5,2000-01-01,"
        "2000-01-01T10:00,true\n",
        User__ndjson='{"key":"a","tags":["x"]}\n',
        User_lives_City__csv="from\tto\tsince\na\t1\t1999\n",
        likes__csv=":START_ID(User),:END_ID(User)\na,a\n",
    )
    found, schema = find_files([tmp_path])
    assert schema is None
    files = [look(path, None) for path in found]
    assert missing(files, Tables({}, {})) == [
        "CREATE NODE TABLE City(name STRING, id INT64 PRIMARY KEY, size DOUBLE, "
        "founded DATE, seen TIMESTAMP, flag BOOL)",
        "CREATE NODE TABLE User(key STRING PRIMARY KEY, tags STRING[])",
        "CREATE REL TABLE lives(FROM User TO City, since INT64)",
        "CREATE REL TABLE likes(FROM User TO User)",
    ]


def test_a_file_goes_to_the_table_that_its_name_says(tmp_path: Path) -> None:
    """Numbers at the end tell parts of one table apart; case does not matter."""
    write(
        tmp_path,
        person_2__csv="id\n1\n",
        Person_in_Place__csv="from,to\n1,1\n",
        other__csv="id\n1\n",
    )
    tables = Tables(
        {"person": "Person", "place": "Place"},
        {"in": ("in", (("Place", "Place"), ("Person", "Place")))},
    )
    other, edges, nodes = (
        place(look(tmp_path / name, None), tables)
        for name in ("other.csv", "Person_in_Place.csv", "person_2.csv")
    )
    assert other is None
    assert nodes is not None
    assert edges is not None
    assert nodes.table == "Person"
    assert edges.pair == ("Person", "Place")
    assert in_order([edges, nodes]) == [nodes, edges]


def test_a_relationship_without_known_ends_is_asked_about(tmp_path: Path) -> None:
    """The failure says what would help."""
    write(tmp_path, likes__csv="from,to\n1,2\n")
    result = run(Cluster(), "load", str(tmp_path))
    assert result.exit_code == 5
    assert "it can't be told which nodes it connects" in result.output


def test_an_upload_that_breaks_off_is_sent_again(tmp_path: Path) -> None:
    """The import id is the same, so that nothing is done twice."""
    write(tmp_path, Thing__csv="id\n1\n2\n")
    client = Cluster()
    client.breaks = [
        Failure("broke", ExitCode.UNKNOWN),
        Answer(503, {}, b'{"stopped":"no primary"}'),
    ]
    result = run(client, "load", str(tmp_path), "-o", "json")
    assert result.exit_code == 0
    assert len(client.sent) == 3
    assert len({query["import_id"] for _, query, _ in client.sent}) == 1
    (report,) = json.loads(result.stdout)
    assert report["rows"] == 2


def test_a_bad_row_ends_the_load_with_its_line(tmp_path: Path) -> None:
    """What is in is told; the next file is not sent."""
    write(tmp_path, A__csv="id\n1\nx\n", B__csv="id\n1\n")
    client = Cluster()
    report = NOTHING | {
        "table": "A",
        "rows": 0,
        "stopped": "line 3: id: 'x' is not INT64",
        "errors": [{"line": 3, "detail": "id: 'x' is not INT64"}],
    }
    client.breaks = [Answer(422, {}, json.dumps(report).encode())]
    result = run(client, "load", str(tmp_path))
    assert result.exit_code == 5
    assert len(client.sent) == 1
    assert "A.csv: line 3: id: 'x' is not INT64; its first 0 rows are in" in (
        result.output
    )


def test_options_go_with_the_upload(tmp_path: Path) -> None:
    """What was said on the command line stands in the query."""
    write(tmp_path, Thing__csv="id;n\n1;2\n")
    client = Cluster()
    words = ["--graph", "g", "--max-errors", "7", "--on-duplicate", "skip"]
    run(client, "load", str(tmp_path / "Thing.csv"), *words)
    (_, query, _) = client.sent[0]
    assert query["graph"] == "g"
    assert query["max_errors"] == "7"
    assert query["on_duplicate"] == "skip"
    assert query["delimiter"] == ";"


def test_files_or_the_demo_are_wanted(tmp_path: Path) -> None:
    """Neither and both are wrong; so is what can't be loaded."""
    assert run(Cluster(), "load").exit_code == 2
    assert run(Cluster(), "load", "--demo", str(tmp_path)).exit_code == 2
    assert run(Cluster(), "load", str(tmp_path)).exit_code == 2
    write(tmp_path, a__txt="x")
    assert run(Cluster(), "load", str(tmp_path / "a.txt")).exit_code == 2

"""``/graph/import`` and ``/tasks``."""

from msgspec import structs
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from tests.http.wire import Response, Wire, request
from torua.core.graph.importing import CSV, NDJSON, Bad, Batch, Report, Wanted
from torua.core.kv import Call
from torua.core.views import TaskView
from torua.errors import NotFoundError, ToruaError
from torua.http import imports, tasks
from torua.http.gate import Gate
from torua.http.messages import Taken
from torua.http.metrics import Meter
from torua.http.routes import Router
from torua.http.site import ApiSite

VIEW = TaskView("t1", "import", "Person", "n1", "running", 5, 10, "bytes", "2026")


class FakeImports:
    """Takes files, and reports what a test says.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with nothing taken."""
        self.wanted: list[Wanted] = []
        self.data = b""
        self.call: Call | None = None
        self.report = Report("t1", "i1", "Person", rows=2, batches=1, complete=2)
        self.failure: ToruaError | None = None

    async def run(self, wanted: Wanted, stream: Taken, call: Call) -> Report:
        """Take a file.

        Args:
            wanted: noted.
            stream: taken whole.
            call: noted.
        """
        self.wanted.append(wanted)
        self.call = call
        if self.failure is not None:
            raise self.failure
        while (piece := await stream.next()) is not None:
            self.data += piece
        return self.report


class FakeTasks:
    """Knows one task.

    Invariants: none.
    """

    async def all(self, call: Call) -> tuple[TaskView, ...]:
        """Tell of it."""
        return (VIEW,)

    async def one(self, task_id: str, call: Call) -> TaskView:
        """Tell of it, or that there is no other.

        Args:
            task_id: which.
            call: who asks.
        """
        if task_id != VIEW.id:
            raise NotFoundError("no node that answers knows this task")
        return VIEW


class World:
    """A site that imports, over fakes.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Make it."""
        self.imports = FakeImports()
        routes = (*imports.routes(self.imports), *tasks.routes(FakeTasks()))
        registry, clock = CollectorRegistry(), Clock()
        bounds = (10, 1 << 20, 1 << 20)
        gate = Gate(clock, registry)
        self.site = ApiSite(
            Router(routes), Meter(registry), clock, lambda: "id", bounds, gate=gate
        )

    def post(self, target: str, body: bytes = b"", kind: str = "text/csv") -> Response:
        """Send a file.

        Args:
            target: path and query.
            body: the file.
            kind: its media type.
        """
        wire = Wire(self.site)
        wire.send(request("POST", target, body, Content_Type=kind))
        (response,) = wire.responses()
        return response

    def get(self, target: str) -> Response:
        """Ask."""
        wire = Wire(self.site)
        wire.send(request("GET", target))
        (response,) = wire.responses()
        return response


def test_a_file_is_imported_and_reported() -> None:
    """The answer says how much is in, and under which task and import id."""
    world = World()
    response = world.post("/graph/import/Person", b"id\n1\n2\n")
    assert response.status == 200
    assert world.imports.data == b"id\n1\n2\n"
    told = response.json
    assert (told["task"], told["import_id"]) == ("t1", "i1")
    assert (told["rows"], told["errors"], told["stopped"]) == (2, [], "")
    (wanted,) = world.imports.wanted
    assert wanted == Wanted("main", "Person", CSV, bytes_total=7)


def test_parameters_say_how_a_file_is_read() -> None:
    """All of them reach the import."""
    world = World()
    query = (
        "graph=g&delimiter=%7C&quote=&escape=%5C&header=false&null=NA&columns=a,b"
        "&from_table=A&to_table=B&on_duplicate=skip&max_errors=3&skip=7&import_id=x"
    )
    world.post(f"/graph/import/knows?{query}")
    assert world.imports.wanted == [
        Wanted(
            graph="g",
            table="knows",
            form=CSV,
            delimiter="|",
            quote="",
            escape="\\",
            header=False,
            null="NA",
            columns=("a", "b"),
            from_table="A",
            to_table="B",
            on_duplicate="skip",
            max_errors=3,
            skip=7,
            import_id="x",
        )
    ]


def test_the_body_s_type_says_its_format() -> None:
    """Tabs delimit what says so; another type is not taken."""
    world = World()
    world.post("/graph/import/A", b"x", "text/tab-separated-values")
    world.post("/graph/import/A", b"x", "application/x-ndjson; charset=utf-8")
    assert world.imports.wanted[0].delimiter == "\t"
    assert world.imports.wanted[1].form == NDJSON
    refused = world.post("/graph/import/A", b"x", "text/html")
    assert refused.status == 415


def test_wrong_parameters_are_refused_before_anything_is_imported() -> None:
    """Each says what it must be."""
    world = World()
    for query in (
        "delimiter=ab",
        "delimiter=%0A",
        "on_duplicate=x",
        "max_errors=-1",
        "max_errors=10001",
        "skip=x",
        "header=perhaps",
        "import_id=%C3%A4",
    ):
        response = world.post(f"/graph/import/A?{query}", b"x")
        assert response.status == 400, query
        assert response.json["detail"].startswith(query.split("=")[0])
    assert world.imports.wanted == []


def test_an_import_that_stopped_is_a_problem_with_its_report() -> None:
    """It names the line, what is in, and what to go on under."""
    world = World()
    world.imports.report = structs.replace(
        world.imports.report,
        errors=(Bad(4, "id: 'x' is not INT64"),),
        beyond=(Batch(1, 8, 9, 2),),
        stopped="line 4: id: 'x' is not INT64",
        code="unprocessable",
    )
    response = world.post("/graph/import/A", b"x")
    assert response.status == 422
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json
    assert told["detail"] == told["stopped"] == "line 4: id: 'x' is not INT64"
    assert told["errors"] == [{"line": 4, "detail": "id: 'x' is not INT64"}]
    assert told["complete"] == 2
    assert told["beyond"] == [{"shard": 1, "first_line": 8, "last_line": 9, "rows": 2}]
    assert told["request_id"] == "id"


def test_a_shard_that_stays_away_is_said_to_be_unavailable() -> None:
    """A client may come again, and is told when."""
    world = World()
    world.imports.report = structs.replace(
        world.imports.report, stopped="shard 1 has no primary", code="unavailable"
    )
    response = world.post("/graph/import/A", b"x")
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert response.json["import_id"] == "i1"


def test_a_table_that_is_not_there_is_told_while_the_file_still_comes() -> None:
    """The answer does not wait for the end of the body."""
    world = World()
    world.imports.failure = NotFoundError("no table A")
    wire = Wire(world.site)
    head = "POST /graph/import/A HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    wire.send(f"{head}Content-Length: 1000\r\n\r\nid".encode())
    (response,) = wire.responses()
    assert response.status == 404


def test_tasks_are_told_of() -> None:
    """All of them, or one; 404 for one that nobody knows."""
    world = World()
    assert world.get("/tasks").json[0]["id"] == "t1"
    told = world.get("/tasks/t1").json
    assert (told["state"], told["done"], told["total"]) == ("running", 5, 10)
    assert world.get("/tasks/t2").status == 404

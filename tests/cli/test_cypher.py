"""``torua cypher``: statements, parameters, output and the shell."""

import json
from typing import Any

import pytest

from tests.cli.fakes import FakeClient, answering, run
from torua.cli.http import Answer
from torua.cli.shell import Shell
from torua.cli.statements import split_statements

ANSWER = {
    "columns": ["name", "n"],
    "types": ["STRING", "INT64"],
    "rows": [["Ann", 2], [None, 30], [{"a": [1]}, 4]],
    "stats": {},
}
SCHEMA: dict[str, Any] = {
    "graph": "main",
    "nodes": [
        {
            "name": "Person",
            "primary_key": "id",
            "properties": [{"name": "id", "type": "INT64"}],
            "count": 3,
        }
    ],
    "relationships": [
        {
            "name": "knows",
            "pairs": [{"from": "Person", "to": "Person"}],
            "properties": [],
            "count": 1,
        }
    ],
}


def cluster(answer: object = ANSWER) -> FakeClient:
    """Answer statements with rows, and the schema.

    Explanations are of one kind.
    """

    def handle(method: str, target: str, *_: object) -> Answer:
        """Answer.

        Args:
            method: of HTTP.
            target: path and query.
        """
        found: object = answer
        if target.startswith("/graph/schema"):
            found = SCHEMA
        elif target.endswith("explain"):
            found = {"strategy": "route", "why": ["one key"], "shards": [1]}
        return Answer(200, {}, json.dumps(found).encode())

    return FakeClient(handle)


def asked(client: FakeClient) -> list[Any]:
    """Return the bodies that were sent."""
    return [json.loads(body) for _, _, body, _ in client.asked if body]


def test_a_statement_is_run_and_shown_as_a_table() -> None:
    """Columns align; NULL is NULL; what is nested is JSON."""
    client = cluster()
    result = run(client, "cypher", "MATCH (n) RETURN n;", "--graph", "g")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "name        n",
        "Ann         2",
        "NULL       30",
        '{"a":[1]}   4',
    ]
    (body,) = asked(client)
    assert (body["query"], body["graph"]) == ("MATCH (n) RETURN n", "g")


def test_answers_come_as_csv_and_json() -> None:
    """CSV has nothing for NULL; JSON is the whole answer."""
    result = run(cluster(), "cypher", "RETURN 1", "-o", "csv")
    assert result.output == 'name,n\nAnn,2\n,30\n"{""a"":[1]}",4\n'
    result = run(cluster(), "cypher", "RETURN 1", "-o", "json")
    assert json.loads(result.output) == ANSWER


def test_parameters_are_json_or_text() -> None:
    """What is not JSON is text."""
    client = cluster()
    words = ["--param", "n=1", "--param", "$s=Ann", "--param", "l=[1,2]"]
    run(client, "cypher", "RETURN $n", *words)
    assert asked(client)[0]["parameters"] == {"n": 1, "s": "Ann", "l": [1, 2]}
    assert run(client, "cypher", "RETURN 1", "--param", "n").exit_code == 2


def test_standard_input_may_have_several_statements() -> None:
    """They run in order; strings and comments may have semicolons."""
    client = cluster({"columns": [], "rows": [], "stats": {"nodes_created": 1}})
    text = b"CREATE (a {n: 'x;y'}); // ;\n/* ; */ RETURN `a;b`\n;RETURN 3"
    result = run(client, "cypher", stdin=text)
    assert [each["query"] for each in asked(client)] == [
        "CREATE (a {n: 'x;y'})",
        "RETURN `a;b`",
        "RETURN 3",
    ]
    assert result.output.splitlines()[0] == "nodes_created: 1"


def test_a_refused_statement_is_one_clear_line() -> None:
    """It ends with 5, and what follows is not run."""
    problem = {"detail": "line 1: RETRN is no clause.", "request_id": "r"}
    client = answering(Answer(400, {}, json.dumps(problem).encode()))
    result = run(client, "cypher", "RETRN 1; RETURN 2")
    assert result.exit_code == 5
    assert result.output == "torua: line 1: RETRN is no clause (400, request r)\n"
    assert len(client.asked) == 1


def test_an_explanation_is_asked_for() -> None:
    """It says where a statement would run."""
    client = cluster()
    result = run(client, "cypher", "RETURN 1", "--explain")
    assert client.asked[0][1] == "/cypher/explain"
    assert "strategy  route" in result.output


def test_an_unfinished_string_is_kept_whole() -> None:
    """A semicolon within it ends nothing; the rest waits for more."""
    assert split_statements("RETURN 'a; b") == ([], "RETURN 'a; b")
    assert split_statements("RETURN 'a\\'; b'; X") == (["RETURN 'a\\'; b'"], "X")
    assert split_statements("RETURN 1 / 2;") == (["RETURN 1 / 2"], "")


class Typed:
    """Lines that a test types.

    Invariants: each comes once; an exception among them is raised.
    """

    def __init__(self, *lines: str | type[BaseException]) -> None:
        """Begin before the first."""
        self.lines = list(lines)
        self.prompts: list[str] = []

    def line(self, prompt: str) -> str:
        """Return the next line; at their end it is as if Ctrl-D was typed."""
        self.prompts.append(prompt)
        found = self.lines.pop(0) if self.lines else EOFError
        if isinstance(found, str):
            return found
        raise found


def typed(client: FakeClient, *lines: str | type[BaseException]) -> Typed:
    """Run a shell on lines.

    Args:
        client: whom it asks.
        lines: what is typed.
    """
    given = Typed(*lines)
    Shell(client, graph="main", form="table", parameters={}).run(given)
    return given


def test_the_shell_takes_statements_of_several_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A statement is run at its semicolon; the prompt shows that more is wanted."""
    client = cluster()
    given = typed(client, "MATCH (n)", "RETURN n;", ":quit", "never")
    assert [each["query"] for each in asked(client)] == ["MATCH (n)\nRETURN n"]
    assert given.prompts == ["torua> ", "     > ", "torua> "]
    assert "Ann" in capsys.readouterr().out


def test_the_shell_forgets_a_statement_at_ctrl_c() -> None:
    """Nothing of it is run."""
    client = cluster()
    typed(client, "MATCH (n)", KeyboardInterrupt, "RETURN 1;")
    assert [each["query"] for each in asked(client)] == ["RETURN 1"]


def test_the_shell_goes_on_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line."""
    client = answering(Answer(422, {}, b'{"detail":"no such table"}'))
    typed(client, "RETURN 1;", ":nothing", ":help")
    told = capsys.readouterr()
    assert "torua: no such table (422)" in told.err
    assert "there is no command :nothing" in told.err
    assert ":explain" in told.out


def test_the_shell_has_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """They show the schema, explain, and change what statements are run with."""
    client = cluster()
    typed(
        client,
        ":schema",
        ":explain RETURN 1",
        ":graph other",
        ":output csv",
        ":param n=5",
        "RETURN $n;",
    )
    out = capsys.readouterr().out
    assert "Person → Person" in out
    assert "route" in out
    assert "Ann,2" in out
    assert asked(client)[-1]["parameters"] == {"n": 5}
    assert asked(client)[-1]["graph"] == "other"


def test_a_command_of_the_shell_can_be_run_alone() -> None:
    """Its failure is the command's."""
    result = run(cluster(), "cypher", ":schema")
    assert "Person → Person" in result.output
    assert run(cluster(), "cypher", ":nothing").exit_code == 5


def test_an_empty_statement_is_refused() -> None:
    """There must be something to be run."""
    assert run(cluster(), "cypher", " ; ").exit_code == 2

"""What ``torua kv`` sends, prints, and tells a script."""

import json

import pytest

from tests.cli.fakes import FakeClient, answering, run
from torua.cli.http import Answer

DONE = Answer(
    204, {"etag": '"7"', "torua-shard": "2", "torua-served-by": "node-1"}, b""
)
BYTES = bytes(range(256))


def problem(status: int, detail: str) -> Answer:
    """Make an error answer.

    Args:
        status: of HTTP.
        detail: what the problem says.
    """
    body = json.dumps({"detail": detail, "status": status, "request_id": "r-1"})
    return Answer(status, {"content-type": "application/problem+json"}, body.encode())


def test_get_writes_the_exact_bytes() -> None:
    """Nothing is decoded, added or coloured between the API and standard output."""
    result = run(answering(Answer(200, {"etag": '"3"'}, BYTES)), "kv", "get", "k")
    assert (result.exit_code, result.stdout_bytes) == (0, BYTES)


@pytest.mark.parametrize("words", [("k",), ("k", "-")])
def test_put_reads_the_exact_bytes_of_standard_input(words: tuple[str, ...]) -> None:
    """A value left out, or a dash, is whatever bytes standard input brings."""
    client = answering(DONE)
    result = run(client, "kv", "put", *words, stdin=BYTES)
    assert result.exit_code == 0
    assert client.asked[0][:3] == ("PUT", "/kv/k", BYTES)
    assert result.stdout == "version 7\n"


def test_put_passes_conditions_ttl_and_type_on() -> None:
    """Each option becomes the header or the parameter that the API knows."""
    client = answering(DONE)
    words = ("--if-match", "6", "--ttl", "2.5", "--content-type", "text/plain")
    result = run(client, "kv", "put", "k", "v", *words, "--idempotency-key", "once")
    assert result.exit_code == 0
    _, target, body, headers = client.asked[0]
    assert (target, body) == ("/kv/k?ttl=2.5", b"v")
    assert headers == {
        "If-Match": '"6"',
        "Content-Type": "text/plain",
        "Idempotency-Key": "once",
    }


def test_put_if_none_match_keeps_its_star() -> None:
    """The star is not a version and is not quoted."""
    client = answering(DONE)
    run(client, "kv", "put", "k", "v", "--if-none-match", "*")
    assert client.asked[0][3]["If-None-Match"] == "*"


def test_put_tells_programs_where_the_key_went() -> None:
    """The JSON form holds version, shard and node."""
    result = run(answering(DONE), "kv", "put", "k", "v", "-o", "json")
    assert json.loads(result.stdout) == {
        "key": "k",
        "version": 7,
        "shard": 2,
        "served_by": "node-1",
    }


@pytest.mark.parametrize(
    ("value", "member"),
    [("å".encode(), {"value": "å"}), (b"\xff", {"value_base64": "/w=="})],
)
def test_get_spells_a_value_in_json(value: bytes, member: dict[str, str]) -> None:
    """UTF-8 stands as text, anything else in base64."""
    answer = Answer(200, {"etag": '"3"', "content-type": "a/b"}, value)
    result = run(answering(answer), "kv", "get", "k", "-o", "json")
    said = json.loads(result.stdout)
    assert said["content_type"] == "a/b"
    assert said["version"] == 3
    assert member.items() <= said.items()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b//c", "/kv/a%2Fb%2F%2Fc"),
        ("a b?c%d", "/kv/a%20b%3Fc%25d"),
        ("..", "/kv/%2E%2E"),
        ("é😀", "/kv/%C3%A9%F0%9F%98%80"),
        ("-x", "/kv/-x"),
    ],
)
def test_keys_are_percent_encoded_whole(key: str, path: str) -> None:
    """No character of a key is taken for a part of the URL."""
    client = answering(DONE)
    assert run(client, "kv", "delete", "--", key).exit_code == 0
    assert client.asked[0][:2] == ("DELETE", path)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((404, 1), (409, 1), (412, 1), (400, 5), (413, 5), (500, 5)),
        *((429, 3), (503, 3), (507, 3), (504, 4)),
    ],
)
def test_exit_code_tells_what_kind_of_no_it_is(status: int, code: int) -> None:
    """Scripts can tell no, unavailable, outcome unknown and failed apart."""
    result = run(answering(problem(status, "No way.")), "kv", "put", "k", "v")
    assert result.exit_code == code
    assert result.stderr == f"torua: No way ({status}, request r-1)\n"
    assert result.stdout == ""


def test_an_error_without_a_problem_document_is_still_one_line() -> None:
    """What a proxy answers in HTML does not spill over the terminal."""
    html = Answer(502, {}, b"<html>\n<h1>Bad\n</h1>", "http://fake:1")
    result = run(answering(html), "kv", "get", "k")
    assert result.stderr == "torua: http://fake:1 answered without a reason (502)\n"


def test_get_of_an_unchanged_key_says_no() -> None:
    """A 304 is no value, and not an empty one."""
    words = ("kv", "get", "k", "--if-none-match", "3")
    result = run(answering(Answer(304, {}, b"")), *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "still at version 3" in result.stderr


def test_a_version_that_is_none_is_a_usage_error() -> None:
    """It is refused before anything is sent."""
    client = answering(DONE)
    result = run(client, "kv", "put", "k", "v", "--if-match", "new")
    assert (result.exit_code, client.asked) == (2, [])


def paged() -> FakeClient:
    """Return a cluster whose listing has two pages.

    Each page is known by its whole target, so that no other request is answered.
    """
    pages = {
        "/kv?prefix=a&limit=1000": (["a1", "a2"], "a2"),
        "/kv?prefix=a&after=a2&limit=1000": (["a3"], None),
    }

    def handle(
        method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        """Answer with a page.

        Args:
            method: not looked at.
            target: which page.
            body: not looked at.
            headers: not looked at.
        """
        keys, following = pages[target]
        items = [{"key": key, "version": 1, "size": 5} for key in keys]
        page = {"items": items, "next": following}
        return Answer(200, {}, json.dumps(page).encode())

    return FakeClient(handle)


def test_list_joins_all_pages() -> None:
    """Whoever lists need not know that there are pages."""
    result = run(paged(), "kv", "list", "a", "-o", "json")
    assert [item["key"] for item in json.loads(result.stdout)] == ["a1", "a2", "a3"]


def test_a_table_in_a_pipe_has_plain_lines() -> None:
    """Rows are aligned, without escape sequences, lines or trailing columns cut."""
    result = run(paged(), "kv", "list", "a")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [["key", "version", "size"]] + [
        [key, "1", "5"] for key in ("a1", "a2", "a3")
    ]


def test_list_stops_at_its_limit() -> None:
    """The limit is the user's in all, not one page's."""
    page = {"items": [{"key": "a", "version": 1, "size": 1}], "next": "a"}
    client = answering(Answer(200, {}, json.dumps(page).encode()))
    result = run(client, "kv", "list", "--limit", "2", "-o", "json")
    assert len(json.loads(result.stdout)) == 2
    assert [target for _, target, *_ in client.asked] == [
        "/kv?limit=2",
        "/kv?after=a&limit=1",
    ]


def test_listed_values_stay_on_their_line() -> None:
    """A line break within a value is spelled, not printed."""
    items = [
        {"key": "a", "version": 1, "size": 3, "value": "x\ny"},
        {"key": "b", "version": 1, "size": 1, "value_base64": "/w=="},
    ]
    page = json.dumps({"items": items, "next": None}).encode()
    result = run(answering(Answer(200, {}, page)), "kv", "list", "--values")
    assert '"x\\ny"' in result.stdout
    assert "base64:/w==" in result.stdout

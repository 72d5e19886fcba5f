"""Keys and values: what is sent, and what is made of the answers."""

import json
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.fakes import DROP, FakeNode, Heard, Says, fake_node, problem, told
from torua.client import (
    UNCHANGED,
    BulkResult,
    Client,
    Delete,
    Get,
    Head,
    Item,
    NotFoundError,
    Operation,
    PreconditionError,
    Put,
    Retry,
    UnexpectedAnswerError,
    Value,
)

pytestmark = pytest.mark.integration

QUICK = Retry(attempts=4, base_s=0.001, cap_s=0.002)
WRITTEN = Says(204, headers={"ETag": '"7"'})


@pytest.fixture(scope="module")
def echo() -> Iterator[FakeNode]:
    """Yield a node that answers with the path that it was asked for."""
    with fake_node() as serving:
        serving.usual = lambda heard: Says(
            200, heard.path.encode(), {"ETag": '"1"', "Content-Type": "a/b"}
        )
        yield serving


keys = st.text(
    st.characters(codec="utf-8") | st.sampled_from("/.%?#&+ \\~\0\n"), min_size=1
).filter(lambda key: len(key.encode()) <= 1024)


@settings(deadline=None, max_examples=150)
@given(key=keys)
def test_any_key_arrives_as_it_is(echo: FakeNode, key: str) -> None:
    """A node takes the path literally and decodes it once: that gives the key."""
    with Client(echo.url) as client:
        value = client.kv.get(key)
    assert value is not None
    path = urlsplit(value.data.decode().partition("?")[0]).path
    assert unquote_to_bytes(path.removeprefix("/kv/")).decode() == key
    assert not {".", ".."}.intersection(path.split("/"))


@pytest.mark.parametrize("key", ["", "é" * 513, "\ud800"])
def test_what_is_no_key_is_not_sent(node: FakeNode, key: str) -> None:
    """Empty, over 1,024 bytes, no Unicode: a ValueError, here."""
    client = Client(node.url)
    for call in (client.kv.get, client.kv.delete):
        with pytest.raises(ValueError):
            call(key)
    with pytest.raises(ValueError):
        client.kv.bulk([Get(key)])
    assert node.heard == []


def test_a_value_comes_with_version_and_type(node: FakeNode) -> None:
    """Exactly the bytes, the version of the ETag, the type that was stored."""
    data = bytes(range(256)) * 100
    node.usual = Says(200, data, {"ETag": '"12"', "Content-Type": "image/x; a=b"})
    client = Client(node.url)
    assert client.kv.get("k") == Value(data, 12, "image/x; a=b")
    assert client.kv.head("k") == Head(12, "image/x; a=b", len(data))


def test_an_absent_key_is_none(node: FakeNode) -> None:
    """Whether it is read, looked at, or compared."""
    node.usual = problem(404, "not-found")
    client = Client(node.url)
    assert client.kv.get("k") is None
    assert client.kv.head("k") is None
    assert client.kv.get_if_changed("k", 3) is None


def test_a_server_that_is_none_of_ours_has_no_absent_keys(node: FakeNode) -> None:
    """Its 404 means that nothing is served there, not that a key is absent."""
    node.usual = Says(404, b"<h1>not found</h1>")
    with pytest.raises(NotFoundError):
        Client(node.url).kv.get("k")
    node.usual = Says(200, b"<h1>welcome</h1>")
    with pytest.raises(UnexpectedAnswerError, match="version"):
        Client(node.url).kv.get("k")


def test_a_value_that_the_caller_has_is_not_sent_again(node: FakeNode) -> None:
    """304 is UNCHANGED."""
    node.script.extend([Says(304, headers={"ETag": '"3"'})])
    assert Client(node.url).kv.get_if_changed("k", 3) is UNCHANGED
    assert node.heard[0].headers["if-none-match"] == '"3"'


def test_conditions_and_time_to_live_are_told(node: FakeNode) -> None:
    """Each in its place; the version that is answered is returned."""
    node.usual = WRITTEN
    client = Client(node.url)
    assert client.kv.put("k", b"v", if_version=6, content_type="text/plain") == 7
    assert client.kv.put("k", bytearray(b"w"), if_absent=True, ttl_s=0.25) == 7
    client.kv.delete("k", if_version=7)
    first, second, third = node.heard
    assert (first.headers["if-match"], first.body) == ('"6"', b"v")
    assert first.headers["content-type"] == "text/plain"
    assert (second.headers["if-none-match"], second.body) == ("*", b"w")
    assert parse_qs(urlsplit(second.path).query)["ttl"] == ["0.250000"]
    assert (third.method, third.headers["if-match"]) == ("DELETE", '"7"')
    with pytest.raises(ValueError):
        client.kv.put("k", b"v", if_version=1, if_absent=True)


def test_a_value_is_bytes(node: FakeNode) -> None:
    """Text has no bytes of its own, a number even less."""
    client = Client(node.url)
    for value in ("text", 5):
        with pytest.raises(TypeError):
            client.kv.put("k", value)  # type: ignore[arg-type]
    assert node.heard == []


def test_a_condition_that_does_not_hold_is_raised(node: FakeNode) -> None:
    """With all that the problem says."""
    node.usual = problem(412, "precondition-failed", version=9, request_id="r-1")
    with pytest.raises(PreconditionError) as caught:
        Client(node.url).kv.put("k", b"v", if_version=6)
    error = caught.value
    assert (error.status, error.code) == (412, "precondition-failed")
    assert (error.request_id, error.members["version"]) == ("r-1", 9)
    assert len(node.heard) == 1


def test_a_list_goes_on_until_there_is_no_next_page(node: FakeNode) -> None:
    """Short and empty pages in between are not the end."""
    node.script.extend(
        [
            told(
                {
                    "items": [
                        {"key": "a", "version": 1, "size": 2, "value": "é"},
                        {"key": "b", "version": 2, "size": 1, "value_base64": "/w=="},
                    ],
                    "next": "b",
                }
            ),
            told({"items": [], "next": "c"}),
            told({"items": [{"key": "d", "version": 3, "size": 0}], "next": None}),
        ]
    )
    found = list(Client(node.url).kv.list("p/&", values=True, page_size=2))
    assert found == [
        Item("a", 1, 2, "é".encode()),
        Item("b", 2, 1, b"\xff"),
        Item("d", 3, 0),
    ]
    asked = [parse_qs(urlsplit(heard.path).query) for heard in node.heard]
    assert [each.get("after") for each in asked] == [None, ["b"], ["c"]]
    assert asked[0]["prefix"] == ["p/&"]
    assert (asked[0]["limit"], asked[0]["values"]) == (["2"], ["true"])


def bulk_answer(*results: Mapping[str, object]) -> Says:
    """Answer a bulk request with results."""
    body = {"errors": 0, "results": list(results)}
    return Says(200, cbor2.dumps(body), {"Content-Type": "application/cbor"})


def test_a_bulk_request_is_one_array_and_answered_in_order(node: FakeNode) -> None:
    """Typed operations in, typed results out."""
    node.usual = bulk_answer(
        {"status": 204, "version": 1},
        {"status": 200, "version": 1, "value": b"\xff"},
        {"status": 412, "version": 1, "detail": "no"},
        {"status": 404, "version": None, "detail": "no such key"},
    )
    operations: list[Operation] = [
        Put("a", b"\xff", if_version=0, ttl_s=2.5),
        Get("a"),
        Delete("a", if_version=9),
        Get("b"),
    ]
    results = Client(node.url).kv.bulk(operations)
    assert results == (
        BulkResult(204, 1),
        BulkResult(200, 1, b"\xff"),
        BulkResult(412, 1, None, "no"),
        BulkResult(404, None, None, "no such key"),
    )
    assert [each.ok for each in results] == [True, True, False, False]
    assert cbor2.loads(node.heard[0].body) == [
        {"op": "put", "key": "a", "value": b"\xff", "if_version": 0, "ttl": 2.5},
        {"op": "get", "key": "a"},
        {"op": "delete", "key": "a", "if_version": 9},
        {"op": "get", "key": "b"},
    ]


def test_what_a_shard_could_not_do_is_asked_for_again(node: FakeNode) -> None:
    """All of it, under the same key: what is done already is answered as before."""
    done, late = {"status": 204, "version": 1}, {"status": 503, "detail": "wait"}
    node.script.extend([bulk_answer(done, late), bulk_answer(done, done)])
    results = Client(node.url, retry=QUICK).kv.bulk([Put("a", b""), Put("b", b"")])
    assert [each.status for each in results] == [204, 204]
    first, second = node.heard
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body


def test_what_stays_unknown_within_a_bulk_request_is_told_so(node: FakeNode) -> None:
    """A refusal after an unknown outcome, or a break after a refusal, tells nothing."""
    unknown, refused = {"status": 504}, {"status": 503}
    done = {"status": 204, "version": 1}
    node.script.append(bulk_answer(unknown, refused, done))
    node.usual = bulk_answer(refused, refused, done)
    client = Client(node.url, retry=QUICK)
    operations = [Put("a", b""), Put("b", b""), Put("c", b"")]
    assert [each.status for each in client.kv.bulk(operations)] == [504, 503, 204]
    node.script.append(bulk_answer(done, refused, done))
    node.usual = DROP
    assert [each.status for each in client.kv.bulk(operations)] == [204, 504, 204]


def test_results_that_do_not_fit_are_refused(node: FakeNode) -> None:
    """One result for two operations, and what is no CBOR."""
    client = Client(node.url)
    for body in (bulk_answer({"status": 204}), Says(200, b"\xff")):
        node.usual = body
        with pytest.raises(UnexpectedAnswerError):
            client.kv.bulk([Get("a"), Get("b")])


def test_freshness_is_asked_for_as_the_caller_wants(node: FakeNode) -> None:
    """Bounds and levels go together, or not at all."""
    node.usual = lambda _: problem(404, "not-found")
    client = Client(node.url)
    client.kv.get("k", consistency="any")
    client.kv.get("k", consistency="bounded", max_staleness_s=1.5)
    asked = [parse_qs(urlsplit(heard.path).query) for heard in node.heard]
    assert asked[0]["consistency"] == ["any"]
    assert asked[1]["consistency"] == ["bounded"]
    assert asked[1]["max_staleness"] == ["1500"]
    with pytest.raises(ValueError):
        client.kv.get("k", consistency="bounded")
    with pytest.raises(ValueError):
        client.kv.get("k", max_staleness_s=1.0)


def test_headers_of_the_client_go_with_each_request(node: FakeNode) -> None:
    """And are not shown by its representation."""
    node.usual = told({"items": [], "next": None})
    client = Client(node.url, headers={"Authorization": "Bearer s3cret"})
    assert list(client.kv.list()) == []
    assert node.heard[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(client)


def test_a_path_before_the_api_is_kept(node: FakeNode) -> None:
    """An endpoint may be behind a gateway that serves it under a path."""

    def reply(heard: Heard) -> Says:
        """Answer with what was asked for."""
        return Says(200, json.dumps(heard.path).encode(), {"ETag": '"1"'})

    node.usual = reply
    value = Client(f"{node.url}/torua/").kv.get("k")
    assert value is not None
    assert value.data.startswith(b'"/torua/kv/k?')

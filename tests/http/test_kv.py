"""Keys and values over HTTP."""

from urllib.parse import quote, quote_plus

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.wire import World
from torua.core.kv import Condition, Put
from torua.errors import ERRORS, UnavailableError
from torua.http.problems import KINDS

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: len(text.encode()) <= 1024
)
ODD = ["/", "//", "a//b", "/a", "a/", ".", "..", "../x", "./", " ", "?", "a?b=c", "%"]
ODD += ["%2F", "#", "&=+", ";", "|", "<x>", "é", "日本", "😀", "\x00", "\n", "health"]


@pytest.mark.parametrize("key", ODD)
@pytest.mark.parametrize("safe", ["", "/", "/.;&=+:@!$'()*,"])
def test_an_odd_key_stays_what_it_is(key: str, safe: str) -> None:
    """A key comes through whole, whether or not what can stand raw stands raw."""
    world = World()
    target = "/kv/" + quote(key, safe=safe)
    assert world.ask("PUT", target, b"v").status == 204
    assert list(world.key_value.entries) == [key.encode()]
    assert world.ask("GET", target).body == b"v"


@given(key=KEYS, value=st.binary(max_size=300))
def test_any_key_and_any_value_come_back(key: str, value: bytes) -> None:
    """What is put under any Unicode text is got back byte for byte."""
    world = World()
    target = "/kv/" + quote(key, safe="")
    assert world.ask("PUT", target, value).status == 204
    assert world.ask("GET", target).body == value
    assert world.ask("GET", "/kv").json["items"][0]["key"] == key


def test_a_key_may_stand_there_in_raw_utf8() -> None:
    """Clients that do not encode a path are understood."""
    world = World()
    wire = world.connect()
    wire.send("PUT /kv/naïve HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert wire.responses("PUT")[0].status == 204
    assert list(world.key_value.entries) == ["naïve".encode()]


def test_an_absolute_target_is_understood() -> None:
    """A client that thinks us a proxy is served."""
    world = World()
    assert world.ask("PUT", "http://other:1/kv/a//b?ttl=1", b"v").status == 204
    assert list(world.key_value.entries) == [b"a//b"]


@pytest.mark.parametrize(
    "path",
    ["/kv/", "/kv/%", "/kv/%4", "/kv/%zz", "/kv/%ff", "/kv/%C3", "/kv/%ed%a0%80"],
)
def test_a_malformed_key_is_refused(path: str) -> None:
    """Bad percent signs, what is not UTF-8, and an empty key are the caller's error."""
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert World().ask(method, path).status == 400


def test_a_key_has_up_to_1024_bytes() -> None:
    """The limit is on bytes, and holds to the byte."""
    assert World().ask("PUT", "/kv/" + "k" * 1024).status == 204
    assert World().ask("PUT", "/kv/" + "%C3%A9" * 512).status == 204
    assert World().ask("PUT", "/kv/" + "k" * 1025).status == 400


def test_put_answers_with_the_version_and_who_served() -> None:
    """A write says all that a client may want to pass back."""
    response = World().ask("PUT", "/kv/k", b"v")
    assert (response.status, response.body) == (204, b"")
    assert response.headers["etag"] == '"1"'
    assert response.headers["torua-token"] == "t1"
    assert response.headers["torua-served-by"] == "n1"
    assert response.headers["torua-shard"] in "0123"
    assert "content-type" not in response.headers
    assert "content-length" not in response.headers


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"v" * 70_000, bytes(range(256)) * 999]
)
def test_get_answers_the_exact_bytes(value: bytes) -> None:
    """Values of any length come back as they were, with their length and version."""
    world = World()
    world.ask("PUT", "/kv/k", value)
    response = world.ask("GET", "/kv/k")
    assert (response.status, response.body) == (200, value)
    assert response.headers["etag"] == '"1"'
    assert response.headers["content-length"] == str(len(value))
    assert response.headers["content-type"] == "application/octet-stream"


def test_head_answers_the_headers_of_get() -> None:
    """HEAD is GET without the body."""
    world = World()
    world.ask("PUT", "/kv/k", b"v" * 70_000)
    got, headed = world.ask("GET", "/kv/k"), world.ask("HEAD", "/kv/k")
    assert headed.headers == got.headers
    assert headed.body == b""
    assert world.ask("HEAD", "/kv/none").status == 404


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "x/y;q=\xe9", "weird"])
def test_the_content_type_comes_back_exactly(kind: str) -> None:
    """Whatever type was given is given back."""
    world = World()
    wire = world.connect()
    head = f"PUT /kv/k HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 0"
    wire.send(head.encode("latin-1") + b"\r\n\r\n")
    assert wire.responses("PUT")[0].status == 204
    wire.hang_up()
    assert world.ask("GET", "/kv/k").headers["content-type"] == kind


def test_what_would_not_be_kept_is_refused() -> None:
    """Parts of values, codings and endless types are refused, not dropped."""
    assert World().ask("PUT", "/kv/k", b"v", Content_Encoding="gzip").status == 415
    assert World().ask("PUT", "/kv/k", b"v", Content_Encoding="identity").status == 204
    assert World().ask("PUT", "/kv/k", b"v", Content_Range="bytes 0-0/2").status == 400
    assert World().ask("PUT", "/kv/k", b"v", Content_Type="t" * 256).status == 400


def test_an_absent_key_is_not_found() -> None:
    """GET says 404 as a problem, DELETE does not mind."""
    response = World().ask("GET", "/kv/none")
    assert response.status == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert World().ask("DELETE", "/kv/none").status == 204


def test_delete_removes() -> None:
    """After DELETE the key is absent."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    response = world.ask("DELETE", "/kv/k")
    assert response.status == 204
    assert "etag" not in response.headers
    assert world.ask("GET", "/kv/k").status == 404


@pytest.mark.parametrize(
    ("header", "tags", "status"),
    [
        ("If-Match", '"1"', 204),
        ("If-Match", "*", 204),
        ("If-Match", '"7", "1"', 204),
        ("If-Match", '"7" ,, "1",', 204),
        ("If-Match", '"2"', 412),
        ("If-Match", '"01"', 412),
        ("If-Match", 'W/"1"', 412),
        ("If-Match", '"a,b"', 412),
        ("If-Match", '""', 412),
        ("If-Match", '"' + "9" * 5000 + '"', 412),
        ("If-None-Match", "*", 412),
        ("If-None-Match", '"1"', 412),
        ("If-None-Match", 'W/"1"', 412),
        ("If-None-Match", '"2"', 204),
        ("If-Match", "1", 400),
        ("If-Match", "", 400),
        ("If-Match", '"1', 400),
        ("If-Match", '"1" "2"', 400),
        ("If-Match", '*, "1"', 400),
        ("If-None-Match", "w/1", 400),
    ],
)
def test_conditions_decide_a_write(header: str, tags: str, status: int) -> None:
    """Conditions hold or not as RFC 9110 says; malformed ones are refused."""
    for method in ("PUT", "DELETE"):
        world = World()
        world.ask("PUT", "/kv/k", b"v")
        response = world.ask(method, "/kv/k", b"", **{header: tags})
        assert response.status == status


def test_conditions_on_an_absent_key() -> None:
    """Create-only works once, and update-only does not create."""
    world = World()
    assert world.ask("PUT", "/kv/k", b"v", If_Match="*").status == 412
    assert world.ask("PUT", "/kv/k", b"v", If_None_Match="*").status == 204
    assert world.ask("PUT", "/kv/k", b"v", If_None_Match="*").status == 412


@pytest.mark.parametrize("tags", ['"1"', 'W/"1"', "*", '"0", "1"'])
def test_a_reader_that_has_it_gets_304(tags: str) -> None:
    """If-None-Match saves the body, not the headers."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    response = world.ask("GET", "/kv/k", If_None_Match=tags)
    assert (response.status, response.body) == (304, b"")
    assert response.headers["etag"] == '"1"'
    assert world.ask("HEAD", "/kv/k", If_None_Match=tags).status == 304


def test_a_reader_that_has_another_gets_it() -> None:
    """Other versions give 200; If-Match on a read gives 412."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    assert world.ask("GET", "/kv/k", If_None_Match='"2"').status == 200
    assert world.ask("GET", "/kv/k", If_Match='"1"').status == 200
    assert world.ask("GET", "/kv/k", If_Match='"2"').status == 412


@pytest.mark.parametrize(
    ("text", "ttl_s"), [("1", 1.0), ("0.5", 0.5), ("86400", 86400)]
)
def test_ttl_is_passed_on(text: str, ttl_s: float) -> None:
    """A time to live reaches the write in seconds."""
    world = World()
    assert world.ask("PUT", f"/kv/k?ttl={text}", b"v").status == 204
    assert world.key_value.writes == [Put(b"k", b"v", ttl_s=ttl_s)]


@pytest.mark.parametrize(
    "query",
    [
        "ttl=0",
        "ttl=-1",
        "ttl=nan",
        "ttl=inf",
        "ttl=1e9",
        "ttl=",
        "ttl=x",
        "ttl=1_0",
        "ttl=99999999999",
        "ttl=1&ttl=2",
        "ttl=%ff",
        "ttl=%",
        "timeout_ms=0",
        "timeout_ms=60001",
        "timeout_ms=1.5",
        "timeout_ms=x",
        "timeout_ms=٣",
    ],
)
def test_a_malformed_parameter_of_a_write_is_refused(query: str) -> None:
    """What is out of bounds or no number is the caller's error."""
    target = quote(f"/kv/k?{query}", safe="/?=&%")
    world = World()
    assert world.ask("PUT", target, b"v").status == 400
    assert world.key_value.writes == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("consistency=linearizable", 200),
        ("consistency=session", 200),
        ("consistency=any", 200),
        ("consistency=bounded&max_staleness=100", 200),
        ("consistency=bounded", 400),
        ("consistency=bounded&max_staleness=-1", 400),
        ("consistency=strong", 400),
        ("consistency=", 400),
        ("unheard_of=1", 200),
    ],
)
def test_consistency_is_one_of_four(query: str, status: int) -> None:
    """Levels are checked wherever something is read."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    assert world.ask("GET", f"/kv/k?{query}").status == status
    assert world.ask("GET", f"/kv?{query}").status == status
    assert world.ask("POST", f"/bulk?{query}").status == status


def test_the_caller_says_how_long_it_waits() -> None:
    """The time reaches the call, with the id and the trace."""
    world = World()
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    world.ask("GET", "/kv/k?timeout_ms=1500", X_Request_Id="me.1", traceparent=trace)
    world.ask("GET", "/kv/k", X_Request_Id="no good", traceparent="00-zz")
    first, second = world.key_value.calls
    assert (first.timeout_s, first.request_id, first.traceparent) == (
        1.5,
        "me.1",
        trace,
    )
    assert (second.timeout_s, second.request_id, second.traceparent) == (
        30,
        "fresh",
        "",
    )


def test_an_idempotent_retry_gets_the_first_outcome() -> None:
    """The same request is done once; another one under its key is refused."""
    world = World()
    assert world.ask("PUT", "/kv/k", b"v", Idempotency_Key="i").headers["etag"] == '"1"'
    assert (
        world.ask("PUT", "/kv/%6B", b"v", Idempotency_Key="i").headers["etag"] == '"1"'
    )
    assert world.ask("PUT", "/kv/k", b"w", Idempotency_Key="i").status == 422
    retyped = world.ask("PUT", "/kv/k", b"v", Idempotency_Key="i", Content_Type="a/b")
    assert retyped.status == 422
    assert world.ask("PUT", "/kv/k?ttl=9", b"v", Idempotency_Key="i").status == 422
    conditional = world.ask("PUT", "/kv/k", b"v", Idempotency_Key="i", If_Match="*")
    assert conditional.status == 422


def test_an_idempotency_key_is_scoped() -> None:
    """Another method or another path makes it another promise."""
    world = World()
    world.ask("PUT", "/kv/k", b"v", Idempotency_Key="i")
    assert world.ask("PUT", "/kv/other", b"w", Idempotency_Key="i").status == 204
    assert world.ask("DELETE", "/kv/k", Idempotency_Key="i").status == 204
    assert world.ask("GET", "/kv/k").status == 404


@pytest.mark.parametrize("key", ["", "k" * 129, "a\tb", "\x7f"])
def test_a_malformed_idempotency_key_is_refused(key: str) -> None:
    """It has 1 to 128 printable characters."""
    assert World().ask("PUT", "/kv/k", b"v", Idempotency_Key=key).status == 400


def test_a_list_goes_on_where_the_last_one_ended() -> None:
    """Pages in byte order cover every key once."""
    world = World()
    names = ["a", "a b", "a+b", "a/1", "a/2", "b", "é", "😀"]
    for name in reversed(names):
        world.ask("PUT", "/kv/" + quote(name, safe=""), name.encode())
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = world.ask("GET", f"/kv?limit=3&after={quote_plus(after)}").json
        found += [item["key"] for item in page["items"]]
        after = page["next"]
    assert found == sorted(names, key=str.encode)
    prefixed = world.ask("GET", "/kv?prefix=a%2F").json
    assert prefixed["items"] == [
        {"key": "a/1", "version": 5, "size": 3},
        {"key": "a/2", "version": 4, "size": 3},
    ]
    assert prefixed["next"] is None


def test_a_list_brings_values_where_asked() -> None:
    """Values are text where they are UTF-8, else base64; in CBOR they are bytes."""
    world = World()
    world.ask("PUT", "/kv/a", "é".encode())
    world.ask("PUT", "/kv/b", b"\xff")
    first, second = world.ask("GET", "/kv?values=true").json["items"]
    assert first == {"key": "a", "version": 1, "size": 2, "value": "é"}
    assert second == {"key": "b", "version": 2, "size": 1, "value_base64": "/w=="}
    response = world.ask("GET", "/kv?values", Accept="application/cbor")
    assert response.headers["content-type"] == "application/cbor"
    items = cbor2.loads(response.body)["items"]
    assert [item["value"] for item in items] == ["é".encode(), b"\xff"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "values=maybe",
        "prefix=%ff",
        "after=%ffn",
        "prefix=" + "p" * 1025,
        "after=" + "p" * 1025,
    ],
)
def test_a_malformed_parameter_of_a_list_is_refused(query: str) -> None:
    """What is out of bounds or not UTF-8 is the caller's error."""
    assert World().ask("GET", f"/kv?{query}").status == 400


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_expected_error_has_its_status(code: str) -> None:
    """Each error of the house becomes a problem with the status of the table."""
    world = World()
    world.key_value.failure = ERRORS[code]("so it is", shard=3)
    response = world.ask("GET", "/kv/k", X_Request_Id="me")
    assert response.status == KINDS[code].status
    assert response.headers["x-request-id"] == "me"
    body = response.json
    assert (body["status"], body["detail"]) == (response.status, "so it is")
    assert (body["shard"], body["request_id"]) == (3, "me")
    assert body["type"].endswith(code)
    assert body["title"]
    assert ("retry-after" in response.headers) == (response.status in (429, 503))


def test_retry_after_is_passed_on() -> None:
    """What the error wants is said in the header, in whole seconds."""
    world = World()
    world.key_value.failure = UnavailableError("no primary", retry_after=2.2)
    response = world.ask("PUT", "/kv/k", b"v")
    assert response.headers["retry-after"] == "3"
    assert response.json["retry_after"] == 3


def test_conditions_reach_the_write() -> None:
    """Both headers may stand there at once."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    world.ask("PUT", "/kv/k", b"w", If_Match='"1"', If_None_Match='"5"')
    last = world.key_value.writes[-1]
    assert isinstance(last, Put)
    assert last.conditions == (Condition((1,), True), Condition((5,), False))

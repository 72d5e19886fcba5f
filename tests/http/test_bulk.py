"""Many operations in one request."""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.wire import Response, World
from torua.core.kv import BULK_BYTES_MAX, Put
from torua.errors import OverloadedError

NDJSON = "application/x-ndjson"
CBOR = "application/cbor"


def lines(*operations: dict[str, Any]) -> bytes:
    """Spell operations as lines of JSON."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in operations)


def post(world: World, body: bytes, **headers: str) -> Response:
    """Post a bulk request.

    Args:
        world: where to.
        body: the operations.
        headers: lines of JSON are the type where they do not say another.
    """
    return world.ask("POST", "/bulk", body, **{"Content_Type": NDJSON, **headers})


def test_operations_are_answered_in_order() -> None:
    """Each operation has its result, and those on one key keep their order."""
    body = lines(
        {"op": "put", "key": "a", "value": "é"},
        {"op": "get", "key": "a"},
        {"op": "put", "key": "a", "value_base64": "/w=="},
        {"op": "get", "key": "a"},
        {"op": "delete", "key": "a"},
        {"op": "get", "key": "a"},
    )
    response = post(World(), body)
    assert response.status == 200
    assert response.headers["torua-served-by"] == "n1"
    assert response.json == {
        "errors": 1,
        "results": [
            {"status": 204, "version": 1},
            {"status": 200, "version": 1, "value": "é"},
            {"status": 204, "version": 2},
            {"status": 200, "version": 2, "value_base64": "/w=="},
            {"status": 204, "version": None},
            {"status": 404, "version": None, "detail": "no such key"},
        ],
    }


def test_cbor_in_and_out() -> None:
    """In CBOR values are bytes, both ways; a text value is its UTF-8."""
    operations = [
        {"op": "put", "key": "a", "value": b"\xff"},
        {"op": "put", "key": b"b", "value": "é", "ttl": 5, "if_version": None},
        {"op": "get", "key": "a"},
        {"op": "get", "key": "b"},
    ]
    world = World()
    response = post(world, cbor2.dumps(operations), Content_Type=CBOR, Accept=CBOR)
    assert response.headers["content-type"] == CBOR
    results = cbor2.loads(response.body)["results"]
    assert [each["status"] for each in results] == [204, 204, 200, 200]
    assert [each["value"] for each in results[2:]] == [b"\xff", "é".encode()]
    assert world.key_value.writes[1] == Put(b"b", "é".encode(), ttl_s=5)


def test_if_version_compares() -> None:
    """A number is the version wanted, 0 an absent key; what fails says so alone."""
    body = lines(
        {"op": "put", "key": "a", "value": "", "if_version": 0},
        {"op": "put", "key": "a", "value": "", "if_version": 0},
        {"op": "put", "key": "a", "value": "", "if_version": 1},
        {"op": "delete", "key": "a", "if_version": 1},
        {"op": "delete", "key": "a", "if_version": 2},
    )
    answer = post(World(), body).json
    assert [each["status"] for each in answer["results"]] == [204, 412, 204, 412, 204]
    assert answer["results"][1]["detail"] == "it does not hold"
    assert answer["errors"] == 2


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'"put"',
        b"{}",
        b'{"op":"put","key":"a"}',
        b'{"op":"put","value":"a"}',
        b'{"op":"move","key":"a","value":"b"}',
        b'{"op":"put","key":"","value":"b"}',
        b'{"op":"put","key":"a","value":1}',
        b'{"op":"put","key":"a","value":"b","value_base64":""}',
        b'{"op":"put","key":"a","value_base64":"!"}',
        b'{"op":"put","key":"a","value":"b","ttl":0}',
        b'{"op":"put","key":"a","value":"b","ttl":1e300}',
        b'{"op":"put","key":"a","value":"b","tll":1}',
        b'{"op":"put","key":"a","value":"b","if_version":-1}',
        b'{"op":"put","key":"a","value":"b","if_version":1.5}',
        b'{"op":"get","key":"a","value":"b"}',
        b'{"op":"get","key":"a","if_version":1}',
        b'{"op":"delete","key":"a","ttl":1}',
        b'{"op":"put","key":"' + b"k" * 1025 + b'","value":"b"}',
        b'{"op":"put","key":"\\ud800","value":"b"}',
        b"[" * 5000,
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_done(line: bytes) -> None:
    """One bad line refuses the whole request before any of it is applied."""
    world = World()
    good = lines({"op": "put", "key": "a", "value": "b"})
    response = post(world, good + b"\r\n" + line + b"\n" + good)
    assert response.status == 400
    assert response.json["line"] == 3
    assert "line 3" in response.json["detail"]
    assert world.key_value.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        cbor2.dumps({}),
        cbor2.dumps([1]),
        cbor2.dumps([{}]),
        cbor2.dumps([{"op": "put", "key": b"\xff", "value": b""}]),
        cbor2.dumps([{"op": "put", "key": "a", "value": [1]}]),
        cbor2.dumps([{str(number): 0 for number in range(9)}]),
        cbor2.dumps([{"op": "put", "key": "", "value": b""}]),
        cbor2.dumps([{"op": "get", "key": "a"}]) + b"\x00",
        b"\x9f\xff",
        b"\x81\xbf\xff",
        b"\x9b\x00",
        b"\x81",
    ],
)
def test_malformed_cbor_is_refused(body: bytes) -> None:
    """Whatever is not one array of flat maps of operations is the caller's error."""
    world = World()
    assert post(world, body, Content_Type=CBOR).status == 400
    assert world.key_value.calls == []


@pytest.mark.parametrize(
    "body", [b"\x9b" + b"\xff" * 8, b"\x9a\x01\x00\x00\x00" + b"\xa0" * 1000]
)
def test_a_cbor_bomb_is_refused_by_its_head(body: bytes) -> None:
    """A count is looked at before anything is built."""
    assert post(World(), body, Content_Type=CBOR).status == 413


def test_there_may_be_10000_operations() -> None:
    """The limit holds to the operation, in both forms."""
    operation = {"op": "get", "key": "a"}
    for count, status in ((10_000, 200), (10_001, 413)):
        many = [operation] * count
        assert post(World(), lines(*many)).status == status
        response = post(World(), cbor2.dumps(many), Content_Type=CBOR)
        assert response.status == status


def test_a_value_has_up_to_16_mib() -> None:
    """A value that is too large alone would be so here."""
    operation = {"op": "put", "key": "a", "value": "v" * ((16 << 20) + 1)}
    response = post(World(), lines(operation))
    assert response.status == 413
    assert response.json["line"] == 1


def test_a_body_has_up_to_32_mib() -> None:
    """The limit is told before the body comes."""
    world = World()
    wire = world.connect()
    head = f"POST /bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {BULK_BYTES_MAX + 1}"
    wire.send(head.encode() + b"\r\n\r\n")
    assert wire.responses("POST")[0].status == 413


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/x-ndjson; charset=utf-8", 200),
        ("Application/NDJSON", 200),
        ("application/json", 200),
        ("text/plain", 415),
        ("multipart/form-data", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_another_type_is_refused(kind: str, status: int) -> None:
    """Lines of JSON and CBOR are taken, nothing else is guessed."""
    assert post(World(), b"", Content_Type=kind).status == status


def test_no_operations_are_no_error() -> None:
    """An empty body, with or without a type, is an empty answer."""
    empty = {"errors": 0, "results": []}
    assert post(World(), b"\n\n").json == empty
    assert World().ask("POST", "/bulk").json == empty
    assert post(World(), b"\x80", Content_Type=CBOR).json == empty


def test_a_bulk_request_may_be_idempotent() -> None:
    """The promise reaches the call, with a fingerprint of the body."""
    world = World()
    for body in (b"", b"", lines({"op": "get", "key": "a"})):
        post(world, body, Idempotency_Key="i")
    first, second, third = (call.idempotency for call in world.key_value.calls)
    assert first is not None
    assert third is not None
    assert first == second
    assert first.key == third.key
    assert first.fingerprint != third.fingerprint


def test_a_failure_of_it_all_is_a_problem() -> None:
    """An error that is not of one operation answers for the request."""
    world = World()
    world.key_value.failure = OverloadedError("too much")
    assert post(world, b"").status == 429


FACTS = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())
SHAPES = st.dictionaries(
    st.sampled_from(["op", "key", "value", "value_base64", "if_version", "ttl", "x"]),
    st.one_of(FACTS, st.sampled_from(["put", "get", "delete"]), st.lists(FACTS)),
)


@given(body=st.one_of(st.binary(), st.lists(st.one_of(SHAPES, FACTS)).map(cbor2.dumps)))
def test_garbage_is_never_our_mistake(body: bytes) -> None:
    """No body whatever makes the node fail."""
    for kind in (NDJSON, CBOR):
        response = post(World(), body, Content_Type=kind)
        assert response.status in (200, 400, 413)


@given(shape=SHAPES)
def test_odd_lines_are_never_our_mistake(shape: dict[str, Any]) -> None:
    """No line of JSON makes the node fail."""
    line = json.dumps(shape, default=lambda fact: fact.hex()).encode()
    assert post(World(), line).status in (200, 400)

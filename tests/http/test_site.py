"""The site as a whole: routes, ids, problems, metrics, logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import cbor2
import pytest
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher

from tests.http.wire import World, held, request
from torua import __version__
from torua.core.configuration import Configuration, Limits
from torua.errors import ERRORS, UnavailableError
from torua.http import limits, problems
from torua.http.problems import KINDS

PATHS = ["/kv", "/kv/k", "/health", "/ready", "/cluster/info", "/nodes"]
PATHS += ["/nodes/n1/info", "/shards", "/metrics"]


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Collect log events."""
    events: list[dict[str, Any]] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("path", PATHS)
def test_head_is_served_where_get_is(path: str) -> None:
    """HEAD has the status and the headers of GET, and no body."""
    world = World()
    world.ask("PUT", "/kv/k", b"v")
    got, headed = world.ask("GET", path), world.ask("HEAD", path)
    assert (got.status, headed.status, headed.body) == (200, 200, b"")
    if path != "/metrics":
        assert headed.headers | {"date": ""} == got.headers | {"date": ""}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "*",
        "//kv/k",
        "//health",
        "/nope",
        "/Health",
        "/kvx",
        "/nodes/a/b/info",
        "/health/x",
        "/%68ealth",
        "/nodes//info",
        "/cluster//info",
        "/<b>",
        "/%ff",
        "/bulk/x",
        "health",
    ],
)
def test_an_unknown_path_is_a_problem(path: str) -> None:
    """404 comes in no other form, and nothing is redirected."""
    response = World().ask("GET", path)
    assert response.status == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["type"] == "urn:torua:problem:unknown-path"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/kv", "GET, HEAD"),
        ("/kv/a/b", "DELETE, GET, HEAD, PUT"),
        ("/bulk", "POST"),
        ("/health", "GET, HEAD"),
        ("/nodes/n1/info", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "get", "BREW", "TRACE"])
def test_another_method_is_told_which_are_allowed(
    path: str, allow: str, method: str
) -> None:
    """405 names the methods, for methods of any kind."""
    response = World().ask(method, path)
    assert response.status == 405
    assert response.headers["allow"] == allow
    assert "allow" not in response.json


@pytest.mark.parametrize(
    ("given", "echoed"),
    [
        ("a-B.9_", "a-B.9_"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "fresh"),
        ("", "fresh"),
        ("a b", "fresh"),
        ("<script>", "fresh"),
    ],
)
@pytest.mark.parametrize("path", ["/health", "/kv/none", "/nope", "/kv/%ff"])
def test_every_answer_has_a_request_id(path: str, given: str, echoed: str) -> None:
    """The caller's where it is sane, else a fresh one; on errors too."""
    response = World().ask("GET", path, X_Request_Id=given)
    assert response.headers["x-request-id"] == echoed
    assert response.headers["server"] == f"Torua/{__version__}"
    if response.status >= 400:
        assert response.json["request_id"] == echoed


def test_an_early_refusal_has_the_callers_id() -> None:
    """Refused by its headers, a request still has its id."""
    wire = World().connect()
    head = b"PUT /kv/k HTTP/1.1\r\nHost: x\r\nX-Request-Id: me\r\n"
    wire.send(head + b"Content-Length: 99999999\r\n\r\n")
    assert wire.responses("PUT")[0].json["request_id"] == "me"


def test_health_ready_and_info() -> None:
    """What the overview says is spelled with the contract's names."""
    world = World()
    assert world.ask("GET", "/health").json["status"] == "green"
    assert world.ask("GET", "/ready").json == {"ready": True, "node": "n1"}
    info = world.ask("GET", "/cluster/info").json
    assert (info["total_shards"], info["uptime"]) == (4, 1.5)
    (node,) = world.ask("GET", "/nodes").json
    assert (node["status"], node["roles"]) == ("healthy", ["data", "voter"])
    (shard,) = world.ask("GET", "/shards").json
    assert shard["copies"][0]["in_sync"] is True


def test_a_node_that_is_not_ready_says_why() -> None:
    """503 with the reason, and when to ask again; health goes on to be 200."""
    world = World()
    world.overview.reason = "no coordinator is known"
    response = world.ask("GET", "/ready")
    assert response.status == 503
    assert response.json["detail"] == "no coordinator is known"
    assert response.headers["retry-after"] == "1"
    assert world.ask("GET", "/health").status == 200


def test_a_node_is_found_by_name_or_id() -> None:
    """Names are decoded; an unknown one is a problem."""
    world = World()
    for name in ("n1", "aaaaaaaa", "na%C3%AFve%2F1"):
        assert (
            world.ask("GET", f"/nodes/{name}/info").json["copies"][0]["position"] == 7
        )
    assert world.ask("GET", "/nodes/nobody/info").status == 404
    assert world.ask("GET", "/nodes/%ff/info").status == 400


def test_trouble_of_the_cluster_is_a_problem() -> None:
    """Errors of the overview are told as those of keys are."""
    world = World()
    world.overview.failure = UnavailableError("nobody answers")
    assert world.ask("GET", "/shards").status == 503


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/cbor", "application/cbor"),
        ("Application/CBOR;q=1", "application/cbor"),
        ("application/cbor, application/json", "application/cbor"),
        ("application/json, application/cbor", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_cbor_is_spelled_where_it_is_asked_for(accept: str, kind: str) -> None:
    """JSON is the default; CBOR says the same."""
    world = World()
    for path in ("/health", "/cluster/info", "/nodes", "/nodes/n1/info", "/shards"):
        response = world.ask("GET", path, Accept=accept)
        assert response.headers["content-type"] == kind
        if kind.endswith("cbor"):
            assert cbor2.loads(response.body) == world.ask("GET", path).json


def test_metrics_count_what_was_served() -> None:
    """Latencies by route, errors by type, bytes both ways, and the process."""
    world = World()
    world.ask("PUT", "/kv/a/b", b"12345")
    world.ask("GET", "/kv/a%2Fb")
    world.ask("GET", "/kv/none")
    world.ask("GET", "/nope")
    wire = world.connect()
    wire.send(b"\x00\r\n")
    wire.hang_up()
    text = world.ask("GET", "/metrics").body.decode()
    name = "torua_http_request_duration_seconds_count"
    assert f'{name}{{method="GET",route="/kv/{{key}}",status="2xx"}} 1.0' in text
    assert f'{name}{{method="GET",route="/kv/{{key}}",status="4xx"}} 1.0' in text
    assert f'{name}{{method="none",route="none",status="4xx"}} 1.0' in text
    assert 'torua_http_errors_total{type="not-found"} 1.0' in text
    assert 'torua_http_errors_total{type="unknown-path"} 1.0' in text
    assert 'torua_http_errors_total{type="malformed"} 1.0' in text
    assert "torua_http_received_bytes_total 5.0" in text
    assert "torua_http_requests_in_flight 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_every_error_has_a_kind() -> None:
    """The table knows all errors of the house, and its own."""
    own = {
        each.code
        for each in vars(problems).values()
        if isinstance(each, type) and each.__module__ == problems.__name__
        if hasattr(each, "code")
    }
    assert set(ERRORS) | own == set(KINDS)


def test_a_mistake_of_ours_is_logged_once_and_not_shown() -> None:
    """The client gets an id, the log gets the trace under the same id."""
    world = World()
    world.key_value.failure = ZeroDivisionError("secret")
    with logged() as events:
        response = world.ask("GET", "/kv/k", X_Request_Id="me")
    assert response.status == 500
    assert b"secret" not in response.body
    assert b"Traceback" not in response.body
    failures = [each for each in events if each["log_level"] >= LogLevel.warn]
    assert [each["request_id"] for each in failures] == ["me"]
    assert failures[0]["log_failure"].type is ZeroDivisionError


def test_a_request_has_one_line_at_debug_level() -> None:
    """Method, path, status, milliseconds and id; trouble of the node is a warning."""
    world = World()
    with logged() as events:
        world.ask("GET", "/kv/a%20b", X_Request_Id="me")
        world.key_value.failure = UnavailableError("no primary")
        world.ask("GET", "/kv/k")
        world.overview.reason = "starting"
        world.ask("GET", "/ready")
    levels = [each["log_level"].name for each in events]
    assert levels == ["debug", "warn", "debug"]
    facts = {
        name: events[0][name] for name in ("method", "path", "status", "request_id")
    }
    assert facts == {
        "method": "GET",
        "path": "/kv/a%20b",
        "status": 404,
        "request_id": "me",
    }
    assert events[0]["milliseconds"] == 0


def test_a_slow_request_is_worth_a_line() -> None:
    """How slow, is configured."""
    world = World(chatty=lambda: False)  # type: ignore[arg-type]
    with logged() as events:
        for slow_s in (1.0, 3.0):
            world.site.use(Configuration(limits=Limits(slow_request_s=slow_s)))
            world.key_value.gate = gate = held()
            wire = world.connect()
            wire.send(request("GET", "/kv/k"))
            world.clock.advance(2.0)
            gate.callback(None)
            assert wire.responses("GET")[0].status == 404
    (line,) = events
    assert (line["log_level"].name, line["milliseconds"]) == ("warn", 2000)


def test_a_flood_of_trouble_has_a_line_a_second() -> None:
    """It tells how many more there were; each has its line at debug level."""
    world = World()
    world.key_value.failure = UnavailableError("no primary")
    with logged() as events:
        for _ in range(5):
            world.ask("GET", "/kv/k")
        world.clock.advance(1)
        world.ask("GET", "/kv/k")
    loud = [each for each in events if each["log_level"] is LogLevel.warn]
    assert [each["unsaid"] for each in loud] == [0, 4]
    assert len(events) == 6


def test_a_client_that_goes_cancels_nothing() -> None:
    """What it asked for is done, and nobody writes to the dead connection."""
    world = World()
    world.key_value.gate = gate = held()
    wire = world.connect()
    wire.send(request("PUT", "/kv/k", b"v") + request("GET", "/kv/k"))
    wire.hang_up()
    with logged() as events:
        gate.callback(None)
    assert world.key_value.entries[b"k"].value == b"v"
    assert wire.value() == b""
    assert [each["log_level"].name for each in events] == ["debug"]
    assert world.clock.getDelayedCalls() == []


def test_draining_closes_idle_connections_at_once() -> None:
    """It is done when no connection is left, and new ones are not taken."""
    world = World()
    idle, fresh = world.connect(), world.connect()
    idle.send(request("GET", "/health"))
    drained = world.site.drain()
    assert idle.disconnecting
    assert fresh.disconnecting
    assert world.site.buildProtocol(None) is None
    idle.hang_up()
    assert not drained.called
    fresh.hang_up()
    assert drained.called
    assert world.site.drain().called
    assert world.clock.getDelayedCalls() == []


def test_draining_waits_for_what_is_in_flight_but_not_for_ever() -> None:
    """A request is answered and its connection closed; who is too slow is cut off."""
    world = World()
    world.key_value.gate = gate = held()
    busy, coming = world.connect(), world.connect()
    busy.send(request("GET", "/kv/k"))
    coming.send(b"GET /heal")
    drained = world.site.drain()
    assert not busy.disconnecting
    assert not coming.disconnecting
    gate.callback(None)
    assert busy.responses()[0].headers["connection"] == "close"
    assert busy.disconnecting
    busy.hang_up()
    world.clock.advance(limits.DRAIN_S)
    assert coming.aborted
    coming.hang_up()
    assert drained.called
    assert world.clock.getDelayedCalls() == []


def test_a_hundred_clients_at_once_are_served() -> None:
    """Nobody waits for anybody else."""
    world = World()
    world.key_value.gate = gate = held()
    wires = [world.connect() for _ in range(100)]
    for number, wire in enumerate(wires):
        wire.send(request("PUT", f"/kv/{number}", b"%d" % number))
    world.key_value.gate = None
    gate.callback(None)
    assert {wire.responses("PUT")[0].status for wire in wires} == {204}
    for number, wire in enumerate(wires):
        wire.send(request("GET", f"/kv/{number}"))
        assert wire.responses()[0].body == b"%d" % number

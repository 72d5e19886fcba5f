"""What ``torua bench`` sends, counts and reports."""

import json

import msgspec
import pytest

from tests.cli.fakes import answering, run
from torua.cli import load
from torua.cli.bench import percentile, summary
from torua.cli.failures import Failure
from torua.cli.http import Answer

PLAN = load.Plan(
    workload="put",
    concurrency=2,
    seconds=None,
    operations=7,
    value_bytes=3,
    keys=5,
    batch=4,
    seed=1,
)


def one_loader(**changed: object) -> load.Loader:
    """Make the first client of a plan; ``changed`` replaces members of the plan."""
    plan = msgspec.convert(msgspec.to_builtins(PLAN) | changed, load.Plan)
    return load.Loader(plan, 0, "http://127.0.0.1:1")


def test_requests_are_spelled_for_the_wire() -> None:
    """A put holds the value, its length, and the host."""
    request = one_loader(keys=1).next_request()
    assert request[:3] == ("put", "PUT", "/kv/bench%2F00000000")
    head, _, body = load.spelled(request, "node").partition(b"\r\n\r\n")
    assert body == request.body
    assert head.split(b"\r\n") == [
        b"PUT /kv/bench%2F00000000 HTTP/1.1",
        b"Host: node",
        b"Content-Type: application/octet-stream",
        b"Content-Length: 3",
    ]


def test_a_bulk_request_holds_a_batch() -> None:
    """One line for each operation."""
    request = one_loader(workload="bulk", operations=100).next_request()
    lines = request.body.splitlines()
    assert (request.operations, len(lines)) == (4, 4)
    assert json.loads(lines[0]).keys() == {"op", "key", "value_base64"}


def test_mixed_holds_both_kinds() -> None:
    """About half each, decided by the seed."""
    loader = one_loader(workload="mixed")
    kinds = [loader.next_request().kind for _ in range(200)]
    assert 60 < kinds.count("get") < 140
    again = one_loader(workload="mixed")
    assert kinds == [again.next_request().kind for _ in range(200)]


@pytest.mark.parametrize("wrong", ["https://a:1", "http://"])
def test_an_endpoint_that_is_not_plain_http_is_refused(wrong: str) -> None:
    """The generator speaks no TLS, and says so."""
    with pytest.raises(Failure, match="plain HTTP"):
        load.address_of(wrong)


def test_fill_puts_every_key_once() -> None:
    """So that a get finds what it asks for."""
    client = answering(Answer(200, {}, b'{"errors": 0}'))
    load.fill(client, PLAN)
    lines = [line for _, _, body, _ in client.asked for line in (body or b"").split()]
    assert len({line for line in lines if b"bench/" in line}) == 5


@pytest.mark.parametrize(
    ("fraction", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1, 100.0)]
)
def test_percentile_is_the_nearest_rank(fraction: float, value: float) -> None:
    """Of 1 to 100 it is the number itself."""
    assert percentile([float(n) for n in range(1, 101)], fraction) == value


def test_summary_sums_up() -> None:
    """Operations a second, and percentiles in milliseconds."""
    tally = load.Tally()
    for latency in (0.001, 0.003):
        part = load.Tally()
        part.latencies["put"] = [latency]
        part.operations = 1
        tally.add(part)
    report = summary(PLAN, load.Result(2.0, tally))
    assert report["operations_per_s"] == 1.0
    assert report["requests"]["put"] == {
        "count": 2,
        "mean_ms": 2.0,
        "p50_ms": 1.0,
        "p99_ms": 3.0,
        "p999_ms": 3.0,
        "max_ms": 3.0,
    }


def test_nobody_there_is_a_failed_run() -> None:
    """The report still comes, with the errors counted, and the exit code says so."""
    words = ("bench", "put", "--operations", "3", "--concurrency", "2", "-o", "json")
    result = run(None, "--endpoint", "127.0.0.1:1", *words)
    assert result.exit_code == 5
    assert json.loads(result.stdout)["errors"] == {"cannot connect": 3}


def test_seconds_and_operations_exclude_each_other() -> None:
    """A run has one end."""
    words = ("bench", "put", "--operations", "3", "--seconds", "1")
    assert run(answering(Answer(204, {}, b"")), *words).exit_code == 2

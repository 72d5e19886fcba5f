"""What ``torua bench`` sends, counts and reports."""

import json

import msgspec
import pytest

from tests.cli.fakes import FakeClient, answering, run
from torua.cli import load
from torua.cli.bench import percentile, summary
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


def one_loader(client: FakeClient, **changed: object) -> load.Loader:
    """Run one client of a plan to its end.

    Args:
        client: whom it asks.
        changed: other members of the plan.
    """
    plan = msgspec.convert(msgspec.to_builtins(PLAN) | changed, load.Plan)
    loader = load.Loader(plan, 0, client)
    loader.run(float("inf"))
    return loader


def test_operations_are_shared_out_whole() -> None:
    """The first client takes the odd one."""
    client = answering(Answer(204, {}, b""))
    loader = one_loader(client)
    assert loader.tally.operations == 4
    assert {method for method, *_ in client.asked} == {"PUT"}
    assert all(body is not None and len(body) == 3 for _, _, body, _ in client.asked)


def test_a_bulk_request_counts_its_operations() -> None:
    """What was refused within it is an error, not an operation."""
    client = answering(Answer(200, {}, b'{"errors": 1, "results": []}'))
    loader = one_loader(client, workload="bulk", concurrency=1)
    assert loader.tally.operations == 4 + 3 - 2
    assert loader.tally.errors == {"refused in a bulk request": 2}
    lines = (client.asked[0][2] or b"").splitlines()
    assert len(lines) == 4
    assert json.loads(lines[0]).keys() == {"op", "key", "value_base64"}


def test_errors_are_counted_by_status() -> None:
    """A request that failed has no latency."""
    loader = one_loader(answering(Answer(503, {}, b"")))
    assert loader.tally.errors == {"503": 4}
    assert loader.tally.latencies == {}


def test_mixed_holds_both_kinds() -> None:
    """About half each, decided by the seed."""
    loader = one_loader(
        answering(Answer(200, {}, b"")), workload="mixed", operations=200
    )
    assert loader.tally.latencies.keys() == {"get", "put"}
    assert 25 < len(loader.tally.latencies["get"]) < 75


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
    assert json.loads(result.stdout)["errors"] == {"no endpoint answers": 3}


def test_seconds_and_operations_exclude_each_other() -> None:
    """A run has one end."""
    words = ("bench", "put", "--operations", "3", "--seconds", "1")
    assert run(answering(Answer(204, {}, b"")), *words).exit_code == 2

"""What ``torua bench`` sends, counts and reports."""

import json

import cbor2
import msgspec
import pytest

from tests.cli.fakes import answering, run
from torua.cli import load, loader
from torua.cli.bench import summary
from torua.cli.failures import Failure
from torua.cli.histogram import Histogram
from torua.cli.http import Answer

PLAN = load.Plan("put", value_bytes=3, keys=5, batch=4)
DRIVE = loader.Drive(("http://a:1", "http://b:2"), connections=5, operations=7)


def requests(**changed: object) -> list[load.Request]:
    """Spell the requests of the plan; ``changed`` replaces members of it."""
    plan = msgspec.convert(msgspec.to_builtins(PLAN) | changed, load.Plan)
    return load.requests_of(plan)


def test_requests_are_spelled_for_the_wire() -> None:
    """A put holds the value and its length; each key is put once."""
    made = requests()
    head, _, body = made[0].wire.partition(b"\r\n\r\n")
    assert body == load.value_of(PLAN)
    assert head.split(b"\r\n")[1:] == [
        b"Host: torua",
        b"Accept: */*",
        b"Content-Type: application/octet-stream",
        b"Content-Length: 3",
    ]
    lines = sorted(each.wire.split(b"\r\n")[0] for each in made)
    assert lines == [b"PUT /kv/bench%%2F%08d HTTP/1.1" % n for n in range(5)]


def test_a_bulk_request_holds_a_batch() -> None:
    """One line, or one map, for each operation."""
    lines = requests(workload="bulk")[0]
    body = lines.wire.partition(b"\r\n\r\n")[2].splitlines()
    assert (lines.operations, len(body)) == (4, 4)
    assert json.loads(body[0]).keys() == {"op", "key", "value_base64"}
    maps = requests(workload="bulk-get", cbor=True)[0]
    asked = cbor2.loads(maps.wire.partition(b"\r\n\r\n")[2])
    assert [each["op"] for each in asked] == ["get"] * 4


def test_mixed_holds_both_kinds() -> None:
    """About half each, decided by the seed."""
    kinds = [each.kind for each in requests(workload="mixed", keys=200)]
    assert 60 < kinds.count("get") < 140
    again = requests(workload="mixed", keys=200)
    assert kinds == [each.kind for each in again]


def test_large_values_make_few_requests() -> None:
    """What is spelled beforehand is bounded."""
    made = requests(value_bytes=16 << 20, keys=100)
    assert 1 <= len(made) <= 2


@pytest.mark.parametrize("wrong", ["https://a:1", "http://"])
def test_an_endpoint_that_is_not_plain_http_is_refused(wrong: str) -> None:
    """The generator speaks no TLS, and says so."""
    with pytest.raises(Failure, match="plain HTTP"):
        loader.address_of(wrong)


def test_fill_puts_every_key_once() -> None:
    """So that a get finds what it asks for."""
    client = answering(Answer(200, {}, b'{"errors": 0}'))
    load.fill(client, PLAN)
    lines = [line for _, _, body, _ in client.asked for line in (body or b"").split()]
    assert len({line for line in lines if b"bench/" in line}) == 5


def test_processes_share_a_load() -> None:
    """Together they have all of it, and begin at different endpoints and keys."""
    shares = [loader.share(DRIVE, place, 2) for place in range(2)]
    assert [each.connections for each, _ in shares] == [3, 2]
    assert [each.operations for each, _ in shares] == [4, 3]
    assert [each.endpoints[0] for each, _ in shares] == ["http://a:1", "http://b:2"]
    assert [begin for _, begin in shares] == [0.0, 0.5]
    paced = msgspec.structs.replace(DRIVE, rate=10.0)
    assert loader.share(paced, 1, 2)[0].rate == 5.0


@pytest.mark.parametrize(
    "body", [b'{"errors":3,"results":[{"stat', cbor2.dumps({"errors": 3, "results": 1})]
)
def test_failures_within_a_bulk_answer_are_counted(body: bytes) -> None:
    """By the begin of the answer, in both formats."""
    assert loader.failures_in(body) == 3


def test_summary_sums_up() -> None:
    """Operations a second, percentiles, and what the generator took."""
    tally = loader.Tally()
    for latency in (0.001, 0.003):
        part = loader.Tally()
        part.latencies["put"] = Histogram()
        part.latencies["put"].add(latency)
        part.operations, part.seconds, part.cpu_s = 1, 2.0, 0.5
        tally.merge(part)
    report = summary(PLAN, DRIVE, tally)
    assert report["operations_per_s"] == 1.0
    assert report["generator_cpu"] == 0.5
    assert report["requests"]["put"]["count"] == 2
    assert report["requests"]["put"]["max_ms"] == 3.0


def test_nobody_there_is_a_failed_run() -> None:
    """The report still comes, with the errors counted, and the exit code says so."""
    words = ("bench", "put", "--operations", "3", "--concurrency", "2", "-o", "json")
    result = run(None, "--endpoint", "127.0.0.1:1", *words)
    assert result.exit_code == 5
    report = json.loads(result.stdout)
    assert sum(report["errors"].values()) == 3
    assert report["operations"] == 0


def test_seconds_and_operations_exclude_each_other() -> None:
    """A run has one end."""
    words = ("bench", "put", "--operations", "3", "--seconds", "1")
    assert run(answering(Answer(204, {}, b"")), *words).exit_code == 2

"""What happens when nodes are gone, break off, refuse, or do not answer."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.client.fakes import DROP, HANG, FakeNode, Heard, Says, dead_url, problem
from torua.client import (
    AccessError,
    BadRequestError,
    Client,
    ClientError,
    ConflictError,
    DiskFullError,
    GoneError,
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    PreconditionError,
    Retry,
    ServerError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    UnprocessableError,
    UnreachableError,
)

pytestmark = pytest.mark.integration

QUICK = Retry(attempts=6, base_s=0.001, cap_s=0.002)
WRITTEN = Says(204, headers={"ETag": '"7"'})
READ = Says(200, b"v", {"ETag": '"7"', "Content-Type": "a/b"})


def idempotency_keys(*nodes: FakeNode) -> list[str]:
    """Return the idempotency keys that nodes heard."""
    return [each.headers["idempotency-key"] for node in nodes for each in node.heard]


def test_a_node_that_is_gone_is_passed_over(node: FakeNode) -> None:
    """Nothing was sent, so even a write goes on; and it is not asked each time."""
    node.usual = WRITTEN
    client = Client([dead_url(), node.url, dead_url()], retry=QUICK)
    for _ in range(20):
        assert client.kv.put("k", b"v") == 7
    assert len(node.heard) == 20


def test_a_node_that_came_back_is_asked_again(node: FakeNode, other: FakeNode) -> None:
    """After the time for which it was put aside."""
    now = [0.0]
    node.usual = other.usual = READ
    client = Client([node.url, other.url], retry=QUICK)
    client._transport._clock = lambda: now[0]
    other.script.append(DROP)
    for _ in range(6):
        client.kv.get("k")
    assert len(other.heard) == 1
    now[0] = 2.0
    for _ in range(6):
        client.kv.get("k")
    assert len(other.heard) == 4


def test_a_write_that_was_cut_off_is_repeated_under_its_key(
    node: FakeNode, other: FakeNode
) -> None:
    """At the other node, once: the same idempotency key makes that safe."""
    node.usual, other.usual = DROP, WRITTEN
    client = Client([node.url, other.url], retry=QUICK)
    for _ in range(2):
        assert client.kv.put("k", b"v") == 7
    keys = idempotency_keys(other)
    assert len(set(keys)) == 2
    assert set(idempotency_keys(node)) <= set(keys)
    assert node.heard


def test_an_answer_that_breaks_off_is_no_answer(
    node: FakeNode, other: FakeNode
) -> None:
    """Half of a value is never taken for the value."""
    node.usual = Says(200, b"value" * 100, {"ETag": '"7"'}, cut=100)
    other.usual = READ
    client = Client([node.url, other.url], retry=QUICK)
    for _ in range(3):
        value = client.kv.get("k")
        assert value is not None
        assert value.data == b"v"
    assert node.heard


@pytest.mark.parametrize("trouble", [DROP, problem(504, "outcome-unknown")])
def test_a_write_that_stays_unknown_is_told_so(node: FakeNode, trouble: Says) -> None:
    """After all attempts; a refusal of the last one does not make it known."""
    node.usual = trouble
    with pytest.raises(OutcomeUnknownError):
        Client(node.url, retry=QUICK).kv.put("k", b"v")
    assert len(node.heard) == 6
    assert len(set(idempotency_keys(node))) == 1
    node.script.append(trouble)
    node.usual = problem(503, "unavailable")
    with pytest.raises(OutcomeUnknownError):
        Client(node.url, retry=QUICK).kv.delete("k")


def test_a_definite_answer_after_an_unknown_one_counts(node: FakeNode) -> None:
    """Under one key the later answer is about the same write."""
    node.script.extend([DROP, problem(412, "precondition-failed")])
    with pytest.raises(PreconditionError) as caught:
        Client(node.url, retry=QUICK).kv.put("k", b"v", if_version=1)
    assert caught.value.uncertain


def test_a_read_has_no_outcome_that_could_be_unknown(node: FakeNode) -> None:
    """It could not be done; that is all."""
    client = Client(node.url, retry=QUICK)
    node.usual = DROP
    with pytest.raises(UnreachableError, match="broke the connection"):
        client.kv.get("k")
    node.usual = problem(504, "outcome-unknown")
    with pytest.raises(UnavailableError):
        client.kv.get("k")


def test_nobody_there_is_told_so() -> None:
    """Nothing was done, so it is not called unknown."""
    client = Client([dead_url(), dead_url()], retry=QUICK)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        client.kv.put("k", b"v")


def test_retry_after_is_waited_for(node: FakeNode) -> None:
    """Where there is no other node to ask, and no longer than there is time."""
    slept: list[float] = []
    client = Client(node.url, timeout_s=10.0)
    client._transport._sleep = slept.append
    node.script.extend([problem(503, retry_after=3), problem(429, retry_after=2)])
    node.usual = WRITTEN
    assert client.kv.put("k", b"v") == 7
    assert 3.0 <= slept[0] <= 3.05
    assert 2.0 <= slept[1] <= 2.1
    node.script.append(problem(503, retry_after=11))
    with pytest.raises(UnavailableError) as caught:
        client.kv.put("k", b"v")
    assert caught.value.retry_after == 11
    assert len(slept) == 2


def test_another_node_is_asked_at_once_where_one_is_busy(
    node: FakeNode, other: FakeNode
) -> None:
    """Its Retry-After is its own."""
    node.usual, other.usual = problem(429, retry_after=60), READ
    client = Client([node.url, other.url])
    began = time.monotonic()
    for _ in range(2):
        assert client.kv.get("k") is not None
    assert time.monotonic() - began < 5
    assert node.heard


def test_a_node_that_never_answers_costs_one_attempt(
    node: FakeNode, other: FakeNode
) -> None:
    """And only that part of the time."""
    node.usual, other.usual = HANG, WRITTEN
    client = Client([node.url, other.url], attempt_s=0.2, retry=QUICK)
    began = time.monotonic()
    for _ in range(4):
        assert client.kv.put("k", b"v") == 7
    assert 0.2 <= time.monotonic() - began < 2
    assert len(node.heard) == 1


def test_the_time_of_a_request_is_kept(node: FakeNode) -> None:
    """However many attempts there may be."""
    node.usual = HANG
    client = Client(node.url, timeout_s=0.5, attempt_s=0.2)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="did not answer in time"):
        client.kv.get("k")
    assert time.monotonic() - began < 2


def test_a_node_is_told_how_long_it_has(node: FakeNode) -> None:
    """Less than we listen, and the rest of the time in later attempts."""
    node.usual = READ
    client = Client(node.url, attempt_s=5.0)
    client.kv.get("k")
    client.kv.get("k", timeout_s=1.0)
    asked = [parse_qs(urlsplit(heard.path).query) for heard in node.heard]
    assert asked[0]["timeout_ms"] == ["4750"]
    assert 850 <= int(asked[1]["timeout_ms"][0]) <= 900


def test_a_large_value_goes_to_a_node_that_reads_slowly(node: FakeNode) -> None:
    """Connecting is bounded by itself; sending has the time of the attempt."""
    value = b"x" * (8 << 20)
    node.usual = WRITTEN
    assert Client(node.url).kv.put("k", value) == 7
    assert node.heard[0].body == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AccessError),
        (403, AccessError),
        (404, NotFoundError),
        (405, BadRequestError),
        (409, ConflictError),
        (410, GoneError),
        (412, PreconditionError),
        (413, TooLargeError),
        (415, BadRequestError),
        (422, UnprocessableError),
        (429, OverloadedError),
        (500, ServerError),
        (502, OutcomeUnknownError),
        (503, UnavailableError),
        (504, OutcomeUnknownError),
        (507, DiskFullError),
        (302, UnexpectedAnswerError),
    ],
)
def test_each_status_has_its_class(
    node: FakeNode, status: int, kind: type[ClientError]
) -> None:
    """With what the problem says, and only that class."""
    node.usual = problem(status, "some-code", detail="so it is.", request_id="r-7")
    with pytest.raises(ClientError) as caught:
        Client(node.url, retry=Retry(attempts=1)).kv.put("k", b"v")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail) == (
        status,
        "some-code",
        "so it is.",
    )
    assert str(error) == f"so it is ({status}, request r-7, {node.url})"


def test_an_error_without_a_problem_is_one_all_the_same(node: FakeNode) -> None:
    """A gateway's page, with the headers that it may have."""
    headers = {"X-Request-Id": "r-1", "Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}
    node.usual = Says(503, b"<h1>", headers)
    with pytest.raises(UnavailableError) as caught:
        Client(node.url, retry=Retry(attempts=1)).kv.get("k")
    assert (caught.value.request_id, caught.value.retry_after) == ("r-1", None)


def test_many_threads_share_one_client(node: FakeNode, other: FakeNode) -> None:
    """Each gets the answer to its own request; connections are kept."""
    peers: set[str] = set()
    lock = Lock()

    def reply(heard: Heard) -> Says:
        """Answer with the path."""
        with lock:
            peers.add(heard.path)
        return Says(200, heard.path.encode(), {"ETag": '"1"'})

    node.usual = other.usual = reply

    def ask(number: int) -> bool:
        """Tell whether the answer is that of the question."""
        value = client.kv.get(f"k{number}")
        return value is not None and value.data.startswith(b"/kv/k%d?" % number)

    with Client([node.url, other.url]) as client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    assert len(peers) == 200
    assert abs(len(node.heard) - len(other.heard)) <= 20


def test_endpoints_may_be_spelled_in_several_ways(node: FakeNode) -> None:
    """With commas, without a scheme; none at all is a mistake."""
    client = Client(f"{node.url}, {node.url.removeprefix('http://')},")
    assert client.endpoints == (node.url, node.url)
    wrong: str | list[str]
    for wrong in ("", [], "ftp://a", "http://", "http://a:b"):
        with pytest.raises(ValueError):
            Client(wrong)

"""The cluster, as its nodes tell of it."""

import json

import pytest

from tests.client.fakes import DROP, FakeNode, problem, told
from torua.client import (
    Client,
    ConflictError,
    NotFoundError,
    OutcomeUnknownError,
    Retry,
    UnavailableError,
    UnexpectedAnswerError,
    UnprocessableError,
)
from torua.core.views import ShardCopyView, ShardView

pytestmark = pytest.mark.integration

QUICK = Retry(attempts=3, base_s=0.001, cap_s=0.002)


def test_a_node_that_is_not_ready_says_why_at_once(node: FakeNode) -> None:
    """It is what was asked, so it is no error, and not asked again."""
    node.script.append(problem(503, detail="no coordinator", retry_after=1))
    node.usual = told({"ready": True, "node": "a"})
    cluster = Client(node.url).cluster
    first, second = cluster.ready(), cluster.ready()
    assert (first.ready, first.reason) == (False, "no coordinator")
    assert (second.ready, second.node) == (True, "a")
    assert len(node.heard) == 2


def test_other_questions_wait_for_an_answer(node: FakeNode) -> None:
    """A 503 there is trouble that passes."""
    node.script.append(problem(503))
    copy = {
        "node": "a",
        "role": "primary",
        "state": "started",
        "in_sync": True,
        "position": 7,
        "of_a_later_version": 1,
    }
    shard = {
        "shard": 0,
        "state": "green",
        "primary": "a",
        "copies": [copy],
        "keys": 1,
        "bytes": None,
    }
    node.script.append(told([shard]))
    (found,) = Client(node.url, retry=QUICK).cluster.shards()
    assert isinstance(found, ShardView)
    assert found.copies == (ShardCopyView("a", "primary", "started", True, 7),)


def test_an_answer_of_another_kind_is_refused(node: FakeNode) -> None:
    """A list is no health, a page no list."""
    node.usual = told([])
    with pytest.raises(UnexpectedAnswerError):
        Client(node.url).cluster.health()


def test_who_is_not_known_is_not_found(node: FakeNode) -> None:
    """Names are one segment of a path, whatever is in them."""
    node.usual = problem(404, "not-found")
    with pytest.raises(NotFoundError):
        Client(node.url).cluster.node("a/b")
    assert node.heard[0].path.startswith("/nodes/a%2Fb/info?")


def test_data_loss_is_accepted_once(node: FakeNode) -> None:
    """Nobody repeats that where the outcome is unknown; a rule may forbid it."""
    node.script.extend([problem(409, detail="a copy lives"), problem(503), DROP])
    cluster = Client(node.url, retry=QUICK).cluster
    with pytest.raises(ConflictError, match="a copy lives"):
        cluster.force_allocate(2, "b")
    with pytest.raises(OutcomeUnknownError):
        cluster.force_allocate(2, "b", accept_data_loss=True)
    assert json.loads(node.heard[2].body) == {
        "shard": 2,
        "node": "b",
        "accept_data_loss": True,
    }
    assert len(node.heard) == 3


def test_what_passes_not_in_time_is_told(node: FakeNode) -> None:
    """After as many attempts as there may be."""
    node.usual = problem(503)
    with pytest.raises(UnavailableError):
        Client(node.url, retry=QUICK).cluster.tasks()
    assert len(node.heard) == 3


def test_only_wishes_are_repeated(node: FakeNode) -> None:
    """Maintenance and balance are wished for; a move, once begun, is not repeated."""
    duties = told({"nodes": {"a": "maintenance"}})
    node.script.extend([DROP, duties, DROP, DROP, DROP])
    cluster = Client(node.url, retry=QUICK).cluster
    assert cluster.maintenance(("a",), enabled=True) == {"a": "maintenance"}
    assert json.loads(node.heard[1].body) == {"nodes": ["a"], "enabled": True}
    for order in (
        lambda: cluster.evacuate("a/b"),
        lambda: cluster.assign(1, "a", "primary"),
        lambda: cluster.remove("a"),
    ):
        with pytest.raises(OutcomeUnknownError):
            order()
    paths = [(each.method, each.path.partition("?")[0]) for each in node.heard[2:]]
    assert paths == [
        ("POST", "/nodes/a%2Fb/evacuate"),
        ("POST", "/shards/assign"),
        ("DELETE", "/nodes/a"),
    ]


CONFIG = {
    "version": 2,
    "config": {"allocation.rebuild_after_s": 5.0, "allocation.forced_zones": ["a"]},
    "changed": ["allocation.rebuild_after_s"],
    "acknowledged": ["a"],
    "pending": ["b"],
    "nodes": [{"name": "a", "node_id": "1", "version": 2, "without": ["breakers"]}],
}


def test_the_configuration_is_read_and_changed(node: FakeNode) -> None:
    """As values; a change that any version may have is sent again."""
    node.script.extend([told(CONFIG), DROP, told(CONFIG)])
    cluster = Client(node.url, retry=QUICK).cluster
    found = cluster.config()
    assert (found.version, found.pending) == (2, ("b",))
    assert found.nodes[0].without == ("breakers",)
    changed = cluster.configure({"allocation.rebuild_after_s": None})
    assert changed.config["allocation.rebuild_after_s"] == 5.0
    bodies = [json.loads(each.body) for each in node.heard[1:]]
    assert bodies == [{"allocation.rebuild_after_s": None}] * 2
    assert "if-match" not in node.heard[1].headers


def test_a_change_for_one_version_is_asked_for_once(node: FakeNode) -> None:
    """What became of it is not known; a second one would be refused for the first."""
    node.script.append(DROP)
    cluster = Client(node.url, retry=QUICK).cluster
    with pytest.raises(OutcomeUnknownError):
        cluster.configure({"allocation.rebalance": False}, if_version=4)
    (asked,) = node.heard
    assert asked.headers["if-match"] == '"4"'


def test_all_that_is_wrong_with_a_change_is_told(node: FakeNode) -> None:
    """Each key with why."""
    faults = [{"key": "x.y", "why": "there is no such key"}]
    node.script.append(problem(422, "invalid", errors=faults))
    with pytest.raises(UnprocessableError) as refused:
        Client(node.url, retry=QUICK).cluster.configure({"x.y": 1})
    assert refused.value.members["errors"] == faults

"""Tests for `torua.net.peer`: one connection a pair, whatever comes first."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.net.wires import Town, node_id
from torua.codec.frames import Lane
from torua.errors import UnavailableError

SEEDS = range(150)


def ask(town: Town, one: int, two: int) -> "Deferred[Any]":
    """Send a request.

    Args:
        town: where.
        one: who asks.
        two: who is asked.
    """
    request = town.peers[one].request(
        node_id(two), "echo", one, lane=Lane.READS, timeout_s=2.0
    )
    answer = Deferred.fromCoroutine(request)
    answer.addErrback(lambda failure: failure.value)
    return answer


def has_one_link(town: Town, one: int, two: int) -> bool:
    """Tell whether a pair agrees on its connection.

    Args:
        town: where.
        one: of the pair.
        two: of the pair.
    """
    mine, theirs = town.links(one, two), town.links(two, one)
    return len(mine) == len(theirs) == 1 and mine[0].other is theirs[0]


@pytest.mark.parametrize("secret", [None, b"s" * 32])
def test_crossed_dials_leave_one_connection_that_never_flaps(
    secret: bytes | None,
) -> None:
    """Whatever order things arrive in, both come up once, and requests are answered."""
    for seed in SEEDS:
        town = Town(seed, 2, secret)
        first = town.random.choice((1, 2))
        town.know(first, 3 - first)
        for _ in range(town.random.randrange(8)):
            town.step()
        town.know(3 - first, first)
        answers = [ask(town, 1, 2), ask(town, 2, 1)]
        town.run(0.5)
        assert [answer.result for answer in answers] == [1, 2], seed
        assert has_one_link(town, 1, 2), seed
        assert town.events == {1: ["up 2"], 2: ["up 1"]}, seed


def test_the_lower_node_s_dial_survives() -> None:
    """Where both greetings are under way, it is the one that the lower id dialled."""
    town = Town(0, 2)
    town.know(1, 2)
    town.know(2, 1)
    for _ in range(2):
        town._connect(0)
    town.run(0.5)
    link = town.peers[1]._peers[node_id(2)].link
    assert link is not None
    assert link.dialled


def test_a_restarted_node_replaces_its_earlier_life() -> None:
    """Though the old connection still looks alive; what was asked of it has ended."""
    for seed in SEEDS:
        town = Town(seed, 2)
        town.know(1, 2)
        town.run(0.2)
        town.start(2, 2)
        town.know(2, 1)
        if seed % 2:
            town.know(1, 2, 2)
        town.run(1.5)
        assert has_one_link(town, 1, 2), seed
        assert town.events[1] == ["up 2", "down 2", "up 2"], seed
        link = town.peers[1]._peers[node_id(2)].link
        assert link is not None
        assert link.other.boot_epoch == 2


def test_a_forgotten_node_s_last_life_is_remembered() -> None:
    """An earlier life is refused, also where membership no longer knows of any."""
    town = Town(0, 1)
    town.start(2, 5)
    town.know(2, 1)
    town.run(0.2)
    town.peers[1].forget(node_id(2))
    town.peers[2].forget(node_id(1))
    town.run()
    town.start(2, 4)
    town.know(2, 1)
    town.run(1)
    assert town.events[1] == ["up 2", "down 2"]
    assert town.peers[1].meters.drops.labels("epoch")._value.get() > 0


def test_a_node_that_leaves_answers_what_it_was_asked() -> None:
    """It is asked nothing more, closes when it is done, and is not dialled again."""
    town = Town(0, 2)
    town.know(1, 2)
    town.know(2, 1)
    town.run(0.2)
    asked = ask(town, 1, 2)
    town.peers[1].part(node_id(2))
    refused = ask(town, 1, 2)
    town.run(0.1)
    assert asked.result == 1
    assert isinstance(refused.result, UnavailableError)
    town.peers[2].stop()
    town.run(5.0)
    assert town.events[1] == ["up 2", "down 2"]
    assert not town.reactor.getDelayedCalls()
    town.start(2, 2)
    town.know(1, 2, 2)
    town.run(0.2)
    again = ask(town, 1, 2)
    town.run(0.1)
    assert again.result == 1


def test_a_pair_finds_together_again_after_any_cut() -> None:
    """Connections are lost at random moments, at one end or both; then peace comes."""
    for seed in SEEDS:
        town = Town(seed, 3)
        for one in (1, 2, 3):
            for two in {1, 2, 3} - {one}:
                town.know(one, two)
        for _ in range(60):
            if town.random.random() < 0.2 and town.wires:
                town.random.choice(town.wires).lose()
            if town.random.random() < 0.2:
                town.reactor.advance(0.05)
            town.step()
        town.run(8.0)
        for one, two in ((1, 2), (1, 3), (2, 3)):
            assert has_one_link(town, one, two), (seed, one, two)
            answers = [ask(town, one, two), ask(town, two, one)]
            town.run(0.1)
            assert [answer.result for answer in answers] == [one, two], seed


def test_stop_leaves_nothing_in_the_reactor() -> None:
    """At whatever moment it comes."""
    for seed in SEEDS:
        town = Town(seed, 2)
        town.know(1, 2)
        town.know(2, 1)
        for _ in range(seed % 20):
            town.step()
        stopped = [peers.stop() for peers in town.peers.values()]
        town.run()
        assert all(stop.called for stop in stopped), seed
        left = [call for call in town.reactor.getDelayedCalls() if call.active()]
        assert left == [], seed

"""Tests for `torua.core.coordination.pulse`: whom a coordinator loses, and when."""

from torua.core.coordination.pulse import Pulse
from torua.core.ids import NodeId

PEER = NodeId("2" * 32)
INTERVAL = 0.5


def leading(*, heard_at: float | None = None) -> Pulse:
    """Return the pulse of a node that leads from second 100 on.

    Args:
        heard_at: when somebody last heard of the peer.
    """
    pulse = Pulse(0)
    if heard_at is not None:
        pulse.hear(PEER, heard_at)
    pulse.lead(100.0, INTERVAL)
    return pulse


def rounds_until_lost(pulse: Pulse) -> int:
    """Begin rounds that nobody answers; return how many were over by the loss."""
    for count in range(10):
        pulse.begin_round(100.0 + count * INTERVAL)
        if pulse.is_lost(PEER, 100.0):
            return count
    raise AssertionError("never lost")


def test_a_node_is_lost_once_it_missed_three_rounds() -> None:
    """A round is missed when the next begins."""
    assert rounds_until_lost(leading()) == 3
    assert rounds_until_lost(leading(heard_at=99.9)) == 3


def test_a_node_of_which_no_voter_heard_lately_is_lost_after_one() -> None:
    """But not one that no voter listened to: that it was not heard tells nothing."""
    assert rounds_until_lost(leading(heard_at=98.0)) == 1
    assert rounds_until_lost(leading(heard_at=10.0)) == 3


def test_a_node_whose_connection_broke_is_lost_after_one_round() -> None:
    """A round that was asked since; a connection that is back must bring an answer."""
    pulse = leading()
    nonce = pulse.begin_round(100.0)
    assert pulse.answer(PEER, nonce)
    pulse.broke(PEER, 100.1)
    pulse.begin_round(100.5)
    assert not pulse.is_lost(PEER, 100.0)
    pulse.begin_round(101.0)
    assert pulse.is_lost(PEER, 100.0)


def test_a_connection_that_cannot_be_made_again_prolongs_nothing() -> None:
    """It is tried again and again; the doubt is as old as the first time."""
    pulse = leading()
    pulse.begin_round(100.0)
    pulse.broke(PEER, 100.1)
    pulse.begin_round(100.5)
    pulse.broke(PEER, 100.9)
    pulse.begin_round(101.0)
    assert pulse.is_lost(PEER, 100.0)


def test_an_answer_ends_doubt_and_loss() -> None:
    """One to a round that was asked since the doubt."""
    pulse = leading()
    old = pulse.begin_round(100.0)
    pulse.broke(PEER, 100.1)
    new = pulse.begin_round(100.5)
    pulse.answer(PEER, old)
    pulse.begin_round(101.0)
    assert pulse.is_lost(PEER, 100.0)
    pulse.answer(PEER, new)
    assert not pulse.is_lost(PEER, 100.0)


def test_a_sign_of_life_ends_doubt() -> None:
    """Three rounds are then to be missed, as ever."""
    pulse = leading()
    pulse.broke(PEER, 100.0)
    pulse.hear(PEER, 100.2)
    pulse.begin_round(100.3)
    pulse.begin_round(100.8)
    assert not pulse.is_lost(PEER, 100.0)


def test_what_another_heard_ends_doubt_where_it_is_newer_for_sure() -> None:
    """Not where it lost the node as well, a moment before it said so."""
    for age, rounds in ((0.15, 1), (0.0, 3)):
        pulse = Pulse(0)
        pulse.broke(PEER, 99.2)
        pulse.learn({PEER: age}, 99.4 if age else 99.8, INTERVAL)
        pulse.lead(100.0, INTERVAL)
        assert rounds_until_lost(pulse) == rounds, age


def test_a_pause_of_this_node_loses_nobody() -> None:
    """What counts is rounds, and none was begun meanwhile."""
    pulse = leading()
    pulse.answer(PEER, pulse.begin_round(100.0))
    pulse.begin_round(100.5)
    pulse.begin_round(160.5)
    assert not pulse.is_lost(PEER, 100.0)


def test_a_node_that_refuses_connections_is_lost_once_it_had_time_to_connect() -> None:
    """From the time on at which the first connection broke, not each time anew."""
    pulse = leading(heard_at=99.9)
    pulse.broke(PEER, 100.0)
    assert pulse.refused(PEER, 100.02, 0.1) == 100.1
    assert pulse.refused(PEER, 100.06, 0.1) is None
    assert not pulse.is_lost(PEER, 100.09)
    assert pulse.is_lost(PEER, 100.1)


def test_one_that_refuses_only_later_is_lost_then() -> None:
    """Its time is over already."""
    pulse = leading(heard_at=99.9)
    pulse.broke(PEER, 100.0)
    assert pulse.refused(PEER, 100.3, 0.1) == 100.3
    assert pulse.is_lost(PEER, 100.3)


def test_a_sign_of_life_outweighs_a_refusal() -> None:
    """It came back, or another machine answered in its place."""
    pulse = leading(heard_at=99.9)
    pulse.broke(PEER, 100.0)
    pulse.refused(PEER, 100.02, 0.1)
    pulse.hear(PEER, 100.05)
    assert not pulse.is_lost(PEER, 100.2)
    pulse.broke(PEER, 101.0)
    assert pulse.refused(PEER, 101.0, 0.5) == 101.5


def test_a_node_that_was_never_heard_of_may_refuse() -> None:
    """It may not have begun to listen; it has as long as any other."""
    pulse = leading()
    pulse.broke(PEER, 100.0)
    assert pulse.refused(PEER, 100.02, 0.1) is None
    assert not pulse.is_lost(PEER, 100.2)

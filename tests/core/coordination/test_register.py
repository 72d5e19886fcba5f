"""Tests for `torua.core.coordination.register`: rules that a story seldom touches."""

from msgspec.structs import replace

from torua.core.coordination.messages import (
    Accepted,
    Ack,
    Commit,
    Facts,
    Join,
    Position,
    Publish,
    Refused,
    StartJoin,
    Voters,
    Wanted,
)
from torua.core.coordination.register import Register
from torua.core.ids import NodeId
from torua.core.state import ClusterState
from torua.core.state_diff import StateDiff

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
MINE = ClusterState(cluster_uuid="mine")


def register(term: int = 3, version: int = 5, committed: bool = True) -> Register:
    """Make the register of a voter among three.

    Args:
        term: the last accepted, and the current one.
        version: of what was accepted last.
        committed: whether that is committed.
    """
    accepted = Accepted(term, version, MINE, (A, B, C), (A, B, C))
    return Register(Facts(A, 7, "mine", term, accepted, committed))


def publish(term: int, version: int, state: ClusterState, before: Voters) -> Publish:
    """Make a publication in whole.

    Args:
        term: its term.
        version: its version.
        state: its document.
        before: the committed voters.
    """
    return Publish(term, version, (A, B, C), before, whole=state)


def test_one_join_a_term() -> None:
    """The first who asks has it, in the life that asks; the second is refused."""
    voter = register()
    assert voter.start_join(StartJoin(4, 9)) == Join(4, 9, Position(3, 5), "mine")
    assert voter.start_join(StartJoin(4, 8)) == Refused(4)
    assert voter.facts.term == 4


def test_only_joins_for_this_life_and_term_from_those_not_ahead_count() -> None:
    """Each wrong join is passed over; two right ones win."""
    candidate = register()
    start = candidate.ask(4, ())
    right = candidate.start_join(start)
    assert isinstance(right, Join)
    for wrong in (
        replace(right, term=3),
        replace(right, boot_epoch=6),
        replace(right, position=Position(3, 6)),
    ):
        assert not candidate.join(B, wrong)
    assert not candidate.join(B, right)
    assert candidate.join(C, right)
    assert candidate.won
    candidate.resign()
    assert not candidate.join(A, right) and not candidate.won


def test_a_founder_of_another_set_does_not_count() -> None:
    """What it accepted may be committed by now, so its join helps no other set."""
    founder = Register(Facts(A, 1))
    start = founder.ask(1, (A, B))
    mine = founder.start_join(start)
    assert isinstance(mine, Join)
    assert not founder.join(A, mine)
    assert not founder.join(B, replace(mine, lineage="other"))
    assert founder.join(B, mine)


def test_a_publication_of_another_cluster_is_not_accepted() -> None:
    """Whoever belongs somewhere keeps to it, whatever term another cluster reached."""
    voter = register()
    foreign = publish(3, 6, ClusterState(cluster_uuid="other"), ())
    assert voter.accept(foreign) is None
    assert voter.position == Position(3, 5)


def test_a_founder_in_waiting_joins_a_cluster_that_exists() -> None:
    """An uncommitted first set gives way to a committed one, and for good."""
    founder = Register(Facts(A, 1, term=3))
    founder.accept(publish(3, 1, ClusterState(cluster_uuid="first"), ()))
    assert founder.facts.cluster_uuid == ""
    founder.start_join(StartJoin(4, 1))
    assert founder.accept(publish(4, 9, MINE, (B, C))) == Ack(4, 9)
    assert founder.facts.cluster_uuid == "mine"


def test_a_difference_needs_its_parent() -> None:
    """Upon anything else the whole is wanted; without either there is nothing."""
    voter = register()
    change = Publish(3, 6, (A, B, C), (A, B, C), Position(3, 4), diff=StateDiff())
    assert voter.accept(change) == Wanted(3, 6)
    assert voter.accept(replace(change, diff=None)) == Wanted(3, 6)
    assert voter.accept(replace(change, parent=Position(3, 5))) == Ack(3, 6)
    assert voter.accept(replace(change, version=5)) is None
    assert voter.accept(replace(change, term=2)) == Refused(3)


def test_only_what_was_accepted_is_committed() -> None:
    """A commit of another value does nothing, nor does a second one."""
    voter = register(committed=False)
    assert not voter.commit(Commit(3, 4))
    assert voter.commit(Commit(3, 5))
    assert not voter.commit(Commit(3, 5))
    assert voter.facts.committed_voters == (A, B, C)


def test_acks_of_anything_else_do_not_count() -> None:
    """A publication is committed by acks of itself, from a majority."""
    leader = register()
    start = leader.ask(4, ())
    mine = leader.start_join(start)
    assert isinstance(mine, Join)
    assert not leader.ack(A, Ack(4, 6))
    leader.join(A, mine)
    leader.join(B, mine)
    value = leader.propose(MINE, (A, B, C))
    leader.accept(publish(4, value.version, MINE, (A, B, C)))
    assert not leader.ack(A, Ack(*value.position))
    assert not leader.ack(B, Ack(3, value.version))
    assert leader.ack(B, Ack(*value.position))
    assert not leader.ack(C, Ack(*value.position))

"""Tests for `torua.core.coordination.machine`: single turns, by hand."""

from random import Random

from msgspec.structs import replace

from torua.core.allocation import MarkStarted
from torua.core.coordination.commands import WAITING_MAX, Commands
from torua.core.coordination.machine import Coordination, Founding, Mode
from torua.core.coordination.messages import (
    Accepted,
    Check,
    Disconnected,
    Event,
    Facts,
    Letter,
    Members,
    Message,
    Noticed,
    Output,
    Persist,
    Persisted,
    Position,
    PreVote,
    PreVoted,
    Received,
    Send,
    StartJoin,
    Submit,
)
from torua.core.coordination.timing import Timing
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.members import Member, Meta, Status
from torua.core.state import ClusterState

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
VALUE = Accepted(3, 5, ClusterState(cluster_uuid="mine"), (A, B, C), (A, B, C))


def machine() -> Coordination:
    """Make a voter of three, that knows of nobody, and give it a first moment."""
    made = Coordination(
        Facts(A, 1, "mine", 3, VALUE, True), Founding(), Timing(), Random(1)
    )
    made.receive(Members(tuple(member(each) for each in (A, B, C))), 0.0)
    return made


def member(node: NodeId, **changes: object) -> Member:
    """Make a live member.

    Args:
        node: who.
        changes: what is otherwise.
    """
    alive = Member(node, node, Address("h", 1), 1, 0, Status.ALIVE, Meta())
    return replace(alive, **changes)


def letter(
    source: NodeId, message: Message, epoch: int = 1, uuid: str = "mine"
) -> Received:
    """Make an input of a message.

    Args:
        source: who sent it.
        message: what.
        epoch: the sender's life.
        uuid: the sender's cluster.
    """
    return Received(source, epoch, Letter(uuid, message))


def events(outputs: list[Output]) -> list[Event]:
    """Return what was noticed."""
    return [output.event for output in outputs if isinstance(output, Noticed)]


def sent(outputs: list[Output]) -> list[Message]:
    """Return what was sent."""
    return [output.letter.message for output in outputs if isinstance(output, Send)]


def following() -> Coordination:
    """Make a voter that b coordinates since 1.0."""
    made = machine()
    outputs = made.receive(letter(B, Check(3, True, 1)), 1.0)
    assert events(outputs) == [Event.FOLLOWING]
    return made


def test_nothing_is_sent_before_what_it_rests_on_is_saved() -> None:
    """A join waits for the term; so does all that comes after."""
    voter = machine()
    outputs = voter.receive(letter(B, StartJoin(4, 1)), 1.0)
    assert [type(output) for output in outputs] == [Persist]
    assert sent(voter.receive(letter(B, PreVote(1, 4, Position(3, 5))), 1.0)) == []
    assert len(sent(voter.receive(Persisted(1), 1.1))) == 2


def test_another_cluster_is_refused_and_reported_once() -> None:
    """Its letters have no effect but one line."""
    voter = machine()
    foreign = letter(B, StartJoin(9, 1), uuid="other")
    assert events(voter.receive(foreign, 1.0)) == [Event.FOREIGN]
    assert voter.receive(foreign, 1.0) == []
    assert voter.term == 3
    stranger = member(C, meta=Meta(cluster_uuid="other"))
    assert events(voter.receive(Members((stranger,)), 1.0)) == [Event.FOREIGN]


def test_an_earlier_life_is_not_listened_to() -> None:
    """A letter from before the sender's restart does nothing."""
    voter = machine()
    voter.receive(letter(B, Check(3, False, 1), epoch=5), 1.0)
    assert voter.receive(letter(B, StartJoin(9, 4), epoch=4), 1.0) == []
    assert voter.term == 3


def test_a_coordinator_that_left_or_was_restarted_is_lost_at_once() -> None:
    """Nobody waits for silence where more is known."""
    voter = following()
    left = member(B, status=Status.LEFT)
    outputs = voter.receive(Members((member(A), left)), 1.1)
    assert events(outputs) == [Event.LOST]
    voter = following()
    outputs = voter.receive(letter(B, Check(3, False, 1), epoch=2), 1.1)
    assert events(outputs) == [Event.LOST]
    assert (voter.mode, voter.coordinator) == (Mode.CANDIDATE, None)


def test_a_broken_connection_leaves_a_moment_to_answer() -> None:
    """A coordinator is lost half a second after a reset, unless it is heard of."""
    voter = following()
    (check,) = sent(voter.receive(Disconnected(B), 1.2))
    assert isinstance(check, Check) and not check.leads
    assert voter.receive(Disconnected(B), 1.3) == []
    voter.wake(1.6)
    assert events(voter.wake(1.71)) == [Event.LOST]
    voter = following()
    voter.receive(Disconnected(B), 1.2)
    voter.receive(letter(B, Check(3, True, 2)), 1.4)
    assert events(voter.wake(2.0)) == []


def test_a_coordinator_that_refuses_connections_is_lost_sooner() -> None:
    """A tenth of a second after the first broke; unless it is heard of."""
    for heard in (False, True):
        voter = following()
        voter.receive(Disconnected(B), 1.2)
        voter.receive(Disconnected(B, refused=True), 1.22)
        if heard:
            voter.receive(letter(B, Check(3, True, 2)), 1.25)
        assert events(voter.wake(1.29)) == []
        assert events(voter.wake(1.31)) == ([] if heard else [Event.LOST])


def test_nobody_lets_a_coordinator_that_is_gone_stand_first() -> None:
    """Membership believes it alive for a while; it had the best rank of all."""
    first = NodeId("0")
    voters = (first, A, C)
    value = replace(VALUE, voters=voters, committed_voters=voters)
    facts = Facts(A, 1, "mine", 3, value, True)
    voter = Coordination(facts, Founding(), Timing(), Random(1))
    voter.receive(Members(tuple(member(each) for each in voters)), 0.0)
    voter.receive(letter(first, Check(3, True, 1)), 1.0)
    voter.receive(Disconnected(first), 1.2)
    voter.receive(Disconnected(first, refused=True), 1.22)
    voter.wake(1.31)
    stands_at = voter.next_deadline()
    assert stands_at is not None
    assert stands_at < 1.31 + Timing().rank_step_s


def test_a_node_that_hears_nothing_of_its_coordinator_is_deaf() -> None:
    """Less than two rounds of silence tell that it is not listened to, or not alive."""
    assert machine().is_deaf(0.1)
    voter = following()
    assert not voter.is_deaf(1.8)
    assert voter.is_deaf(1.9)
    voter.receive(letter(B, Check(3, True, 2)), 1.95)
    assert not voter.is_deaf(2.0)


def test_a_grant_of_long_ago_raises_no_term() -> None:
    """Who slept over the answers asks again (C11)."""
    for delay, term in ((0.1, 4), (5.0, 3)):
        voter = machine()
        now = voter.next_deadline()
        assert now is not None
        asked = next(m for m in sent(voter.wake(now)) if isinstance(m, PreVote))
        grant = PreVoted(asked.attempt, True, 3, Position(3, 5))
        voter.receive(letter(B, grant), now + delay)
        assert voter.term == term


def test_no_pre_vote_while_another_coordinator_is_healthy() -> None:
    """But for the coordinator itself, which would not ask if it were one."""
    voter = following()
    asked = PreVote(1, 3, Position(3, 5))
    for source, now, granted in ((C, 1.5, False), (B, 1.5, True), (C, 9.0, True)):
        (reply,) = sent(voter.receive(letter(source, asked), now))
        assert reply == PreVoted(1, granted, 3, Position(3, 5))


def test_too_many_commands_are_refused() -> None:
    """What waits for a publication is bounded."""
    commands = Commands()
    command = MarkStarted(ShardId(0), AllocId("x"), 1, 1)
    assert all(commands.add(Submit(n, command)) for n in range(WAITING_MAX))
    assert not commands.add(Submit(0, command))

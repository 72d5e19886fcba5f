"""Barriers: many shards and reads, one question a peer node."""

import random
from collections.abc import Sequence

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.replication.barrier import (
    BARRIER_S,
    HOLD_S,
    Barriers,
    Done,
    Flush,
    Led,
    Output,
    Renew,
    Said,
    SendAsk,
    Want,
    say,
)
from torua.core.replication.wire import BARRIER_ASKS_MAX, Ask, BarrierSaid

B, C = NodeId("b"), NodeId("c")
Peers = Sequence[tuple[NodeId, Ask]]


class ReusesNonces(Barriers):
    """Asks each question under the same name."""

    def _nonce(self) -> int:
        """Make the same again."""
        return 7


def ask(shard: int, node: NodeId = B, term: int = 1) -> tuple[NodeId, Ask]:
    """Ask the copy of a shard on a node.

    Args:
        shard: which.
        node: where.
        term: of the primary.
    """
    return node, Ask(ShardId(shard), "h", AllocId(f"{shard}{node}"), term)


def barriers(peers: dict[ShardId, Peers], kind: type[Barriers] = Barriers) -> Barriers:
    """Make barriers over some shards.

    Args:
        peers: whom each asks.
        kind: the machine to try.
    """

    def leads(shard: ShardId) -> Led | None:
        """Tell that all are led in term 1."""
        return Led(1, peers[shard]) if shard in peers else None

    return kind(leads, random.Random(1))


def want(machine: Barriers, *pairs: tuple[int, int], now: float = 0.0) -> list[SendAsk]:
    """Want barriers, end the turn, and return what is sent.

    Args:
        machine: the barriers.
        pairs: shards and requests.
        now: the monotonic clock.
    """
    for shard, request in pairs:
        assert machine.receive(Want(ShardId(shard), request), now) == []
    found = machine.receive(Flush(), now)
    return [each for each in found if isinstance(each, SendAsk)]


def said(machine: Barriers, sent: SendAsk, *answers: bool) -> list[Output]:
    """Answer a question.

    Args:
        machine: the barriers.
        sent: the question.
        answers: to each of its asks.
    """
    return machine.receive(Said(sent.node, BarrierSaid(sent.message.nonce, answers)), 0)


def done(shard: int, request: int, passed: bool) -> Done:
    """Spell an end.

    Args:
        shard: whose.
        request: which.
        passed: whether all said yes.
    """
    return Done(Want(ShardId(shard), request), passed)


def test_one_question_a_node_serves_all_shards_and_reads_of_a_turn() -> None:
    """Each shard is asked about once, however many reads wait for it."""
    machine = barriers({ShardId(1): [ask(1)], ShardId(2): [ask(2), ask(2, C)]})
    b, c = want(machine, (1, 10), (1, 11), (2, 12))
    assert [len(b.message.asks), len(c.message.asks)] == [2, 1]
    assert b.message.nonce != c.message.nonce
    assert said(machine, b, True, True) == [done(1, 10, True), done(1, 11, True)]
    assert said(machine, c, True) == [done(2, 12, True)]
    assert machine.next_deadline() is None


def test_one_no_is_no() -> None:
    """The other's yes changes nothing, and nobody is told twice."""
    machine = barriers({ShardId(1): [ask(1), ask(1, C)]})
    b, c = want(machine, (1, 10))
    assert said(machine, b, False) == [done(1, 10, False)]
    assert said(machine, c, True) == []


def test_too_few_answers_are_no() -> None:
    """Anything but as many as were asked for."""
    machine = barriers({ShardId(1): [ask(1)], ShardId(2): [ask(2)]})
    (b,) = want(machine, (1, 10), (2, 11))
    assert said(machine, b, True) == [done(1, 10, False), done(2, 11, False)]


def test_alone_needs_no_message_and_a_copy_that_serves_not_fails() -> None:
    """Nobody to ask is yes; no primary here is no."""
    machine = barriers({ShardId(1): []})
    machine.receive(Want(ShardId(1), 10), 0)
    machine.receive(Want(ShardId(2), 11), 0)
    assert machine.wanted
    assert machine.receive(Flush(), 0) == [done(1, 10, True), done(2, 11, False)]
    assert not machine.wanted


def test_a_proof_is_of_the_term_in_which_it_was_looked_at() -> None:
    """Whoever lost the lead and has it again may have missed what others answered."""
    machine = barriers({ShardId(1): [ask(1)], ShardId(2): []})
    looks = [Want(ShardId(1), 10, 0), Want(ShardId(1), 11, 1), Want(ShardId(2), 12, 0)]
    for look in looks:
        assert machine.receive(look, 0) == []
    first, alone, sent = machine.receive(Flush(), 0)
    assert [first, alone] == [Done(looks[0], False), Done(looks[2], False)]
    assert isinstance(sent, SendAsk)
    assert said(machine, sent, True) == [Done(looks[1], True)]


def test_silence_is_no_after_a_while() -> None:
    """A late yes does nothing."""
    machine = barriers({ShardId(1): [ask(1)]})
    (b,) = want(machine, (1, 10))
    assert machine.wake(BARRIER_S / 2) == []
    assert machine.next_deadline() == BARRIER_S
    assert machine.wake(BARRIER_S) == [done(1, 10, False)]
    assert machine.next_deadline() is None
    assert said(machine, b, True) == []


def test_another_nodes_answer_does_nothing() -> None:
    """A nonce is one node's."""
    machine = barriers({ShardId(1): [ask(1)]})
    (b,) = want(machine, (1, 10))
    assert machine.receive(Said(C, BarrierSaid(b.message.nonce, (True,))), 0) == []
    assert said(machine, b, True) == [done(1, 10, True)]


def test_many_shards_are_asked_about_in_several_messages() -> None:
    """Each bounded."""
    machine = barriers({ShardId(i): [ask(i)] for i in range(BARRIER_ASKS_MAX + 1)})
    first, second = want(machine, *((i, i) for i in range(BARRIER_ASKS_MAX + 1)))
    sizes = [len(each.message.asks) for each in (first, second)]
    assert sizes == [BARRIER_ASKS_MAX, 1]


def test_an_answer_keeps_the_order_of_the_asks() -> None:
    """Each is put to the copy that is meant."""
    machine = barriers({ShardId(1): [ask(1)], ShardId(2): [ask(2)]})
    (b,) = want(machine, (1, 10), (2, 11))
    answer = say(b.message, lambda asked: asked.shard == 2)
    assert answer == BarrierSaid(b.message.nonce, (False, True))


def late_yes_is_taken(kind: type[Barriers]) -> bool:
    """Tell whether a yes of before a read proves the read.

    Args:
        kind: the machine to try.
    """
    machine = barriers({ShardId(1): [ask(1)]}, kind)
    (old,) = want(machine, (1, 10))
    machine.wake(BARRIER_S)
    want(machine, (1, 11), now=BARRIER_S)
    return said(machine, old, True) == [done(1, 11, True)]


def test_a_nonce_is_never_used_again() -> None:
    """R22: a primary that was paused reads nothing by answers of before its pause."""
    assert late_yes_is_taken(ReusesNonces), "the trial finds it"
    assert not late_yes_is_taken(Barriers)


def test_while_one_is_under_way_the_next_waits_for_company() -> None:
    """What several turns want goes out together when the answers have come."""
    machine = barriers({ShardId(1): [ask(1), ask(1, C)], ShardId(2): [ask(2)]})
    b, c = want(machine, (1, 10))
    turn = machine.turn
    assert want(machine, (1, 11)) == []
    assert want(machine, (2, 12)) == []
    assert not machine.wanted
    assert said(machine, b, True) == []
    assert machine.turn == turn
    first, again, other = said(machine, c, True)
    assert first == done(1, 10, True)
    assert isinstance(again, SendAsk)
    assert isinstance(other, SendAsk)
    assert [len(each.message.asks) for each in (again, other)] == [2, 1]
    assert machine.turn == turn + 1
    assert machine.next_deadline() == BARRIER_S


def test_nothing_is_held_back_for_long() -> None:
    """A silent peer costs the next reads a moment, not its whole time-out."""
    machine = barriers({ShardId(1): [ask(1)], ShardId(2): [ask(2, C)]})
    want(machine, (1, 10))
    assert want(machine, (2, 11), now=HOLD_S / 2) == []
    assert machine.next_deadline() == HOLD_S
    (sent,) = machine.wake(HOLD_S)
    assert isinstance(sent, SendAsk)
    assert sent.node == C
    assert machine.next_deadline() == BARRIER_S
    assert len(want(machine, (2, 12), now=3 * HOLD_S)) == 1


def test_what_is_held_back_goes_when_the_last_question_fails() -> None:
    """An answer that never comes does not keep it."""
    machine = barriers({ShardId(1): [ask(1)]})
    want(machine, (1, 10))
    assert want(machine, (1, 11), now=HOLD_S / 2) == []
    gone, sent = machine.wake(BARRIER_S)
    assert gone == done(1, 10, False)
    assert isinstance(sent, SendAsk)


def test_who_waits_for_a_copy_that_is_tracked_no_more_asks_anew() -> None:
    """Under a fresh nonce, whom the primary tracks now; others go on waiting."""
    peers: dict[ShardId, Peers] = {ShardId(1): [ask(1), ask(1, C)]}
    peers[ShardId(2)] = [ask(2)]
    machine = barriers(peers)
    old_b, old_c = want(machine, (1, 10), (2, 11))
    peers[ShardId(1)] = [ask(1, C)]
    (new,) = machine.receive(Renew(), HOLD_S)
    assert isinstance(new, SendAsk)
    assert (new.node, new.message.asks) == (C, (ask(1, C)[1],))
    assert said(machine, old_c, True) == []
    assert said(machine, new, True) == [done(1, 10, True)]
    assert said(machine, old_b, True, True) == [done(2, 11, True)]


def test_who_waits_for_the_last_other_copy_has_proof_without_it() -> None:
    """Alone nobody needs to be asked; of another term nothing is proven."""
    for term, passed in ((1, True), (2, False)):
        led = [Led(term, [ask(1)])]
        machine = Barriers(lambda _, led=led: led[-1], random.Random(1))  # type: ignore[misc]
        wanted = Want(ShardId(1), 10, term)
        machine.receive(wanted, 0.0)
        machine.receive(Flush(), 0.0)
        led.append(Led(1, ()))
        assert machine.receive(Renew(), HOLD_S) == [Done(wanted, passed)]


def test_nobody_asks_anew_while_all_who_were_asked_are_tracked() -> None:
    """A state that changes something else sends nothing."""
    machine = barriers({ShardId(1): [ask(1), ask(1, C)]})
    want(machine, (1, 10))
    assert machine.receive(Renew(), HOLD_S) == []

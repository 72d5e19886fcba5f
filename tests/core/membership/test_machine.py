"""Tests for `torua.core.membership.machine`.  Time is a number that the test holds."""

import pytest
from msgspec.structs import replace

from tests.core.membership.parts import (
    ADDRESS,
    Lone,
    as_,
    ask,
    member,
    only,
    rumour,
    sent,
)
from torua.core.members import Status
from torua.core.membership import messages as m
from torua.core.membership.machine import INCARNATION_MAX
from torua.core.membership.timing import LOCAL


def test_a_new_member_is_told_of_and_passed_on() -> None:
    """Who is heard of first becomes a member, and news."""
    lone = Lone()
    a, b = member("a"), member("b")
    outputs = lone.hear(a, rumour(a), rumour(b))
    assert [c.member for c in only(m.MemberChanged, outputs)] == [a, b]
    passed = only(m.Send, lone.pass_time(LOCAL.gossip_s))
    assert passed and {r.member for s in passed for r in s.packet.rumours} == {a, b}


def test_a_datagram_fits_its_budget() -> None:
    """Of fifty rumours only ten of 100 bytes go into one datagram."""
    lone = Lone()
    lone.know(*[f"x{index}" for index in range(50)])
    sends = only(m.Send, lone.pass_time(1.0))
    assert max(len(send.packet.rumours) for send in sends) == 10


def test_a_ping_is_answered_with_its_nonce() -> None:
    """To where the sender is known to be, or else to where it came from."""
    lone = Lone()
    (a,) = lone.know("a")
    for sender, address in ((a, a.address), (member("b"), ADDRESS)):
        (send,) = sent(m.Ack, lone.hear(sender, message=m.Ping(9)))
        assert send.packet.message == m.Ack(9) and send.address == address


def test_who_does_not_answer_is_suspected_then_dead() -> None:
    """A silent member is probed, suspected, and dead once its time is up."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.pass_time(2 * LOCAL.period_s)
    assert lone.status(a) is Status.SUSPECT
    lone.pass_time(4 * LOCAL.period_s)
    assert lone.status(a) is Status.DEAD


def test_who_answers_is_not_suspected() -> None:
    """An ack within the period ends the probe."""
    lone = Lone()
    (a,) = lone.know("a")
    for _ in range(20):
        for ping in sent(m.Ping, lone.pass_time(LOCAL.period_s / 4)):
            assert isinstance(ping.packet.message, m.Ping)
            lone.hear(a, message=m.Ack(ping.packet.message.nonce))
    assert lone.status(a) is Status.ALIVE and lone.machine.health_score == 0


def test_helpers_are_asked_and_the_member_itself_by_tcp() -> None:
    """After the timeout three others ping in our stead, and TCP is tried beside."""
    lone = Lone()
    lone.know("a", "b", "c", "d", "e")
    outputs = lone.pass_time(LOCAL.period_s + LOCAL.timeout_s)
    (ping, *_), asked = sent(m.Ping, outputs), sent(m.PingReq, outputs)
    assert len(asked) == 3
    (tcp,) = only(m.Ask, outputs)
    assert tcp.packet.target == ping.packet.target
    assert ping.packet.target not in {send.packet.target for send in asked}


def test_a_helper_passes_on_the_answer() -> None:
    """A ping in another's stead, its ack passed back with the asker's nonce."""
    lone = Lone()
    a, b = lone.know("a", "b")
    request = m.PingReq(77, b.node_id, b.boot_epoch, b.address)
    (ping,) = sent(m.Ping, lone.hear(a, message=request))
    assert ping.packet.target == b.node_id
    assert isinstance(ping.packet.message, m.Ping)
    (ack,) = sent(m.Ack, lone.hear(b, message=m.Ack(ping.packet.message.nonce)))
    assert ack.packet.message == m.Ack(77) and ack.packet.target == a.node_id


def test_a_helper_without_an_answer_says_so() -> None:
    """A nack arrives before the asker's period ends."""
    lone = Lone()
    a, b = lone.know("a", "b")
    lone.hear(a, message=m.PingReq(77, b.node_id, b.boot_epoch, b.address))
    (nack,) = sent(m.Nack, lone.pass_time(LOCAL.timeout_s))
    assert nack.packet.message == m.Nack(77) and nack.packet.target == a.node_id


def fail_probe(lone: Lone, *, nacks: int) -> None:
    """Let one probe fail, with so many helpers saying that they got nothing either."""
    asked: list[m.Send] = []
    while not asked:
        asked = sent(m.PingReq, lone.pass_time(LOCAL.timeout_s / 10))
    by_id = lone.machine.members
    for send in asked[:nacks]:
        assert isinstance(send.packet.message, m.PingReq)
        helper = by_id[send.packet.target]
        lone.hear(helper, message=m.Nack(send.packet.message.nonce))
    while not any(x.status is Status.SUSPECT for x in by_id.values()):
        lone.pass_time(LOCAL.timeout_s / 10)


@pytest.mark.parametrize("nacks", [0, 1, 3])
def test_missing_nacks_are_held_against_ourselves(nacks: int) -> None:
    """Each helper that stays silent too makes our own health worse."""
    lone = Lone()
    lone.know("a", "b", "c", "d")
    fail_probe(lone, nacks=nacks)
    assert lone.machine.health_score == 3 - nacks


def test_a_member_that_answers_by_tcp_alone_is_alive_and_noted_once() -> None:
    """UDP is blocked, TCP is open: it stays, and the operator hears of it."""
    lone = Lone()
    (a,) = lone.know("a")
    noted = []
    for _ in range(40):
        outputs = lone.pass_time(LOCAL.period_s / 4)
        noted += only(m.TcpOnly, outputs)
        for question in only(m.Ask, outputs):
            if not isinstance(question.packet.message, m.Ping):
                continue
            ack = lone.packet(a, message=m.Ack(question.packet.message.nonce))
            lone.tell(m.Answered(question.ref, ack))
    assert lone.status(a) is Status.ALIVE
    assert [note.member for note in noted] == [a]


def test_the_accused_hears_it_first() -> None:
    """The suspicion rides on the next packet to the suspect itself."""
    lone = Lone()
    a, b = lone.know("a", "b")
    lone.pass_time(0.001)
    for _ in range(30):
        lone.hear(b, rumour(as_(b, Status.SUSPECT), "z"))
    (ack,) = sent(m.Ack, lone.hear(b, message=m.Ping(1)))
    assert ack.packet.rumours[0].member == as_(b, Status.SUSPECT)
    assert lone.status(a) is Status.ALIVE


def test_a_suspect_is_asked_again_in_every_period() -> None:
    """So that the refutation comes even where no gossip brought it."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.hear(member("b"), rumour(as_(a, Status.SUSPECT), "b"))
    pings = sent(m.Ping, lone.pass_time(LOCAL.period_s))
    assert len(pings) == 2
    assert {ping.packet.rumours[0].member for ping in pings} == {as_(a, Status.SUSPECT)}


@pytest.mark.parametrize("status", [Status.SUSPECT, Status.DEAD])
def test_a_doubt_about_itself_is_refuted(status: Status) -> None:
    """A later incarnation, said aloud, and worse health: the fault may be here."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.hear(a, rumour(as_(lone.machine.me, status, incarnation=3), "a"))
    assert lone.machine.me.incarnation == 4
    assert lone.machine.me.status is Status.ALIVE
    assert lone.machine.health_score == 1
    (ack,) = sent(m.Ack, lone.hear(a, message=m.Ping(1)))
    assert ack.packet.rumours[0].member == lone.machine.me


def test_who_missed_a_refutation_is_told_again() -> None:
    """A doubt that was refuted long ago shows that somebody has not heard of it."""
    lone = Lone()
    (a,) = lone.know("a")
    doubt = rumour(as_(lone.machine.me, Status.SUSPECT), "a")
    lone.hear(a, doubt)
    lone.pass_time(LOCAL.period_s)
    lone.know("b")
    before = lone.machine.me
    (ack,) = sent(m.Ack, lone.hear(a, doubt, message=m.Ping(1)))
    assert ack.packet.rumours[0].member == before == lone.machine.me


def test_a_doubt_about_an_earlier_life_is_not_ours() -> None:
    """The last life may be as dead as it likes."""
    lone = Lone()
    old = replace(lone.machine.me, boot_epoch=4, status=Status.DEAD)
    lone.hear(member("a"), rumour(old, "a"))
    assert lone.machine.me.incarnation == 0 and lone.machine.health_score == 0


def test_an_incarnation_beyond_all_measure_is_made_up() -> None:
    """It is not believed, so that no node runs out of incarnations."""
    lone = Lone()
    for who in (lone.machine.me, member("a")):
        absurd = as_(who, Status.SUSPECT, incarnation=INCARNATION_MAX)
        lone.hear(member("a"), rumour(absurd))
    assert lone.machine.me.incarnation == 0 and len(lone.machine.members) == 1


def test_confirmations_shorten_a_suspicion() -> None:
    """Two more accusers bring it from the greatest time to the least."""
    lone = Lone()
    a, *_ = lone.know("a", "b", "c", "d")
    lone.hear(member("b"), rumour(as_(a, Status.SUSPECT), "b"))
    lone.hear(member("b"), rumour(as_(a, Status.SUSPECT), "b"))
    long = lone.machine._table.suspicions.next_deadline()
    lone.hear(member("c"), rumour(as_(a, Status.SUSPECT), "c"))
    lone.hear(member("d"), rumour(as_(a, Status.SUSPECT), "d"))
    short = lone.machine._table.suspicions.next_deadline()
    assert long == pytest.approx(lone.now + 2.4)
    assert short == pytest.approx(lone.now + 0.4)


def test_a_death_told_by_push_pull_is_a_suspicion() -> None:
    """It may be the teller who was cut off; the accused gets its chance."""
    lone = Lone()
    a, b = lone.know("a", "b")
    answer = ask(
        lone, lone.packet(b, rumour(as_(a, Status.DEAD), "b"), message=m.Sync())
    )
    assert lone.status(a) is Status.SUSPECT
    assert answer is not None and len(answer.rumours) == 3


def test_a_stall_of_its_own_is_not_held_against_others() -> None:
    """After a pause of ten seconds the acks that wait are still read in time."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.hear(member("b"), rumour(as_(a, Status.SUSPECT), "b"))
    (ping,) = sent(m.Ping, lone.pass_time(LOCAL.period_s + 0.01))[:1]
    lone.now += 10.0
    lone.machine.wake(lone.now)
    assert lone.status(a) is Status.SUSPECT
    assert isinstance(ping.packet.message, m.Ping)
    refuted = as_(a, Status.ALIVE, incarnation=1)
    lone.hear(a, rumour(refuted), message=m.Ack(ping.packet.message.nonce))
    lone.pass_time(LOCAL.timeout_s)
    assert lone.status(a) is Status.ALIVE


def test_stalls_worsen_the_health_and_the_others_hear_of_it() -> None:
    """The score stretches the own times and stands in the metadata."""
    lone = Lone()
    (a,) = lone.know("a")
    outputs = lone.tell(m.Stalled(LOCAL.timeout_s / 4))
    assert outputs == [] and lone.machine.health_score == 0
    for score in (1, 2, 3, 4, 5, 6, 7, 8, 8):
        lone.tell(m.Stalled(LOCAL.timeout_s))
        assert lone.machine.health_score == score
    lone.pass_time(3 * LOCAL.period_s)
    assert lone.machine.me.meta.health_score == 8
    assert lone.machine.me.incarnation == 1
    lone.pass_time(4 * LOCAL.period_s)
    assert lone.status(a) is Status.ALIVE


def test_health_comes_back_where_nothing_fails() -> None:
    """A node alone has nobody to miss; it recovers period by period."""
    lone = Lone()
    lone.tell(m.Stalled(1.0))
    assert m.HealthChanged(0) in lone.pass_time(3 * LOCAL.period_s)

"""Tests for how `torua.core.membership` tells lives, names and clusters apart."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from tests.core.membership.parts import (
    Lone,
    as_,
    ask,
    member,
    only,
    rumour,
    sent,
)
from torua.core.builds import Build
from torua.core.ids import Address
from torua.core.members import Meta, Status
from torua.core.membership import messages as m
from torua.core.membership.timing import LOCAL


@pytest.mark.parametrize("by", ["rumour", "target", "sender"])
def test_a_later_life_of_its_own_ends_this_one(by: str) -> None:
    """However it hears of it, it says so once and is silent for ever."""
    lone = Lone()
    later = replace(lone.machine.me, boot_epoch=6)
    if by == "rumour":
        outputs = lone.hear(member("a"), rumour(later))
    elif by == "target":
        outputs = lone.hear(member("a"), target_epoch=6)
    else:
        outputs = lone.hear(later)
    assert only(m.Superseded, outputs) == [m.Superseded(6)]
    assert lone.machine.next_deadline() is None
    assert lone.hear(member("a"), message=m.Ping(1)) == []
    assert lone.machine.wake(lone.now + 9) == []


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("wrong-target", {"target": member("x").node_id}),
        ("stale-target", {"target_epoch": 4}),
        ("old-life", {"sender_epoch": 0}),
        ("sync-by-datagram", {"message": m.Sync()}),
    ],
)
def test_what_is_not_for_us_is_dropped(reason: str, change: dict[str, object]) -> None:
    """Nothing of it is believed, and the reason is said."""
    lone = Lone()
    (a,) = lone.know("a")
    outputs = lone.hear(a, **{"message": m.Ping(1), **change})
    assert only(m.Dropped, outputs) == [m.Dropped(reason)]
    assert sent(m.Ack, outputs) == []


def test_its_own_datagram_come_back_is_dropped() -> None:
    """A mirror is not another life."""
    lone = Lone()
    outputs = lone.hear(lone.machine.me, message=m.Ping(1))
    assert outputs == [m.Dropped("own")]


def test_who_means_our_earlier_life_is_told_of_this_one() -> None:
    """So that a restarted node need not wait for gossip."""
    lone = Lone()
    (a,) = lone.know("a")
    (send,) = only(m.Send, lone.hear(a, target_epoch=4, message=m.Ping(1)))
    assert send.packet.rumours[0].member == lone.machine.me


def test_a_new_life_joins_at_once_from_any_address() -> None:
    """Even where the last one died or left, and at another address."""
    lone = Lone()
    for status in (Status.DEAD, Status.LEFT):
        a = member(f"a{status}")
        lone.hear(a, rumour(a))
        lone.hear(a, rumour(as_(a, status), "b"))
        back = replace(a, boot_epoch=2, address=Address("elsewhere", 1))
        (change, *_) = only(m.MemberChanged, lone.hear(back, rumour(back)))
        assert change.member == back and lone.status(back) is Status.ALIVE


def test_who_left_stays_away() -> None:
    """A late rumour of the same life does not bring it back."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.hear(a, rumour(as_(a, Status.LEFT)))
    for late in (a, as_(a, Status.ALIVE, incarnation=8), as_(a, Status.DEAD)):
        lone.hear(member("b"), rumour(late, "b"))
        assert lone.status(a) is Status.LEFT


def test_changed_metadata_is_news_under_a_later_incarnation() -> None:
    """Address, cluster and whatever else a node says of itself."""
    lone = Lone()
    lone.know("a")
    lone.tell(m.UpdateMeta(Meta(http="h:1", health_score=5)))
    assert lone.machine.me.meta == Meta(http="h:1")
    assert lone.machine.me.incarnation == 1
    assert lone.tell(m.UpdateMeta(Meta(http="h:1"))) == []
    sends = only(m.Send, lone.pass_time(LOCAL.gossip_s))
    news = [rumour.member for send in sends for rumour in send.packet.rumours]
    assert lone.machine.me in news


def test_two_of_one_name_are_said_aloud() -> None:
    """Unless the new one stands where the old one stood: that is a replacement."""
    lone = Lone()
    (a,) = lone.know("a")
    same_place = replace(member("b"), name="a", address=a.address)
    assert only(m.NameClash, lone.hear(a, rumour(same_place))) == []
    elsewhere = replace(member("c"), name="a")
    clashes = only(m.NameClash, lone.hear(a, rumour(elsewhere)))
    assert [clash.other for clash in clashes] == [a, same_place]


def test_members_of_another_cluster_are_refused_loudly_once() -> None:
    """They never become members; who has no cluster yet may."""
    lone = Lone(uuid="ours")
    theirs = [member(name, uuid="theirs") for name in "ab"]
    said = [only(m.ForeignCluster, lone.hear(each, rumour(each))) for each in theirs]
    assert said == [[m.ForeignCluster(theirs[0], "theirs")], []]
    joiner = member("c")
    lone.hear(joiner, rumour(joiner))
    assert list(lone.machine.members.values()) == [lone.machine.me, joiner]
    (drop,) = only(m.Dropped, lone.hear(theirs[0], message=m.Ping(1)))
    assert drop.reason == "foreign-cluster"
    stale = replace(theirs[0], meta=Meta(), incarnation=9)
    lone.hear(joiner, rumour(stale))
    assert lone.status(stale) is None


def test_a_foreign_push_pull_learns_only_who_we_are() -> None:
    """So that it says so aloud as well, and nothing is mixed."""
    lone = Lone(uuid="ours")
    lone.know("a")
    b, c = member("b", uuid="theirs"), member("c")
    for _ in range(2):
        answer = ask(lone, lone.packet(b, rumour(c), rumour(b), message=m.Sync()))
        assert answer is not None
        assert [r.member for r in answer.rumours] == [lone.machine.me]
    assert lone.status(c) is None


def test_a_cluster_of_its_own_excludes_who_belongs_to_another() -> None:
    """Members met before it belonged to one are looked at again."""
    lone = Lone()
    b = member("b", uuid="theirs")
    lone.hear(b, rumour(b))
    outputs = lone.tell(m.UpdateMeta(Meta(cluster_uuid="ours")))
    assert only(m.MemberForgotten, outputs) == [m.MemberForgotten(b)]
    assert lone.status(b) is None


def test_leaving_is_told_and_then_done() -> None:
    """The word goes out as often as any rumour; then the node may stop."""
    lone = Lone()
    lone.know("a", "b")
    lone.pass_time(LOCAL.period_s)
    outputs = lone.tell(m.Leave())
    assert only(m.LeaveDone, outputs) == []
    outputs += lone.pass_time(LOCAL.leave_s)
    assert len(only(m.LeaveDone, outputs)) == 1
    told = [
        send.packet.target
        for send in only(m.Send, outputs)
        if any(r.member.status is Status.LEFT for r in send.packet.rumours)
    ]
    assert set(told) == {member("a").node_id, member("b").node_id}
    assert sent(m.Ping, lone.pass_time(1.0)) == []


def test_who_asks_a_leaver_hears_that_it_leaves() -> None:
    """For as long as it still answers, whatever gossip got through."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.tell(m.Leave())
    lone.pass_time(LOCAL.leave_s)
    (ack,) = sent(m.Ack, lone.hear(a, message=m.Ping(1)))
    assert [r.member.status for r in ack.packet.rumours] == [Status.LEFT]


def test_who_leaves_alone_is_done_at_once() -> None:
    """There is nobody to tell, and a doubt does not call it back."""
    lone = Lone()
    assert m.LeaveDone() in lone.tell(m.Leave())
    lone.hear(member("a"), rumour(as_(lone.machine.me, Status.DEAD), "a"))
    assert lone.machine.me.status is Status.LEFT


def test_hearing_that_it_left_ends_a_life_that_did_not() -> None:
    """Nothing can be refuted any more in this life; the next may join."""
    lone = Lone()
    left = as_(lone.machine.me, Status.LEFT)
    assert only(m.Superseded, lone.hear(member("a"), rumour(left))) != []


def test_the_dead_still_get_word_so_that_they_can_refute() -> None:
    """For a while, and it is about themselves."""
    lone = Lone()
    (a,) = lone.know("a")
    lone.hear(member("b"), rumour(as_(a, Status.DEAD), "b"))
    lone.pass_time(2.0)
    sends = only(m.Send, lone.pass_time(1.0))
    assert {send.address for send in sends} == {a.address}
    assert {send.packet.rumours[0].member for send in sends} == {as_(a, Status.DEAD)}
    lone.pass_time(LOCAL.dead_gossip_s)
    assert only(m.Send, lone.pass_time(1.0)) == []


def test_the_long_dead_are_forgotten_and_do_not_haunt() -> None:
    """Nor does another's memory of them, which is as old, bring them back."""
    lone = Lone(replace(LOCAL, reap_s=60.0))
    (a,) = lone.know("a")
    dead = as_(a, Status.DEAD)
    lone.hear(member("b"), rumour(dead, "b"))
    assert m.MemberForgotten(dead) in lone.pass_time(61.0)
    ghost = m.Rumour(dead, member("b").node_id, age_s=61.0)
    lone.hear(member("b"), ghost)
    assert lone.status(a) is None
    lone.hear(member("b"), replace(ghost, age_s=50.0))
    assert m.MemberForgotten(dead) in lone.pass_time(11.0)


def test_seeds_are_tried_for_ever_with_back_off() -> None:
    """The pauses grow to a bound; a seed behind which a member lives is left alone."""
    lone = Lone()
    lone.tell(m.Start((Address("a", 7000),)))
    tries: list[float] = []
    for _ in range(2000):
        for question in only(m.Ask, lone.pass_time(0.02)):
            tries.append(lone.now)
            lone.tell(m.Answered(question.ref, None))
    pauses = [later - sooner for sooner, later in pairwise(tries)]
    assert pauses[0] < 0.3 and 1.0 <= max(pauses) <= 3.1 and len(tries) > 10
    lone.know("a")
    lone.pass_time(3.2)
    asked = [a for a in only(m.Ask, lone.pass_time(5.0)) if not a.packet.target]
    assert asked == []


def test_a_seed_that_is_the_node_itself_is_found_out() -> None:
    """It answers its own question, and is not asked again."""
    lone = Lone()
    (question,) = only(m.Ask, lone.tell(m.Start((Address("alias", 1),)))) or only(
        m.Ask, lone.pass_time(0.01)
    )
    answer = ask(lone, question.packet)
    lone.tell(m.Answered(question.ref, answer))
    assert only(m.Ask, lone.pass_time(60.0)) == []


def test_peers_are_to_be_remembered() -> None:
    """The addresses of the others that live, whenever they change."""
    lone = Lone()
    a, b = lone.know("a", "b")
    (keep,) = only(m.Remember, lone.pass_time(LOCAL.period_s))
    assert keep.peers == (a.address, b.address)


def test_a_tcp_ping_is_answered_by_the_one_it_is_for() -> None:
    """Not by whoever now has the address: a ghost gets no answer."""
    lone = Lone()
    (a,) = lone.know("a")
    answer = ask(lone, lone.packet(a, message=m.Ping(3)))
    assert answer is not None and answer.message == m.Ack(3)
    for change in ({"target": a.node_id}, {"target_epoch": 1}, {"message": m.Ack(3)}):
        assert ask(lone, lone.packet(a, **{"message": m.Ping(3), **change})) is None


def test_news_too_big_for_gossip_goes_by_push_pull_soon() -> None:
    """Not only at the next one that is due."""
    lone = Lone()
    lone.know("a")
    lone.machine._outbox.rumours.room = 50
    b = member("b")
    lone.hear(member("a"), rumour(b))
    asked = [
        a
        for a in only(m.Ask, lone.pass_time(2 * LOCAL.period_s))
        if isinstance(a.packet.message, m.Sync)
    ]
    assert asked and any(r.member == b for r in asked[0].packet.rumours)


def test_a_build_without_a_common_range_is_refused_loudly_once() -> None:
    """Whatever life it comes back in; one that shares a version is a member."""
    lone = Lone()
    odd = Build(features=(2, 3))
    stranger = replace(member("a"), meta=Meta(build=odd))
    (said,) = only(m.Misfit, lone.hear(stranger, rumour(stranger)))
    assert said.why == "it knows feature levels 2 to 3, this node 1"
    again = replace(stranger, boot_epoch=stranger.boot_epoch + 1)
    assert only(m.Misfit, lone.hear(again, rumour(again))) == []
    assert list(lone.machine.members) == [lone.machine.me.node_id]
    joiner = replace(member("b"), meta=Meta(build=Build(features=(1, 3))))
    lone.hear(joiner, rumour(joiner))
    assert joiner.node_id in lone.machine.members

"""Tests for `torua.core.membership.dissemination`."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.membership.parts import member, rumour
from torua.core.membership.dissemination import Dissemination
from torua.core.membership.messages import Rumour


def queue(room: int = 1000) -> Dissemination:
    """Make an empty queue in which each rumour takes 10 bytes a letter of its name."""
    return Dissemination(room, lambda rumour: 10 * len(rumour.member.name))


def names(rumours: list[Rumour]) -> list[str]:
    """Tell whom they are about."""
    return [rumour.member.name for rumour in rumours]


def test_what_was_sent_least_goes_first_and_among_those_the_newest() -> None:
    """News overtakes what most have heard."""
    waiting = queue()
    waiting.put(rumour(member("a")))
    assert names(waiting.take(10, 9)) == ["a"]
    waiting.put(rumour(member("b")))
    waiting.put(rumour(member("c")))
    assert names(waiting.take(20, 9)) == ["c", "b"]
    assert len(waiting) == 3


def test_a_rumour_is_sent_so_often_and_no_more() -> None:
    """After the limit it is gone."""
    waiting = queue()
    waiting.put(rumour(member("a")))
    sent = [names(waiting.take(1000, 4)) for _ in range(6)]
    assert sent == [["a"]] * 4 + [[], []]
    assert member("a").node_id not in waiting


def test_newer_news_takes_the_place_of_older() -> None:
    """Of one member only the last rumour goes out, and it counts anew."""
    waiting = queue()
    waiting.put(rumour(member("a")))
    waiting.take(1000, 4)
    waiting.put(rumour(member("a", incarnation=1)))
    taken = [waiting.take(1000, 4) for _ in range(5)]
    assert [r.member.incarnation for rumours in taken for r in rumours] == [1] * 4


def test_what_no_packet_holds_waits_for_push_pull() -> None:
    """It is not dropped: it asks for a push/pull as often as it would be sent."""
    waiting = queue(room=15)
    waiting.put(rumour(member("ab")))
    assert waiting.take(15, 2) == [] and waiting.wants_sync
    waiting.synced(2)
    assert waiting.wants_sync
    waiting.synced(2)
    assert not waiting.wants_sync


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), max_size=20),
    st.integers(0, 60),
)
def test_no_packet_is_overfull_and_every_rumour_gets_out(
    spread: list[str], room: int
) -> None:
    """What is taken fits; what fits is taken in the end, exactly as often as it may."""
    waiting = queue()
    for name in spread:
        waiting.put(rumour(member(name)))
    counts: dict[str, int] = dict.fromkeys(spread, 0)
    for _ in range(60):
        taken = names(waiting.take(room, 3))
        assert sum(10 * len(name) for name in taken) <= room
        assert len(set(taken)) == len(taken)
        for name in taken:
            counts[name] += 1
    assert counts == {name: 3 if 10 * len(name) <= room else 0 for name in spread}

"""Which of two beliefs about one member holds.  Merging is ``max``.

    ALIVE(i) --doubted--> SUSPECT(i) --suspicion timeout--> DEAD(i)
       ^                      |                               |
       '--- ALIVE(i + 1) <----'-------------------------------'   it refutes
    any of them --its own leave--> LEFT, final for this life

Precedence is by life (boot epoch), then `LEFT` over all else of that life, then
incarnation, then rank.  What comes after only makes the order total, so that not even
a forged rumour can make two nodes differ for good.
"""

from collections.abc import Iterable

from torua.core.ids import NodeId
from torua.core.members import Member, Status

Precedence = tuple[int, bool, int, int]


def precedence(member: Member) -> Precedence:
    """Tell how much a belief weighs against others about the same member."""
    left = member.status is Status.LEFT
    return (member.boot_epoch, left, member.incarnation, int(member.status))


def overrides(news: Member, held: Member | None) -> bool:
    """Tell whether a belief is to replace the one that is held.

    Args:
        news: what was heard.
        held: what is believed; None where nothing is.
    """
    if held is None:
        return True
    heavier, lighter = precedence(news), precedence(held)
    return heavier > lighter or (heavier == lighter and _content(news) > _content(held))


def merge(one: Iterable[Member], other: Iterable[Member]) -> dict[NodeId, Member]:
    """Join two sets of beliefs.

    It is associative, commutative and idempotent, so neither the order in which gossip
    delivers nor how often it does can matter.
    """
    joined: dict[NodeId, Member] = {}
    for member in (*one, *other):
        if overrides(member, joined.get(member.node_id)):
            joined[member.node_id] = member
    return joined


def _content(member: Member) -> tuple[str, str, str]:
    """Put an order on what only the member itself decides."""
    return (member.name, str(member.address), repr(member.meta))

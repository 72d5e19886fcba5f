"""Why a node gets no copy of a shard: two lists of rules, which decide and explain.

A decider is a small pure function that answers why not, in words, or nothing where it
has no objection.  `STANDING` look at a node as such, `FITTING` at a shard and at what
the node has by now.  Whoever gives copies out asks these lists and nothing else, and so
does whoever explains; the first objection counts.

    role  lost  left  life  silent  leaving  maintenance  evacuating  max_shards
    same_node  max_shards  throttle

What is not here is what a shard or the balance wants: that copies are enough, and who
of those without an objection comes first (`loads`, `balancing`).
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from torua.core.members import Member, Status
from torua.core.state import Duty, NodeEntry

MOVES_MAX = 2
"""How many recoveries a node takes part in at once, in each direction."""


class Objection(Struct, frozen=True):
    """Which decider keeps a node from having a copy, and why, in words."""

    decider: str
    why: str


class Standing(Struct, frozen=True):
    """A node as such.

    Attributes:
        entry: as the cluster state has it.
        member: as membership has it; None where it knows nothing of it.
    """

    entry: NodeEntry
    member: Member | None


class Fit(Struct, frozen=True):
    """A node as the place for one more copy of a shard.

    Attributes:
        entry: as the cluster state has it.
        holds: whether it has a copy of the shard.
        copies: how many copies it has, or is about to get.
        recovering: how many of them are being filled.
    """

    entry: NodeEntry
    holds: bool
    copies: int
    recovering: int


def is_gone(entry: NodeEntry, member: Member | None) -> bool:
    """Tell whether a node said that it left, in the life that the state knows.

    Args:
        entry: as the state has it.
        member: as membership has it, if it does.
    """
    return (
        member is not None
        and member.status is Status.LEFT
        and member.boot_epoch >= entry.boot_epoch
    )


def is_other_life(entry: NodeEntry, member: Member | None) -> bool:
    """Tell whether another life is known than the one in the state.

    Args:
        entry: as the state has it.
        member: as membership has it, if it does.
    """
    return member is not None and member.boot_epoch > entry.boot_epoch


def role(standing: Standing) -> str:
    """Object to a node that only votes."""
    return "" if "data" in standing.entry.roles else "it only votes, and holds no data"


def lost(standing: Standing) -> str:
    """Object to a node that answers no checks."""
    return "the coordinator gets no answers from it" if standing.entry.lost else ""


def left(standing: Standing) -> str:
    """Object to a node that stopped in good order."""
    return "it has stopped" if is_gone(standing.entry, standing.member) else ""


def life(standing: Standing) -> str:
    """Object to a node of which the state knows an earlier life."""
    other = is_other_life(standing.entry, standing.member)
    return "it was just started, and is not taken in yet" if other else ""


def silent(standing: Standing) -> str:
    """Object to a node that nobody believes alive."""
    alive = standing.member is not None and standing.member.is_live
    return "" if alive else "it is not believed alive"


def leaving(standing: Standing) -> str:
    """Object to a node that is about to stop."""
    return "it is about to stop" if standing.entry.leaving else ""


def maintenance(standing: Standing) -> str:
    """Object to a node in maintenance."""
    is_so = standing.entry.duty is Duty.MAINTENANCE
    return "it is in maintenance" if is_so else ""


def evacuating(standing: Standing) -> str:
    """Object to a node that is evacuated."""
    is_so = standing.entry.duty is Duty.EVACUATING
    return "it is evacuated" if is_so else ""


def takes_none(standing: Standing) -> str:
    """Object to a node that wants no copies at all."""
    return "its --max-shards is 0" if standing.entry.max_shards == 0 else ""


def same_node(fit: Fit) -> str:
    """Object to a second copy on one node."""
    return "it has a copy of this shard" if fit.holds else ""


def max_shards(fit: Fit) -> str:
    """Object to more copies than a node takes."""
    limit = fit.entry.max_shards
    if limit is None or fit.copies < limit:
        return ""
    return f"it has {fit.copies} copies, and its --max-shards is {limit}"


def throttle(fit: Fit) -> str:
    """Object to more recoveries at once than a node shall have."""
    if fit.recovering < MOVES_MAX:
        return ""
    return f"it recovers {fit.recovering} copies now; {MOVES_MAX} at once are the most"


STANDING: Mapping[str, Callable[[Standing], str]] = {
    "role": role,
    "lost": lost,
    "left": left,
    "life": life,
    "silent": silent,
    "leaving": leaving,
    "maintenance": maintenance,
    "evacuating": evacuating,
    "max_shards": takes_none,
}
"""What is asked of a node whatever the shard, in this order."""

COMMITTED = {
    name: STANDING[name]
    for name in ("role", "lost", "leaving", "maintenance", "evacuating", "max_shards")
}
"""Those of them that ask nothing but the committed state."""

FITTING: Mapping[str, Callable[[Fit], str]] = {
    "same_node": same_node,
    "max_shards": max_shards,
    "throttle": throttle,
}
"""What is asked of a node and a shard, in this order."""


def standing_objection(standing: Standing) -> Objection | None:
    """Return the first objection to a node as such; None where there is none."""
    for name, decider in STANDING.items():
        if why := decider(standing):
            return Objection(name, why)
    return None


def fitting_objection(fit: Fit) -> Objection | None:
    """Return the first objection to one more copy there; None where there is none."""
    for name, decider in FITTING.items():
        if why := decider(fit):
            return Objection(name, why)
    return None

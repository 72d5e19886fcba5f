"""Why a node gets no copy of a shard: two lists of rules, which decide and explain.

A decider is a small pure function that answers why not, in words, or nothing where it
has no objection.  `STANDING` look at a node as such, `FITTING` at a shard and at what
the node has by now.  Whoever gives copies out asks these lists and nothing else, and so
does whoever explains; the first objection counts.

    role  version  lost  left  life  silent  leaving  maintenance  evacuating
    max_shards
    same_node  zone  host  max_shards  disk  back_off  throttle

What is not here is what a shard or the balance wants: that copies are enough, and who
of those without an objection comes first (`loads`, `balancing`).  Zones and hosts
object only where they are forced; else they are the first thing that chooses.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from torua.core.allocation.domains import Crowd
from torua.core.allocation.limits import Limits
from torua.core.builds import gap
from torua.core.members import Member, Status
from torua.core.state import Duty, NodeEntry

KIB = 1024.0


class Objection(Struct, frozen=True):
    """Which decider keeps a node from having a copy, and why, in words."""

    decider: str
    why: str


class Standing(Struct, frozen=True):
    """A node as such.

    Attributes:
        entry: as the cluster state has it.
        member: as membership has it; None where it knows nothing of it.
        level: the feature level that the cluster is at.
    """

    entry: NodeEntry
    member: Member | None
    level: int = 0


class Disk(Struct, frozen=True):
    """A node's disk, with what is on its way to it; ``total`` 0: nobody knows."""

    used: int = 0
    total: int = 0
    coming: int = 0


class Fit(Struct, frozen=True):
    """A node as the place for one more copy of a shard.

    Attributes:
        entry: as the cluster state has it.
        limits: what an operator set.
        holds: whether it has a copy of the shard.
        copies: how many copies it has, or is about to get.
        recovering: how many of them are being filled.
        crowd: how it stands with the shard's other copies.
        zones: those that are forced; empty where none are.
        hosts_forced: whether one host may have but one copy.
        disk: as the node told last.
        size: of the shard, in bytes.
        wait: for how many seconds it gets none of the shard, and after how many
            failures.
    """

    entry: NodeEntry
    limits: Limits
    holds: bool
    copies: int
    recovering: int
    crowd: Crowd = Crowd()
    zones: tuple[str, ...] = ()
    hosts_forced: bool = False
    disk: Disk = Disk()
    size: int = 0
    wait: tuple[float, int] = (0.0, 0)


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


def version(standing: Standing) -> str:
    """Object to a node that can't keep what primaries write."""
    return gap(standing.entry.build, standing.level)


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


def zone(fit: Fit) -> str:
    """Object to more copies in a zone than its share, where zones are forced.

    One without a zone gets none then: nobody knows what it would fail with.
    """
    if not fit.zones:
        return ""
    named = ", ".join(fit.zones)
    mine = fit.entry.zone
    if not mine:
        return f"it has no zone, and copies are kept apart over {named}"
    if not fit.crowd.zone_over:
        return ""
    has = _many(fit.crowd.zone, "copy", "copies")
    return (
        f"its zone {mine} has {has} of this shard, which is its share: copies are "
        f"kept apart over {named}"
    )


def host(fit: Fit) -> str:
    """Object to a second copy on one host, where that is forbidden."""
    if not fit.hosts_forced or not fit.crowd.host:
        return ""
    return f"its host {fit.entry.address.host} has a copy of this shard, and one is all"


def disk(fit: Fit) -> str:
    """Object to a disk that is too full, or would be.

    What is on its way to it counts as if it were there.
    """
    used, total, coming = fit.disk.used, fit.disk.total, fit.disk.coming
    low, high = fit.limits.low, fit.limits.high
    if low.is_reached(used + coming, total):
        more = f", with {_bytes(coming)} on their way to it" if coming else ""
        return (
            f"its disk is {used / total:.1%} full{more}: above the low watermark of "
            f"{low.share:.0%} it gets no copies"
        )
    if high.is_reached(used + coming + fit.size, total):
        would = (used + coming + fit.size) / total
        return (
            f"with this shard of {_bytes(fit.size)} its disk would be {would:.1%} "
            f"full, above the high watermark of {high.share:.0%}"
        )
    return ""


def back_off(fit: Fit) -> str:
    """Object to a node where a copy of the shard failed a short while ago.

    The time doubles with each failure: what goes wrong there goes wrong again.
    """
    seconds, failures = fit.wait
    if not seconds:
        return ""
    times = _many(failures, "time", "times")
    return (
        f"a copy of this shard failed there {times} running; it is tried again in "
        f"{seconds:.0f} s"
    )


def throttle(fit: Fit) -> str:
    """Object to more recoveries at once than a node shall have."""
    most = fit.limits.recoveries
    if fit.recovering < most:
        return ""
    now = _many(fit.recovering, "copy", "copies")
    return f"it recovers {now} now; {most} at once are the most"


def _many(count: int, one: str, more: str) -> str:
    """Say how many of something there are."""
    return f"{count} {one if count == 1 else more}"


def _bytes(count: int) -> str:
    """Say how many bytes as people do."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < KIB:
            break
        size, unit = size / KIB, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


STANDING: Mapping[str, Callable[[Standing], str]] = {
    "role": role,
    "version": version,
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
    for name in (
        "role",
        "version",
        "lost",
        "leaving",
        "maintenance",
        "evacuating",
        "max_shards",
    )
}
"""Those of them that ask nothing but the committed state."""

FITTING: Mapping[str, Callable[[Fit], str]] = {
    "same_node": same_node,
    "zone": zone,
    "host": host,
    "max_shards": max_shards,
    "disk": disk,
    "back_off": back_off,
    "throttle": throttle,
}
"""What is asked of a node and a shard, in this order."""


PASSING = ("back_off", "throttle")
"""Objections that time alone lifts."""


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

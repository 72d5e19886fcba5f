"""How long membership waits for what, and how often it says it.

The formulas are Lifeguard's (arXiv 1707.00788) as hashicorp/memberlist runs them.
"""

from math import ceil, log, log2, log10

from msgspec import Struct


class Timing(Struct, frozen=True):
    """The times of one preset, in seconds, and the counts that go with them.

    Attributes:
        period_s: one member is probed in each.
        timeout_s: how long a direct ping may take; well above the round trip.
        gossip_s: between two rounds of rumours, while there are any.
        mult: how many periods a suspicion lasts at the least (times log10 n).
        max_mult: how many times longer it lasts where nobody confirms it.
        helpers: how many members are asked to ping in our stead.
        fanout: how many members one round of rumours goes to.
        retransmit_mult: a rumour is sent this often, times log10 of the members.
        sync_s: between two push/pulls, for up to 32 members.
        exchange_timeout_s: how long a push/pull may take.
        seed_retry_s: the least and the greatest pause between tries of a seed.
        dead_gossip_s: how long a dead member still gets rumours, so that it can refute.
        reap_s: how long the dead and the departed are remembered.
        leave_s: how long a leaving member stays to spread the word.
        publish_s: the least time between two changes of the published health.
    """

    period_s: float
    timeout_s: float
    gossip_s: float
    mult: int = 4
    max_mult: int = 6
    helpers: int = 3
    fanout: int = 3
    retransmit_mult: int = 4
    sync_s: float = 15.0
    exchange_timeout_s: float = 5.0
    seed_retry_s: tuple[float, float] = (0.5, 30.0)
    dead_gossip_s: float = 30.0
    reap_s: float = 86_400.0
    leave_s: float = 3.0
    publish_s: float = 5.0


LAN = Timing(period_s=0.5, timeout_s=0.2, gossip_s=0.1)
WAN = Timing(
    period_s=3.0,
    timeout_s=1.5,
    gossip_s=0.5,
    mult=6,
    fanout=4,
    sync_s=60.0,
    exchange_timeout_s=15.0,
    dead_gossip_s=60.0,
    leave_s=10.0,
    publish_s=15.0,
)
LOCAL = Timing(
    period_s=0.1,
    timeout_s=0.05,
    gossip_s=0.03,
    sync_s=5.0,
    exchange_timeout_s=2.0,
    seed_retry_s=(0.1, 2.0),
    leave_s=1.0,
    publish_s=1.0,
)
PRESETS = {"lan": LAN, "wan": WAN, "local": LOCAL}
"""By the name that an operator gives."""

SYNC_SCALE_FROM = 32
"""Above so many members, push/pull grows dear and is done less often."""


def suspicion_bounds(timing: Timing, live: int) -> tuple[float, float, int]:
    """Tell how long a suspicion may last among so many members.

    Args:
        timing: the preset.
        live: how many members live, this node and the suspect among them.

    Returns:
        The least and the greatest time in seconds, and how many independent
        confirmations bring it from the greatest to the least.  Where too few live to
        confirm anything, the greatest is the least.
    """
    least = timing.mult * max(1.0, log10(max(1, live))) * timing.period_s
    wanted = timing.mult - 2
    if live < wanted + 2 or wanted < 1:
        return least, least, 0
    return least, timing.max_mult * least, wanted


def suspicion_timeout(least: float, most: float, wanted: int, confirmed: int) -> float:
    """Shorten a suspicion by those who confirmed it.

    Args:
        least: the time in seconds when all ``wanted`` confirmed.
        most: the time in seconds when none did.
        wanted: how many confirmations are worth waiting for.
        confirmed: how many there are, the first accuser not counted.
    """
    if wanted == 0:
        return least
    share = log(min(confirmed, wanted) + 1) / log(wanted + 1)
    return max(least, most - (most - least) * share)


def retransmit_limit(timing: Timing, members: int) -> int:
    """Tell how often one node sends one rumour.

    Args:
        timing: the preset.
        members: how many live.
    """
    return timing.retransmit_mult * ceil(log10(members + 1))


def sync_interval(timing: Timing, members: int) -> float:
    """Tell how many seconds pass between two push/pulls.

    Args:
        timing: the preset.
        members: how many live.
    """
    if members <= SYNC_SCALE_FROM:
        return timing.sync_s
    return timing.sync_s * (ceil(log2(members) - log2(SYNC_SCALE_FROM)) + 1)

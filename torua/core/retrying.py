"""When a failed attempt may be made again, and how long to wait before that.

Only what certainly did nothing, or may be done twice, is tried again: reads, writes
under an idempotency key, and refusals before anything was appended.  The pause is
drawn from zero to a bound that doubles (full jitter), so that those who failed together
do not come back together.
"""

from random import Random

from torua.errors import (
    OutcomeUnknownError,
    StaleRouteError,
    ToruaError,
    UnavailableError,
)

BASE_S = 0.010
"""The bound of the first pause: about one round between nodes with a sync."""

CAP_S = 1.0
"""The bound of the later ones: a failover takes a few of these."""

PATIENCE_S = 12.0
"""How long a shard without a primary is waited for.  A failover takes 3 s, 5 s with a
new coordinator; what takes longer waits for an operator, and the caller should know."""

_DOUBLINGS_MAX = 16


def may_retry(error: ToruaError, repeatable: bool) -> bool:
    """Tell whether another attempt is safe, and may help.

    Args:
        error: how the last one ended.
        repeatable: whether doing it twice is as good as once.
    """
    if isinstance(error, UnavailableError | StaleRouteError):
        return True
    return repeatable and isinstance(error, OutcomeUnknownError)


def pause_s(attempt: int, random: Random) -> float:
    """Draw how long to wait after an attempt.

    Args:
        attempt: which one failed, from 0.
        random: what to draw with.
    """
    bound = min(CAP_S, BASE_S * 2.0 ** min(attempt, _DOUBLINGS_MAX))
    return random.uniform(0.0, bound)

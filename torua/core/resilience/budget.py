"""How much may be tried again: a share of what is asked, so that trouble stays small.

Retries of many callers at once make a node that is slow slower.  A bucket of tokens is
filled a little by each request, and by time; each retry takes one.  Where there is none
it is owed, and the retry waits until the debt is paid: a caller with little time hears
of the trouble at once, others come later and one by one.

What is sent by a newer route is no retry: the node that is asked did not fail yet.
"""

SHARE = 0.1
"""So many retries a request: more would add to a load that is too high already."""

TOKENS_PER_S = 5.0
"""So many retries a second besides: where little is asked they cost nothing."""

TOKENS_MAX = 50.0
"""What is saved up: ten seconds' worth, for a short trouble after a long calm."""


class RetryBudget:
    """What may be tried again at one node.

    Invariants: in any span of time at most `TOKENS_MAX`, `SHARE` of the requests and
    `TOKENS_PER_S` of the seconds are spent in it; what is owed is paid before more is
    lent to a caller that would come too late.
    """

    def __init__(self, now: float) -> None:
        """Begin with all that can be saved up.

        Args:
            now: the time, in seconds.
        """
        self._tokens = TOKENS_MAX
        self._at = now

    def asked(self, now: float, many: int = 1) -> None:
        """Take note of requests that are no retries.

        Args:
            now: the time.
            many: how many of them.
        """
        self._refill(now)
        self._tokens = min(TOKENS_MAX, self._tokens + SHARE * many)

    def spend(self, now: float, within_s: float) -> float | None:
        """Take a token for a retry, or owe it.

        Args:
            now: the time.
            within_s: how long the caller could wait.

        Returns:
            How many seconds to wait for it; None where that is too long: nothing was
            taken then.
        """
        self._refill(now)
        wait_s = max(0.0, (1.0 - self._tokens) / TOKENS_PER_S)
        if wait_s > within_s:
            return None
        self._tokens -= 1.0
        return wait_s

    def _refill(self, now: float) -> None:
        """Add what time brought."""
        passed_s = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._tokens = min(TOKENS_MAX, self._tokens + passed_s * TOKENS_PER_S)

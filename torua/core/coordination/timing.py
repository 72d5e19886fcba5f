"""How long coordination waits, in one place, so that tests may wait less."""

from msgspec import Struct


class Timing(Struct, frozen=True):
    """All waits, in seconds.

    Attributes:
        check_interval_s: between heartbeats.
        quorum_timeout_s: without a majority, a coordinator steps down after it, and
            without a coordinator, a follower stands.
        reset_grace_s: how long a coordinator may be silent after its connection broke.
        refused_grace_s: how long any node may be, where another one was refused since.
        rank_step_s: what each better candidate delays the others by.
        jitter_s: the most that chance adds to a delay.
        backoff_s: the delay after the first failed attempt; it doubles.
        backoff_max_s: the longest delay after a failed attempt.
        join_timeout_s: how long a candidate waits for joins, and a voter for the
            candidate that it joined.
        publish_timeout_s: a coordinator whose publication takes longer steps down.
    """

    check_interval_s: float = 0.5
    quorum_timeout_s: float = 2.0
    reset_grace_s: float = 0.5
    refused_grace_s: float = 0.1
    rank_step_s: float = 0.15
    jitter_s: float = 0.1
    backoff_s: float = 0.25
    backoff_max_s: float = 1.0
    join_timeout_s: float = 1.0
    publish_timeout_s: float = 10.0

    @property
    def deaf_after_s(self) -> float:
        """A coordinator that is heard says something in each round of checks."""
        return 1.75 * self.check_interval_s


TIMINGS = {
    "local": Timing(
        check_interval_s=0.2,
        quorum_timeout_s=1.0,
        reset_grace_s=0.3,
        refused_grace_s=0.05,
        rank_step_s=0.05,
        jitter_s=0.05,
        backoff_s=0.1,
        backoff_max_s=0.5,
        join_timeout_s=0.5,
    ),
    "lan": Timing(),
    "wan": Timing(
        check_interval_s=1.0,
        quorum_timeout_s=5.0,
        reset_grace_s=2.0,
        refused_grace_s=0.5,
        rank_step_s=0.5,
        jitter_s=0.3,
        backoff_s=1.0,
        backoff_max_s=4.0,
        join_timeout_s=3.0,
        publish_timeout_s=30.0,
    ),
}
"""The waits of each network preset."""

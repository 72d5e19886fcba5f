"""When to stand, and who would join: the patience of a candidate."""

from collections.abc import Iterable
from random import Random

from torua.core.coordination.messages import Position, Voters
from torua.core.coordination.timing import Timing
from torua.core.ids import NodeId
from torua.core.members import Member

DOUBLINGS_MAX = 8
"""By then the longest delay is reached; a bound for the arithmetic only."""


class Candidacy:
    """One node's attempts to become coordinator.

    Invariants: `grants` are of the attempt `attempt`, for the first set `founders`;
    `stand_at`, once set, lies after the time at which it was set.

    Attributes:
        stand_at: when to try next; None before the first input.
        attempt: which one it is; replies to others do not count.
        grants: who would join.
        founders: the first set that is tried where none was ever accepted.
    """

    def __init__(self, timing: Timing, random: Random) -> None:
        """Have tried nothing yet.

        Attempts are counted from a random number, so that a late reply to an earlier
        life is none to this one.

        Args:
            timing: how long to wait.
            random: for that, and for jitter.
        """
        self.stand_at: float | None = None
        self.attempt = random.getrandbits(48)
        self.grants: set[NodeId] = set()
        self.founders: Voters = ()
        self._timing = timing
        self._random = random
        self._failures = 0
        self._begun_at = 0.0

    def begin(self, founders: Voters, now: float) -> int:
        """Start an attempt; return its number.

        Args:
            founders: the first set to try where none was ever accepted.
            now: when.
        """
        self.attempt += 1
        self._begun_at = now
        self.grants = set()
        self.founders = founders
        return self.attempt

    def counts(self, attempt: int, now: float) -> bool:
        """Tell whether a reply still says something of the present.

        Who was cut off or stopped for long may find a majority of old promises, while
        another coordinator was chosen meanwhile (C11, C13).

        Args:
            attempt: what it replies to.
            now: when it is read.
        """
        late = now - self._begun_at > self._timing.join_timeout_s
        return attempt == self.attempt and not late

    def end(self) -> None:
        """Count no further reply to the attempt under way."""
        self.attempt += 1

    def settle(self) -> None:
        """Take note that there is a coordinator: the next delay is the shortest."""
        self._failures = 0

    def postpone(self, now: float, delay: float, rank: int) -> None:
        """Stand after a delay, with jitter, and behind better candidates.

        Args:
            now: from when.
            delay: at least so many seconds later.
            rank: how many live voters should stand before this node.
        """
        jitter = self._random.uniform(0.1, 1.0) * self._timing.jitter_s
        self.stand_at = now + delay + rank * self._timing.rank_step_s + jitter

    def backoff(self) -> float:
        """Count an attempt as failed until it succeeds; return how long to wait."""
        doubled = self._timing.backoff_s * 2.0 ** min(self._failures, DOUBLINGS_MAX)
        self._failures += 1
        return min(self._timing.backoff_max_s, doubled)


def rank(
    me: NodeId,
    mine: Position,
    positions: dict[NodeId, Position],
    live: Iterable[Member],
) -> int:
    """Tell how many of ``live`` should stand before this node; 0 where it is not one.

    Args:
        me: this node.
        mine: what it accepted last.
        positions: what others are known to have accepted; unknown counts as mine.
        live: the candidates, this node among them.
    """

    def worth(member: Member) -> tuple[int, int, int, str]:
        """Order candidates: last accepted first, then healthy, then by id."""
        known = positions.get(member.node_id, mine)
        term, version = mine if member.node_id == me else known
        return (-term, -version, member.meta.health_score, member.node_id)

    order = [member.node_id for member in sorted(live, key=worth)]
    return order.index(me) if me in order else 0

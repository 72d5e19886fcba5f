"""What to take and what to refuse, when more is asked than can be done.

What takes longer and longer turns of the reactor is refused before it costs much; what
was taken is done.  The limit on requests at work follows the length of turns, as TCP's
window follows loss (additive increase, multiplicative decrease): a turn that is too
long halves nothing but takes a part away, a busy turn that is short adds a little.
A request counts until the turn ends in which it was answered, so that what is answered
at once is bounded as well.

Lanes have shares of the limit: what must be seen of a node in trouble goes before what
is read, that before what is written, that before what takes many at once.  Each lane
has a few places that no other takes.  Bulk requests, whose turns are always short, are
bounded besides by how long they stay (`torua.core.resilience.stays`).

Refusals are spread: whoever is refused comes back at once, if he does not heed
``Retry-After``, and a storm of refusals costs as much as answers.  So refusals leave at
a bounded pace, each a little later than the one before, up to a bound.  The pace is so
many a second of the processor's time that the node has: where others share its machine
it has less, and refusals shall take the same part of it.
"""

from enum import IntEnum

TURN_S = 0.250
"""A longer turn of the reactor is too long: an answer takes up to two of them, and who
waits for longer than half a second may have given up."""

LIMIT_MIN = 32
"""So many at once are always taken: few enough even of bulk requests, by their share,
and enough that an ordinary load is not refused when an overload is over."""

LIMIT_MAX = 1000
"""No more connections than this are taken, see `torua.http.limits`."""

LIMIT_FIRST = 128
"""Where to begin: twice the connections of an ordinary load."""

DECREASE = 0.8
"""What a turn that is a little too long leaves of the limit, and at most …"""

DECREASE_MOST = 0.3
"""… what one leaves that is much too long: where what is asked became heavier by far,
the limit must not take many such turns to follow."""

PRESSED = 0.4
"""How much of the limit must have been at work for it to grow: of the least urgent
lane, nearly all."""

FEW = 8
"""With fewer requests than this in it, a long turn has another reason than too many."""

INCREASE = 8
"""What a short turn adds to a limit that was reached."""

LANE_MIN = 4
"""Places that a lane has to itself."""

REFUSALS_PER_S = 200.0
"""A refusal costs as much as a small read, most of it for HTTP: so many cost less than
a tenth of the time, where the node has a processor to itself …"""

SHARE_MIN = 0.125
"""… and so much less where it has only a part of one, but no less than this of it."""

SHARE_S = 0.5
"""Over so long is told what part of a processor the node has, …"""

SHARE_STALE_S = 2.0
"""… but not over longer: then there was nothing to refuse in between."""

REFUSAL_MAX_S = 4.0
"""The longest that a refusal waits: of a thousand connections, as many as there may be,
all refused, 250 come back in a second."""


class Rank(IntEnum):
    """What is asked, the most urgent first."""

    CONTROL = 0
    READ = 1
    WRITE = 2
    QUERY = 3
    BULK = 4


# To look a member up in its enumeration takes as long as all else that a request does
# here.
_CONTROL = Rank.CONTROL

SHARES = (float("inf"), 1.0, 0.85, 0.5, 0.5)
"""How full all lanes together may be for one more of each rank; control is not bounded,
and counts for nothing."""


class Admission:
    """How much is at work, and how much may be.

    Invariants: every request that was taken counts until it was given back and a turn
    ended; the limit stays within its bounds; control is never refused.

    Attributes:
        limit: how much may be at work now.
        most: how much may ever be.
        turn_s: a longer turn is too long.
        at_work: how much is, by rank.
        total: how much of it counts against the limit: all but control.
        share: the part of a processor that the node had, when last there was too much.
    """

    def __init__(self) -> None:
        """Begin with nothing at work."""
        self.limit = float(LIMIT_FIRST)
        self.most, self.turn_s = LIMIT_MAX, TURN_S
        self.at_work = [0] * len(Rank)
        self.total = 0
        self._ended = [0] * len(Rank)
        self._most = 0
        self._refusal_due = 0.0
        self.share = 1.0
        self._since = self._spent_s = float("-inf")

    def has_room(self, rank: Rank) -> bool:
        """Tell whether a request would be taken, and learn that it was wanted."""
        total = self.total
        if total >= self._most:
            self._most = total + 1
        return total < self.limit * SHARES[rank] or self.at_work[rank] < LANE_MIN

    def take(self, rank: Rank) -> None:
        """Count a request; whoever takes one has asked for room, or needs none."""
        self.at_work[rank] += 1
        if rank is not _CONTROL:
            self.total += 1

    def give_back(self, rank: Rank, *, at_once: bool = False) -> None:
        """Hear that a request was answered; it counts until the turn ends.

        Args:
            rank: its lane.
            at_once: whether it counts no more from now on: no end of a turn is told.
        """
        if at_once:
            self._leave(rank, 1)
        else:
            self._ended[rank] += 1

    def bound(self, most: int, turn_s: float) -> None:
        """Have other bounds from now on.

        Args:
            most: how much may ever be at work.
            turn_s: a longer turn is too long.
        """
        self.most, self.turn_s = most, turn_s
        self.limit = min(self.limit, float(most))

    def turned(self, length_s: float) -> None:
        """Hear that a turn of the reactor ended in which there were requests.

        Args:
            length_s: how long it took.
        """
        if length_s > self.turn_s and self._most >= FEW:
            left = min(DECREASE, max(DECREASE_MOST, self.turn_s / length_s))
            self.limit = max(float(LIMIT_MIN), self.limit * left)
        elif length_s <= self.turn_s and self._most > self.limit * PRESSED:
            self.limit = min(float(self.most), self.limit + INCREASE)
        for rank in Rank:
            self._leave(rank, self._ended[rank])
            self._ended[rank] = 0
        self._most = self.total

    def _leave(self, rank: Rank, many: int) -> None:
        """Count some requests of a rank no more."""
        self.at_work[rank] -= many
        if rank is not _CONTROL:
            self.total -= many
        assert self.at_work[rank] >= 0

    def refusal_s(self, now: float, spent_s: float) -> float:
        """Tell how much later a refusal shall leave, and reckon with it.

        Args:
            now: the time, in seconds.
            spent_s: the processor's time that the node has had by now, since whenever.
        """
        self._reckon(now, spent_s)
        due = max(now, self._refusal_due)
        pause_s = 1.0 / (REFUSALS_PER_S * self.share)
        self._refusal_due = min(due + pause_s, now + REFUSAL_MAX_S)
        return due - now

    def _reckon(self, now: float, spent_s: float) -> None:
        """Learn what part of a processor the node has while there is too much."""
        passed_s = now - self._since
        if passed_s < SHARE_S:
            return
        if passed_s <= SHARE_STALE_S:
            had = (spent_s - self._spent_s) / passed_s
            self.share = min(1.0, max(SHARE_MIN, had))
        self._since, self._spent_s = now, spent_s

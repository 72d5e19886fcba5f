"""What to take and what to refuse, when more is asked than can be done.

What takes longer and longer turns of the reactor is refused before it costs much; what
was taken is done.  The limit on requests at work follows the length of turns, as TCP's
window follows loss (additive increase, multiplicative decrease): a turn that is too
long halves nothing but takes a part away, a busy turn that is short adds a little.
A request counts until the turn ends in which it was answered, so that what is answered
at once is bounded as well.

Lanes have shares of the limit: what must be seen of a node in trouble goes before what
is read, that before what is written, that before what takes many at once.  Each lane
has a few places that no other takes.

Refusals are spread: whoever is refused comes back at once, if he does not heed
``Retry-After``, and a storm of refusals costs as much as answers.  So refusals leave at
a bounded pace, each a little later than the one before, up to a bound.
"""

from enum import Enum

TURN_S = 0.100
"""A longer turn of the reactor is too long: no answer should take as long."""

LIMIT_MIN = 16
"""So many at once are always taken: more than one node's thread can do at a time."""

LIMIT_MAX = 1000
"""No more connections than this are taken, see `torua.http.limits`."""

LIMIT_FIRST = 128
"""Where to begin: twice the connections of an ordinary load."""

DECREASE = 0.8
"""What a turn that is too long leaves of the limit."""

INCREASE = 4
"""What a short turn adds to a limit that was reached."""

LANE_MIN = 4
"""Places that a lane has to itself."""

REFUSALS_PER_S = 500.0
"""A refusal costs a tenth of a millisecond or two: so many cost less than a tenth."""

REFUSAL_MAX_S = 1.0
"""The longest that a refusal waits; as long as clients are told to wait."""


class Rank(Enum):
    """What is asked, the most urgent first; the value is its share of the limit."""

    CONTROL = 0
    READ = 1
    WRITE = 2
    BULK = 3


SHARES = {Rank.READ: 1.0, Rank.WRITE: 0.85, Rank.BULK: 0.5}
"""How full all lanes together may be for one more of a kind; control is not bounded."""


class Admission:
    """How much is at work, and how much may be.

    Invariants: every request that was taken counts until it was given back and a turn
    ended; the limit stays within its bounds; control is never refused.
    """

    def __init__(self) -> None:
        """Begin with nothing at work."""
        self.limit = float(LIMIT_FIRST)
        self.at_work = dict.fromkeys(Rank, 0)
        self._ended: list[Rank] = []
        self._most = 0
        self._refusal_due = 0.0

    @property
    def total(self) -> int:
        """Tell how much counts against the limit."""
        return sum(self.at_work.values()) - self.at_work[Rank.CONTROL]

    def take(self, rank: Rank) -> bool:
        """Take a request, if there is room for it in its lane."""
        room = (
            rank is Rank.CONTROL
            or self.at_work[rank] < LANE_MIN
            or self.total < self.limit * SHARES[rank]
        )
        if room:
            self.at_work[rank] += 1
        self._most = max(self._most, self.total + (not room))
        return room

    def give_back(self, rank: Rank) -> None:
        """Hear that a request was answered; it counts until the turn ends."""
        self._ended.append(rank)

    def turned(self, length_s: float) -> None:
        """Hear that a turn of the reactor ended in which there were requests.

        Args:
            length_s: how long it took.
        """
        if length_s > TURN_S:
            self.limit = max(float(LIMIT_MIN), self.limit * DECREASE)
        elif self._most > self.limit * SHARES[Rank.BULK]:
            self.limit = min(float(LIMIT_MAX), self.limit + INCREASE)
        for rank in self._ended:
            self.at_work[rank] -= 1
            assert self.at_work[rank] >= 0
        self._ended.clear()
        self._most = self.total

    def refusal_s(self, now: float) -> float:
        """Tell how much later a refusal shall leave, and reckon with it.

        Args:
            now: the time, in seconds.
        """
        due = max(now, self._refusal_due)
        self._refusal_due = min(due + 1.0 / REFUSALS_PER_S, now + REFUSAL_MAX_S)
        return due - now

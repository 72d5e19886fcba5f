"""Proof that a node's primaries are primaries still, for all of its shards at once.

A read is answered only where every tracked peer says, to a nonce sent after the value
was taken, that it knows of no later term: then nobody else can have acknowledged a
write before the read began.  No clock is trusted for that (R22).

Values are taken in one term and proven in the same: a copy that led, followed and leads
again may have missed, when it was looked at, what others had acknowledged.

What a reactor turn wants is gathered by `Want`, and goes out with `Flush` at the end of
the turn: one fresh nonce a peer node, however many shards and reads there are.  While
answers are awaited, what further turns want waits for them, if not for long, and goes
out together: so the busier a node is, the more reads share one question.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from msgspec import Struct

from torua.core.ids import NodeId, ShardId
from torua.core.replication.wire import (
    BARRIER_ASKS_MAX,
    NONCE_MAX,
    Ask,
    BarrierAsk,
    BarrierSaid,
)

BARRIER_S = 0.5
"""What is not answered by then is not answered; whoever waits asks anew."""


HOLD_S = 0.01
"""So long at most a turn waits for the answers to the one before, to share the next
question; without load nothing is awaited, and nothing waits."""


class Want(Struct, frozen=True, tag=True):
    """Somebody looked at a shard that is led here, and wants that to be proven.

    Attributes:
        shard: which.
        request: names it, to whoever wants it.
        term: in which its primary was looked at; None for a primary's own `Barrier`,
            which forgets its requests with its term.
    """

    shard: ShardId
    request: int
    term: int | None = None


class Flush(Struct, frozen=True, tag=True):
    """The turn ends: send what is wanted, now or with what the next turns want."""


class Said(Struct, frozen=True, tag=True):
    """A node answered."""

    node: NodeId
    message: BarrierSaid


class Renew(Struct, frozen=True, tag=True):
    """Other copies may be tracked now: who waits only for others shall ask anew."""


Input = Want | Flush | Said | Renew


class SendAsk(Struct, frozen=True, tag=True):
    """Send to a node, as well as it goes."""

    node: NodeId
    message: BarrierAsk


class Done(Struct, frozen=True, tag=True):
    """Tell what became of a request: the shard's copy, by `BarrierDone`, of its own."""

    want: Want
    passed: bool


Output = SendAsk | Done


class Led(NamedTuple):
    """How a shard is led here, now.

    Attributes:
        term: of its primary.
        peers: the other copies that it tracks.
    """

    term: int
    peers: Sequence[tuple[NodeId, Ask]]


Leads = Callable[[ShardId], Led | None]
"""Tells how a shard is led here; None where it is not."""


class _Round(Struct, eq=False):
    """What one shard wants of one turn.

    Invariants: ``pending`` are the nodes that have yet to say yes; once ``over`` all
    were told.
    """

    wants: list[Want]
    pending: dict[NodeId, None]
    over: bool = False


class _Question(Struct):
    """One message under way.

    Invariants: ``rounds`` are in the order of its asks.
    """

    node: NodeId
    rounds: list[_Round]
    due: float


class Barriers:
    """The barriers of one node, in one life.

    Invariants: a nonce is used once; a request is told once what became of it; what is
    under way ends by its answers, by time, or with the copies that it asks; what is
    held back is sent once nothing is under way, and `HOLD_S` after the last sending at
    the latest.

    Performance: one message a peer node a turn; O(shards asked about).

    Attributes:
        turn: counts the times that anything was sent: what was wanted since it last
            changed has not been asked for yet.
    """

    def __init__(self, leads: Leads, random: Random) -> None:
        """Begin with nothing under way.

        Args:
            leads: tells whom to ask, at the moment of sending.
            random: makes nonces.
        """
        self._leads = leads
        self._random = random
        self._wanted: dict[ShardId, list[Want]] = {}
        self._questions: dict[int, _Question] = {}
        self._held = False
        self._sent_at = float("-inf")
        self.turn = 0

    @property
    def wanted(self) -> bool:
        """Whether a `Flush` is due at the end of this turn."""
        return bool(self._wanted) and not self._held

    @property
    def held(self) -> bool:
        """Whether what is wanted waits already for the next sending."""
        return self._held

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.
        """
        match message:
            case Want():
                self._wanted.setdefault(message.shard, []).append(message)
                return []
            case Flush():
                self._held = True
            case Said():
                outputs = list(self._said(message))
                return [*outputs, *self._release(now)]
            case Renew():
                self._renew()
        return list(self._release(now))

    def wake(self, now: float) -> list[Output]:
        """Give up on what was not answered in time, and hold nothing back for long."""
        outputs = list(self._expire(now))
        return [*outputs, *self._release(now)]

    def next_deadline(self) -> float | None:
        """Tell when a question was not answered in time, or nothing is held longer."""
        first = next(iter(self._questions.values()), None)
        if first is None:
            return None
        return min(first.due, self._sent_at + HOLD_S) if self._held else first.due

    def _release(self, now: float) -> Iterator[Output]:
        """Send what is held back, unless answers are still worth waiting for."""
        if self._held and (not self._questions or now >= self._sent_at + HOLD_S):
            self._held = False
            yield from self._flush(now)

    def _flush(self, now: float) -> Iterator[Output]:
        """Ask all peers of all shards of which something is wanted."""
        wanted, self._wanted = self._wanted, {}
        self.turn += 1
        self._sent_at = now
        asks: dict[NodeId, list[tuple[Ask, _Round]]] = {}
        for shard, wants in wanted.items():
            led = self._leads(shard)
            term = led.term if led else None
            peers = led.peers if led else ()
            made = _Round([], dict.fromkeys(node for node, _ in peers))
            for want in wants:
                if want.term in (None, term):
                    made.wants.append(want)
                else:
                    yield Done(want, False)
            if not peers:
                yield from self._end(made, led is not None)
            for node, ask in peers:
                asks.setdefault(node, []).append((ask, made))
        for node, found in asks.items():
            for start in range(0, len(found), BARRIER_ASKS_MAX):
                yield self._ask(node, found[start : start + BARRIER_ASKS_MAX], now)

    def _ask(self, node: NodeId, found: list[tuple[Ask, _Round]], now: float) -> Output:
        """Send one message, under a fresh nonce."""
        nonce = self._nonce()
        rounds = [made for _, made in found]
        self._questions[nonce] = _Question(node, rounds, now + BARRIER_S)
        return SendAsk(node, BarrierAsk(nonce, tuple(ask for ask, _ in found)))

    def _nonce(self) -> int:
        """Make a nonce that no other question has, late answers included."""
        return self._random.randrange(1, NONCE_MAX)

    def _said(self, said: Said) -> Iterator[Output]:
        """Match an answer with its question; what fits none does nothing."""
        question = self._questions.get(said.message.nonce)
        if question is None or question.node != said.node:
            return
        del self._questions[said.message.nonce]
        answers = said.message.answers
        fits = len(answers) == len(question.rounds)
        for place, made in enumerate(question.rounds):
            if not fits or answers[place] is not True:
                yield from self._end(made, False)
                continue
            made.pending.pop(said.node, None)
            if not made.pending:
                yield from self._end(made, True)

    def _renew(self) -> None:
        """Want anew what waits for a node that a shard's primary tracks no more."""
        for question in self._questions.values():
            for made in question.rounds:
                if not made.over and made.wants and self._is_past(question.node, made):
                    made.over = self._held = True
                    shard = made.wants[0].shard
                    self._wanted.setdefault(shard, []).extend(made.wants)

    def _is_past(self, node: NodeId, made: _Round) -> bool:
        """Tell whether the primary tracks no copy any more on a node that it asked."""
        led = self._leads(made.wants[0].shard)
        return led is not None and all(node != each for each, _ in led.peers)

    def _expire(self, now: float) -> Iterator[Output]:
        """End the questions whose time is over."""
        for nonce, question in tuple(self._questions.items()):
            if question.due > now:
                return
            del self._questions[nonce]
            for made in question.rounds:
                yield from self._end(made, False)

    def _end(self, made: _Round, passed: bool) -> Iterator[Output]:
        """Tell who waits for a round, once."""
        if not made.over:
            made.over = True
            yield from (Done(want, passed) for want in made.wants)


def say(ask: BarrierAsk, confirms: Callable[[Ask], bool]) -> BarrierSaid:
    """Answer another node's barrier.

    Args:
        ask: what it sent.
        confirms: asks the copy of this node that is meant; False where there is none.
    """
    return BarrierSaid(ask.nonce, tuple(confirms(each) for each in ask.asks))

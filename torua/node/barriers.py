"""Barriers between this node and the others, all shards of a turn at once.

A read may use a barrier only if its value was taken before the nonce was sent (R22).
So reads of one shard, in one term, share a proof from when it is asked for until
barriers are sent next, which `torua.core.replication.barrier.Barriers.turn` counts;
whoever comes later has another.
"""

from collections.abc import Callable, Iterable
from itertools import count
from random import Random

from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import plain, shaper
from torua.core.ids import ShardId
from torua.core.replication.barrier import (
    Barriers,
    Done,
    Flush,
    Input,
    Leads,
    Output,
    Renew,
    Said,
    SendAsk,
    Want,
    say,
)
from torua.core.replication.wire import Ask, BarrierAsk, BarrierMessage
from torua.net.handlers import Inbound
from torua.node.driver import Driver
from torua.node.post import Notices

KIND = "barrier"

Tell = Callable[[bool], None]

_shaped: Callable[[object], BarrierMessage] = shaper(BarrierMessage)


class BarrierService:
    """Asks the nodes of tracked copies, once a turn, and answers those that ask.

    Invariants: each turn in which something is wanted ends with a `Flush`, unless one
    is held back already; a request is told once; nobody joins a proof of which a nonce
    was sent.

    Threading: the reactor's thread.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        wire: Notices,
        *,
        leads: Leads,
        confirms: Callable[[Ask], bool],
        done: Callable[[ShardId, int, bool], None],
        random: Random,
    ) -> None:
        """Answer from now on.

        Args:
            clock: the reactor.
            wire: connections to the others.
            leads: tells whom to ask about a shard.
            confirms: answers for a copy of this node.
            done: takes what became of a request of a shard's copy: whether it is
                proven.
            random: makes nonces.
        """
        self._clock = clock
        self._wire = wire
        self._confirms = confirms
        self._done = done
        self._machine = Barriers(leads, random)
        self._driver: Driver[Input, Output] = Driver(
            self._machine, clock, self._perform
        )
        self._numbers = count(1)
        self._reads: dict[int, list[Tell]] = {}
        self._gathering: dict[tuple[ShardId, int], list[Tell]] = {}
        self._turn = self._machine.turn
        wire.handle(KIND, self._on_notice)

    def prove(self, shard: ShardId, term: int, tell: Tell) -> None:
        """Have a read proven whose value was taken before this was called.

        Args:
            shard: which is led here.
            term: in which the value was taken.
            tell: is told, once, whether it was the newest; no where nobody knows.
        """
        if self._turn != self._machine.turn:
            self._turn, self._gathering = self._machine.turn, {}
        tells = self._gathering.get((shard, term))
        if tells is not None:
            tells.append(tell)
            return
        number = next(self._numbers)
        self._gathering[shard, term] = self._reads[number] = [tell]
        self._want(Want(shard, number, term))

    def want(self, shard: ShardId, request: int) -> None:
        """Have a primary's request proven; ``done`` tells.

        Args:
            shard: which it leads.
            request: of the copy's.
        """
        self._want(Want(shard, request))

    def _want(self, want: Want) -> None:
        """Have something proven; what this turn wants is sent at its end."""
        if not self._machine.wanted and not self._machine.held:
            self._clock.callLater(0, self._driver.receive, Flush())
        self._driver.receive(want)

    def renew(self) -> None:
        """Ask anew where a shard that is led here has other copies than it had."""
        self._driver.receive(Renew())

    def stop(self) -> None:
        """Let no more time pass, and prove nothing more.  Safe to call twice."""
        self._driver.stop()
        reads, self._reads, self._gathering = self._reads, {}, {}
        for tells in reads.values():
            _tell(tells, False)

    def _perform(self, output: Output) -> None:
        """Do what the machine asks for."""
        match output:
            case SendAsk():
                self._wire.send(output.node, KIND, plain(output.message))
            case Done(want, passed) if want.term is None:
                self._done(want.shard, want.request, passed)
            case Done(want, passed):
                _tell(self._reads.pop(want.request, ()), passed)

    def _on_notice(self, inbound: Inbound) -> None:
        """Take a question or an answer; ProtocolError where it is neither."""
        message = _shaped(inbound.body)
        if isinstance(message, BarrierAsk):
            answer = say(message, self._confirms)
            self._wire.send(inbound.node_id, KIND, plain(answer))
        else:
            self._driver.receive(Said(inbound.node_id, message))


def _tell(tells: Iterable[Tell], passed: bool) -> None:
    """Tell all reads of a proof what became of it."""
    for tell in tells:
        tell(passed)

"""Barriers between this node and the others, all shards of a turn at once."""

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import plain, shape
from torua.core.ids import ShardId
from torua.core.replication.barrier import (
    Barriers,
    Done,
    Flush,
    Input,
    Output,
    Peers,
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


class BarrierService:
    """Asks the nodes of tracked copies, once a turn, and answers those that ask.

    Invariants: each turn in which something is wanted ends with a `Flush`, unless one
    is held back already; a request is told once.

    Threading: the reactor's thread.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        wire: Notices,
        *,
        peers: Peers,
        confirms: Callable[[Ask], bool],
        done: Callable[[Done], None],
        random: Random,
    ) -> None:
        """Answer from now on.

        Args:
            clock: the reactor.
            wire: connections to the others.
            peers: tells whom to ask about a shard.
            confirms: answers for a copy of this node.
            done: takes what became of a request.
            random: makes nonces.
        """
        self._clock = clock
        self._wire = wire
        self._confirms = confirms
        self._done = done
        self._machine = Barriers(peers, random)
        self._driver: Driver[Input, Output] = Driver(
            self._machine, clock, self._perform
        )
        wire.handle(KIND, self._on_notice)

    @property
    def turn(self) -> int:
        """Counts what was sent; see `torua.core.replication.barrier.Barriers`."""
        return self._machine.turn

    def want(self, shard: ShardId, request: int) -> None:
        """Have a primary's request proven; ``done`` tells.

        Args:
            shard: which it leads.
            request: of the copy's.
        """
        if not self._machine.wanted:
            self._clock.callLater(0, self._driver.receive, Flush())
        self._driver.receive(Want(shard, request))

    def stop(self) -> None:
        """Let no more time pass.  Safe to call twice."""
        self._driver.stop()

    def _perform(self, output: Output) -> None:
        """Do what the machine asks for."""
        match output:
            case SendAsk():
                self._wire.send(output.node, KIND, plain(output.message))
            case Done():
                self._done(output)

    async def _on_notice(self, inbound: Inbound) -> None:
        """Take a question or an answer; ProtocolError where it is neither."""
        message: BarrierMessage = shape(inbound.body, BarrierMessage)
        if isinstance(message, BarrierAsk):
            answer = say(message, self._confirms)
            self._wire.send(inbound.node_id, KIND, plain(answer))
        else:
            self._driver.receive(Said(inbound.node_id, message))

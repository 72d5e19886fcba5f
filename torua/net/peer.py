"""One other node: how it is reached, what waits for it, and who waits for its answers.

::

    IDLE -> CONNECTING -> GREETING -> (link) IDLE
               |             |
               +---failed----+--> RESTING -> CONNECTING

A pair of nodes has one connection.  Where both dial at once, the connection that the
lower node id dialled survives: the lower one refuses the other's while its own is being
greeted, and the higher one gives its own up as soon as it has taken the lower one's.
A new dial replaces an older connection, for its dialler must think that one dead; a
later life of a node replaces, and an earlier one is refused.
"""

import random
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from torua.codec.frames import MESSAGE_BYTES_MAX, Lane
from torua.codec.rope import Bytes
from torua.core.ids import Address, NodeId
from torua.errors import (
    OutcomeUnknownError,
    OverloadedError,
    TooLargeError,
    ToruaError,
    UnavailableError,
)
from torua.net.connection import Connection
from torua.net.handshake import Refusal
from torua.net.meters import Meters
from torua.net.outbox import QUEUE_BYTES_MAX, Outbox, Outgoing, Purpose, Stage

RETRY_BASE_S = 0.05
"""A peer that was only restarted is back within a blink."""

RETRY_CAP_S = 1.0
"""Failover counts failed redials; more than a second apart they would delay it."""

REFUSED = "connection refused: nobody listens there"
"""Why there is no connection where the other machine says so, and not only silence."""

STEADY_S = 1.0
"""A connection that held this long begins its redials anew."""


class Dial(Enum):
    """How far an attempt to reach the peer has come."""

    IDLE = "no attempt is under way"
    CONNECTING = "waiting for TCP"
    GREETING = "waiting for the end of the handshake"
    RESTING = "waiting before the next attempt"


class Hub(Protocol):
    """What a peer needs of the place where all peers meet."""

    clock: IReactorTime
    meters: Meters
    dice: random.Random

    def connect(self, peer: "Peer", address: Address) -> "Deferred[Connection]":
        """Open a TCP connection, and begin its handshake.

        Args:
            peer: with whom.
            address: where it listens.
        """

    def on_up(self, peer: "Peer") -> None:
        """Take note that it is connected."""

    def on_down(self, peer: "Peer", detail: str) -> None:
        """Take note that it is not, or could not be.

        Args:
            peer: which.
            detail: why, in a sentence for people.
        """


class _Waiter:
    """Somebody who waits for a peer's answer.

    Invariants: its timer runs until it has its answer, and no longer.
    """

    __slots__ = ("deferred", "message", "timer")

    def __init__(self, message: Outgoing, timer: IDelayedCall) -> None:
        """Begin to wait for the answer to ``message``."""
        self.message = message
        self.timer = timer
        self.deferred: Deferred[object] = Deferred()


class Peer:
    """One other node, as long as we know of it or are connected to it.

    Invariants: at most one ``link``, and while there is one, no dial; ``epoch`` never
    falls; a waiter whose message was sent was sent over ``link``; the outbox holds
    replies of ``link`` only; nothing is asked of one that is parting.
    """

    def __init__(self, hub: Hub, me: NodeId, node_id: NodeId) -> None:
        """Note that there is such a node.

        Args:
            hub: where all peers meet.
            me: this node.
            node_id: the other one.
        """
        self._hub = hub
        self._me = me
        self.node_id = node_id
        self.address: Address | None = None
        self.epoch = 0
        self.link: Connection | None = None
        self.outbox = Outbox()
        self.dial = Dial.IDLE
        self._parting = False
        self._attempt: Connection | None = None
        self._connecting: Deferred[Connection] | None = None
        self._rest: IDelayedCall | None = None
        self._failures = 0
        self._up_since = 0.0
        self._waiters: dict[int, _Waiter] = {}
        self._asked = 0
        self._attempts = 0

    def know(self, address: Address, epoch: int) -> None:
        """Stay connected to it from now on.

        Args:
            address: where it listens.
            epoch: the life that it leads.
        """
        moved, self.address = address != self.address, address
        self._parting = False
        self.epoch = max(self.epoch, epoch)
        if self.link is not None and self.link.other.boot_epoch < self.epoch:
            self.link.close("restarted", "the node began a new life")
        elif self.link is None and moved:
            self._abandon("moved")
            self._dial()

    def part(self) -> None:
        """Ask nothing more of it: it leaves, answers what it has, and closes."""
        self.address = None
        self._parting = True
        self._abandon("left")

    def forget(self, reason: str) -> None:
        """Have nothing more to do with it, unless it comes by itself."""
        self.address = None
        self._abandon(reason)
        if self.link is not None:
            self.link.close(reason, reason)
        self._give_up(reason)

    def objection(self, connection: Connection) -> Refusal | None:
        """Say why a connection must not become the link, None if it may.

        An earlier life is refused, a later one never; of two connections of one life
        the module's rule chooses, and the newer where both come from the same side.
        """
        epoch = connection.other.boot_epoch
        if epoch < self.epoch:
            detail = f"boot epoch {epoch}, but it has reached {self.epoch}"
            return Refusal("epoch", f"{connection.other.name!r} shows {detail}")
        if epoch > self.epoch or connection.dialled:
            return None
        lower = self._me < self.node_id
        crossed = Refusal("crossed", "another connection of the pair goes first")
        if lower and self.dial is Dial.GREETING:
            return crossed
        link = self.link
        if link is None or connection.greeted > link.established:
            return None
        newer = link.greeted > connection.greeted
        return crossed if (lower if link.dialled else newer) else None

    def adopt(self, connection: Connection) -> None:
        """Make a connection the link, in place of any other.

        Attempts to dial are given up, and what waits goes by the new link.
        """
        if connection is not self._attempt:
            self._abandon("crossed")
        self._attempt, self.dial = None, Dial.IDLE
        if self.link is not None:
            self.link.close("replaced", "a newer connection took its place")
        self._abandon("crossed")
        self.epoch = max(self.epoch, connection.other.boot_epoch)
        self._parting = False
        self.link = connection
        connection.outbox = self.outbox
        self._up_since = self._hub.clock.seconds()
        self._hub.on_up(self)
        connection.schedule()

    def lost(self, connection: Connection, reason: str, detail: str) -> None:
        """Take note that a connection, or an attempt at one, is over.

        Args:
            connection: of this peer, as either side dialled it.
            reason: a word of ours.
            detail: a sentence for people.
        """
        if connection is self.link:
            self._unlink(detail)
        elif connection is self._attempt:
            self._attempt = None
            self._failed(detail, quiet=reason == "crossed")

    def send(self, lane: Lane, body: Bytes) -> None:
        """Put a notice in line, if there is any way to it, and room; the line moves.

        Whoever has several for a node in one turn had better send them as one.

        Args:
            lane: how urgent it is.
            body: what is sent.
        """
        if self.link is not None and self.link.write_small(lane, body):
            return
        message = Outgoing(lane, body, Purpose.NOTICE)
        meters = self._hub.meters
        if len(body) > MESSAGE_BYTES_MAX:
            meters.drop("too-large")
        elif self.link is None and self.address is None:
            meters.drop("unreachable")
        elif not self._has_room(message):
            meters.drop("overloaded")
        else:
            self.outbox.put(message)
            if self.link is not None:
                self.link.flush()
            else:
                self._dial()

    def ask(
        self, lane: Lane, spell: Callable[[int], Bytes], timeout_s: float
    ) -> "Deferred[object]":
        """Put a request in line; its answer comes to the Deferred.

        Args:
            lane: how urgent it is.
            spell: makes the request's bytes, given its number.
            timeout_s: how long to wait for the answer.

        Raises:
            TooLargeError: more than one message holds.
            UnavailableError: there is no way to it.
            OverloadedError: too much waits for it already.
        """
        if self._parting or (self.link is None and self.address is None):
            raise UnavailableError(f"no connection to node {self.node_id}")
        number = self._asked = self._asked + 1
        body = spell(number)
        if len(body) > MESSAGE_BYTES_MAX:
            raise TooLargeError(f"a message of {len(body)} bytes")
        clock = self._hub.clock
        deadline = clock.seconds() + timeout_s
        message = Outgoing(lane, body, Purpose.REQUEST, deadline)
        if not self._has_room(message):
            raise OverloadedError(f"too much waits for node {self.node_id}")
        timer = clock.callLater(max(0.0, timeout_s), self._time_out, number)
        waiter = _Waiter(message, timer)
        waiter.deferred = Deferred(lambda _: self._forget_waiter(number))
        self._waiters[number] = waiter
        self._put(message)
        return waiter.deferred

    def answer(self, number: int, result: object) -> bool:
        """Give a waiter its answer.

        Args:
            number: of the request.
            result: the reply's body, or a Failure.

        Returns:
            Whether anybody waited for it.
        """
        waiter = self._waiters.get(number)
        if waiter is None or waiter.message.stage is not Stage.SENT:
            return False
        self._forget_waiter(number)
        waiter.deferred.callback(result)
        return True

    def reply(self, connection: Connection, lane: Lane, body: Bytes) -> bool:
        """Put a reply in line, if the connection still stands and there is room.

        Args:
            connection: by which the request came.
            lane: by which it came.
            body: what is sent.

        Returns:
            False if there is no room for so much.
        """
        message = Outgoing(lane, body, Purpose.REPLY)
        if connection is not self.link:
            self._hub.meters.drop("late-reply")
            return True
        if self.outbox.reply_size + message.cost > QUEUE_BYTES_MAX:
            return False
        self.outbox.put(message)
        connection.replied()
        return True

    def _put(self, message: Outgoing) -> None:
        """Put a message in line, and have the line move."""
        self.outbox.put(message)
        if self.link is not None:
            self.link.schedule()
        else:
            self._dial()

    def _has_room(self, message: Outgoing) -> bool:
        """Tell whether a message may join, having dropped what must yield to it."""
        outbox = self.outbox
        limit = QUEUE_BYTES_MAX - message.cost
        if outbox.own_size > limit:
            dropped = outbox.make_room(message.lane, limit)
            self._hub.meters.drop("overloaded", dropped)
        return outbox.own_size <= limit

    def _dial(self) -> None:
        """Begin an attempt to connect, unless there is no need or no address."""
        if self.link is not None or self.dial is not Dial.IDLE or self.address is None:
            return
        self.dial = Dial.CONNECTING
        self._attempts += 1
        attempt = self._attempts
        connecting = self._hub.connect(self, self.address)
        self._connecting = connecting
        connecting.addCallbacks(
            self._connected, self._unreached, (attempt,), errbackArgs=(attempt,)
        )

    def _connected(self, connection: Connection, attempt: int) -> None:
        """Wait for the end of the handshake; what comes too late is not wanted."""
        if self.dial is not Dial.CONNECTING or attempt != self._attempts:
            connection.close("crossed", "the attempt was given up")
            return
        self._connecting = None
        self.dial = Dial.GREETING
        self._attempt = connection

    def _unreached(self, failure: Failure, attempt: int) -> None:
        """Rest after a failure of TCP, unless it was us who gave up."""
        if self.dial is Dial.CONNECTING and attempt == self._attempts:
            self._connecting = None
            refused = failure.check(ConnectionRefusedError) is not None
            detail = REFUSED if refused else failure.getErrorMessage()
            self._failed(detail, quiet=False)

    def _failed(self, detail: str, quiet: bool) -> None:
        """Rest before the next attempt; whoever waits need not wait for that."""
        self._rest_a_while()
        if not quiet:
            self._give_up(detail)
            self._hub.on_down(self, detail)

    def _rest_a_while(self) -> None:
        """Wait before the next dial, at random, so that nodes do not dial in step."""
        self.dial = Dial.RESTING
        limit = min(RETRY_CAP_S, RETRY_BASE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        delay = self._hub.dice.uniform(0, limit)
        self._rest = self._hub.clock.callLater(delay, self._redial)

    def _redial(self) -> None:
        """Dial again."""
        self._rest = None
        self.dial = Dial.IDLE
        self._dial()

    def _abandon(self, reason: str) -> None:
        """Give up any attempt."""
        self.dial = Dial.IDLE
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.close(reason, "the attempt was given up")

    def _unlink(self, detail: str) -> None:
        """Go on without the link: what it carried is lost, what waits may still go."""
        self.link = None
        if self._hub.clock.seconds() - self._up_since >= STEADY_S:
            self._failures = 0
        self._hub.meters.drop("cut", self.outbox.cut())
        sent = [n for n, w in self._waiters.items() if w.message.stage != Stage.WAITING]
        for number in sent:
            self._fail(number, detail)
        self._hub.on_down(self, detail)
        if self.address is None:
            self._give_up(detail)
        elif self.link is None and self.dial is Dial.IDLE:
            self._rest_a_while()

    def _give_up(self, detail: str) -> None:
        """Let nothing wait any longer; what is asked in answer to that waits anew."""
        waiting = list(self._waiters)
        self._hub.meters.drop("unreachable", self.outbox.clear())
        for number in waiting:
            self._fail(number, detail)

    def _time_out(self, number: int) -> None:
        """Let a waiter go without an answer."""
        self._fail(number, "no answer in time")

    def _fail(self, number: int, detail: str) -> None:
        """Tell a waiter that there is no answer, and whether its request went out."""
        waiter = self._waiters.get(number)
        if waiter is None:
            return
        self._forget_waiter(number)
        left = waiter.message.stage is Stage.SENT
        kind: type[ToruaError] = OutcomeUnknownError if left else UnavailableError
        waiter.deferred.errback(kind(f"node {self.node_id}: {detail}"))

    def _forget_waiter(self, number: int) -> None:
        """Wait no longer for this answer; take the request back if it still waits."""
        waiter = self._waiters.pop(number)
        if waiter.timer.active():
            waiter.timer.cancel()
        self.outbox.withdraw(waiter.message)

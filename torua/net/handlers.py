"""What is done with the requests and notices of peers: one handler a kind."""

from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure as Fault

from torua.codec.envelopes import Failure, Reply, Request, spell_envelope
from torua.codec.frames import MESSAGE_BYTES_MAX, Lane
from torua.codec.rope import Bytes
from torua.core.ids import NodeId
from torua.errors import (
    OutcomeUnknownError,
    OverloadedError,
    TooLargeError,
    ToruaError,
    UnavailableError,
)
from torua.net.connection import Connection, Flow
from torua.net.meters import Meters

SERVING_MAX = 1024
"""Handlers at work for one peer: far more than it has clients that wait well."""

_FORMAT = "handler of {kind} failed for node {node} (request {request_id})"


class Inbound(NamedTuple):
    """A request or a notice, as a handler gets it.

    Attributes:
        node_id: who sent it; proved, where the cluster has a secret.
        boot_epoch: which life of it.
        kind: what the handler is registered for.
        body: plain values, of any shape: check them.
        deadline: when the sender stops waiting, by the reactor's `seconds`; infinite
            for a notice.
        request_id: for log lines; empty where there is none.
        traceparent: W3C trace context, passed on as it came.
    """

    node_id: NodeId
    boot_epoch: int
    kind: str
    body: object
    deadline: float
    request_id: str = ""
    traceparent: str = ""


Handler = Callable[[Inbound], object]
"""What it gives is the answer, or it is a Deferred or a coroutine that ends with it.
One that never waits had better be a plain function: it costs a tenth."""

Answer = Callable[[Connection, Lane, Bytes], bool]


class Handlers:
    """Runs what was registered, a bounded number at a time for each connection.

    Invariants: ``connection.serving`` counts the handlers at work for it; each request
    gets exactly one answer, unless its connection ends first.
    """

    def __init__(self, meters: Meters, answer: Answer, log: Logger) -> None:
        """Begin without a handler.

        Args:
            meters: counts what is dropped.
            answer: sends a reply; False where there is no room for it.
            log: where a handler's failure goes.
        """
        self._meters = meters
        self._answer = answer
        self._log = log
        self._handlers: dict[str, Handler] = {}

    def handle(self, kind: str, handler: Handler) -> None:
        """Have all messages of one kind handled from now on.

        Args:
            kind: what the messages are sent as; it has no handler yet.
            handler: gets each; what comes of it is the reply of a request.
        """
        assert kind not in self._handlers
        self._handlers[kind] = handler

    def notice(self, connection: Connection, kind: str, body: object) -> None:
        """Handle a message that expects no answer.

        Args:
            connection: by which it came.
            kind: of message.
            body: plain values.
        """
        handler = self._handlers.get(kind)
        if handler is None or connection.serving >= SERVING_MAX:
            self._meters.drop("unhandled" if handler is None else "overloaded")
            return
        other = connection.other.identity
        inbound = Inbound(other.node_id, other.boot_epoch, kind, body, float("inf"))
        try:
            waited = _waited(handler(inbound))
        except Exception:
            waited = fail()
        if waited is not None:
            connection.serving += 1
            waited.addBoth(self._noted, connection, inbound)

    def request(
        self, connection: Connection, request: Request, lane: Lane, deadline: float
    ) -> None:
        """Handle a message, and see that it is answered.

        Args:
            connection: by which it came.
            request: the message.
            lane: by which it came, and its answer goes.
            deadline: when the sender stops waiting, by the reactor's `seconds`.
        """
        other = connection.other.identity
        inbound = Inbound(
            other.node_id,
            other.boot_epoch,
            request.kind,
            request.body,
            deadline,
            request.request_id,
            request.traceparent,
        )
        try:
            result = self._handler(connection, request.kind)(inbound)
            waited = _waited(result)
        except Exception:
            result, waited = Fault(), None
        if waited is None:
            self._reply(result, connection, lane, request.number, inbound)
            return
        connection.serving += 1
        waited.addBoth(self._served, connection, lane, request.number, inbound)

    def _handler(self, connection: Connection, kind: str) -> Handler:
        """Find the handler of a request that may be run now."""
        busy = connection.serving >= SERVING_MAX
        if busy or connection.flow is not Flow.FLOWING:
            raise OverloadedError("too many requests of one node at once")
        handler = self._handlers.get(kind)
        if handler is None:
            raise UnavailableError(f"no requests of kind {kind!r} are served here")
        return handler

    def _served(self, result: object, connection: Connection, *asked: Any) -> None:
        """Reply to a request whose handler is no longer at work."""
        connection.serving -= 1
        self._reply(result, connection, *asked)

    def _reply(
        self,
        result: object,
        connection: Connection,
        lane: Lane,
        number: int,
        inbound: Inbound,
    ) -> None:
        """Send what came of a request; of what is no error of ours only that."""
        try:
            if isinstance(result, Fault):
                result.raiseException()
            body = _spell(number, result)
        except ToruaError as error:
            body = _failure(number, error)
        except Exception:
            self._fault(inbound)
            body = _failure(number, ToruaError("internal error"))
        self._send(connection, lane, number, body)

    def _send(
        self, connection: Connection, lane: Lane, number: int, body: Bytes
    ) -> None:
        """Send an answer, or at least that there is no room for it.

        What was asked may be done by then: only of what does nothing it is a refusal.
        """
        if not self._answer(connection, lane, body):
            self._meters.drop("overloaded")
            harmless = lane in (Lane.READS, Lane.RECOVERY)
            kind = OverloadedError if harmless else OutcomeUnknownError
            body = _failure(number, kind("too many replies wait"))
            self._answer(connection, Lane.CONTROL, body)

    def _noted(self, result: object, connection: Connection, inbound: Inbound) -> None:
        """Take the end of a notice's handler; its error has nobody to go to."""
        connection.serving -= 1
        if not isinstance(result, Fault):
            return
        try:
            result.raiseException()
        except ToruaError:
            self._meters.drop("refused-notice")
        except Exception:
            self._fault(inbound)

    def _fault(self, inbound: Inbound) -> None:
        """Log the exception of the moment, once."""
        self._log.failure(
            _FORMAT,
            kind=inbound.kind,
            node=inbound.node_id,
            request_id=inbound.request_id,
        )


def _waited(result: object) -> "Deferred[object] | None":
    """Return what tells of a handler's end; None where it ended already."""
    if isinstance(result, Deferred):
        return result
    if isinstance(result, CoroutineType):
        return Deferred.fromCoroutine(result)
    return None


def _failure(number: int, error: ToruaError) -> Bytes:
    """Spell an error as an answer."""
    members: dict[str, object] = dict(error.members)
    return spell_envelope(Failure(number, error.code, error.detail, members))


def _spell(number: int, result: object) -> Bytes:
    """Spell a reply, if it fits one message."""
    body = spell_envelope(Reply(number, result))
    if len(body) > MESSAGE_BYTES_MAX:
        raise TooLargeError(f"a reply of {len(body)} bytes")
    return body

"""What is done with the requests and notices of peers: one handler a kind."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from torua.codec.envelopes import Failure, Notice, Reply, Request, spell_envelope
from torua.codec.frames import MESSAGE_BYTES_MAX, Lane
from torua.codec.rope import Bytes
from torua.core.ids import NodeId
from torua.errors import OverloadedError, TooLargeError, ToruaError, UnavailableError
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


Handler = Callable[[Inbound], Awaitable[object]]

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

    def notice(self, connection: Connection, notice: Notice) -> None:
        """Handle a message that expects no answer.

        Args:
            connection: by which it came.
            notice: the message.
        """
        handler = self._handlers.get(notice.kind)
        if handler is None or connection.serving >= SERVING_MAX:
            self._meters.drop("unhandled" if handler is None else "overloaded")
            return
        other = connection.other.identity
        inbound = Inbound(
            other.node_id, other.boot_epoch, notice.kind, notice.body, float("inf")
        )
        Deferred.fromCoroutine(self._notify(connection, handler, inbound))

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
        Deferred.fromCoroutine(self._serve(connection, lane, request.number, inbound))

    async def _serve(
        self, connection: Connection, lane: Lane, number: int, inbound: Inbound
    ) -> None:
        """Run a request's handler, and send what comes of it."""
        try:
            handler = self._handler(connection, inbound.kind)
            result = await self._run(connection, handler, inbound)
            body = _spell(number, result)
        except ToruaError as error:
            body = _failure(number, error)
        except Exception:
            self._fault(inbound)
            body = _failure(number, ToruaError("internal error"))
        if not self._answer(connection, lane, body):
            self._meters.drop("overloaded")
            body = _failure(number, OverloadedError("too many replies wait"))
            self._answer(connection, Lane.CONTROL, body)

    def _handler(self, connection: Connection, kind: str) -> Handler:
        """Find the handler of a request that may be run now."""
        busy = connection.serving >= SERVING_MAX
        if busy or connection.flow is not Flow.FLOWING:
            raise OverloadedError("too many requests of one node at once")
        handler = self._handlers.get(kind)
        if handler is None:
            raise UnavailableError(f"no requests of kind {kind!r} are served here")
        return handler

    async def _notify(
        self, connection: Connection, handler: Handler, inbound: Inbound
    ) -> None:
        """Run a notice's handler; its error has nobody to go to."""
        try:
            await self._run(connection, handler, inbound)
        except ToruaError:
            self._meters.drop("refused-notice")
        except Exception:
            self._fault(inbound)

    async def _run(
        self, connection: Connection, handler: Handler, inbound: Inbound
    ) -> object:
        """Run a handler, and count it meanwhile."""
        connection.serving += 1
        try:
            return await handler(inbound)
        finally:
            connection.serving -= 1

    def _fault(self, inbound: Inbound) -> None:
        """Log the exception of the moment, once."""
        self._log.failure(
            _FORMAT,
            kind=inbound.kind,
            node=inbound.node_id,
            request_id=inbound.request_id,
        )


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

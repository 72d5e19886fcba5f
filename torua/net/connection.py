"""One TCP connection with a peer: the handshake, then frames both ways, until it ends.

::

    GREETING --Hello--> PROVING --Proof--> UP
        any state --lost, refused, broken, silent--> CLOSED
"""

from enum import Enum
from typing import Protocol

from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from torua.codec.frames import (
    FRAME_BYTES_MAX,
    LAST,
    MESSAGE_BYTES_MAX,
    TIMEOUT_MS_MAX,
    FrameReader,
    FrameWriter,
    Lane,
    Message,
)
from torua.codec.plain import spell
from torua.codec.rope import Bytes
from torua.errors import ProtocolError
from torua.net.handshake import (
    HELLO_BYTES_MAX,
    REASONS,
    Handshake,
    Hello,
    Refusal,
    RefusedError,
)
from torua.net.meters import Meters
from torua.net.outbox import Outbox
from torua.net.sockets import host_of, socket_of, tune, write_now
from torua.net.steps import LARGE_BYTES, Steps

PREAMBLE = b"torua\x00P1"
"""What a peer connection begins with: no other protocol does, nor does any text."""

DIAL_HANDSHAKE_S = 3.0
"""Two round trips and a busy reactor; longer and failover waits for it."""

ACCEPT_HANDSHAKE_S = 5.0
"""A stranger who says nothing holds a socket for no longer than this."""

HEARTBEAT_S = 1.0
"""An idle direction says so; a third of `SILENCE_S`, so that one may be late."""

SILENCE_S = 3.0
"""Without a byte for so long the other side is dead, or the way there is."""

STALL_S = 10.0
"""A peer that lives but takes none of our bytes for so long is of no use."""

CHECK_S = 0.5
"""How often the three above are looked at."""

HOLD_S = 1.0
"""How long we do not read from a peer that does not read its replies.  Two that held
each other for good would never read again, so after this we read, and refuse."""

TURN_WRITES = 16
"""A kernel may take a large message whole, which is ten milliseconds' work: it gets
some 1 MiB of it, and other connections their turn."""

REPLY_BYTES_MAX = 32 << 20
"""Replies that wait for a peer before we stop reading its requests: two large ones."""


class State(Enum):
    """How far a connection has come."""

    GREETING = "waiting for the other's Hello"
    PROVING = "waiting for the other's Proof"
    UP = "carrying messages"
    CLOSED = "over"


class Flow(Enum):
    """Whether we read from a peer, and serve it."""

    FLOWING = "both"
    HELD = "neither"
    SHEDDING = "we read, but refuse its requests"


class Owner(Protocol):
    """Who makes connections, and is told of what they bring.

    Attributes:
        steps: where large messages wait for a turn to be taken in.
    """

    steps: Steps

    def tick(self) -> int:
        """Give a number greater than all before."""

    def admit(self, connection: "Connection") -> Refusal | None:
        """Decide on a connection, before this side says its Proof."""

    def up(self, connection: "Connection") -> None:
        """Take a connection that stands, and give it its outbox."""

    def received(self, connection: "Connection", message: Message) -> None:
        """Take a message; ProtocolError where no correct peer sends it.

        Args:
            connection: by which it came.
            message: not empty.
        """

    def down(self, connection: "Connection", reason: str, detail: str) -> None:
        """Take note that a connection is of no use any more; told once.

        Args:
            connection: which; it may never have been up.
            reason: a word of ours.
            detail: a sentence for people.
        """

    def gone(self, connection: "Connection") -> None:
        """Take note that the socket of a connection is closed; told once, last."""


@implementer(IPushProducer)
class Connection(TwistedProtocol):
    """One connection, dialled or accepted.

    Invariants: states go forward only; nothing but the handshake is sent or taken
    before UP; frames of the outbox are made in the moment in which they are written;
    when CLOSED no timer of it is left.  Messages are taken in the order in which they
    came, a large one in a turn of its own.
    """

    def __init__(
        self,
        clock: IReactorTime,
        owner: Owner,
        handshake: Handshake,
        meters: Meters,
        dialled: bool,
    ) -> None:
        """Prepare a connection; it begins when it gets a transport.

        Args:
            clock: the reactor.
            owner: is told of everything.
            handshake: this side of it, new.
            meters: counts bytes and frames.
            dialled: whether this side dialled.
        """
        self.clock = clock
        self._owner = owner
        self._handshake = handshake
        self._meters = meters
        self.dialled = dialled
        self.state = State.GREETING
        self.flow = Flow.FLOWING
        self.outbox = Outbox()
        self.serving = 0
        self.greeted = self.established = 0
        self.cluster_uuid = ""
        self._reader = FrameReader(HELLO_BYTES_MAX, meters.frames_in)
        self._writer = FrameWriter()
        self._heard = self._wrote = clock.seconds()
        self._stuck: float | None = None
        self._timer: IDelayedCall | None = None
        self._pumping: IDelayedCall | None = None
        self._holding: IDelayedCall | None = None
        self._late: Message | None = None
        self._ripe = False

    @property
    def other(self) -> Hello:
        """Tell who is on the other side; only after its Hello."""
        assert self._handshake.other is not None
        return self._handshake.other

    @property
    def remote(self) -> str:
        """Name the host on the other side."""
        return host_of(self)

    def connectionMade(self) -> None:
        """Begin the handshake, and give it its time."""
        tune(self.transport)
        limit = DIAL_HANDSHAKE_S if self.dialled else ACCEPT_HANDSHAKE_S
        self._timer = self.clock.callLater(limit, self._too_slow)
        if self.dialled:
            self._write([PREAMBLE])
            self._say(self._handshake.hello())

    def dataReceived(self, data: bytes) -> None:
        """Take bytes as they come."""
        self._meters.received += len(data)
        self._heard = self.clock.seconds()
        if self.state is not State.CLOSED:
            self._reader.feed(data)
            self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take note that the socket is closed."""
        self._finish("lost", reason.getErrorMessage())
        self._owner.gone(self)

    def close(self, reason: str, detail: str) -> None:
        """End it at once, whatever is under way.

        Args:
            reason: a word of ours.
            detail: a sentence for people.
        """
        if self.state is not State.CLOSED:
            self._finish(reason, detail)
            socket_of(self).abortConnection()

    def schedule(self) -> None:
        """Have the outbox written at the end of this turn of the reactor."""
        ready = self.state is State.UP and self._stuck is None
        if ready and self._pumping is None:
            self._pumping = self.clock.callLater(0, self._pump)

    def write_small(self, lane: Lane, body: Bytes) -> bool:
        """Write a message of one frame now, if nothing waits that may go before it.

        Args:
            lane: of the message.
            body: the message.

        Returns:
            Whether it was written; if not, it belongs in the outbox.
        """
        ready = self.state is State.UP and self._stuck is None
        if not ready or self.outbox.size or len(body) > FRAME_BYTES_MAX:
            return False
        self._write(self._writer.frame(lane, self.outbox.number(), body[:], LAST))
        self._meters.frames_out[lane] += 1
        return True

    def flush(self) -> None:
        """Have the outbox written now."""
        if self.state is State.UP and self._stuck is None:
            self._pump()

    def replied(self) -> None:
        """Take note that a reply waits; hold the peer if too many do."""
        self.schedule()
        too_many = self.outbox.reply_size > REPLY_BYTES_MAX
        if too_many and self.flow is Flow.FLOWING and self.state is State.UP:
            self.flow = Flow.HELD
            self._transport_reads(False)
            self._holding = self.clock.callLater(HOLD_S, self._shed)

    def pauseProducing(self) -> None:
        """Stop writing, for the transport has enough."""
        if self._stuck is None:
            self._stuck = self.clock.seconds()

    def resumeProducing(self) -> None:
        """Go on writing, for the transport has room."""
        self._stuck = None
        if self.state is State.UP:
            self._pump()

    def stopProducing(self) -> None:
        """Stop for good; `connectionLost` does it."""

    def _read(self) -> None:
        """Act upon all that is complete, unless we are not to read now."""
        try:
            while self.state is not State.CLOSED and self.flow is not Flow.HELD:
                message = self._next()
                if message is None:
                    break
                self._take(message)
        except ProtocolError as error:
            self.close("garbage", str(error))
        except RefusedError as error:
            self._refuse(error)

    def _next(self) -> Message | None:
        """Give the next message that is complete, and may be taken now."""
        late = self._late
        if late is None:
            message = self._reader.read()
            if message is not None and len(message.body) > LARGE_BYTES:
                self._late, message = message, None
                self._owner.steps.add(self._ripen)
            return message
        if not self._ripe:
            return None
        self._late, self._ripe = None, False
        return late

    def _ripen(self) -> None:
        """Take a large message now, and then what came behind it."""
        self._ripe = True
        self._read()

    def _take(self, message: Message) -> None:
        """Act upon one message, as the state says."""
        if self.state is State.UP:
            if message.body:
                self._owner.received(self, message)
        elif self.state is State.PROVING:
            self._take_proof(message.body[:])
        else:
            self._take_hello(message.body[:])

    def _take_hello(self, body: bytes) -> None:
        """Learn who is there; answer with a Hello, or go on with our Proof."""
        self.cluster_uuid = self._handshake.receive_hello(body).cluster_uuid
        self.greeted = self._owner.tick()
        self.state = State.PROVING
        if self.dialled:
            self._prove()
        else:
            self._say(self._handshake.hello())

    def _take_proof(self, body: bytes) -> None:
        """Begin to carry messages, if all agree."""
        self._handshake.receive_proof(body)
        self._reader.seal = self._handshake.seal(mine=False) or self._reader.seal
        if not self.dialled:
            self._prove()
        self._begin()

    def _prove(self) -> None:
        """Say our Proof, if all agree; whatever we say after it is sealed."""
        refusal = self._owner.admit(self)
        if refusal is not None:
            raise RefusedError(refusal, ours=True)
        self._say(self._handshake.proof())
        self._writer.seal = self._handshake.seal(mine=True) or self._writer.seal

    def _begin(self) -> None:
        """Be up."""
        self.state = State.UP
        self.established = self._owner.tick()
        self._reader.message_bytes_max = MESSAGE_BYTES_MAX
        self._stop_timer()
        self._arm()
        socket_of(self).registerProducer(self, True)
        self._owner.up(self)
        self.schedule()

    def _refuse(self, error: RefusedError) -> None:
        """End a handshake that failed, telling the other side if it does not know."""
        reason, detail = error.refusal.reason, error.refusal.detail
        if error.ours:
            self._say(spell(error.refusal))
        else:
            reason = reason if reason in REASONS else "refused"
            detail = f"it says: {detail!r}"
        self._finish(reason, detail)
        socket_of(self).loseConnection()
        self._timer = self.clock.callLater(
            ACCEPT_HANDSHAKE_S, socket_of(self).abortConnection
        )

    def _finish(self, reason: str, detail: str) -> None:
        """Be closed: leave nothing in the reactor, and say so once."""
        self._stop_timer()
        if self.state is State.CLOSED:
            return
        was_up, self.state = self.state is State.UP, State.CLOSED
        for timer in (self._pumping, self._holding):
            if timer is not None and timer.active():
                timer.cancel()
        if was_up:
            socket_of(self).unregisterProducer()
        self._owner.down(self, reason, detail)

    def _say(self, body: bytes) -> None:
        """Send a message of the handshake."""
        self._write(self._writer.message(Lane.CONTROL, 0, body))

    def _write(self, buffers: list[bytes]) -> None:
        """Hand bytes to the transport."""
        self._wrote = self.clock.seconds()
        data = b"".join(buffers)
        self._meters.sent += len(data)
        write_now(socket_of(self), data)

    def _pump(self) -> None:
        """Write what the outbox holds until the transport, or a turn, has enough."""
        if self._pumping is not None and self._pumping.active():
            self._pumping.cancel()
        self._pumping = None
        more, writes = True, 0
        while more and self._stuck is None and self.state is State.UP:
            if writes == TURN_WRITES:
                self.schedule()
                break
            buffers, more = self._batch()
            writes += 1
            if buffers:
                self._write(buffers)
        if self.outbox.reply_size <= REPLY_BYTES_MAX // 2:
            self._flow_again()

    def _batch(self) -> tuple[list[bytes], bool]:
        """Make the frames of one write, about as much as the transport takes.

        Returns:
            The frames; and whether there may be more.
        """
        buffers: list[bytes] = []
        size, now = 0, self.clock.seconds()
        while size < FRAME_BYTES_MAX:
            piece = self.outbox.take()
            if piece is None:
                return buffers, False
            message, payload, flags = piece
            timeout_ms = 0
            if message.deadline is not None:
                left_ms = int((message.deadline - now) * 1000)
                timeout_ms = min(max(left_ms, 1), TIMEOUT_MS_MAX)
            buffers += self._writer.frame(
                message.lane, message.number, payload, flags, timeout_ms
            )
            self._meters.frames_out[message.lane] += 1
            size += len(payload) + 32
        return buffers, True

    def _shed(self) -> None:
        """Read again although replies wait, and refuse what is asked."""
        self._holding = None
        self.flow = Flow.SHEDDING
        self._transport_reads(True)
        self._read()

    def _flow_again(self) -> None:
        """Read and serve again if we did not."""
        held, self.flow = self.flow is Flow.HELD, Flow.FLOWING
        if held:
            if self._holding is not None and self._holding.active():
                self._holding.cancel()
            self._heard = self.clock.seconds()
            self._transport_reads(True)
            self._holding = self.clock.callLater(0, self._read)

    def _transport_reads(self, wanted: bool) -> None:
        """Let the transport read, or not."""
        transport = socket_of(self)
        if self.state is State.UP:
            (transport.resumeProducing if wanted else transport.pauseProducing)()

    def _too_slow(self) -> None:
        """Give a handshake up that took too long."""
        self._timer = None
        self.close("slow", f"no handshake in time: {self.state.value}")

    def _arm(self) -> None:
        """Look after the connection again in a while."""
        self._due = self.clock.seconds() + CHECK_S
        self._timer = self.clock.callLater(CHECK_S, self._check)

    def _check(self) -> None:
        """Send a heartbeat if idle; close if the other side is dead or stuck.

        Where this look itself comes late, it was us who stood still: then the silence
        proves nothing, for what was sent meanwhile has not been read yet.
        """
        now = self.clock.seconds()
        self._timer = None
        if now - self._due > HEARTBEAT_S:
            self._heard = now
            self._stuck = None if self._stuck is None else now
        if self.flow is not Flow.HELD and now - self._heard > SILENCE_S:
            self.close("silent", f"not a byte for {now - self._heard:.1f} s")
        elif self._stuck is not None and now - self._stuck > STALL_S:
            self.close("stuck", f"it took no byte for {now - self._stuck:.0f} s")
        else:
            if now - self._wrote >= HEARTBEAT_S and self._stuck is None:
                self._write(self._writer.frame(Lane.CONTROL, 0, b"", LAST))
            self._arm()

    def _stop_timer(self) -> None:
        """Cancel the timer of the present state."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

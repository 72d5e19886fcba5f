"""What waits to be sent to one peer: which piece of which message goes next.

Lanes go first in their order, but none starves: a lane that was passed over
`PATIENCE_FRAMES` times has the next frame.  Within a lane the messages that fit one
frame and those that go in pieces take turns by bytes, so that a large value holds up
nobody; a small message may therefore overtake a large one.  Only the control lane keeps
the order in which messages were put, large or small.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum

from torua.codec.frames import (
    ABORT,
    FRAME_BYTES_MAX,
    LAST,
    PARTIAL_BYTES_MAX,
    PARTIAL_MESSAGES_MAX,
    Lane,
)
from torua.codec.rope import Bytes

QUEUE_BYTES_MAX = 64 << 20
"""What may wait for one peer: four of the largest values, half a second at 1 Gbit/s."""

MESSAGE_COST_BYTES = 512
"""What a waiting message costs beside its own bytes, so that tiny ones are bounded."""

PATIENCE_FRAMES = 16
"""A waiting lane gets at least a seventeenth of the frames."""

NUMBER_MAX = (1 << 32) - 1
"""What fits the header; heartbeats have number 0."""

Piece = tuple["Outgoing", bytes, int]


class Stage(Enum):
    """How far a message has come: WAITING, then STARTED, then SENT or DROPPED.

    One that is dropped after its first piece still has an ABORT to be sent.
    """

    WAITING = "none of it was handed to the connection"
    STARTED = "some pieces of it were, or are about to be"
    SENT = "all of it was"
    DROPPED = "it never will be, whole"


class Purpose(Enum):
    """Why a message is sent, and so what may become of it while it waits."""

    REQUEST = "its sender hears what became of it"
    REPLY = "it is of use on the connection that the request came by, only"
    NOTICE = "it may be dropped in favour of a more urgent message"


class Outgoing:
    """One message on its way out.

    Invariants: ``offset`` is how much of ``body`` was taken; the stage never goes back.
    """

    __slots__ = (
        "body",
        "cost",
        "deadline",
        "lane",
        "number",
        "offset",
        "purpose",
        "stage",
    )

    def __init__(
        self, lane: Lane, body: Bytes, purpose: Purpose, deadline: float | None = None
    ) -> None:
        """Prepare a message.

        Args:
            lane: how urgent it is.
            body: what is sent.
            purpose: why.
            deadline: when its sender stops waiting for an answer; None for never.
        """
        self.lane = lane
        self.body: Bytes = body
        self.purpose = purpose
        self.deadline = deadline
        self.number = 0
        self.cost = len(body) + MESSAGE_COST_BYTES
        self.offset = 0
        self.stage = Stage.WAITING


class _Queue:
    """The messages of one lane.

    Invariants: at most `PARTIAL_MESSAGES_MAX` messages and `PARTIAL_BYTES_MAX` bytes
    are started, which is what the other side's `FrameReader` allows; where the lane
    keeps order, at most one, and ``small`` is older than all others.
    """

    __slots__ = (
        "_credit",
        "_ordered",
        "_started_bytes",
        "large",
        "passed_over",
        "small",
        "started",
    )

    def __init__(self, ordered: bool) -> None:
        """Begin empty; ``ordered`` has messages leave as they came."""
        self._ordered = ordered
        self.small: deque[Outgoing] = deque()
        self.large: deque[Outgoing] = deque()
        self.started: deque[Outgoing] = deque()
        self._started_bytes = 0
        self._credit = FRAME_BYTES_MAX
        self.passed_over = 0

    def put(self, message: Outgoing) -> None:
        """Add a message to its end."""
        single = len(message.body) <= FRAME_BYTES_MAX
        behind = self._ordered and (self.large or self.started)
        (self.small if single and not behind else self.large).append(message)

    def take(self) -> Piece:
        """Give the next piece; there is one."""
        if self.large or self.started:
            self._start()
        first = self._ordered or self._credit > 0
        if self.small and (first or not self.started):
            message = self.small.popleft()
            message.stage = Stage.SENT
            self._credit -= message.cost
            return message, message.body[:], LAST
        self._credit = FRAME_BYTES_MAX
        return self._next_piece(self.started.popleft())

    def waiting(self) -> Iterator[Outgoing]:
        """Go through what has not started, oldest first within each size."""
        yield from self.small
        yield from self.large

    def is_empty(self) -> bool:
        """Tell whether nothing is left to take."""
        for queue in (self.small, self.large, self.started):
            while queue and queue[0].stage is Stage.DROPPED and not queue[0].offset:
                message = queue.popleft()
                if queue is self.started:
                    self._started_bytes -= len(message.body)
        return not (self.small or self.large or self.started)

    def cut(self) -> list[Outgoing]:
        """Give up what has started, for the connection that carried it is gone."""
        lost = [each for each in self.started if each.stage is Stage.STARTED]
        for message in lost:
            message.stage = Stage.DROPPED
        self.started.clear()
        self._started_bytes = 0
        return lost

    def _start(self) -> None:
        """Let more large messages begin, as far as the other side allows."""
        self.is_empty()
        limit = 1 if self._ordered else PARTIAL_MESSAGES_MAX
        while self.large and len(self.started) < limit:
            message = self.large[0]
            if self._started_bytes + len(message.body) > PARTIAL_BYTES_MAX:
                break
            self.large.popleft()
            if message.stage is Stage.WAITING:
                message.stage = Stage.STARTED
                self._started_bytes += len(message.body)
                self.started.append(message)

    def _next_piece(self, message: Outgoing) -> Piece:
        """Cut a piece off a message that has started."""
        if message.stage is Stage.DROPPED:
            self._started_bytes -= len(message.body)
            return message, b"", ABORT
        begin, message.offset = message.offset, message.offset + FRAME_BYTES_MAX
        piece = message.body[begin : message.offset]
        if message.offset < len(message.body):
            self.started.append(message)
            return message, piece, 0
        self._started_bytes -= len(message.body)
        message.stage = Stage.SENT
        return message, piece, LAST


class Outbox:
    """All that waits for one peer, whether or not it is connected now.

    Invariants: ``size`` is the cost of all messages that are waiting or started, and
    ``reply_size`` that of the replies among them.

    Performance: `put`, `take` and `withdraw` take constant time; the others look at
    every message.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._queues = [_Queue(lane is Lane.CONTROL) for lane in Lane]
        self._number = 0
        self.size = 0
        self.reply_size = 0

    def number(self) -> int:
        """Give a number that no other message has for long."""
        self._number = self._number % NUMBER_MAX + 1
        return self._number

    def put(self, message: Outgoing) -> None:
        """Add a message; the caller has seen to it that there is room."""
        message.number = self.number()
        self._account(message, message.cost)
        self._queues[message.lane].put(message)

    def take(self) -> Piece | None:
        """Give the next piece of a message with its flags, None where nothing waits."""
        queue = self._next_queue()
        if queue is None:
            return None
        piece = queue.take()
        if piece[0].stage is Stage.SENT:
            self._account(piece[0], -piece[0].cost)
        return piece

    def withdraw(self, message: Outgoing) -> bool:
        """Take a message back; tell whether it never left, or never will whole."""
        if message.stage is Stage.WAITING:
            message.body = b""
        if message.stage in {Stage.WAITING, Stage.STARTED}:
            self._account(message, -message.cost)
            message.stage = Stage.DROPPED
        return message.stage is Stage.DROPPED

    @property
    def own_size(self) -> int:
        """Tell the cost of all that is no reply."""
        return self.size - self.reply_size

    def make_room(self, lane: Lane, limit: int) -> int:
        """Drop notices that are no more urgent, the least urgent and oldest first.

        Args:
            lane: of the message that needs the room.
            limit: what `own_size` shall come down to.

        Returns:
            How many messages were dropped; there may still be too little room.
        """
        dropped = 0
        for queue in reversed(self._queues[lane:]):
            for message in queue.waiting():
                if self.own_size <= limit:
                    return dropped
                if message.purpose is Purpose.NOTICE:
                    dropped += self._drop(message)
        return dropped

    def cut(self) -> int:
        """Give up what only the connection that is gone could have carried.

        Returns:
            How many messages that were: begun ones, and replies.
        """
        lost = 0
        for queue in self._queues:
            for message in queue.cut():
                self._account(message, -message.cost)
                lost += 1
            for message in queue.waiting():
                if message.purpose is Purpose.REPLY:
                    lost += self._drop(message)
        return lost

    def clear(self) -> int:
        """Give up everything; tell how many messages that were."""
        dropped = self.cut()
        for queue in self._queues:
            for message in queue.waiting():
                dropped += self._drop(message)
        return dropped

    def _drop(self, message: Outgoing) -> int:
        """Take a message back that waits; tell how many were dropped, one or none."""
        if message.stage is not Stage.WAITING:
            return 0
        self.withdraw(message)
        return 1

    def _account(self, message: Outgoing, cost: int) -> None:
        """Keep the sums."""
        self.size += cost
        if message.purpose is Purpose.REPLY:
            self.reply_size += cost

    def _next_queue(self) -> _Queue | None:
        """Choose the lane that has the next frame."""
        first: _Queue | None = None
        for queue in self._queues:
            if not (queue.small or queue.large or queue.started) or queue.is_empty():
                continue
            if first is None:
                first = queue
            elif queue.passed_over >= PATIENCE_FRAMES:
                first = queue
                break
            else:
                queue.passed_over += 1
        if first is not None:
            first.passed_over = 0
        return first

"""Persist before send: letters wait here until what they rest on is on the disk."""

from collections import deque
from collections.abc import Iterable

from torua.core.coordination.messages import (
    Event,
    Facts,
    Letter,
    Message,
    Noticed,
    Output,
    Persist,
    Send,
)
from torua.core.ids import NodeId


class Outbox:
    """What a machine wants done, in order, letters behind the saves before them.

    Invariants: a letter is taken out only once every save that was asked for before it
    was put in has been reported durable (C7).
    """

    def __init__(self, facts: Facts) -> None:
        """Begin with what is on the disk."""
        self._facts = facts
        self._token = 0
        self._durable = 0
        self._waiting: deque[tuple[int, NodeId, Message]] = deque()
        self._outputs: list[Output] = []

    def keep(self, facts: Facts) -> None:
        """Ask for a save, where ``facts`` differ from what was asked for last."""
        if facts is not self._facts:
            self._facts = facts
            self._token += 1
            self._outputs.append(Persist(facts, self._token))

    def persisted(self, token: int) -> None:
        """Take note that the saves up to ``token`` are durable."""
        self._durable = max(self._durable, token)

    def post(self, target: NodeId, message: Message, facts: Facts) -> None:
        """Send once all that the message may rest on is on the disk.

        Args:
            target: to whom it goes.
            message: what it says.
            facts: what the sender knows as it says so.
        """
        self.keep(facts)
        self._waiting.append((self._token, target, message))

    def take(self) -> tuple[NodeId, Message] | None:
        """Return the next letter that may go; None where there is none."""
        if not self._waiting or self._waiting[0][0] > self._durable:
            return None
        _, target, message = self._waiting.popleft()
        return target, message

    def send(self, target: NodeId, message: Message) -> None:
        """Have a letter that was taken out sent to another node.

        Args:
            target: to whom it goes.
            message: what it says.
        """
        letter = Letter(self._facts.cluster_uuid, message)
        self._outputs.append(Send(target, letter))

    def add(self, outputs: Iterable[Output]) -> None:
        """Have something done that rests on nothing."""
        self._outputs += outputs

    def notice(self, event: Event, node: NodeId, detail: str = "") -> None:
        """Have something noticed.

        Args:
            event: what it is.
            node: whom it is about.
            detail: why, or how much.
        """
        self._outputs.append(Noticed(event, self._facts.term, node, detail))

    def drain(self) -> list[Output]:
        """Return all that is to be done, and begin anew."""
        outputs, self._outputs = self._outputs, []
        return outputs

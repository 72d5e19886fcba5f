"""What one statement wants of several shards at once, in one message a node.

A message costs both nodes more than most reads do.  So what is asked of copies at one
node travels together, and is answered together, each errand by itself.  One that could
not be done there, and may be elsewhere or later, goes on alone (`torua.node.dispatch`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs
from twisted.internet.interfaces import IReactorTime

from torua.core.ids import NodeId
from torua.core.kv import Call
from torua.core.retrying import may_retry
from torua.errors import ToruaError, UnavailableError, from_wire
from torua.node.dispatch import Dispatch
from torua.node.errands import Parcel, Queried, Query, Refused, Unpacked
from torua.node.outcomes import outcomes_of

PARCEL_MAX = 8
"""Each answer has a piece of some 4 MiB at most, and a message 48 MiB."""


class Asked(NamedTuple):
    """What is to be read at one shard.

    Attributes:
        errand: what.
        node: where its transaction is open; None for whichever copy is best.
    """

    errand: Query
    node: NodeId | None = None


Visited = tuple[Queried, NodeId]
"""The first piece of an answer, and the node that has the rest."""


class Parcels:
    """Has errands done by as few messages as there are nodes.

    Invariants: what is open at a node is asked of that one only, and once.

    Threading: the reactor's thread.
    """

    def __init__(self, dispatch: Dispatch, clock: IReactorTime) -> None:
        """Send by a dispatch.

        Args:
            dispatch: knows who does what.
            clock: the reactor.
        """
        self._dispatch = dispatch
        self._clock = clock

    async def run(
        self, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """Have errands of one graph done.

        Args:
            asked: what, each of another shard.
            call: who asks, and how long it waits.

        Returns:
            What came of each, in order.
        """
        by_node: dict[NodeId | None, list[int]] = {}
        for place, each in enumerate(asked):
            by_node.setdefault(each.node or self._target(each), []).append(place)
        parts = [
            (node, places[start : start + PARCEL_MAX])
            for node, places in by_node.items()
            for start in range(0, len(places), PARCEL_MAX)
        ]
        answered = await outcomes_of(
            self._part(node, [asked[place] for place in places], call)
            for node, places in parts
        )
        found: dict[int, Visited | ToruaError] = {}
        for (_, places), answers in zip(parts, answered, strict=True):
            assert not isinstance(answers, ToruaError), "each is answered by itself"
            found |= zip(places, answers, strict=True)
        return [found[place] for place in range(len(asked))]

    def _target(self, asked: Asked) -> NodeId | None:
        """Choose a node; None where there is nobody to be asked now."""
        try:
            return self._dispatch.target(asked.errand)
        except UnavailableError:
            return None

    async def _part(
        self, node: NodeId | None, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """Have one node's part done, and what it refused elsewhere or later."""
        if node is None or len(asked) == 1:
            return await outcomes_of(self._alone(each, call) for each in asked)
        errands = tuple(each.errand for each in asked)
        first = errands[0]
        parcel = Parcel(first.shard, 0, errands, first.slots_version)
        until_s = self._clock.seconds() + call.timeout_s
        answers: Sequence[Queried | Refused | ToruaError]
        try:
            unpacked = await self._dispatch.ask(node, parcel, call, Unpacked)
            answers = unpacked.answers
        except ToruaError as error:
            answers = [error] * len(asked)
        left_s = until_s - self._clock.seconds()
        call = structs.replace(call, timeout_s=left_s)
        return await outcomes_of(
            self._ended(node, each, answer, call)
            for each, answer in zip(asked, answers, strict=True)
        )

    async def _ended(
        self,
        node: NodeId,
        asked: Asked,
        answer: Queried | Refused | ToruaError,
        call: Call,
    ) -> Visited:
        """Return an answer, or go on without it where that may help."""
        if isinstance(answer, Queried):
            return answer, node
        if isinstance(answer, Refused):
            answer = from_wire(answer.code, answer.detail, dict(answer.members))
        again = asked.node is None and call.timeout_s > 0
        if not again or not may_retry(answer, repeatable=True):
            raise answer
        return await self._alone(asked, call)

    async def _alone(self, asked: Asked, call: Call) -> Visited:
        """Have one errand done by itself."""
        if asked.node is None:
            return await self._dispatch.run(asked.errand, call, Queried)
        answer = await self._dispatch.ask(asked.node, asked.errand, call, Queried)
        return answer, asked.node

"""Suspicions that ripen into deaths unless the accused refutes (Lifeguard, section 4).

The more members confirm one independently, the sooner it ripens.
"""

from msgspec import Struct

from torua.core.ids import NodeId
from torua.core.membership.timing import (
    Timing,
    suspicion_bounds,
    suspicion_timeout,
)


class _Suspicion(Struct):
    """One suspect's time.

    Invariants: ``accusers`` holds at most ``wanted`` + 1 names, each once.
    """

    started: float
    least: float
    most: float
    wanted: int
    accusers: list[NodeId]

    @property
    def deadline(self) -> float:
        """When it ripens."""
        confirmed = len(self.accusers) - 1
        return self.started + suspicion_timeout(
            self.least, self.most, self.wanted, confirmed
        )


class Suspicions:
    """The suspicions of one node.

    Invariants: a member has one exactly while it is believed suspect.

    Performance: `ripe` and `next_deadline` are O(suspects).
    """

    def __init__(self, timing: Timing) -> None:
        """Suspect nobody."""
        self._timing = timing
        self._suspicions: dict[NodeId, _Suspicion] = {}

    def begin(self, node_id: NodeId, by: NodeId, live: int, now: float) -> None:
        """Give a suspect its time to refute, from the beginning.

        Args:
            node_id: the suspect.
            by: its accuser.
            live: how many members live.
            now: the time.
        """
        least, most, wanted = suspicion_bounds(self._timing, live)
        self._suspicions[node_id] = _Suspicion(now, least, most, wanted, [by])

    def confirm(self, node_id: NodeId, by: NodeId) -> bool:
        """Hear another accuser; tell whether it is new and shortens the time.

        Args:
            node_id: the suspect.
            by: who accuses it as well.
        """
        held = self._suspicions[node_id]
        if by in held.accusers or len(held.accusers) > held.wanted:
            return False
        held.accusers.append(by)
        return True

    def end(self, node_id: NodeId) -> None:
        """Suspect a member no more."""
        self._suspicions.pop(node_id, None)

    def suspects(self) -> list[NodeId]:
        """Tell who is suspect."""
        return list(self._suspicions)

    def ripe(self, now: float) -> list[NodeId]:
        """Tell whose time is up."""
        return [
            node_id
            for node_id, held in self._suspicions.items()
            if held.deadline <= now
        ]

    def postpone(self, seconds: float) -> None:
        """Let the time not count during which this node stood still."""
        for held in self._suspicions.values():
            held.started += seconds

    def next_deadline(self) -> float | None:
        """Tell when the next one ripens."""
        return min((held.deadline for held in self._suspicions.values()), default=None)

"""Rules C1 to C13 of coordination, as assertions about what a simulated node does.

`Rules` sees every message that leaves a machine (to itself too), every fact on a disk
and everything applied, and remembers enough to tell when two of them contradict.
"""

from typing import NamedTuple

from torua.core.coordination.messages import (
    Accepted,
    Ack,
    Checked,
    Join,
    Message,
    Position,
    StartJoin,
)
from torua.core.coordination.register import Register
from torua.core.coordination.voters import agree
from torua.core.ids import NodeId


class Life(NamedTuple):
    """One life of one node."""

    node: NodeId
    boot_epoch: int


class RuleBrokenError(AssertionError):
    """A rule does not hold."""


def demand(holds: bool, rule: str, *facts: object) -> None:
    """Complain unless a rule holds.

    Args:
        holds: whether it does.
        rule: its number.
        facts: what contradicts it.
    """
    if not holds:
        raise RuleBrokenError(f"{rule}: " + " ".join(map(str, facts)))


def _acked(message: Ack | Checked) -> Position:
    """Return the value that a message claims to be kept."""
    if isinstance(message, Checked):
        return message.position
    return Position(message.term, message.version)


class Rules:
    """What is known to have happened in one cluster.

    Invariants: nothing is ever forgotten.
    """

    def __init__(self) -> None:
        """Have seen nothing."""
        self.coordinators: dict[int, Life] = {}
        self.votes: dict[tuple[NodeId, int], Life] = {}
        self.last_vote: dict[NodeId, int] = {}
        self.last_ack: dict[NodeId, Position] = {}
        self.ackers: dict[Position, set[NodeId]] = {}
        self.values: dict[Position, Accepted] = {}
        self.parents: dict[Position, Position] = {}
        self.committed: dict[int, Accepted] = {}
        self.applied: dict[Life, Position] = {}
        self.uuids: set[str] = set()

    def elected(self, life: Life, term: int) -> None:
        """Check C1: one coordinator a term.

        Args:
            life: who won.
            term: what it won.
        """
        first = self.coordinators.setdefault(term, life)
        demand(first == life, "C1", "term", term, first, life)

    def keeps(self, life: Life, register: Register) -> None:
        """Check C2, C3 of what a node holds in memory after an event.

        Args:
            life: who holds it.
            register: what it holds.
        """
        facts = register.facts
        demand(facts.accepted.term <= facts.term, "C2", life, facts.term)
        if facts.accepted.voters:
            self.names(facts.accepted)

    def names(self, value: Accepted) -> None:
        """Check C3: a term and a version name one value."""
        first = self.values.setdefault(value.position, value)
        demand(first is value or first == value, "C3", value.position)

    def sends(self, life: Life, message: Message, durable: Register) -> None:
        """Check C7 and C8 of a message that leaves a machine.

        Args:
            life: who sends it.
            message: what it says.
            durable: the facts on the sender's disk.
        """
        facts = durable.facts
        if isinstance(message, Join):
            demand(facts.term >= message.term, "C7", life, message, facts.term)
            self._votes(life, message)
        elif isinstance(message, Ack | Checked):
            position = _acked(message)
            on_disk = facts.accepted.position
            demand(on_disk >= position, "C7", life, position, on_disk)
            self.ackers.setdefault(position, set()).add(life.node)
            self.last_ack[life.node] = max(
                position, self.last_ack.get(life.node, position)
            )

    def asks(self, life: Life, message: StartJoin, reached_majority: bool) -> None:
        """Check C11 of a node that raises its own term.

        Args:
            life: who does.
            message: how.
            reached_majority: whether it lately could talk to a majority.
        """
        demand(reached_majority, "C11", life, "raises the term to", message.term)

    def publishes(self, value: Accepted, parent: Accepted, applied: Accepted) -> None:
        """Check C3 and C10 of a publication.

        Args:
            value: what is published.
            parent: what the coordinator had accepted before.
            applied: what it knows to be committed.
        """
        self.names(value)
        self.parents.setdefault(value.position, parent.position)
        if parent.voters and value.state != parent.state:
            self.acts(value.term, applied)

    def acts(self, term: int, applied: Accepted) -> None:
        """Check C10: a coordinator changes and answers after a commit in its term.

        Args:
            term: its term.
            applied: what it knows to be committed.
        """
        demand(applied.term == term, "C10", "before a commit in term", term)

    def applies(self, life: Life, value: Accepted) -> None:
        """Check C4, C5, C6 and C9 of what a node takes for committed.

        Args:
            life: who does.
            value: what it applies.
        """
        position = value.position
        last = self.applied.get(life, position)
        demand(position.version >= last.version, "C9", life, last, position)
        self.applied[life] = position
        self.names(value)
        self.uuids.add(value.state.cluster_uuid)
        demand(len(self.uuids) == 1, "C6", self.uuids)
        first = self.committed.setdefault(position.version, value)
        demand(first.position == position, "C4", first.position, position)
        if first is value:
            self._chains(value)
            self._has_majorities(value)

    def _votes(self, life: Life, message: Join) -> None:
        """Check C8: one vote a term, terms rise, nothing acked is forgotten."""
        node = life.node
        known = self.coordinators.get(message.term)
        candidate = Life(NodeId(""), message.boot_epoch)
        first = self.votes.setdefault((node, message.term), candidate)
        demand(first == candidate, "C8", life, "votes twice in", message.term, known)
        last = self.last_vote.get(node, 0)
        demand(message.term >= last, "C8", life, "voted in", last, "then", message.term)
        self.last_vote[node] = message.term
        acked = self.last_ack.get(node, message.position)
        demand(message.position >= acked, "C8", life, acked, message.position)

    def _chains(self, value: Accepted) -> None:
        """Check C4: the committed value before is an ancestor of a new one."""
        version = max((v for v in self.committed if v < value.version), default=None)
        if version is None:
            return
        before, walk = self.committed[version].position, value.position
        while walk > before:
            walk = self.parents[walk]
        demand(walk == before, "C4", before, "is no ancestor of", value.position)

    def _has_majorities(self, value: Accepted) -> None:
        """Check C5: who acked is a majority of the voters before, and of its own."""
        ackers = self.ackers.get(value.position, set())
        version = max((v for v in self.committed if v < value.version), default=None)
        before = self.committed[version].voters if version is not None else ()
        holds = agree(value.voters, before, ackers)
        demand(holds, "C5", value.position, before, value.voters, sorted(ackers))

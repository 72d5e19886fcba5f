"""Play in which operators have duties set, beside all faults."""

from tests.core.allocation.parts import node
from tests.core.allocation.play import Play
from torua.core.allocation import SetDuty
from torua.core.state import Duty


class DrainPlay(Play):
    """A cluster whose nodes are put into maintenance, and out of it, or evacuated.

    Invariants: as `Play`.
    """

    def odd(self) -> None:
        """Let an operator, or anything else that is odd, happen."""
        if self.random.random() < 0.5:
            number = self.random.choice(sorted(self.epochs))
            self.order(number, self.random.choice(list(Duty)))
        else:
            super().odd()

    def order(self, number: int, duty: Duty) -> None:
        """Have an operator ask for a duty.

        Args:
            number: of which node.
            duty: which.
        """
        entry = self.state.nodes.get(node(number))
        if entry is not None:
            self.mail.append(SetDuty(node(number), entry.duty_version, duty))

    def have(self, number: int, duty: Duty) -> None:
        """Have a duty set at once.

        Args:
            number: of which node.
            duty: which.
        """
        self.mail = []
        self.order(number, duty)
        for command in self.mail:
            self.change(self.do(self.state, command), command)
        self.mail = []

    def full(self) -> None:
        """Have all nodes take their share again."""
        for number in sorted(self.epochs):
            self.have(number, Duty.FULL)

    def drained(self, number: int) -> bool:
        """Tell whether a node has no copy."""
        return not any(
            copy.node == node(number)
            for shard in self.state.shards.values()
            for copy in shard.copies
        )

"""A cluster whose operator changes how often shards are kept, amid faults."""

from tests.core.allocation.play import Play
from torua.core.allocation import Configure
from torua.core.configuration import Value


class ConfiguredPlay(Play):
    """A play in which the number of copies changes.

    Invariants: as of `Play`; a change is made whole or not at all.

    Attributes:
        changes: how many were committed.
    """

    changes = 0

    def step(self) -> None:
        """Let one thing happen; now and then an operator asks for something."""
        if self.random.random() < 0.03:
            self.ask()
        super().step()

    def ask(self) -> None:
        """Ask for another number of copies; the request may be late, or doubled."""
        least = self.random.choice((None, 1, 2))
        wanted: dict[str, Value] = {
            "replication.replicas": self.random.randint(1, 4),
            "replication.min_copies": least,
            "allocation.rebalance": self.random.random() < 0.8,
        }
        version = self.state.configuration.version
        change = f"change-{self.random.getrandbits(32)}"
        self.mail.append(Configure(change, version, wanted))

    def reconcile(self) -> None:
        """Let the coordinator act, and look that shards want what is configured."""
        super().reconcile()
        copies = self.state.configuration.replication
        assert all(shard.rf == copies.replicas for shard in self.state.shards.values())
        self.changes = self.state.configuration.version - 1

    def calm(self, rounds: int = 400) -> int:
        """End all trouble, and let balance come.

        Args:
            rounds: more are too many.
        """
        self.mail = [
            Configure(
                "last", self.state.configuration.version, {"allocation.rebalance": True}
            )
        ]
        while self.mail:
            self.commit()
        return super().calm(rounds)

"""What a shard was seen to do, and whether all of it fits one log."""

import random

from msgspec import Struct

from tests.core.replication.desk import DictMap
from tests.core.replication.station import Station
from torua.core.kv import Condition, Delete, Get, Outcome, Put, Single
from torua.core.records import KvPut, Record
from torua.core.replication.messages import Reply
from torua.core.replication.tip import Position

KEYS = (b"a", b"b")


def batch(dice: random.Random, number: int) -> tuple[Single, ...]:
    """Make up a batch; each value is put once.

    Args:
        dice: decides.
        number: makes its values.
    """
    key = dice.choice(KEYS)
    conditions = dice.choice(
        [(), (), (Condition(None, match=False),), (Condition(None, match=True),)]
    )
    first: list[Single] = [
        Put(key, b"%d" % number, conditions=conditions),
        Put(key, b"%d" % number, conditions=conditions),
        Delete(key, conditions),
        Get(key),
    ]
    more = (Put(key, b"%d+" % number), Get(dice.choice(KEYS)))
    return (dice.choice(first), *more[: dice.choice([0, 0, 0, 1, 2])])


class Snapshot(Struct, frozen=True):
    """A snapshot under way."""

    term: int
    nonce: int
    at: Position
    image: DictMap


class Claim(Struct):
    """What a client asked, and what had been acknowledged to anybody before.

    Invariants: ``floor`` does not change once it is claimed.
    """

    operations: tuple[Single, ...]
    floor: int = 0
    key: str | None = None
    read: Outcome | None = None


class Ledger:
    """All that was applied, asked and answered.

    Invariants: ``log`` is what was applied anywhere, by seq; ``acked`` never falls.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.log: dict[int, Record] = {}
        self.claims: dict[int, Claim] = {}
        self.acked = 0

    @property
    def top(self) -> int:
        """The newest record that was applied anywhere."""
        return max(self.log, default=0)

    def claim(self, request: int, claim: Claim) -> None:
        """Note what a client asks.

        Args:
            request: names it.
            claim: what it is.
        """
        claim.floor = self.acked
        self.claims[request] = claim

    def applied(self, records: tuple[Record, ...]) -> None:
        """Compare what is applied here with what was applied elsewhere (R5)."""
        for record in records:
            assert self.log.setdefault(record.seq, record) == record, "R5"

    def replied(self, reply: Reply, stations: list[Station], least: int) -> None:
        """Note what a client was told: from now on, all must go on from there.

        Args:
            reply: what it was told.
            stations: all of them.
            least: how many must hold what is acknowledged.
        """
        claim = self.claims[reply.request]
        outcomes = reply.outcomes or ((claim.read,) if claim.read else ())
        for operation, outcome in zip(claim.operations, outcomes, strict=True):
            if isinstance(operation, Put) and outcome.error is None:
                assert outcome.version is not None
                assert outcome.version in self.log, "R8"
                ends = [each.disk.end for each in stations]
                assert sum(end >= outcome.version for end in ends) >= least
        versions = [each.version for each in outcomes if each.version]
        self.acked = max([self.acked, *versions])

    def states(self) -> list[dict[bytes, int]]:
        """Return what the log makes of the keys, from seq to seq."""
        states: list[dict[bytes, int]] = [{}]
        for seq in range(1, self.top + 1):
            state = dict(states[-1])
            for effect in self.log[seq].effects:
                state.pop(effect.key, None)
                if isinstance(effect, KvPut):
                    state[effect.key] = seq
            states.append(state)
        return states

    def judge(self, stations: list[Station]) -> None:
        """Compare all answers with the log as it is in the end."""
        states = self.states()
        answers: dict[str, tuple[Outcome, ...]] = {}
        for station in stations:
            for request, outcomes in station.replies.items():
                claim = self.claims[request]
                if claim.key is not None:
                    assert answers.setdefault(claim.key, outcomes) == outcomes, "R11"
                else:
                    self.compare(claim, outcomes, states)
            for request, refusal in station.refusals.items():
                if refusal.error != "outcome-unknown":
                    self.absent(self.claims[request])

    def compare(
        self,
        claim: Claim,
        outcomes: tuple[Outcome, ...],
        states: list[dict[bytes, int]],
    ) -> None:
        """Find each answer in the log, not before what was acknowledged then (R22).

        Args:
            claim: what was asked.
            outcomes: what it was told.
            states: what the log makes of the keys, by seq.
        """
        told = outcomes or ((claim.read,) if claim.read else ())
        for operation, outcome in zip(claim.operations, told, strict=True):
            assert outcome is not None
            key = operation.key
            if isinstance(operation, Put) and outcome.error is None:
                seq = outcome.version
                assert seq is not None and seq > claim.floor, "R8: not after"
                effects = [e for e in self.log[seq].effects if e.key == key]
                values = [e.value for e in effects if isinstance(e, KvPut)]
                assert values == [operation.value], "R1: not in the log"
                continue
            found = [state.get(key) for state in states[claim.floor :]]
            assert outcome.version in found, "R8, R22: rests on what never was"

    def absent(self, claim: Claim) -> None:
        """See that what was refused was not done (R12)."""
        if claim.key is not None:
            return
        values = {each.value for each in claim.operations if isinstance(each, Put)}
        for record in self.log.values():
            for effect in record.effects:
                done = isinstance(effect, KvPut) and effect.value in values
                assert not done, "R12: refused, and done"

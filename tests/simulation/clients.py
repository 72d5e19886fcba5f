"""Clients of a simulated cluster, who note what they ask and what they are told."""

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.cluster_copy import Errand, Place, Said
from tests.simulation.grouping import grouped, singles
from tests.simulation.history import History, Request
from tests.simulation.world import Channel, Timer
from torua.core.kv import (
    Check,
    Condition,
    Delete,
    Get,
    Group,
    IdempotencyKey,
    Operation,
    Outcome,
    Put,
)
from torua.errors import OutcomeUnknownError

if TYPE_CHECKING:
    from tests.simulation.cluster import DataCluster

TIMEOUT_S = 1.5
ATTEMPTS_MAX = 6
ABSENT = (Condition(None, False),)


class Client:
    """One client: it asks, waits, and asks again.

    Invariants: one request is under way at a time; a request without an idempotency key
    is not tried again once its outcome is unknown.
    """

    def __init__(self, cluster: "DataCluster", name: str, history: History) -> None:
        """Be there, and ask nothing yet.

        Args:
            cluster: whom to ask.
            name: its address.
            history: where it notes what it asks.
        """
        self.cluster = cluster
        self.world = cluster.world
        self.name = name
        self.history = history
        self.running = False
        self.asked = self.done = self.refused = self.unknown = 0
        self._versions: dict[bytes, int] = {}
        self._sessions: dict[int, Place] = {}
        self._request: Request | None = None
        self._operations: tuple[Operation, ...] = ()
        self._idempotency: IdempotencyKey | None = None
        self._session = False
        self._attempts = 0
        self._open: dict[int, Request] = {}
        self._current = 0
        self._timer: Timer | None = None
        cluster.network.attach(name, self)

    def start(self) -> None:
        """Ask one thing after the other from now on."""
        self.running = True
        self._later()

    def cut(self, peer: str) -> None:
        """Take note of a broken connection: the time will be up."""

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take an answer, however late.

        Args:
            source: who passed it on.
            message: the answer.
            channel: by which way.
        """
        assert isinstance(message, Said)
        request = self._open.pop(message.number, None)
        if request is None:
            return
        mine = message.number == self._current
        if not message.error:
            self._answered(request, message)
        elif message.error == OutcomeUnknownError.code:
            if mine:
                self._again_or_not(unknown=True)
        else:
            request.refused()
            if mine:
                self._again_or_not(unknown=False)

    def _later(self) -> None:
        """Ask the next thing after a while."""
        if self.running and self._request is None:
            pause = self.world.random.expovariate(1 / self.cluster.think_s)
            self.world.at(pause, self._begin)

    def _begin(self) -> None:
        """Ask the next thing."""
        if not self.running or self._request is not None:
            return
        self.asked += 1
        dice = self.world.random
        key = self.cluster.key()
        self._operations = self._choose(key)
        is_read = all(isinstance(each, Get) for each in self._operations)
        single = is_read and len(self._operations) == 1
        self._session = single and dice.random() < 0.3
        self._idempotency = None
        if not is_read and dice.random() < 0.4:
            name = f"{self.name}-{self.asked}"
            self._idempotency = IdempotencyKey(name, name.encode())
        self._request = self.history.begin(self.name, self._operations, self.world.now)
        self._request.linearizable = not self._session
        self._attempts = 0
        self._attempt()

    def _choose(self, key: bytes) -> tuple[Operation, ...]:
        """Choose what to do with a key."""
        cluster, dice = self.cluster, self.world.random
        value = f"{self.name}-{self.asked}".encode()
        if cluster.groups and dice.random() < cluster.groups:
            return self._choose_group(key, value)
        if dice.random() < cluster.bulks:
            others = [b"b%d{" % number + key + b"}" for number in range(3)]
            return (Put(key, value), *(Put(other, value) for other in others))
        if dice.random() < cluster.expiring:
            fleeting = b"ttl{" + key + b"}"
            lifetime = dice.uniform(0.2, 2.0)
            put = Put(fleeting, value, ttl_s=lifetime)
            return (put if dice.random() < 0.5 else Get(fleeting),)
        if dice.random() < 0.4:
            return (Get(key),)
        conditions = self._conditions(key)
        if dice.random() < cluster.deletes:
            return (Delete(key, conditions),)
        return (Put(key, value, conditions=conditions),)

    def _choose_group(self, key: bytes, value: bytes) -> tuple[Operation, ...]:
        """Choose what to do with keys that are only written all at once.

        Some groups are in one batch with what they overlap with.
        """
        dice = self.world.random
        keys = grouped(key)
        if dice.random() < 0.4:
            return tuple(Get(each) for each in keys)
        conditions = self._conditions(keys[0])
        checks: tuple[Check, ...] = ()
        if conditions and dice.random() < 0.5:
            checks = (Check(keys[-1], self._conditions(keys[-1])),)
        if checks and dice.random() < 0.5:
            checks = (*checks, Check(keys[0], most=1))
        if dice.random() < self.cluster.deletes:
            return (Group(checks, tuple(Delete(each, conditions) for each in keys)),)
        writes = tuple(
            Put(each, value, conditions=conditions if each == keys[0] else ())
            for each in keys
        )
        group = Group(checks, writes)
        if dice.random() < 0.1:
            return (*(Get(each) for each in keys), group)
        return (group,)

    def _conditions(self, key: bytes) -> tuple[Condition, ...]:
        """Choose what must hold of a key: often nothing."""
        dice, known = self.world.random, self._versions.get(key)
        if dice.random() >= self.cluster.conditional:
            return ()
        if known is None or dice.random() < 0.3:
            return ABSENT
        return (Condition((known,), True),)

    def _attempt(self) -> None:
        """Send the request to some node."""
        assert self._request is not None
        self._attempts += 1
        number = self._current = self.cluster.number()
        self._open[number] = self._request
        self._request.attempted()
        target = self.world.random.choice(self.cluster.edges())
        session = None
        if self._session:
            session = tuple(self._sessions.values())
        errand = Errand(
            number, (self.name,), self._operations, self._idempotency, session
        )
        self.cluster.network.send(self.name, target, errand, "tcp")
        self._timer = self.world.at(TIMEOUT_S, partial(self._timed_out, number))

    def _attempt_again(self, request: Request) -> None:
        """Send a request again, unless a late answer ended it."""
        if self._request is request:
            self._attempt()

    def _timed_out(self, number: int) -> None:
        """Wait no longer for an attempt; its answer may come yet."""
        if number == self._current and self._request is not None:
            self._again_or_not(unknown=True)

    def _again_or_not(self, *, unknown: bool) -> None:
        """Try again where that is safe, or give the request up."""
        assert self._request is not None
        safe = self._idempotency is not None or not unknown
        if self._timer is not None:
            self._timer.cancel()
        if safe and self._attempts < ATTEMPTS_MAX and self.running:
            self._current = 0
            pause = self.world.random.uniform(0.01, 0.2) * self._attempts
            self.world.at(pause, self._attempt_again, self._request)
            return
        self.unknown += unknown
        self.refused += not unknown
        self._end()

    def _answered(self, request: Request, said: Said) -> None:
        """Note an answer, late or not."""
        late = request is not self._request
        if said.session is not None and not late:
            shard, history, seq = said.session
            last = self._sessions.get(shard)
            if last is None or last[1] != history or seq > last[2]:
                self._sessions[shard] = said.session
        if not late or request.outcomes is not None:
            request.answered(said.outcomes, self.world.now)
        if late:
            return
        for operation, outcome in zip(request.operations, said.outcomes, strict=True):
            for single, told in singles(operation, outcome):
                self._learn(single.key, told or outcome)
        if self._timer is not None:
            self._timer.cancel()
        self.done += 1
        self._end()

    def _learn(self, key: bytes, outcome: Outcome) -> None:
        """Remember the version that a key was last seen at."""
        if outcome.version is None:
            self._versions.pop(key, None)
        else:
            self._versions[key] = outcome.version

    def _end(self) -> None:
        """Be done with the request, whatever became of it."""
        self._request = None
        self._current = 0
        self._later()

"""Push/pull: two nodes tell each other all they believe, over TCP.

On joining, then now and then with a member drawn at random: it carries what gossip did
not.  A dead member is tried as well, for it may live beyond a partition that is over.
Seeds are tried for ever, with back-off, while no live member is behind them.
"""

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from torua.core.ids import Address, NodeId
from torua.core.members import Status
from torua.core.membership.messages import Packet, Rumour, Sync
from torua.core.membership.outbox import Outbox, To
from torua.core.membership.table import Table
from torua.core.membership.timing import Timing, sync_interval

SHARE_MIN = 1 / 16
"""In turmoil the first pause is this share of the usual one; the next ones double."""


class _Seed(Struct):
    """An address at which somebody may be.

    Invariants: ``pause`` stays within the preset's bounds; ``due`` is infinite while a
    try is under way.
    """

    address: Address
    due: float
    pause: float
    node_id: NodeId = NodeId("")


class PushPull:
    """Decides with whom to exchange beliefs, and when.

    Invariants: a seed is tried at most once at a time; ``SHARE_MIN <= _pause <= 1``.
    """

    def __init__(
        self, table: Table, outbox: Outbox, timing: Timing, rng: Random
    ) -> None:
        """Wait for `start`.

        Args:
            table: what is believed.
            outbox: takes what is to be sent.
            timing: the preset.
            rng: draws partners and jitter.
        """
        self._table = table
        self._outbox = outbox
        self._timing = timing
        self._rng = rng
        self._seeds: dict[Address, _Seed] = {}
        self._asked: dict[int, Address] = {}
        self._due: float | None = None
        self._pause = 1.0
        self._last = 0.0

    def start(self, seeds: tuple[Address, ...], now: float) -> None:
        """Look for others from now on.

        Args:
            seeds: where they may be.
            now: the time.
        """
        least = self._timing.seed_retry_s[0]
        for address in seeds:
            self._seeds.setdefault(address, _Seed(address, now, least))
        self._last = self._due = now
        self.hasten(now)

    def hasten(self, now: float) -> None:
        """Exchange soon, and then again at growing pauses, for much may be amiss.

        So it is after joining, and when the dead come back: after a partition.
        """
        if self._due is not None and self._pause > SHARE_MIN:
            self._pause = SHARE_MIN
            self._plan(now)

    def stop(self) -> None:
        """Begin no more exchanges."""
        self._seeds.clear()
        self._due = None

    def wake(self, now: float) -> None:
        """Begin the exchanges that are due."""
        for seed in self._seeds.values():
            if seed.due <= now:
                self._try(seed, now)
        due = self._sync_due()
        if due is not None and due <= now:
            self._sync(now)

    def next_deadline(self) -> float | None:
        """Tell when the next exchange is to begin."""
        times = [seed.due for seed in self._seeds.values()]
        due = self._sync_due()
        times += [] if due is None else [due]
        least = min(times, default=float("inf"))
        return None if least == float("inf") else least

    def answered(self, ref: int, packet: Packet | None, now: float) -> None:
        """Note how an exchange with a seed ended.

        Args:
            ref: which exchange.
            packet: the answer; None where there was none.
            now: the time.
        """
        seed = self._seeds.get(self._asked.pop(ref, Address("", 0)))
        if seed is None:
            return
        least, most = self._timing.seed_retry_s
        if packet is None:
            seed.due = now + seed.pause * (0.5 + self._rng.random())
            seed.pause = min(most, seed.pause * 2)
        else:
            seed.node_id = packet.sender
            seed.due, seed.pause = now + most, least

    def _try(self, seed: _Seed, now: float) -> None:
        """Try a seed, unless a member that lives is behind it."""
        if self._is_covered(seed):
            seed.due = now + self._timing.seed_retry_s[1]
            return
        seed.due = float("inf")
        self._asked[self._ask(To(seed.address), now)] = seed.address

    def _is_covered(self, seed: _Seed) -> bool:
        """Tell whether the one behind an address is known and lives."""
        held = self._table.members.get(seed.node_id)
        return (
            (held is not None and held.is_live)
            or seed.address == self._table.me.address
            or seed.address in self._table.peers()
        )

    def _sync(self, now: float) -> None:
        """Exchange beliefs with one who lives, and with one who is said not to."""
        self._last = now
        self._plan(now)
        for node_id in self._table.order.sample(1):
            self._ask(self._outbox.to(node_id), now)
            self._outbox.rumours.synced(self._outbox.limit)
        dead = self._table.dead(now, self._timing.reap_s)
        if dead:
            self._ask(self._outbox.to(self._rng.choice(dead).node_id), now)

    def _ask(self, to: To, now: float) -> int:
        """Begin one exchange."""
        rumours = self._table.rumours(now)
        return self._outbox.ask(to, Sync(), self._timing.exchange_timeout_s, rumours)

    def _plan(self, now: float) -> None:
        """Set the time of the next exchange, with jitter so that nodes stay apart."""
        interval = self._pause * sync_interval(self._timing, self._table.live)
        self._pause = min(1.0, 2 * self._pause)
        self._due = now + interval * (0.8 + 0.4 * self._rng.random())

    def _sync_due(self) -> float | None:
        """Tell when to exchange beliefs; soon where news is too big for gossip."""
        if self._due is not None and self._outbox.rumours.wants_sync:
            return min(self._due, self._last + self._timing.period_s)
        return self._due


def doubted(rumour: Rumour, by: NodeId) -> Rumour:
    """Make a death that another saw a suspicion of its own; leave all else.

    Args:
        rumour: what came by push/pull.
        by: who told it.
    """
    if rumour.member.status is not Status.DEAD:
        return rumour
    return Rumour(replace(rumour.member, status=Status.SUSPECT), by)

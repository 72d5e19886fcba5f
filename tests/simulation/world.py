"""A small world played from a seed: time, a bad network, disks that forget.

Nothing here knows what is simulated.  Callbacks run one at a time, in order of their
time, and in order of their making where times are equal; every die comes from the
world's own `random.Random`.  So a seed is a whole history, and `World.digest` tells two
histories apart.
"""

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import Generic, Literal, Protocol, TypeVar

Channel = Literal["udp", "tcp"]
CHANNELS: tuple[Channel, ...] = ("udp", "tcp")
Value = TypeVar("Value")


class Timer:
    """One callback to come.

    Invariants: it runs at most once, and never after `cancel`.
    """

    def __init__(self, due: float, callback: Callable[..., object], *args: object):
        """Hold what is to be called; `World.at` makes these."""
        self.due = due
        self.active = True
        self._callback = callback
        self._args = args

    def cancel(self) -> None:
        """Do not call it.  Safe to call twice, or too late."""
        self.active = False

    def run(self) -> None:
        """Call it, unless it was cancelled."""
        if self.active:
            self.active = False
            self._callback(*self._args)


class World:
    """Time and chance.

    Invariants: `now` never goes back; equal seeds give equal traces.

    Attributes:
        random: the only source of chance.
        now: seconds since the beginning.
        events: how many callbacks ran.
        recent: the last lines of the trace, to read when something went wrong.
    """

    def __init__(self, seed: int) -> None:
        """Begin at time 0, with nothing to come."""
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.events = 0
        self.recent: deque[str] = deque(maxlen=400)
        self._queue: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._hash = blake2b(digest_size=16)

    def at(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        """Have ``callback(*args)`` called in ``delay`` seconds, 0 or more.

        Returns:
            What cancels it.
        """
        assert delay >= 0.0
        timer = Timer(self.now + delay, callback, *args)
        self._made += 1
        heappush(self._queue, (timer.due, self._made, timer))
        return timer

    def run(self, until: float) -> None:
        """Run all that is due up to and at ``until``, and then it is ``until``."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, timer = heappop(self._queue)
            self.events += timer.active
            timer.run()
        self.now = max(self.now, until)

    def note(self, *what: object) -> None:
        """Add a line to the trace.  What it holds must print the same every time."""
        line = f"{self.now:.6f} " + " ".join(map(str, what))
        self.recent.append(line)
        self._hash.update(line.encode())

    def digest(self) -> str:
        """Return a fingerprint of the trace so far."""
        return self._hash.hexdigest()


class Station(Protocol):
    """Something with an address, as the network sees it."""

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take a message.

        Args:
            source: who sent it.
            message: what was sent, the same object.
            channel: by which way it came.
        """

    def cut(self, peer: str) -> None:
        """Take note that the TCP connection with ``peer`` broke."""


class Network:
    """What lies between stations.

    UDP loses, doubles and reorders.  TCP keeps order and loses nothing while it stands;
    a blocked direction holds its messages until `heal` or until `cut` drops them.

    Invariants: a TCP message is delivered after all that were sent before it in its
    direction, or never; but for ghosts, nothing is delivered to a station that was
    detached after it was sent.

    Attributes:
        delay: least and greatest travelling time, in seconds.
        loss: the chance that a datagram is lost.
        duplication: the chance that a datagram comes twice.
        reordering: the chance that a datagram takes up to ten times the longest time.
        ghosts: whether a datagram reaches a later life of its target, as it does where
            that has the same port.
    """

    def __init__(  # noqa: PLR0913
        self,
        world: World,
        delay: tuple[float, float] = (0.0005, 0.01),
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        ghosts: bool = False,
    ) -> None:
        """Lay a network without stations; the arguments are the attributes."""
        self.world = world
        self.delay = delay
        self.loss = loss
        self.duplication = duplication
        self.reordering = reordering
        self.ghosts = ghosts
        self._stations: dict[str, Station] = {}
        self._lives: dict[str, int] = {}
        self._blocked: set[tuple[str, str, Channel]] = set()
        self._held: dict[tuple[str, str], list[object]] = {}
        self._arrivals: dict[tuple[str, str], float] = {}
        self._connections: dict[tuple[str, str], int] = {}

    def attach(self, name: str, station: Station) -> None:
        """Give a station an address; what was under way to an older one is lost.

        Args:
            name: the address.
            station: who lives there from now on.
        """
        self.detach(name)
        self._stations[name] = station

    def detach(self, name: str) -> None:
        """Take a station away without a word: nobody hears of a broken connection."""
        self._stations.pop(name, None)
        self._lives[name] = self._lives.get(name, 0) + 1
        known = [*self._arrivals, *self._held]
        for pair in [pair for pair in known if name in pair]:
            self._forget(*pair)

    def send(
        self, source: str, target: str, message: object, channel: Channel = "udp"
    ) -> None:
        """Let a message travel, or get lost.

        Args:
            source: who sends.
            target: who shall have it.
            message: any value; it is not copied.
            channel: by which way.
        """
        if channel == "tcp":
            self._stream(source, target, message)
        elif (source, target, channel) not in self._blocked:
            self._throw(source, target, message)

    def block(
        self, source: str, target: str, channels: Iterable[Channel] = CHANNELS
    ) -> None:
        """Let nothing more pass in one direction.

        Args:
            source: from whom.
            target: to whom.
            channels: by which ways.
        """
        self._blocked |= {(source, target, channel) for channel in channels}

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nothing more pass between stations of different groups."""
        sides = [sorted(group) for group in groups]
        for side in sides:
            for other in sides:
                if other is not side:
                    for source in side:
                        for target in other:
                            self.block(source, target)

    def heal(self) -> None:
        """Let everything pass again; what TCP held goes on its way."""
        self._blocked.clear()
        held, self._held = self._held, {}
        for (source, target), messages in held.items():
            for message in messages:
                self._stream(source, target, message)

    def cut(self, one: str, other: str) -> None:
        """Break the connection of two stations: what was under way in it is lost.

        Both sides hear of it a little later; a new one stands at once.
        """
        self._forget(one, other)
        self._forget(other, one)
        for side, peer in ((one, other), (other, one)):
            life = self._lives.get(side)
            self.world.at(self._travel(), self._report_cut, side, life, peer)

    def reaches(self, source: str, target: str, channel: Channel = "tcp") -> bool:
        """Tell whether what is sent now would pass, by and large.

        Args:
            source: who would send.
            target: who should have it.
            channel: by which way.
        """
        there = target in self._stations
        return there and not self.blocks(source, target, channel)

    def blocks(self, source: str, target: str, channel: Channel = "tcp") -> bool:
        """Tell whether what is sent now would be held up, whoever is there.

        Args:
            source: who would send.
            target: to where.
            channel: by which way.
        """
        return (source, target, channel) in self._blocked

    def _travel(self) -> float:
        """Draw a travelling time."""
        return self.world.random.uniform(*self.delay)

    def _throw(self, source: str, target: str, message: object) -> None:
        """Send a datagram, none, or two."""
        dice = self.world.random
        if dice.random() < self.loss:
            return
        for _ in range(1 + (dice.random() < self.duplication)):
            delay = self._travel()
            if dice.random() < self.reordering:
                delay += dice.uniform(0.0, 10 * self.delay[1])
            life = self._lives.get(target)
            self.world.at(delay, self._arrive, source, target, life, message)

    def _arrive(
        self, source: str, target: str, life: int | None, message: object
    ) -> None:
        """Hand over a datagram, if the target lives the life it was sent to."""
        station = self._stations.get(target)
        same = self._lives.get(target) == life
        if station is not None and (same or self.ghosts):
            station.deliver(source, message, "udp")

    def _stream(self, source: str, target: str, message: object) -> None:
        """Send in order, or hold while the way is blocked."""
        pair = (source, target)
        if (source, target, "tcp") in self._blocked or pair in self._held:
            self._held.setdefault(pair, []).append(message)
            return
        arrival = max(
            self.world.now + self._travel(), self._arrivals.get(pair, 0.0) + 1e-6
        )
        self._arrivals[pair] = arrival
        connection = self._connections.setdefault(pair, 0)
        delay = max(0.0, arrival - self.world.now)
        self.world.at(delay, self._emerge, source, target, connection, message)

    def _emerge(
        self, source: str, target: str, connection: int, message: object
    ) -> None:
        """Hand on what came through a connection that still stands."""
        station = self._stations.get(target)
        if station is not None and self._connections[source, target] == connection:
            station.deliver(source, message, "tcp")

    def _forget(self, source: str, target: str) -> None:
        """Drop what is under way in one direction of a connection."""
        pair = (source, target)
        self._held.pop(pair, None)
        self._arrivals.pop(pair, None)
        self._connections[pair] = self._connections.get(pair, 0) + 1

    def _report_cut(self, side: str, life: int | None, peer: str) -> None:
        """Tell one side, if it still lives the life in which it was connected."""
        station = self._stations.get(side)
        if station is not None and self._lives.get(side) == life:
            station.cut(peer)


class Disk(Generic[Value]):
    """Keeps one value, as a file that is replaced and synced is kept.

    A save becomes durable at one moment and is reported at a later one; a crash may
    fall before, between and after.

    Invariants: saves become durable in order; after a crash nothing is reported of what
    was under way, and `durable` is the value of a save that was asked for, no older
    than the last one reported.

    Attributes:
        durable: what a new life would find; None on an empty disk.
    """

    def __init__(
        self, world: World, delay: tuple[float, float] = (0.0005, 0.01)
    ) -> None:
        """Be empty; ``delay`` is the least and the greatest time of a save."""
        self.durable: Value | None = None
        self.delay = delay
        self._world = world
        self._queue: deque[Value] = deque()
        self._timers: deque[Timer] = deque()
        self._free = 0.0

    def save(self, value: Value, done: Callable[[], object]) -> None:
        """Replace the value.

        Args:
            value: what shall be kept.
            done: called once it is durable.
        """
        now, dice = self._world.now, self._world.random
        kept = max(now, self._free) + dice.uniform(*self.delay)
        reported = kept + dice.uniform(0.0, self.delay[0])
        self._free = reported
        self._queue.append(value)
        self._timers.append(self._world.at(kept - now, self._keep))
        self._timers.append(self._world.at(reported - now, done))

    def crash(self) -> None:
        """Stop in the midst of it: some of what was under way is kept, some lost."""
        while self._timers:
            self._timers.popleft().cancel()
        kept = self._world.random.randint(0, len(self._queue))
        if kept:
            self.durable = self._queue[kept - 1]
        self._queue.clear()
        self._free = 0.0

    def _keep(self) -> None:
        """Make the oldest save durable."""
        self.durable = self._queue.popleft()
        while self._timers and not self._timers[0].active:
            self._timers.popleft()

"""After a flood everything returns to rest, whatever was cut, refused or not taken."""

from random import Random

import pytest
from twisted.internet.defer import Deferred

from tests.http.wire import Wire, World, request
from torua.core.kv import Call
from torua.errors import OutcomeUnknownError, OverloadedError, UnavailableError
from torua.http.connection import Channel
from torua.http.hot import BODY_BYTES_MAX, HotChannel

STEPS = 2500
BULK = b'{"op":"put","key":"a","value":"v"}\n'
ERRORS = (
    None,
    None,
    None,
    UnavailableError("no"),
    OutcomeUnknownError("?"),
    OverloadedError("much"),
)


class Waiting:
    """What serves requests, in its own time.

    Invariants: whoever waits is let go once, well or not.
    """

    def __init__(self, world: World, dice: Random) -> None:
        """Have some requests wait.

        Args:
            world: whose requests.
            dice: says which.
        """
        self._dice = dice
        self._gates: list[Deferred[None]] = []
        world.key_value._enter = self._enter  # type: ignore[method-assign]

    async def _enter(self, call: Call) -> None:
        """Wait, or fail, or neither."""
        if self._dice.random() < 0.3:
            gate: Deferred[None] = Deferred()
            self._gates.append(gate)
            await gate
        error = self._dice.choice(ERRORS)
        if error is not None:
            raise error

    def let_go(self, count: int) -> None:
        """Have some of those who wait go on."""
        for _ in range(min(count, len(self._gates))):
            place = self._dice.randrange(len(self._gates))
            self._gates.pop(place).callback(None)

    def let_all_go(self) -> None:
        """Have all go on, those who come then as well."""
        while self._gates:
            self.let_go(len(self._gates))


def some_request(dice: Random) -> bytes:
    """Spell one request, most of them good ones.

    Args:
        dice: says which, of up to 64 KiB and a little.
    """
    size = dice.choice([0, 1, 100, 2000, BODY_BYTES_MAX + 1])
    key = f"/kv/k{dice.randrange(50)}"
    data = dice.choice(
        [
            request("GET", key),
            request("HEAD", key),
            request("DELETE", key),
            request("PUT", key, b"v" * size),
            request("PUT", key, b"v" * size, Expect="100-continue"),
            request("PUT", key + "?ttl=no", b"v" * size),
            request("POST", "/bulk", BULK * dice.randrange(1, 9)),
            request("POST", "/bulk", b"no"),
            request("GET", "/kv?limit=3"),
            request("GET", "/health"),
            request("POST", "/nowhere", b"v" * size),
            request("GET", key, Connection="close"),
            b"PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\n\r\n" % key.encode(),
        ]
    )
    return data if dice.random() < 0.95 else data.replace(b":", b" ", 1)


class Client(Wire):
    """One that may keep a connection that the site has closed.

    Invariants: those of `Wire`.
    """

    def unregisterProducer(self) -> None:
        """As sockets have it, twice is as good as once."""
        if self.producer is not None:
            super().unregisterProducer()


class Flood:
    """Clients of whom none is reliable.

    Invariants: of each connection it is known whether it was lost.
    """

    def __init__(self, world: World, dice: Random) -> None:
        """Begin with none connected.

        Args:
            world: the site.
            dice: says what they do.
        """
        self.world, self.dice = world, dice
        self.waiting = Waiting(world, dice)
        self.wires: list[Client] = []

    def step(self) -> None:
        """Send a request in pieces, perhaps not all of it, and perhaps go.

        Meanwhile some of those who wait go on, and some time passes.
        """
        dice, wire = self.dice, self._wire()
        data = b"".join(some_request(dice) for _ in range(dice.choice([1, 1, 1, 3])))
        if dice.random() < 0.2:
            data = data[: dice.randrange(len(data))]
        for _ in range(dice.randrange(3)):
            cut = dice.randrange(len(data) + 1)
            wire.send(data[:cut])
            data = data[cut:]
        wire.send(data)
        self._take_or_go(wire)
        if dice.random() < 0.3:
            self.waiting.let_go(dice.randrange(5))
        self.world.clock.advance(dice.choice([0, 0, 0.001, 0.05, 2]))

    def _take_or_go(self, wire: Client) -> None:
        """Take what was answered, or nothing more, or be lost."""
        dice, channel = self.dice, wire.channel
        if not wire.disconnecting and dice.random() < 0.2:
            takes = dice.choice([True, False])
            channel.resumeProducing() if takes else channel.pauseProducing()
        if wire.aborted or dice.random() < 0.15:
            self._lose(wire)

    def _wire(self) -> Client:
        """Choose a connection, or open one."""
        if len(self.wires) < 20 or (len(self.wires) < 200 and self.dice.random() < 0.1):
            self.wires.append(Client(self.world.site))
            return self.wires[-1]
        return self.dice.choice(self.wires)

    def _lose(self, wire: Client) -> None:
        """Let a connection be lost."""
        self.wires.remove(wire)
        wire.hang_up()

    def end(self) -> None:
        """Serve all, and have all clients go."""
        self.waiting.let_all_go()
        while self.wires:
            self._lose(self.wires[-1])
        for _ in range(100):
            self.waiting.let_all_go()
            self.world.clock.advance(1)


@pytest.mark.parametrize("protocol", [Channel, HotChannel])
@pytest.mark.parametrize("seed", [1, 2])
def test_after_a_flood_everything_is_at_rest(
    protocol: type[Channel], seed: int
) -> None:
    """Nothing is held, at work or timed, and a request is served as before."""
    world = World(admission=True, held_bytes_max=1 << 20)
    world.site.protocol = protocol
    dice = Random(seed)
    flood = Flood(world, dice)
    for _ in range(STEPS):
        flood.step()
    flood.end()
    assert world.clock.getDelayedCalls() == []
    for name in (
        "torua_http_held_bytes",
        "torua_http_requests_in_flight",
        "torua_http_unread_bytes",
        "torua_http_connections",
        "torua_http_admission_at_work",
    ):
        assert world.metric(name) == 0, name
    assert world.site._gate._stays.held == world.site._gate._stays.many == 0
    assert not any(world.site._gate._admission.at_work)
    assert world.ask("GET", "/health").status == 200

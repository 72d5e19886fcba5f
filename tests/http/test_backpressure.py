"""Tests for `torua.http.backpressure`: a client that takes nothing is given little."""

import pytest

from tests.http.wire import Wire, World, held, request
from torua.http import limits
from torua.http.connection import Channel
from torua.http.hot import HotChannel
from torua.http.site import ApiSite

SIZE = 60 << 10


class Full(Wire):
    """A transport that has enough with so much, as that of a socket.

    Invariants: ``taken`` is what the client took, of all that was written.
    """

    def __init__(self, site: ApiSite) -> None:
        """Take nothing."""
        self.taken = 0
        super().__init__(site)

    @property
    def unsent(self) -> int:
        """Tell how much waits for the client."""
        return len(self.value()) - self.taken

    def write(self, data: bytes) -> None:
        """Have enough with more than 64 KiB."""
        super().write(data)
        if self.unsent > 64 << 10:
            self.channel.pauseProducing()

    def take(self) -> None:
        """Have the client take all that there is."""
        self.taken = len(self.value())
        self.channel.resumeProducing()


def world_with_a_value(protocol: type[Channel]) -> World:
    """Make a site with a value to be read.

    Args:
        protocol: of its connections.
    """
    world = World()
    world.ask("PUT", "/kv/k", b"v" * SIZE)
    world.site.protocol = protocol
    return world


@pytest.mark.parametrize("protocol", [Channel, HotChannel])
@pytest.mark.parametrize("is_slow", [False, True])
def test_requests_that_came_together_wait_for_their_answers_to_be_taken(
    protocol: type[Channel], is_slow: bool
) -> None:
    """All are answered in order, few at a time, however fast they are served."""
    world = world_with_a_value(protocol)
    world.key_value.gate = gate = held() if is_slow else None
    wire = Full(world.site)
    wire.send(request("GET", "/kv/k"))
    wire.send(request("GET", "/kv/k") * 99)
    if gate is not None:
        gate.callback(None)
    assert wire.unsent < 3 * SIZE
    assert wire.producerState == "paused"
    for _ in range(100):
        wire.take()
        assert wire.unsent < 3 * SIZE
    assert [each.body for each in wire.responses()] == [b"v" * SIZE] * 100
    assert wire.producerState == "producing"
    world.clock.advance(limits.HEADERS_S + 1)
    wire.send(request("GET", "/health"))
    assert wire.responses()[0].status == 200
    wire.hang_up()
    assert world.clock.getDelayedCalls() == []


def test_what_comes_behind_an_answer_that_is_not_taken_is_not_read() -> None:
    """While a large answer is written, a client may send much, and is not heard."""
    world = World()
    world.ask("PUT", "/kv/k", b"v" * (1 << 20))
    wire = Full(world.site)
    wire.send(request("GET", "/kv/k"))
    assert wire.producerState == "paused"
    wire.send(b"x" * (32 << 10))
    wire.take()
    assert wire.producerState == "paused"


def test_a_client_that_takes_its_answer_is_heard_while_more_of_it_comes() -> None:
    """So it is known when it goes."""
    world = World()
    world.ask("PUT", "/kv/k", b"v" * (1 << 20))
    wire = Full(world.site)
    wire.send(request("GET", "/kv/k"))
    wire.channel.resumeProducing()
    wire.channel.pauseProducing()
    assert wire.producerState == "paused"
    while wire.unsent:
        wire.take()
    assert wire.producerState == "producing"
    assert wire.responses()[0].body == b"v" * (1 << 20)


def test_a_client_that_takes_nothing_is_closed_in_the_end() -> None:
    """What it asked beyond what it takes is never begun."""
    world = world_with_a_value(HotChannel)
    wire = Full(world.site)
    wire.send(request("GET", "/kv/k"))
    wire.send(request("GET", "/kv/k"))
    wire.send(request("PUT", "/kv/k", b"w"))
    for _ in range(int(limits.IDLE_S) + 20):
        world.clock.advance(1)
    assert wire.disconnecting
    assert len(wire.value()) < 3 * SIZE
    assert world.ask("GET", "/kv/k").body == b"v" * SIZE

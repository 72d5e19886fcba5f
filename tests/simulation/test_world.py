"""Tests for `tests.simulation.world`: the ground that the simulations stand on."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.simulation.world import Channel, Disk, Network, World

ROOT = Path(__file__).parent.parent.parent


class Recorder:
    """A station that writes down what happens to it.

    Invariants: `got` is in the order of arrival.
    """

    def __init__(self) -> None:
        """Have heard nothing yet."""
        self.got: list[object] = []
        self.cuts: list[str] = []

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Write a message down.

        Args:
            source: does not matter here.
            message: what arrived.
            channel: does not matter here.
        """
        self.got.append(message)

    def cut(self, peer: str) -> None:
        """Write down that a connection broke."""
        self.cuts.append(peer)


def two(world: World, **troubles: float) -> tuple[Network, Recorder, Recorder]:
    """Make a network of the stations ``a`` and ``b``.

    Args:
        world: where.
        troubles: chances of loss, duplication and reordering.
    """
    network = Network(world, **troubles)  # type: ignore[arg-type]
    a, b = Recorder(), Recorder()
    network.attach("a", a)
    network.attach("b", b)
    return network, a, b


def history(seed: int) -> str:
    """Play many messages over a bad network, and return the trace's digest."""
    world = World(seed)
    network, a, b = two(world, loss=0.2, duplication=0.2, reordering=0.2)
    for number in range(200):
        network.send("a", "b", number)
        network.send("b", "a", number, "tcp")
    world.run(1.0)
    world.note(a.got, b.got, sorted({"x", "y"}))
    return world.digest()


def test_the_same_seed_gives_the_same_history_whatever_the_hash_seed() -> None:
    """Nothing depends on how Python hashes, and another seed is another history."""
    code = "from tests.simulation.test_world import history; print(history(7))"
    seen = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashseed},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for hashseed in ("1", "2")
    }
    assert seen == {history(7)}
    assert history(8) != history(7)


def test_udp_loses_doubles_and_reorders() -> None:
    """A bad network shows each of its faults."""
    world = World(1)
    network, _, b = two(world, loss=0.2, duplication=0.2, reordering=0.2)
    sent = list(range(500))
    for number in sent:
        network.send("a", "b", number)
    world.run(1.0)
    assert set(b.got) < set(sent)
    assert len(set(map(str, b.got))) < len(b.got)
    assert b.got != sorted(b.got, key=str)


def test_tcp_keeps_order_and_holds_back_until_healed() -> None:
    """A blocked direction delays, and changes neither order nor number."""
    world = World(2)
    network, _, b = two(world, loss=1.0)
    for number in range(10):
        if number == 5:
            network.block("a", "b", ("tcp",))
        network.send("a", "b", number, "tcp")
    world.run(1.0)
    assert b.got == [0, 1, 2, 3, 4]
    network.heal()
    world.run(2.0)
    assert b.got == list(range(10))


def test_a_cut_drops_what_was_under_way_and_both_sides_hear_of_it() -> None:
    """After a cut nothing sent before it arrives, and later messages do."""
    world = World(3)
    network, a, b = two(world)
    network.send("a", "b", "lost", "tcp")
    network.cut("a", "b")
    network.send("a", "b", "new", "tcp")
    world.run(1.0)
    assert (b.got, a.cuts, b.cuts) == (["new"], ["b"], ["a"])


def test_a_partition_parts_groups_and_a_block_one_direction() -> None:
    """What is blocked does not pass, and all else does."""
    world = World(4)
    network, a, b = two(world)
    network.block("a", "b")
    network.send("a", "b", "there")
    network.send("b", "a", "back")
    network.heal()
    network.partition(["a"], ["b"])
    network.send("b", "a", "parted")
    world.run(1.0)
    assert (a.got, b.got) == (["back"], [])
    assert not network.reaches("a", "b")


def test_nothing_reaches_a_later_life() -> None:
    """What was sent to a station before it was replaced is lost."""
    world = World(5)
    network, _, _ = two(world)
    network.send("a", "b", "udp")
    network.send("a", "b", "tcp", "tcp")
    later = Recorder()
    network.attach("b", later)
    world.run(1.0)
    assert later.got == []


def test_a_disk_keeps_what_it_reported_whatever_the_crash() -> None:
    """After a crash the disk holds what was reported last, or something newer."""
    kept = set()
    for seed in range(200):
        world = World(seed)
        disk: Disk[int] = Disk(world)
        reported = [0]
        for value in (1, 2, 3):
            disk.save(value, partial(reported.append, value))
        world.run(world.random.uniform(0.0, 0.03))
        disk.crash()
        world.run(1.0)
        durable = disk.durable or 0
        assert reported[-1] <= durable <= 3
        kept.add((reported[-1], durable))
    assert {(0, 0), (0, 1), (1, 1), (1, 2), (3, 3)} <= kept


def test_a_cancelled_timer_does_not_run() -> None:
    """Time goes on to the end of a run, and without what was cancelled."""
    world = World(6)
    ran: list[str] = []
    world.at(0.5, ran.append, "kept")
    world.at(0.5, ran.append, "cancelled").cancel()
    world.run(1.0)
    assert (ran, world.now, world.events) == (["kept"], 1.0, 1)

"""How long the allocator takes to decide: it does so on the coordinator's reactor.

    python benchmarks/allocation.py [--nodes 100] [--shards 1024] [--copies 3]

Each line is a situation, with the processor time of its first decision and of the
slowest until all is at rest, in milliseconds.
"""

import argparse
from collections.abc import Callable
from random import Random
from time import process_time

from msgspec.structs import replace

from torua.core.allocation import (
    Delays,
    HandOver,
    MarkInSync,
    MarkStarted,
    Outlook,
    SetDuty,
    execute,
    reconcile,
)
from torua.core.configuration import Allocation, Configuration, Replication
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.reporting import CopyReport, NodeReport
from torua.core.state import ClusterState, Duty, Settings, Shard

GIB = 1 << 30


class Fleet:
    """A cluster whose nodes do at once what the state asks of them.

    Invariants: ``taken`` has a time for each decision.
    """

    def __init__(self, nodes: int, shards: int, copies: int, zones: int) -> None:
        """Describe it; nothing is decided yet.

        Args:
            nodes: how many.
            shards: how many.
            copies: of each.
            zones: over how many the nodes are spread; 1: they say nothing of zones.
        """
        self.state = ClusterState(
            cluster_uuid="c" * 32,
            settings=Settings(shards, expected_nodes=nodes),
            configuration=Configuration(Replication(copies), Allocation()),
        )
        self.members = [member(each, zones) for each in range(nodes)]
        self.lost: set[NodeId] = set()
        self.outlook = Outlook()
        self.taken: list[float] = []
        self._random = Random(1)  # noqa: S311
        self._delays = Delays()
        self._now = 0.0

    def decide(self) -> None:
        """Decide once, by the clock."""
        self._now += 5.0
        begun = process_time()
        self.state = reconcile(
            self.state,
            self.members,
            self._random,
            lost=self.lost,
            delays=self._delays,
            outlook=self.outlook,
            now=self._now,
        )
        self.taken.append(process_time() - begun)

    def rest(self, rounds: int = 2000) -> None:
        """Decide and obey until nothing changes."""
        for _ in range(rounds):
            before = self.state
            self.decide()
            if self.state is before:
                return
            for number in self.state.shards:
                self._obey(self.state.shards[number])

    def _obey(self, shard: Shard) -> None:
        """Do what the state asks of a shard's copies."""
        primary, number = shard.primary, shard.shard
        if primary is None or primary.node in self.lost:
            return
        if not shard.in_sync:
            alloc, term = primary.alloc_id, shard.primary_term
            begin = MarkStarted(number, alloc, primary.boot_epoch, term)
            self.state = execute(self.state, begin)
        for copy in shard.copies:
            held = self.state.shards[number]
            if copy.alloc_id not in held.in_sync and copy.node not in self.lost:
                term, version = held.primary_term, held.shard_version
                mark = MarkInSync(number, term, copy.alloc_id, 1, version)
                self.state = execute(self.state, mark)
        held = self.state.shards[number]
        if held is shard and shard.successor is not None:
            term, version = shard.primary_term, shard.shard_version
            give = HandOver(number, term, version, shard.successor)
            self.state = execute(self.state, give)

    def report(self, load: Callable[[int], float]) -> None:
        """Have all nodes report.

        Args:
            load: of each shard's primary, in requests a second.
        """
        held: dict[NodeId, list[CopyReport]] = {each: [] for each in self.state.nodes}
        for number, shard in self.state.shards.items():
            for copy in shard.copies:
                leads = shard.primary and shard.primary.node == copy.node
                work = load(number) if leads else 0.0
                held[copy.node].append(CopyReport(number, copy.alloc_id, GIB, work))
        for node, copies in held.items():
            report = NodeReport(1, 300 * GIB, 1000 * GIB, tuple(copies))
            self.outlook.report(node, report)

    def show(self, what: str) -> None:
        """Print what was decided since the last time, and how long it took."""
        times = [1000 * each for each in self.taken]
        print(
            f"{what:46} {times[0]:8.1f} {max(times):8.1f} {len(times):6} decisions",
            flush=True,
        )
        self.taken = []


def member(number: int, zones: int) -> Member:
    """Describe a node, on a host of its own.

    Args:
        number: which.
        zones: over how many they are spread.
    """
    zone = f"z{number % zones}" if zones > 1 else ""
    where = Address(f"10.0.{number // 250}.{number % 250}", 1)
    meta = Meta(zone=zone)
    node = NodeId(f"{number:032x}")
    return Member(node, f"n{number}", where, 1, 0, Status.ALIVE, meta)


def play(nodes: int, shards: int, copies: int, zones: int) -> None:
    """Play the situations, one after the other.

    Args:
        nodes: how many.
        shards: how many.
        copies: of each.
        zones: over how many.
    """
    fleet = Fleet(nodes, shards, copies, zones)
    fleet.rest()
    fleet.show("first assignment")
    fleet.decide()
    fleet.show("at rest")
    fleet.report(lambda number: 100.0 * (1 + number % 7))
    fleet.rest()
    fleet.show("all report, loads of 1 to 7")
    hot = {n for n, s in fleet.state.shards.items() if _led(s) == 0}
    fleet.report(lambda number: 5000.0 if number in hot else 100.0)
    fleet.rest()
    fleet.show("one node leads all that is hot")
    joined = member(nodes, zones)
    fleet.members.append(joined)
    fleet.rest()
    fleet.show("a node joins")
    node = NodeId(f"{0:032x}")
    version = fleet.state.nodes[node].duty_version
    fleet.state = execute(fleet.state, SetDuty(node, version, Duty.EVACUATING))
    fleet.rest()
    fleet.show("a node is evacuated")
    if zones > 1:
        _lose_zone(fleet, zones)


def _led(shard: Shard) -> int:
    """Return the number of the node that leads a shard."""
    return int(shard.primary.node, 16) if shard.primary else -1


def _lose_zone(fleet: Fleet, zones: int) -> None:
    """Lose a zone that is forced: what it had is nowhere made, and always sought."""
    given = fleet.state.configuration
    names = tuple(f"z{number}" for number in range(zones))
    forced = replace(given.allocation, forced_zones=names, rebuild_after_s=0.0)
    fleet.state = replace(fleet.state, configuration=replace(given, allocation=forced))
    fleet.lost = {
        node for node, entry in fleet.state.nodes.items() if entry.zone == "z0"
    }
    fleet.members = [
        replace(each, status=Status.DEAD) if each.node_id in fleet.lost else each
        for each in fleet.members
    ]
    fleet.decide()
    for number, shard in fleet.state.shards.items():
        gone = {copy.alloc_id for copy in shard.copies if copy.node in fleet.lost}
        left = tuple(each for each in shard.in_sync if each not in gone)
        cut = replace(shard, in_sync=left)
        fleet.state = replace(fleet.state, shards=fleet.state.shards | {number: cut})
    fleet.rest(20)
    fleet.show("a forced zone is lost")
    fleet.decide()
    fleet.show("and stays away")


def main() -> None:
    """Read what to play, and play it without zones and with three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--shards", type=int, default=1024)
    parser.add_argument("--copies", type=int, default=3)
    given = parser.parse_args()
    for zones in (1, 3):
        many = f"{given.nodes} nodes, {given.shards} shards, {given.copies} copies"
        print(f"{many + f', zones: {zones}':46} {'first':>8} {'slowest':>8}")
        play(given.nodes, given.shards, given.copies, zones)


if __name__ == "__main__":
    main()

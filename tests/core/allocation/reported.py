"""What nodes could report, for the tests of allocation that go by it."""

from collections.abc import Mapping

from msgspec.structs import replace

from tests.core.allocation.parts import member, node
from torua.core.allocation import Outlook
from torua.core.ids import Address, ShardId
from torua.core.members import Member
from torua.core.reporting import CopyReport, NodeReport
from torua.core.state import ClusterState

GIB = 1 << 30


def reporting(
    state: ClusterState,
    *,
    sizes: Mapping[int, int] | None = None,
    loads: Mapping[int, float] | None = None,
    disks: Mapping[int, int] | None = None,
) -> Outlook:
    """Have every node report what it has of the state.

    Args:
        state: the committed state.
        sizes: of shards, in bytes; 0 where not given.
        loads: of shards, in requests a second at the primary; 0 where not given.
        disks: how full nodes are, in percent of 1,000 GiB; 10 where not given.
    """
    outlook = Outlook()
    report_to(outlook, state, sizes=sizes, loads=loads, disks=disks)
    return outlook


def report_to(
    outlook: Outlook,
    state: ClusterState,
    *,
    sizes: Mapping[int, int] | None = None,
    loads: Mapping[int, float] | None = None,
    disks: Mapping[int, int] | None = None,
) -> None:
    """Have every node report to an outlook; see `reporting`.

    Args:
        outlook: takes the reports.
        state: the committed state.
        sizes: of shards.
        loads: of shards.
        disks: of nodes.
    """
    copies: dict[str, list[CopyReport]] = {each: [] for each in state.nodes}
    for number, shard in state.shards.items():
        for copy in shard.copies:
            leads = shard.primary is not None and shard.primary.node == copy.node
            load = (loads or {}).get(number, 0.0) if leads else 0.0
            size = (sizes or {}).get(number, 0)
            found = CopyReport(ShardId(number), copy.alloc_id, size, load)
            copies[copy.node].append(found)
    for count, (each, entry) in enumerate(sorted(state.nodes.items()), start=1):
        used = (disks or {}).get(count, 10) * 10 * GIB
        report = NodeReport(entry.boot_epoch, used, 1000 * GIB, tuple(copies[each]))
        outlook.report(each, report)


def zoned(*zones: str) -> list[Member]:
    """Describe nodes in these zones, in order.

    Args:
        zones: of the first node, the second, and so forth.
    """
    return [member(number, zone=zone) for number, zone in enumerate(zones, start=1)]


def on_host(number: int, host: str) -> Member:
    """Describe a node on a machine with others.

    Args:
        number: which node.
        host: the machine's address.
    """
    return replace(member(number), address=Address(host, number))


def zones_of(state: ClusterState, number: int) -> list[str]:
    """Return the zones of a shard's copies, sorted.

    Args:
        state: the state.
        number: which shard.
    """
    copies = state.shards[ShardId(number)].copies
    return sorted(state.nodes[copy.node].zone for copy in copies)


__all__ = [
    "GIB",
    "node",
    "on_host",
    "report_to",
    "reporting",
    "zoned",
    "zones_of",
]

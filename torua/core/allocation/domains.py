"""What fails together: zones and hosts, and how many copies of a shard one may have.

A shard's copies are spread: with copies for z zones, no zone has more than its share,
the copies by the zones, rounded up; hosts likewise.  That is kept where it can be, and
before counts are evened: a zone that is lost takes a share of the copies with it and
no more.  Where an operator named the zones (*forced*), a share is never exceeded, and
copies rather stay unassigned; so it is of hosts where these are forced.
"""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from torua.core.allocation.limits import Limits
from torua.core.ids import NodeId
from torua.core.state import NodeEntry

Domain = tuple[str, str]
"""A zone, and a host where it matters which."""


class Crowd(Struct, frozen=True):
    """How a node stands with a shard's other copies.

    Attributes:
        zone: how many of them are in its zone.
        host: how many on its host.
        zone_over: by how many its zone would have more than its share.
        host_over: likewise, its host.
    """

    zone: int = 0
    host: int = 0
    zone_over: int = 0
    host_over: int = 0

    @property
    def over(self) -> tuple[int, int]:
        """What counts before all else."""
        return self.zone_over, self.host_over


class Domains:
    """Zones and hosts of the nodes that take copies.

    Invariants: nothing in it changes.

    Performance: `crowd` is O(copies of a shard).

    Attributes:
        zones: those among which copies are shared.
        hosts: likewise.
        zones_forced: whether a zone's share is never exceeded.
        hosts_forced: likewise.
    """

    def __init__(
        self,
        nodes: Mapping[NodeId, NodeEntry],
        takers: Iterable[NodeId],
        limits: Limits,
    ) -> None:
        """Lay them out.

        Args:
            nodes: all that belong.
            takers: those that may be given copies.
            limits: which zones are forced, and whether hosts are.
        """
        self._zone = {node: entry.zone for node, entry in nodes.items()}
        self._host = {node: entry.address.host for node, entry in nodes.items()}
        able = list(takers)
        self.zones_forced = bool(limits.zones)
        self.hosts_forced = limits.host_forced
        known = {self._zone[node] for node in able}
        if self.zones_forced:
            known = (known | set(limits.zones)) - {""}
        self.zones = sorted(known)
        self.hosts = sorted({self._host[node] for node in able})
        self._by_host = 1 < len(self.hosts) < len(able) or self.hosts_forced

    def zone(self, node: NodeId) -> str:
        """Return a node's zone; empty where it has none."""
        return self._zone.get(node, "")

    def host(self, node: NodeId) -> str:
        """Return which machine a node is on, as far as its address tells."""
        return self._host.get(node, "")

    def domain(self, node: NodeId) -> Domain:
        """Return what a node fails with, as far as it matters."""
        return self.zone(node), self.host(node) if self._by_host else ""

    def zone_share(self, rf: int) -> int:
        """Tell how many copies of a shard a zone has at most."""
        return -(-rf // max(1, len(self.zones)))

    def host_share(self, rf: int) -> int:
        """Tell how many copies of a shard a host has at most."""
        return 1 if self.hosts_forced else -(-rf // max(1, len(self.hosts)))

    def crowd(self, node: NodeId, others: Collection[NodeId], rf: int) -> Crowd:
        """Tell how a node would stand with a shard's other copies.

        Args:
            node: the node.
            others: which nodes have the copies that stay.
            rf: how many copies there should be.
        """
        if len(self.zones) <= 1 and not self._by_host:
            return _ALONE
        zone, host = self._zone.get(node), self._host.get(node)
        zones = sum(self._zone.get(each) == zone for each in others)
        hosts = sum(self._host.get(each) == host for each in others)
        return Crowd(
            zones,
            hosts,
            max(0, zones + 1 - self.zone_share(rf)),
            max(0, hosts + 1 - self.host_share(rf)),
        )


_ALONE = Crowd()

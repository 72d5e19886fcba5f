"""The cluster as one node sees it, for operators and probes.

Membership says who lives, the applied cluster state says who holds what, and each node
is asked for the positions of its own copies.  Nothing here waits longer for a silent
node than `ASK_TIMEOUT_S`: what it would say is left out.
"""

from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import plain, shape
from torua.core import views
from torua.core.builds import BUILD
from torua.core.health import fares
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.members import Member, Status
from torua.core.reporting import NodeReport, Sight
from torua.core.state import ClusterState, Copy, Duty, Shard
from torua.errors import NotFoundError, ToruaError
from torua.net.peers import Inbound, Lane
from torua.node.dispatch import States
from torua.node.errands import Peers

KIND = "overview"
"""The kind of message by which nodes ask each other about themselves."""

COLOURS = ("green", "yellow", "red")
"""From the best to the worst."""

FAILED = "failed"
"""The state of a copy that its node cannot serve."""

ASK_TIMEOUT_S = 1.0
"""A page for people that waits longer is of no use while a node is silent."""


class Myself(Struct, frozen=True):
    """What a node says of itself when another asks."""

    uptime: float
    copies: tuple[views.CopyPosition, ...] = ()
    failures: dict[ShardId, str] = {}


class Membership(Protocol):
    """Who is there."""

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """Return every member that is known, this node among them."""

    def last_heard(self, node_id: NodeId) -> float | None:
        """Tell how many seconds ago a node was last heard of; None if never."""


class Coordination(States, Protocol):
    """Who coordinates, and what is committed."""

    @property
    def term(self) -> int:
        """Return the term of coordination."""

    @property
    def version(self) -> int:
        """Return the version of the applied cluster state."""

    @property
    def coordinator(self) -> NodeId | None:
        """Return who coordinates; None where nobody is known."""


class Holdings(Protocol):
    """The copies that this node holds."""

    def positions(self) -> tuple[views.CopyPosition, ...]:
        """Tell how far each copy is."""

    def failures(self) -> dict[ShardId, str]:
        """Tell which copies do not serve, and why."""

    def serving(self, shard: ShardId) -> bool:
        """Tell whether the primary of a shard is here and serves."""


class Cluster:
    """What this node can tell of the cluster.

    Invariants: no answer changes anything; what a silent node would say is absent,
    never guessed.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        *,
        cluster_name: str,
        membership: Membership,
        coordination: Coordination,
        holdings: Holdings,
        peers: Peers,
        clock: IReactorTime,
        sight: Callable[[Call], Awaitable[Sight]],
    ) -> None:
        """Begin to answer what other nodes ask.

        Args:
            me: this node.
            cluster_name: the label that it was started with.
            membership: who is there.
            coordination: who coordinates, and what is committed.
            holdings: the copies that this node holds.
            peers: the way to the other nodes.
            clock: the reactor.
            sight: asks the coordinator what nodes reported.
        """
        self._me = me
        self._sight = sight
        self._cluster_name = cluster_name
        self._membership = membership
        self._coordination = coordination
        self._holdings = holdings
        self._peers = peers
        self._clock = clock
        self._started = clock.seconds()
        peers.handle(KIND, self._answer)

    def health(self) -> views.Health:
        """Tell how the cluster fares: the worst of the coordinator and all shards.

        This node speaks of what it knows: the applied state, the live set, its copies.
        """
        state = self._coordination.state
        coordinator = self._coordination.coordinator
        reasons = [] if coordinator else ["no coordinator is known"]
        reasons += [] if state.shards else ["shards have not been given out yet"]
        colours = ["green"] if not reasons else ["red"]
        for shard in state.shards.values():
            colour, reason = self._fares(shard)
            colours.append(colour)
            reasons += [reason] if reason else []
        return views.Health(
            status=max(colours, key=COLOURS.index),
            node=self._name(self._me),
            coordinator=self._name(coordinator) if coordinator else None,
            reasons=tuple(reasons),
            notes=self._notes(),
        )

    def unready(self) -> str | None:
        """Tell why this node does not serve yet; None where it does.

        A copy that failed does not keep its node from serving the others, nor does one
        that catches up.
        """
        state = self._coordination.state
        if not state.cluster_uuid:
            return "this node has not joined a cluster"
        if self._coordination.coordinator is None:
            return "no coordinator is known"
        if self._me not in state.nodes:
            return "the coordinator has not taken this node in yet"
        if not state.shards:
            return "shards have not been given out yet"
        here = {each.alloc_id for each in self._holdings.positions()}
        failed = self._holdings.failures()
        waiting = [
            shard.shard
            for shard in state.shards.values()
            if shard.shard not in failed and not self._holds_well(shard, here)
        ]
        return f"shard copies not open yet: {sorted(waiting)}" if waiting else None

    def _holds_well(self, shard: Shard, here: Set[AllocId]) -> bool:
        """Tell whether this node's copy of a shard, if any, does what it is to do."""
        leads = shard.primary is not None and shard.primary.node == self._me
        if leads and not self._holdings.serving(shard.shard):
            return False
        return all(
            copy.alloc_id in here and bool(shard.in_sync)
            for copy in shard.copies
            if copy.node == self._me
        )

    def info(self) -> views.ClusterInfo:
        """Describe the cluster in a few numbers.

        The state's version rises with each commit; the term with each coordinator.
        """
        state = self._coordination.state
        nodes = self.nodes()
        return views.ClusterInfo(
            cluster_id=state.cluster_uuid,
            cluster_name=self._cluster_name,
            coordinator=self._coordination.coordinator,
            coordinator_version=self._coordination.version,
            term=self._coordination.term,
            state_version=self._coordination.version,
            total_nodes=len(nodes),
            healthy_nodes=sum(each.status in _WELL for each in nodes),
            total_shards=len(state.shards),
            assigned_shards=sum(
                shard.primary is not None for shard in state.shards.values()
            ),
            cluster_state=self.health().status,
            uptime=self._clock.seconds() - self._started,
            feature_level=state.feature_level,
        )

    def nodes(self) -> tuple[views.NodeView, ...]:
        """Describe every node that membership or the cluster state knows, by name.

        A dead one that does not belong any more is left out.
        """
        belong = self._coordination.state.nodes
        known = set(belong) | {
            node
            for node, member in self._membership.members.items()
            if member.status is not Status.DEAD or not belong
        }
        return tuple(
            sorted(map(self._view, known), key=lambda each: (each.name, each.node_id))
        )

    async def listing(self, call: Call) -> tuple[views.NodeView, ...]:
        """Describe every node as `nodes`, with what it last told the coordinator.

        Args:
            call: who asks.
        """
        reports = (await self._sight(call)).reports
        return tuple(
            self._seen(view, reports[view.node_id]) if view.node_id in reports else view
            for view in self.nodes()
        )

    def _seen(self, view: views.NodeView, report: NodeReport) -> views.NodeView:
        """Add to a node's line what it reported."""
        led = set(_primaries(self._coordination.state, view.node_id))
        return replace(
            view,
            disk_used=report.disk_used,
            disk_total=report.disk_total,
            bytes=sum(copy.bytes for copy in report.copies),
            requests_per_s=sum(
                each.load for each in report.copies if each.shard in led
            ),
        )

    async def node(self, id_or_name: str, call: Call) -> views.NodeDetail:
        """Describe one node, by asking it where it is not this one.

        Args:
            id_or_name: its `NodeId` or its name.
            call: who asks.

        Raises:
            NotFoundError: nobody knows it.
        """
        found = [
            each for each in self.nodes() if id_or_name in (each.node_id, each.name)
        ]
        if not found:
            raise NotFoundError(f"no node is called {id_or_name!r}")
        view = min(found, key=lambda each: each.status != "healthy")
        said = await self._ask(view.node_id, call)
        heard = self._membership.last_heard(view.node_id)
        member = self._membership.members.get(view.node_id)
        most = member.meta.max_shards if member else None
        return views.NodeDetail(
            node_id=view.node_id,
            name=view.name,
            address=view.address,
            status=view.status,
            shard_count=view.shard_count,
            last_heartbeat=0.0 if view.node_id == self._me else heard,
            uptime=said.uptime if said else None,
            available_capacity=None if most is None else most - view.shard_count,
            copies=said.copies if said else (),
        )

    async def shards(self, call: Call) -> tuple[views.ShardView, ...]:
        """Describe every shard, by asking all nodes that hold a copy, at once.

        Args:
            call: who asks.
        """
        state = self._coordination.state
        holders = sorted({c.node for s in state.shards.values() for c in s.copies})
        asked = [Deferred.fromCoroutine(self._ask(node, call)) for node in holders]
        answers = zip(holders, await gatherResults(asked), strict=True)
        said = {node: answer for node, answer in answers if answer is not None}
        return tuple(
            self._shard_view(state.shards[shard], said)
            for shard in sorted(state.shards)
        )

    def _shard_view(
        self, shard: Shard, said: Mapping[NodeId, Myself]
    ) -> views.ShardView:
        """Describe one shard with what its holders said."""
        primary = shard.primary
        places = {copy.alloc_id: copy for each in said.values() for copy in each.copies}
        held = places.get(primary.alloc_id) if primary else None
        copies = [
            self._copy_view(shard, copy, places, said.get(copy.node))
            for copy in shard.copies
        ]
        colour, _ = self._fares(shard)
        failed = {copy.role for copy in copies if copy.state == FAILED}
        worst = {"primary": "red", "replica": "yellow"}
        colours = [colour, *(worst[role] for role in failed)]
        return views.ShardView(
            shard=shard.shard,
            state=max(colours, key=COLOURS.index),
            primary=self._name(primary.node) if primary else None,
            copies=tuple(sorted(copies, key=lambda each: (each.role, each.node))),
            keys=held.keys if held else None,
            bytes=held.bytes if held else None,
            reads_per_s=held.reads_per_s if held else None,
            writes_per_s=held.writes_per_s if held else None,
            latency_s=held.latency_s if held else None,
            split=self._split_phase(shard.shard),
        )

    def _split_phase(self, shard: ShardId) -> str | None:
        """Return how far the split is that a shard takes part in; None for none."""
        splits = self._coordination.state.splits.values()
        phases = (each.phase for each in splits if shard in (each.parent, each.child))
        phase = next(phases, None)
        return None if phase is None else str(phase)

    def _copy_view(
        self,
        shard: Shard,
        copy: Copy,
        places: Mapping[AllocId, views.CopyPosition],
        holder: Myself | None,
    ) -> views.ShardCopyView:
        """Describe one copy with what its holder said, if it said anything."""
        place = places.get(copy.alloc_id)
        leads = shard.primary is not None and shard.primary.alloc_id == copy.alloc_id
        is_failed = holder is not None and shard.shard in holder.failures
        return views.ShardCopyView(
            node=self._name(copy.node),
            role="primary" if leads else "replica",
            state=FAILED if is_failed else copy.state.value,
            in_sync=copy.alloc_id in shard.in_sync,
            position=place.position if place and not is_failed else None,
        )

    async def _ask(self, node: NodeId, call: Call) -> Myself | None:
        """Ask a node about itself; None where it does not answer in time."""
        if node == self._me:
            return self._myself()
        member = self._membership.members.get(node)
        if member is None or member.status is not Status.ALIVE:
            return None
        try:
            answer = await self._peers.request(
                node,
                KIND,
                None,
                lane=Lane.CONTROL,
                timeout_s=min(ASK_TIMEOUT_S, call.timeout_s),
                request_id=call.request_id,
            )
        except ToruaError:
            return None
        return shape(answer, Myself)

    async def _answer(self, inbound: Inbound) -> object:
        """Tell another node about this one."""
        return plain(self._myself())

    def _myself(self) -> Myself:
        """Say what only this node knows."""
        return Myself(
            self._clock.seconds() - self._started,
            self._holdings.positions(),
            self._holdings.failures(),
        )

    def _view(self, node: NodeId) -> views.NodeView:
        """Describe one node by what this node believes of it."""
        state = self._coordination.state
        member = self._membership.members.get(node)
        entry = state.nodes.get(node)
        known = entry or member
        assert known is not None
        status = "dead" if member is None else _STATUS[member.status]
        if status == "healthy" and entry is not None and entry.duty is not Duty.FULL:
            status = entry.duty.value
        copies = [c for s in state.shards.values() for c in s.copies if c.node == node]
        return views.NodeView(
            node_id=node,
            name=member.name if member else known.name,
            address=str(member.address if member else known.address),
            http=member.meta.http if member else entry.http if entry else "",
            status=status,
            coordinator=node == self._coordination.coordinator,
            shard_count=len(copies),
            primaries=len(_primaries(state, node)),
            roles=member.meta.roles if member else entry.roles if entry else (),
            zone=member.meta.zone if member else entry.zone if entry else "",
            version=member.meta.version if member else entry.version if entry else "",
            health_score=member.meta.health_score if member else 0,
            build=member.meta.build if member else entry.build if entry else BUILD,
        )

    def _fares(self, shard: Shard) -> tuple[str, str]:
        """Give a shard its colour, and the reason where it is not green."""
        failure = self._holdings.failures().get(shard.shard)
        if failure is not None:
            leads = shard.primary is not None and shard.primary.node == self._me
            return "red" if leads else "yellow", failure
        return fares(shard, self._is_live, self._name)

    def _is_live(self, node: NodeId) -> bool:
        """Tell whether membership believes a node alive."""
        member = self._membership.members.get(node)
        return member is not None and member.is_live

    def _notes(self) -> tuple[str, ...]:
        """Say what an operator should know of a cluster that cannot fail over."""
        state = self._coordination.state
        voters = [node for node in state.nodes.values() if "voter" in node.roles]
        if len(voters) == 2:
            return ("two voters: one of them decides alone; add a third for failover",)
        return ()

    def _name(self, node: NodeId) -> str:
        """Name a node as people do; its id where nobody knows its name."""
        member = self._membership.members.get(node)
        entry = self._coordination.state.nodes.get(node)
        return member.name if member else entry.name if entry else node


_STATUS = {
    Status.ALIVE: "healthy",
    Status.SUSPECT: "suspect",
    Status.DEAD: "dead",
    Status.LEFT: "left",
}

_WELL = ("healthy", Duty.MAINTENANCE.value, Duty.EVACUATING.value)
"""The statuses of nodes that live and are not doubted."""


def _primaries(state: ClusterState, node: NodeId) -> list[ShardId]:
    """List the shards whose primary is on a node."""
    return [
        shard.shard
        for shard in state.shards.values()
        if shard.primary is not None and shard.primary.node == node
    ]

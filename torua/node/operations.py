"""What an operator may have done to the cluster, and what it refuses.

A refusal names the rule that decided.  What is done is done by the coordinator, by
comparing with the state that the operator's node saw (rule R21).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.core.allocation import (
    Command,
    ForceAllocate,
    Forget,
    GiveLead,
    Outlook,
    Rebalance,
    SetDuty,
)
from torua.core.allocation.balancing import unevenness
from torua.core.allocation.deciders import Objection
from torua.core.allocation.explaining import explain
from torua.core.allocation.operating import refusal
from torua.core.allocation.placing import Role, Scene, nowhere, place
from torua.core.allocation.planning import plan
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.members import Member, Status
from torua.core.reporting import Sight
from torua.core.state import ClusterState, Duty, NodeEntry, Shard, Spans
from torua.core.views import Assigned, Balance, ShardExplained
from torua.errors import ConflictError, NotFoundError
from torua.node.commanding import Commander, Coordination
from torua.node.evacuation import task_id
from torua.node.splitorders import SplitOrders

log = Logger()


class Membership(Protocol):
    """Who is there."""

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """Return every member that is known, this node among them."""


class Operations:
    """Does what operators ask for, where the rules allow it.

    Invariants: data are given up only where the operator said so, and no in-sync copy
    of theirs is on a node that lives.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        coordination: Coordination,
        membership: Membership,
        clock: IReactorTime,
        *,
        sight: Callable[[Call], Awaitable[Sight]],
        fresh_id: Callable[[], str],
        wall_us: Callable[[], int],
    ) -> None:
        """Have things done by the coordinator.

        Args:
            coordination: the cluster state.
            membership: who is there.
            clock: the reactor.
            sight: asks the coordinator what nodes reported.
            fresh_id: makes UUIDs in 32 hexadecimal digits.
            wall_us: tells Unix time, in microseconds.
        """
        self._coordination = coordination
        self._membership = membership
        self._sight = sight
        self._fresh_id = fresh_id
        self._commander = Commander(coordination, clock)
        self._splits = SplitOrders(coordination, self._commander, fresh_id, wall_us)

    # Nodes

    async def maintenance(
        self, names: Sequence[str], enabled: bool, call: Call
    ) -> dict[str, str]:
        """Put nodes into maintenance; or have them take their share again.

        The latter also calls an evacuation off.  A node that is evacuated goes on with
        that where maintenance is asked of it.

        Args:
            names: of which nodes, or their ids.
            enabled: whether maintenance begins.
            call: who asks, and how long it waits.

        Returns:
            What each is to do now, by name.

        Raises:
            NotFoundError: there is no such node; nothing was done.
            ConflictError: others asked for something else meanwhile.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        nodes = [self._node(name) for name in names]
        for node in nodes:
            if enabled == (node.duty is Duty.FULL):
                duty = Duty.MAINTENANCE if enabled else Duty.FULL
                await self._set_duty(node, duty, call)
        return {node.name: self._node(node.node_id).duty.value for node in nodes}

    async def evacuate(self, name: str, call: Call) -> tuple[str, str]:
        """Have everything moved off a node.

        Args:
            name: the node's, or its id.
            call: who asks, and how long it waits.

        Returns:
            Its name, and the id of the task that follows it.

        Raises:
            NotFoundError: there is no such node.
            ConflictError: it does not live, or its copies have nowhere to go.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        node = self._node(name)
        if not self._is_well(node.node_id):
            raise ConflictError(
                f"{node.name} does not answer: nothing can be moved off"
            )
        if node.duty is not Duty.EVACUATING:
            if why := nowhere(await self._scene(call), node.node_id):
                raise ConflictError(f"{node.name} can't be emptied: {why}")
            await self._set_duty(node, Duty.EVACUATING, call)
        return node.name, task_id(self._node(node.node_id))

    async def remove(self, name: str, call: Call) -> str:
        """Have a dead node leave the list, with the copies that it had.

        Args:
            name: the node's, or its id.
            call: who asks, and how long it waits.

        Returns:
            Its name.

        Raises:
            NotFoundError: there is no such node.
            ConflictError: it lives, or a shard needs what it has.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        node = self._node(name)
        if self._is_live(node.node_id):
            raise ConflictError(f"{node.name} lives: evacuate it, then stop it")
        if why := refusal(self._coordination.state, node.node_id):
            raise ConflictError(f"{node.name}: {why}")
        log.warn(
            "{node} is removed by hand", node=node.name, request_id=call.request_id
        )
        await self._commander.have(
            Forget(node.node_id, node.boot_epoch),
            call,
            done=lambda state: node.node_id not in state.nodes,
            stale=lambda state: _epoch(state, node.node_id) != node.boot_epoch,
            what=node.name,
        )
        return node.name

    async def rebalance(self, dry_run: bool, call: Call) -> Balance:
        """Have balance sought now, and tell what it has still to move.

        Where the configuration lets it be, balance is sought anyway; what is asked for
        does not wait for what only keeps it calm, and is content with smaller gains.

        Args:
            dry_run: whether to tell only.
            call: who asks, and how long it waits.

        Raises:
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not be sought.
        """
        sight = await self._sight(call)
        members = list(self._membership.members.values())
        state = self._coordination.state
        found = unevenness(state, Scene(state, members, Outlook(sight)).site)
        moves = plan(state, members, Outlook(sight)) if state.shards else ()
        if not dry_run:
            await self._coordination.submit(Rebalance(), call.timeout_s)
        even = found.even and not moves
        return replace(found, even=even, moves=moves)

    async def _set_duty(self, node: NodeEntry, duty: Duty, call: Call) -> None:
        """Have a node's duty be another one."""
        log.info(
            "{node} is to be in duty {duty}",
            node=node.name,
            duty=duty.value,
            request_id=call.request_id,
        )
        number = node.node_id

        def done(state: ClusterState) -> bool:
            """Tell whether it is so."""
            return number in state.nodes and state.nodes[number].duty is duty

        await self._commander.have(
            SetDuty(number, node.duty_version, duty),
            call,
            done=done,
            stale=lambda state: _duty_version(state, number) != node.duty_version,
            what=node.name,
        )

    # Shards

    async def explain(self, shard: ShardId, call: Call) -> ShardExplained:
        """Tell why each copy is where it is, and why no other node has one.

        Args:
            shard: which; NotFoundError where there is none.
            call: who asks.
        """
        return explain(await self._scene(call), self._shard(shard))

    async def assign(
        self, shard: ShardId, name: str, role: Role, dry_run: bool, call: Call
    ) -> Assigned:
        """Have a node be primary or replica of a shard, by hand-over or by a move.

        Args:
            shard: which.
            name: the node's, or its id.
            role: what it shall be.
            dry_run: whether to tell only what would be done.
            call: who asks, and how long it waits.

        Returns:
            What is done, once that is begun.

        Raises:
            NotFoundError: there is no such shard, or no such node.
            ConflictError: a decider forbids it, which the detail names.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been begun.
        """
        held, node = self._shard(shard), self._node(name)
        new = AllocId(self._fresh_id())
        found = place(await self._scene(call), held, node.node_id, role, new)
        if isinstance(found, Objection):
            raise ConflictError(
                f"{node.name} can't be {role.value} of shard {shard}: {found.why} "
                f"({found.decider})",
                shard=shard,
                decider=found.decider,
            )
        wanted = found.to if isinstance(found, GiveLead) else found.alloc_id
        source = next(c.node for c in held.copies if c.alloc_id == wanted)
        if isinstance(found, GiveLead) and held.primary is not None:
            source = held.primary.node
        if not dry_run:
            await self._begin(found, held, new, call)
        return Assigned(shard, node.name, role.value, self._name(source), dry_run)

    async def _begin(
        self, command: Command, held: Shard, new: AllocId, call: Call
    ) -> None:
        """Have a move or a hand-over begun."""
        number = held.shard

        def done(state: ClusterState) -> bool:
            """Tell whether it began, or is over already."""
            shard = state.shards[number]
            if not isinstance(command, GiveLead):
                return any(copy.alloc_id == new for copy in shard.copies)
            leads = shard.primary is not None and shard.primary.alloc_id == command.to
            return leads or shard.successor == command.to

        await self._commander.have(
            command,
            call,
            done=done,
            stale=lambda state: (
                state.shards[number].shard_version != held.shard_version
            ),
            what=f"shard {number}",
        )

    async def split(
        self, shard: ShardId, spans: Spans | None, call: Call
    ) -> tuple[ShardId, str]:
        """Have slots of a shard move to a new one; see `SplitOrders.split`.

        Args:
            shard: which.
            spans: the slots, in order; None for the upper half.
            call: who asks, and how long it waits.
        """
        scene = await self._scene(call)
        return await self._splits.split(self._shard(shard), spans, scene, call)

    async def cancel_split(self, shard: ShardId, call: Call) -> ShardId:
        """Have a split called off; see `SplitOrders.cancel`.

        Args:
            shard: that is split, or the new one.
            call: who asks, and how long it waits.
        """
        return await self._splits.cancel(shard, call)

    async def force_allocate(
        self, shard: ShardId, id_or_name: str, accept_data_loss: bool, call: Call
    ) -> None:
        """Let a red shard go on with what one node has of it, or with nothing.

        It begins another history: what was acknowledged and is not there is lost.

        Args:
            shard: which.
            id_or_name: the node's.
            accept_data_loss: whether the operator said so.
            call: who asks, and how long it waits.

        Raises:
            NotFoundError: there is no such shard, or no such node.
            ConflictError: a rule forbids it, which the detail names.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        held, node = self._shard(shard), self._node(id_or_name)
        self._check(held, node, accept_data_loss)
        mine = [copy.alloc_id for copy in held.copies if copy.node == node.node_id]
        history = self._fresh_id()
        command = ForceAllocate(
            shard=shard,
            expect=held.shard_version,
            node=node.node_id,
            alloc_id=mine[0] if mine else AllocId(self._fresh_id()),
            history_uuid=history,
            accept_data_loss=True,
        )
        log.warn(
            "shard {shard} is to go on with what {node} has of it; data loss accepted",
            shard=shard,
            node=node.name,
            request_id=call.request_id,
        )
        await self._commander.have(
            command,
            call,
            done=lambda state: state.shards[shard].history_uuid == history,
            stale=lambda state: state.shards[shard].shard_version != held.shard_version,
            what=f"shard {shard}",
        )

    def _check(self, shard: Shard, node: NodeEntry, accepted: bool) -> None:
        """Raise the rule that forbids to go on with a node's copy, if one does."""
        alive = [
            self._name(copy.node)
            for copy in shard.copies
            if copy.alloc_id in shard.in_sync and self._is_live(copy.node)
        ]
        number = shard.shard
        if alive:
            raise ConflictError(
                f"shard {number} is not red: in sync and up on {', '.join(alive)}; "
                "nothing need be forced",
                shard=number,
            )
        if "data" not in node.roles:
            raise ConflictError(f"{node.name} takes no data", shard=number)
        if not self._is_live(node.node_id):
            raise ConflictError(f"{node.name} does not live", shard=number)
        if not accepted:
            raise ConflictError(
                f"shard {number} would lose what {node.name} does not have; that must "
                "be accepted (accept_data_loss)",
                shard=number,
            )

    # What this node sees

    async def _scene(self, call: Call) -> Scene:
        """Look around, with what the coordinator was told."""
        outlook = Outlook(await self._sight(call))
        members = self._membership.members.values()
        return Scene(self._coordination.state, members, outlook)

    def _is_live(self, node: NodeId) -> bool:
        """Tell whether membership believes a node alive."""
        member = self._membership.members.get(node)
        return member is not None and member.is_live

    def _is_well(self, node: NodeId) -> bool:
        """Tell whether membership believes a node alive, without a doubt."""
        member = self._membership.members.get(node)
        return member is not None and member.status is Status.ALIVE

    def _shard(self, shard: ShardId) -> Shard:
        """Return a shard of the applied state; NotFoundError where there is none."""
        held = self._coordination.state.shards.get(shard)
        if held is None:
            raise NotFoundError(f"there is no shard {shard}")
        return held

    def _node(self, id_or_name: str) -> NodeEntry:
        """Return a node of the applied state; NotFoundError where there is none.

        Where a dead node and a new one have the same name, the live one is meant.
        """
        found = [
            node
            for node in self._coordination.state.nodes.values()
            if id_or_name in (node.node_id, node.name)
        ]
        if not found:
            raise NotFoundError(f"no node is called {id_or_name!r}")
        return min(found, key=lambda node: not self._is_live(node.node_id))

    def _name(self, node: NodeId) -> str:
        """Name a node as people do."""
        entry = self._coordination.state.nodes.get(node)
        return entry.name if entry else node


def _epoch(state: ClusterState, node: NodeId) -> int | None:
    """Return a node's life; None where it does not belong."""
    entry = state.nodes.get(node)
    return entry.boot_epoch if entry else None


def _duty_version(state: ClusterState, node: NodeId) -> int | None:
    """Return the version of a node's duty; None where it does not belong."""
    entry = state.nodes.get(node)
    return entry.duty_version if entry else None

"""A simulated node: coordination, its copies of shards, its disk, and a simple router.

Coordination is played by `coordination_world`, with its rules; membership is faked
there, by who could be reached.  This adds the data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.simulation.cluster_copy import Errand, OpenCopy, Said, lost_command, node_of
from tests.simulation.coordination_node import DEAD_AFTER_S, Node
from tests.simulation.disk import CopyDisk, NodeDisk, Snapshot
from tests.simulation.works import Answer, Question, Works
from tests.simulation.world import Channel, Timer
from torua.core.allocation import Command, CopyLost
from torua.core.coordination.founding import Founding
from torua.core.coordination.messages import Submit
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Get, keys_of
from torua.core.replication import barrier as b
from torua.core.replication import messages as m
from torua.core.replication.messages import CopyFacts
from torua.core.replication.wire import Ask, BarrierAsk, BarrierSaid, Message
from torua.core.routing import shard_of
from torua.core.splitting.door import is_moving, is_stale
from torua.core.splitting.moving import is_born
from torua.core.state import ClusterState, Copy, CopyState, Shard
from torua.errors import UnavailableError

if TYPE_CHECKING:
    from tests.simulation.cluster import DataCluster

TRANSFER_S = 3.0
"""What did not get there by then has failed; where it did, that is not heard."""

WALL_NS = 1_700_000_000_000_000_000


class DataNode(Node):
    """A node with shard copies.

    Invariants: copies are open exactly while the node lives; what is entered while it
    is paused waits, in order, for it to go on.
    """

    cluster: "DataCluster"

    def __init__(
        self,
        cluster: "DataCluster",
        name: str,
        roles: tuple[str, ...],
        founding: Founding,
    ) -> None:
        """Prepare an empty data dir; it is not started.

        Args:
            cluster: where it belongs.
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        super().__init__(cluster, name, roles, founding)
        self.store = NodeDisk(self.world, self._broke)
        self.copies: dict[AllocId, OpenCopy] = {}
        self.wall_skew_ns = 0
        self.leaving = False
        self._waiting: list[Callable[[], object]] = []
        self._down: set[NodeId] = set()
        self.works = Works(self)
        self._commands = 0
        self._lost_copies: dict[AllocId, CopyLost] = {}
        self._barriers = b.Barriers(self._leads, self.world.random)
        self._barrier_timer: Timer | None = None

    @property
    def wall_ns(self) -> int:
        """Return this node's wall clock, which may jump."""
        return WALL_NS + int(self.world.now * 1e9) + self.wall_skew_ns

    @property
    def state(self) -> ClusterState:
        """Return the committed state as this node applied it."""
        return self.machine.applied.state if self.machine else ClusterState()

    def start(self) -> None:
        """Begin a life with what the disk kept."""
        self._down, self._lost_copies, self.leaving = set(), {}, False
        self._barriers = b.Barriers(self._leads, self.world.random)
        super().start()
        self._configure()
        self._nag()

    def crash(self) -> None:
        """End the life now, whatever is under way."""
        for copy in self.copies.values():
            copy.close()
        self.copies.clear()
        self.works.end()
        self._waiting = []
        super().crash()
        self.store.crash()

    def resume(self) -> None:
        """Go on, with all that came in meanwhile."""
        super().resume()
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            entry()

    def enter(self, action: Callable[..., object], *args: object) -> None:
        """Do something in this node, now or when its pause ends.

        Args:
            action: what.
            args: to what.
        """
        if self.machine is None:
            return
        if self.paused:
            self._waiting.append(partial(action, *args))
            return
        action(*args)

    def entry(
        self, action: Callable[..., object], *args: object
    ) -> Callable[[], object]:
        """Return what does something in this very life, and nothing in a later one.

        Args:
            action: what.
            args: to what.
        """
        life = self.boot_epoch

        def enter() -> None:
            """Do it, if this life goes on."""
            if self.boot_epoch == life:
                self.enter(action, *args)

        return enter

    def mishap(self) -> bool:
        """Sometimes crash, in the midst of things; tell whether that happened."""
        if self.world.random.random() >= self.cluster.data_mishaps:
            return self.machine is None
        if self.machine is not None:
            self.crash()
        return True

    # Between nodes

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take what the network brings.

        Args:
            source: who sent it.
            message: what.
            channel: by which way.
        """
        if isinstance(message, tuple):
            super().deliver(source, message, channel)
        else:
            self.enter(self._take, NodeId(source), message)

    def cut(self, peer: str) -> None:
        """Take note of a broken connection; another one stands at once."""
        if peer not in self.cluster.nodes:
            return
        super().cut(peer)
        self.enter(self._tell_all, m.PeerUp(NodeId(peer)))

    def post(self, target: NodeId, message: object) -> None:
        """Send to another node: mostly in order, now and then late or twice.

        Args:
            target: to whom.
            message: what.
        """
        dice, network = self.world.random, self.cluster.network
        if dice.random() < self.cluster.disorder:
            network.send(self.id, target, message, "udp")
            return
        network.send(self.id, target, message, "tcp")
        if dice.random() < self.cluster.disorder:
            late = dice.uniform(0.0, dice.choice([0.01, 0.3, 4.0]))
            self.world.at(late, network.send, self.id, target, message, "udp")

    def submit(self, command: Command) -> None:
        """Send a command to whoever coordinates, as far as this node knows."""
        if self.machine is None or self.machine.is_deaf(self.now):
            return
        coordinator = self.machine.coordinator
        if coordinator == self.id:
            self.world.at(0.0, self.entry(self._execute, command))
        elif coordinator is not None:
            self.post(coordinator, command)

    def transfer(self, copy: OpenCopy, target: NodeId, shot: Snapshot) -> None:
        """Send a snapshot, which takes a while, and may fail.

        Args:
            copy: that sends it.
            target: to whom.
            shot: the snapshot.
        """
        dice = self.world.random
        failed = m.SnapshotFailed(shot.alloc_id, shot.nonce)
        if dice.random() < 0.1:
            self.world.at(dice.uniform(0.0, 0.2), self.entry(copy.tell, failed))
            return
        self.world.at(TRANSFER_S, self.entry(copy.tell, failed))
        send = self.cluster.network.send
        delay = dice.uniform(0.005, 0.3)
        self.world.at(delay, send, self.id, target, shot, "tcp")

    def answer(self, said: Said) -> None:
        """Pass an answer on to whoever is next on its way back."""
        hop = said.path[-1]
        back = replace(said, path=said.path[:-1])
        self.cluster.network.send(self.id, hop, back, "tcp")

    def barrier(self, want: b.Want) -> None:
        """Ask the peers of a copy whether it leads, with those of other copies."""
        first = not self._barriers.wanted
        self._prove(want)
        if first:
            self.world.at(0.0, self.entry(self._prove, b.Flush()))

    def lost(self) -> tuple[NodeId, ...]:
        """Return the nodes that are disconnected and lost by the coordinator too."""
        return tuple(sorted(self._down))

    def _take(self, source: NodeId, message: object) -> None:
        """Take one message, from a client or a node."""
        match message:
            case Errand():
                self._route(message)
            case Said():
                self.answer(message)
            case Snapshot():
                self._take_snapshot(message)
            case BarrierAsk():
                self.post(source, b.say(message, self._confirms))
            case Question() | Answer():
                self.works.take(source, message)
            case BarrierSaid():
                self._prove(b.Said(source, message))
            case _ if isinstance(message, Command):
                self._execute(message)
            case _:
                self._take_for_copies(source, message)

    def _take_for_copies(self, source: NodeId, message: object) -> None:
        """Take what one copy says to another."""
        assert isinstance(message, Message)
        received = m.Received(source, message)
        for copy in self._of_shard(message.shard):
            copy.tell(received)

    def _execute(self, command: Command) -> None:
        """Hand a command to this node's coordination."""
        self._commands += 1
        self.receive(Submit(self._commands, command))

    def _take_snapshot(self, shot: Snapshot) -> None:
        """Keep a snapshot beside the copy that it is for."""
        copy = self.copies.get(shot.alloc_id)
        if copy is None or not copy.machine.awaits(shot.term, shot.nonce):
            return
        copy.snapshots[shot.nonce] = shot
        view = shot.view
        copy.tell(
            m.SnapshotReady(
                shot.term, shot.nonce, view.applied_seq, view.term, view.time_ns
            )
        )

    def _leads(self, shard: ShardId) -> b.Led | None:
        """Tell how a shard is led here, and whom a barrier of it asks."""
        for copy in self._of_shard(shard):
            return copy.machine.led()
        return None

    def _confirms(self, ask: Ask) -> bool:
        """Answer a barrier for one shard."""
        copy = self.copies.get(ask.alloc_id)
        return copy is not None and copy.machine.confirms(ask)

    def _prove(self, message: b.Input) -> None:
        """Give the barriers one input."""
        self._proceed(self._barriers.receive(message, self.now))

    def _proceed(self, outputs: Sequence[b.Output]) -> None:
        """Do as the barriers say."""
        for output in outputs:
            match output:
                case b.SendAsk(target, message):
                    self.post(target, message)
                case b.Done(want, passed):
                    for copy in self._of_shard(want.shard):
                        self.world.at(0.0, self.entry(copy.proven, want, passed))
        if self._barrier_timer is not None:
            self._barrier_timer.cancel()
        deadline = self._barriers.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self.now)
            self._barrier_timer = self.world.at(delay, self.entry(self._give_up))

    def _give_up(self) -> None:
        """Let time pass for the barriers."""
        self._proceed(self._barriers.wake(self.now))

    # The router

    def _route(self, errand: Errand) -> None:
        """Do an errand here, or pass it on to where the primary is."""
        state = self.state
        operation = errand.operations[0]
        if errand.shard is None and state.slots:
            owner = shard_of(state.slots, keys_of(operation)[0])
            version = state.slots_version
            errand = replace(errand, shard=owner, slots_version=version)
        if errand.shard not in state.shards or is_stale(state, errand.slots_version):
            self._decline(errand)
            return
        assert errand.shard is not None, "it was just chosen"
        shard = state.shards[errand.shard]
        local = errand.session is not None and isinstance(operation, Get)
        keys = [key for each in errand.operations for key in keys_of(each)]
        refused = not local and is_moving(state, shard.shard, keys)
        refused = refused or (local and not self._knows(errand))
        for copy in [] if refused else self._of_shard(shard.shard):
            if local or node_of(shard) == self.id:
                copy.serve(errand)
                return
        target = node_of(shard)
        if refused or target is None or target == self.id or len(errand.path) > 2:
            self._decline(errand)
        else:
            passed = replace(errand, path=(*errand.path, self.id))
            self.cluster.network.send(self.id, target, passed, "tcp")

    def _knows(self, errand: Errand) -> bool:
        """Tell whether this node knows where the slots are that a session saw."""
        state = self.state
        return all(
            shard in state.shards and is_born(state, shard)
            for shard, _, _ in errand.session or ()
        )

    def _decline(self, errand: Errand) -> None:
        """Say that nothing was done."""
        said = Said(errand.number, errand.path, error=UnavailableError.code)
        self.answer(said)

    def _of_shard(self, shard: ShardId) -> list[OpenCopy]:
        """Return the open copies of a shard; one at most, but for a moment."""
        return [each for each in self.copies.values() if each.shard.shard == shard]

    # What the state says

    def _open_copies(self) -> None:
        """Follow the committed state."""
        assert self.machine is not None
        applied = self.machine.applied
        self.cluster.committed(applied.version, applied.state)
        self._configure()

    def _configure(self) -> None:
        """Open, tell and close copies as the applied state says."""
        assigned = {
            copy.alloc_id: (shard, copy)
            for _, shard in sorted(self.state.shards.items())
            for copy in shard.copies
            if copy.node == self.id
        }
        for alloc_id in sorted(self.store.copies):
            if alloc_id not in assigned and self.state.shards:
                self._erase(alloc_id)
        for alloc_id, (shard, copy) in sorted(assigned.items()):
            if self.machine is not None:
                self._follow(alloc_id, shard, copy)
        if self.machine is not None:
            self._prove(b.Renew())
        self.works.follow()

    def _follow(self, alloc_id: AllocId, shard: Shard, copy: Copy) -> None:
        """Open a copy, or tell it what changed."""
        held = self.copies.get(alloc_id)
        if held is None and alloc_id not in self._lost_copies:
            self._open(shard, copy)
        elif held is not None and held.shard != shard:
            held.configure(shard)

    def _open(self, shard: Shard, copy: Copy) -> None:
        """Open a copy; a new one is made only where nobody counts on it."""
        disk = self.store.copies.get(copy.alloc_id)
        fresh = copy.state is CopyState.INIT and copy.alloc_id not in shard.in_sync
        if disk is None and fresh:
            disk = CopyDisk(self.world, shard.shard, shard.base)
            disk.facts.durable = CopyFacts(shard.history_uuid)
            self.store.copies[copy.alloc_id] = disk
        if disk is None or disk.damaged:
            self._say_lost(CopyLost(shard.shard, copy.alloc_id, self.boot_epoch))
            return
        self.copies[copy.alloc_id] = opened = OpenCopy(self, shard, copy, disk)
        opened.begin()

    def _erase(self, alloc_id: AllocId) -> None:
        """Remove a copy that is not to be here."""
        copy = self.copies.pop(alloc_id, None)
        if copy is not None:
            copy.close()
        self.store.forget(alloc_id)
        del self.store.copies[alloc_id]

    def lose_copy(self, copy: OpenCopy) -> None:
        """Close a copy that can't go on, and have it replaced."""
        copy.note("is lost")
        copy.close()
        copy.disk.damaged = True
        self.copies.pop(copy.alloc_id, None)
        self.store.forget(copy.alloc_id)
        self._say_lost(lost_command(copy))

    def _say_lost(self, command: CopyLost) -> None:
        """Tell the coordinator of a lost copy, again and again until it knows."""
        self._lost_copies[command.alloc_id] = command
        self.submit(command)

    def _nag(self) -> None:
        """Tell the coordinator again what it should know by now."""
        known = {
            copy.alloc_id
            for shard in self.state.shards.values()
            for copy in shard.copies
        }
        for alloc_id, command in sorted(self._lost_copies.items()):
            if alloc_id in known:
                self.submit(command)
            else:
                del self._lost_copies[alloc_id]
        self.world.at(0.5, self.entry(self._nag))

    # Who is there

    def gossip(self) -> None:
        """Find out who lives; tell the copies who was lost, and who is back."""
        super().gossip()
        if self.machine is None:
            return
        now = self.world.now
        for name in sorted(self.last_reached):
            silent = now - self.last_reached[name] > DEAD_AFTER_S
            if silent and name not in self._down:
                self._down.add(name)
                self._tell_all(m.PeerDown(name))
            elif not silent and name in self._down:
                self._down.discard(name)
                self._tell_all(m.PeerUp(name))

    def _tell_all(self, message: m.Input) -> None:
        """Tell all copies one thing."""
        for copy in list(self.copies.values()):
            copy.tell(message)

    def retain(self, copy: OpenCopy) -> None:
        """Cut old records off a log now and then, so that who is behind needs more."""
        dice = self.world.random
        if dice.random() < self.cluster.retention:
            disk = copy.disk
            keep = min(disk.checkpoint.applied_seq, disk.durable.last)
            keep = min(keep, copy.machine.gcp)
            seq = dice.randint(min(disk.durable.base, keep), keep)
            disk.log.begin_at(seq)
            disk.durable.begin_at(seq)

    def _broke(self) -> None:
        """End this life: its log failed, and what it holds is unknown."""
        self.world.note(self.id, "has an I/O error")
        if self.machine is not None:
            self.crash()

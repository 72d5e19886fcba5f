"""Whole clusters of the real cores: coordination, allocation, replication, clients.

Every node runs the product's `Coordination`, with allocation in it, and a `ShardCopy`
for each copy, whole ones `Membership` too; the network, the disks and the clocks are
simulated.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from tests.simulation.clients import Client
from tests.simulation.cluster_copy import OpenCopy
from tests.simulation.cluster_node import DataNode
from tests.simulation.coordination_node import Node
from tests.simulation.coordination_rules import demand
from tests.simulation.coordination_world import Cluster, Machine
from tests.simulation.disk import CopyDisk, Health, View
from tests.simulation.history import History, HistoryError
from tests.simulation.rules import DataRules
from tests.simulation.whole_node import WholeNode
from torua.core.configuration import Allocation, Configuration, Replication
from torua.core.coordination.founding import Founding
from torua.core.coordination.machine import Coordination
from torua.core.coordination.messages import NOWHERE
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Moved
from torua.core.replication import messages as m
from torua.core.replication.batch import Answer
from torua.core.replication.copy import ShardCopy
from torua.core.replication.tip import Position
from torua.core.routing import shard_of
from torua.core.state import ClusterState, Settings, Shard

SHARDS = 2
CLIENTS = 4
CHECK_EVERY = 1000
"""So many events lie between two looks at everything."""


class Answers:
    """Spells answers.  Invariants: it has no state."""

    def spell(self, answer: Answer) -> bytes:
        """Spell an answer."""
        return msgspec.msgpack.encode(answer)

    def read(self, data: bytes) -> Answer:
        """Read what `spell` spelled."""
        return msgspec.msgpack.decode(data, type=Answer)


class DataCluster(Cluster):
    """Nodes with data, clients, and the rules that hold for them.

    Invariants: as `Cluster`.

    Attributes:
        data: rules R1 to R22.
        history: what clients saw.
        kind: the machine's class, or one that breaks a rule.
        make_coordination: the other machine's class, likewise.
        keys: how many keys clients fight for.
        think_s: how long a client pauses between requests, on average.
        conditional: the share of writes that name what they expect.
        deletes: the share of writes that are deletes.
        bulks: the share of requests that write several keys.
        expiring: the share of requests about keys that expire.
        groups: the share of requests about keys that are written in groups.
        requests_max: how many requests a primary admits.
        travel_s: the longest time that a message is under way.
        disorder: the chance that a message comes late or twice.
        retention: the chance, at each record applied, that old records are cut off.
        data_mishaps: the chance that a node crashes between two outputs of a copy.
        whole_nodes: whether nodes run the real membership, too.
    """

    kind: type[ShardCopy] = ShardCopy
    make_coordination: Machine = Coordination
    keys = 8
    think_s = 0.04
    conditional = 0.2
    deletes = 0.12
    bulks = 0.03
    expiring = 0.04
    groups = 0.0
    requests_max = 8192
    travel_s = 0.01
    disorder = 0.01
    retention = 0.02
    data_mishaps = 0.0
    whole_nodes = False

    def __init__(
        self, seed: int, size: int, replicas: int, *, whole_nodes: bool = False
    ) -> None:
        """Make nodes that expect each other, and clients; none is started.

        Args:
            seed: of everything that happens.
            size: how many data nodes.
            replicas: how many copies a shard shall have.
            whole_nodes: see the attribute.
        """
        self.whole_nodes = whole_nodes
        configuration = Configuration(
            Replication(replicas), Allocation(rebuild_after_s=6.0)
        )
        self.counts: Counter[str] = Counter()
        self._numbers = 0
        super().__init__(
            seed,
            size,
            make=type(self).make_coordination,
            settings=Settings(shards=SHARDS),
            configuration=configuration,
        )
        self.network.reordering = 0.3
        self.data = DataRules(self.disk_of)
        self.history = History()
        self.clients = [
            Client(self, f"c{number}", self.history) for number in range(CLIENTS)
        ]
        self._watch()

    def node_of(self, name: str, roles: tuple[str, ...], founding: Founding) -> Node:
        """Make a node with data.

        Args:
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        kind = WholeNode if self.whole_nodes else DataNode
        return kind(self, name, roles, founding)

    def lose(self, node: Node) -> Node:
        """Take a node's disk away; return what stands in its place, not started."""
        other = super().lose(node)
        if other is node and isinstance(node, DataNode):
            node.store.copies.clear()
        return other

    @property
    def data_nodes(self) -> list[DataNode]:
        """Return all nodes that were ever made."""
        return [node for node in self.nodes.values() if isinstance(node, DataNode)]

    def machine(self, copy: OpenCopy) -> ShardCopy:
        """Make the machine of a copy from what its disk has.

        Args:
            copy: that is being opened.
        """
        disk, node = copy.disk, copy.node
        facts = disk.facts.durable
        assert facts is not None
        view = disk.view
        committed = min(facts.gcp, disk.durable.last)
        for record in disk.durable.since(view.applied_seq, 1 << 30):
            if record.seq <= committed:
                disk.apply(record)
                self.data.applies(copy.shard, copy.who, record, view.digest)
        view = disk.view
        return self.kind(
            m.Identity(copy.shard.shard, copy.alloc_id, node.id, node.boot_epoch),
            facts,
            Position(view.applied_seq, view.term, view.time_ns),
            disk.durable.since(view.applied_seq, 1 << 30),
            view=view,
            answers=Answers(),
            term_at=disk.term_at,
            random=self.world.random,
            limits=m.Limits(requests=self.requests_max),
        )

    def snapshot(self, view: View) -> View:
        """Copy a view for another node."""
        return view.copy()

    def number(self) -> int:
        """Return a number never used before."""
        self._numbers += 1
        return self._numbers

    def key(self) -> bytes:
        """Choose a key for a client."""
        return b"k%d" % self.world.random.randrange(self.keys)

    def shard_of(self, key: bytes) -> ShardId:
        """Return which shard owns a key."""
        return shard_of(self.data.state.slots, key)

    def edges(self) -> list[NodeId]:
        """Return the nodes that clients may ask."""
        return [node.id for node in self.running()] or list(self.nodes)

    def committed(self, version: int, state: ClusterState) -> None:
        """Check a state that a node applies.

        Args:
            version: its version.
            state: what it says.
        """
        for before, after in self._steps(version, state):
            for shard in self.data.commits(before, after):
                self.world.note("state", before, shard.shard, *spelled(shard))

    def _steps(
        self, version: int, state: ClusterState
    ) -> list[tuple[int, ClusterState]]:
        """Return the states since the last one seen: nobody may have applied some."""
        rules = self.rules
        steps = [(version, state)]
        position = rules.committed[version].position
        while (position := rules.parents.get(position, NOWHERE)) > NOWHERE:
            if position.version <= self.data.version:
                break
            steps.append((position.version, rules.values[position].state))
        return steps[::-1]

    def look_at(self, copy: OpenCopy) -> None:
        """Check R3 and R4 of a copy after an input."""
        self.data.checkpoint(copy.who, copy.machine.gcp)
        leading = copy.machine.leading
        if leading is None:
            return
        shard = self.data.state.shards.get(copy.shard.shard)
        if shard is None or shard.primary is None:
            return
        named = (shard.primary.alloc_id, shard.primary.boot_epoch)
        if named == copy.who and shard.primary_term == copy.machine.term:
            tracked = {each.alloc_id for each in leading.group.tracked}
            if leading._no_op is not None:
                self.data.tracks(shard, copy.alloc_id, tracked)

    def form(self, limit: float = 30.0) -> None:
        """Start all nodes, and wait until every shard has all its copies in sync."""
        for node in self.nodes.values():
            node.start()
        self.run_until(self.whole, limit)

    def whole(self) -> bool:
        """Tell whether every shard is served, with all copies in sync.

        Returns:
            Leaving out shards that are red for good, as `is_lost` tells.
        """
        state = self.data.state
        nodes = len(self.nodes) - len(self.gone)
        return (
            bool(state.shards)
            and not state.splits
            and all(
                self.is_lost(shard)
                or (
                    shard.primary is not None
                    and len(shard.in_sync) >= min(shard.rf, nodes)
                    and len(shard.copies) == min(shard.rf, nodes)
                    and self.served(shard.shard)
                )
                for shard in state.shards.values()
            )
        )

    def is_lost(self, shard: Shard) -> bool:
        """Tell whether a shard is red for good: faults took its last in-sync copy.

        Args:
            shard: as it is committed.
        """
        held = [copy for copy in shard.copies if copy.alloc_id in shard.in_sync]
        return bool(held) and not any(
            self.disk_of(copy.node, copy.alloc_id) for copy in held
        )

    def whole_again(self) -> bool:
        """Start whoever stopped late, and tell whether the cluster is whole."""
        for node in self.down():
            node.start()
        return self.whole()

    def served(self, number: ShardId) -> bool:
        """Tell whether the primary that the state names serves a shard."""
        primary = self.data.state.shards[number].primary
        node = self.nodes.get(primary.node) if primary else None
        if primary is None or not isinstance(node, DataNode) or node.machine is None:
            return False
        copy = node.copies.get(primary.alloc_id)
        return copy is not None and copy.machine.serves

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def state_lines(self) -> str:
        """Spell the newest committed state, for whoever looks for what went wrong."""
        shards = sorted(self.data.state.shards.items())
        down = [node.id for node in self.data_nodes if node.machine is None]
        return f"{[spelled(shard) for _, shard in shards]} down {down}"

    def run_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Let time pass until something holds; return how long that took.

        Args:
            condition: what to wait for.
            limit: after so many seconds it is a fault.
        """
        start = self.world.now
        while not condition():
            late = self.world.now - start >= limit
            demand(not late, "liveness", condition, self.state_lines())
            self.run(0.05)
        return self.world.now - start

    def lively(self, seconds: float) -> None:
        """Let time pass, and demand that every shard acknowledges writes meanwhile.

        Args:
            seconds: how long that may take.
        """
        before = dict(self.data.acked)
        self.run(seconds)
        for number, shard in sorted(self.data.state.shards.items()):
            place = (number, shard.history_uuid)
            gone_on = self.data.acked.get(place, 0) > before.get(place, 0)
            demand(gone_on, "liveness", number, "acknowledges nothing", spelled(shard))

    def begin(self) -> None:
        """Let the clients begin."""
        for client in self.clients:
            client.start()

    def finish(self, limit: float = 60.0) -> None:
        """End all faults, let clients finish, and demand that all is well (R13).

        Args:
            limit: how long the cluster may take to be whole again, in seconds.
        """
        self.data_mishaps = 0.0
        self.disorder = self.network.loss = 0.0
        for node in self.data_nodes:
            node.store.health = Health.WELL
        self.heal()
        self.run(4.0)
        self.heal()
        for client in self.clients:
            client.running = False
        self.run_until(self.whole_again, limit)
        self.touch()
        self.run(6.0)
        self.run_until(self.whole_again, limit)
        self.check_rest()
        try:
            self.history.check()
        except HistoryError as error:
            demand(False, *str(error).split(": ", 1))

    def touch(self) -> None:
        """Have a record in each shard that changes nothing.

        A copy to which the last word of a checkpoint did not come, for the network lost
        it, hears of it with the next record; some shards are asked for nothing.
        """
        for node in self.data_nodes:
            for copy in node.copies.values():
                if copy.machine.serves:
                    copy.move(Moved(), copy.machine.term, lambda _: None)

    def check_rest(self) -> None:
        """Demand that all copies are equal, and hold all that was acknowledged.

        A shard that is red for good has nothing to compare; `counts` tells how many.
        """
        self.data.everything()
        self.data.parting.rests(self.data.state)
        for number, shard in sorted(self.data.state.shards.items()):
            truth = self.data.truth(shard)
            if self.is_lost(shard):
                self.counts["lost shards"] += 1
                continue
            for each in shard.copies:
                disk = self.disk_of(each.node, each.alloc_id)
                demand(disk is not None, "R13", each, "has no copy")
                assert disk is not None
                seq = disk.view.applied_seq
                demand(seq == truth.last, "R13", number, each, seq, truth.last)
                same = disk.view.digest == truth.view.digest
                demand(same, "R13", number, each, "differs")
            acked = self.data.acked.get((number, shard.history_uuid), 0)
            demand(truth.last >= acked, "R15", number, acked, truth.last)

    def disk_of(self, node_id: NodeId, alloc_id: AllocId) -> CopyDisk | None:
        """Return what a disk has of a copy; None where that is lost.

        Args:
            node_id: whose disk.
            alloc_id: which copy.
        """
        node = self.nodes.get(node_id)
        if node_id in self.gone or not isinstance(node, DataNode):
            return None
        disk = node.store.copies.get(alloc_id)
        return None if disk is None or disk.damaged else disk

    def _watch(self) -> None:
        """Look at everything now and then."""
        if self.world.events // CHECK_EVERY != self.counts["looks"]:
            self.counts["looks"] = self.world.events // CHECK_EVERY
            self.data.everything()
        self.world.at(0.05, self._watch)


def spelled(shard: Shard) -> tuple[object, ...]:
    """Spell what matters of a shard, for the trace."""
    primary = shard.primary
    in_sync = [each[:4] for each in shard.in_sync]
    copies = [f"{c.alloc_id[:4]}@{c.node}:{c.state.value}" for c in shard.copies]
    who = None if primary is None else f"{primary.alloc_id[:4]}@{primary.node}"
    version, term = shard.shard_version, shard.primary_term
    return ("v", version, "term", term, "primary", who, "in sync", in_sync, copies)

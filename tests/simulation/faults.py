"""What can happen to a simulated cluster that holds data."""

from collections.abc import Callable

from tests.simulation.cluster import DataCluster
from tests.simulation.cluster_node import DataNode
from tests.simulation.disk import Health
from torua.core.allocation import Leave
from torua.core.ids import ShardId

Fault = Callable[[DataCluster], None]


def crash(cluster: DataCluster) -> None:
    """Kill a node; mostly that breaks its connections, at a power loss it does not."""
    node = some(cluster)
    if node is not None:
        kill(cluster, node)


def kill(cluster: DataCluster, node: DataNode, *, silent: bool | None = None) -> None:
    """Kill one node.

    Args:
        cluster: where it is.
        node: which.
        silent: whether nobody hears of it; by chance where that is None.
    """
    node.crash()
    quiet = cluster.world.random.random() < 0.3 if silent is None else silent
    if not quiet:
        for other in cluster.running():
            cluster.network.cut(node.id, other.id)


def restart(cluster: DataCluster) -> None:
    """Begin another life of a node that is down."""
    down = cluster.down()
    if down:
        cluster.world.random.choice(down).start()


def blink(cluster: DataCluster) -> None:
    """Kill a node and start it again at once."""
    node = some(cluster)
    if node is not None:
        kill(cluster, node, silent=False)
        node.start()


def power_loss(cluster: DataCluster) -> None:
    """Kill all nodes at one moment, and start them again."""
    for node in cluster.data_nodes:
        if node.machine is not None:
            node.crash()
    for down in cluster.down():
        cluster.world.at(cluster.world.random.uniform(0.0, 1.0), start, down)


def start(node: object) -> None:
    """Start a node, if nothing else did."""
    assert isinstance(node, DataNode)
    if node.machine is None and node.id not in node.cluster.gone:
        node.start()


def part(cluster: DataCluster) -> None:
    """Part the nodes, and the clients with them, into two groups."""
    names = [*sorted(cluster.nodes), *(client.name for client in cluster.clients)]
    cluster.world.random.shuffle(names)
    size = cluster.world.random.randint(1, len(names) - 1)
    cluster.network.partition(names[:size], names[size:])


def isolate_primary(cluster: DataCluster) -> None:
    """Cut a primary off from all other nodes, but not from the clients."""
    node = primary(cluster)
    if node is not None:
        others = [name for name in cluster.nodes if name != node.id]
        cluster.network.partition([node.id], others)


def deafen(cluster: DataCluster, node: DataNode) -> None:
    """Let nothing of the other nodes reach one node; what it says arrives.

    Args:
        cluster: where it is.
        node: which.
    """
    for name in sorted(cluster.nodes):
        if name != node.id:
            cluster.network.block(name, node.id)


def silence(cluster: DataCluster, node: DataNode) -> None:
    """Let nothing that one node says reach another; it hears all.

    Args:
        cluster: where it is.
        node: which.
    """
    for name in sorted(cluster.nodes):
        if name != node.id:
            cluster.network.block(node.id, name)


def one_way(cluster: DataCluster) -> None:
    """Let nothing more pass from one node to another."""
    names = sorted(cluster.nodes)
    if len(names) > 1:
        source, target = cluster.world.random.sample(names, 2)
        cluster.network.block(source, target)


def cut(cluster: DataCluster) -> None:
    """Break a connection, with all that is under way in it."""
    names = sorted(cluster.nodes)
    if len(names) > 1:
        cluster.network.cut(*cluster.world.random.sample(names, 2))


def mend(cluster: DataCluster) -> None:
    """Heal the network."""
    cluster.mend()


def pause(cluster: DataCluster, longest: float = 6.0) -> None:
    """Stop a node for a while, as by SIGSTOP.

    Args:
        cluster: where.
        longest: in seconds.
    """
    node = some(cluster)
    if node is not None and not node.paused:
        pause_node(cluster, node, cluster.world.random.uniform(0.05, longest))


def pause_node(cluster: DataCluster, node: DataNode, seconds: float) -> None:
    """Stop one node.

    Args:
        cluster: where.
        node: which.
        seconds: for how long.
    """
    node.pause()
    life = node.life

    def resume() -> None:
        """Let it go on, if it still lives that life."""
        if node.paused and node.life == life:
            node.resume()

    cluster.world.at(seconds, resume)


def jump(cluster: DataCluster) -> None:
    """Let a node's clocks jump: the monotonic one ahead, the wall clock either way."""
    node = some(cluster)
    if node is not None:
        dice = cluster.world.random
        node.skew += dice.choice([0.05, 0.5, 3.0])
        node.wall_skew_ns += int(dice.choice([-3600, -1, 1, 3600]) * 1e9)


def disk_full(cluster: DataCluster) -> None:
    """Let the next batch of a node find no room."""
    node = some(cluster)
    if node is not None:
        node.store.health = Health.FULL


def disk_broken(cluster: DataCluster) -> None:
    """Let the next batch of a node end in an I/O error, which ends the node."""
    node = some(cluster)
    if node is not None:
        node.store.health = Health.BROKEN


def slow_disk(cluster: DataCluster) -> None:
    """Let the syncs of a node take long for a while."""
    node = some(cluster)
    if node is not None:
        usual, node.store.delay = (0.0005, 0.004), (0.05, 1.5)
        cluster.world.at(3.0, setattr, node.store, "delay", usual)


def flip(cluster: DataCluster) -> None:
    """Damage a copy, if another in-sync copy of the shard is whole.

    Args:
        cluster: where.
    """
    dice = cluster.world.random
    shards = sorted(cluster.data.state.shards.items())
    if not shards:
        return
    _, shard = dice.choice(shards)
    held = [copy for copy in shard.copies if copy.alloc_id in shard.in_sync]
    whole = [each for each in held if cluster.disk_of(each.node, each.alloc_id)]
    if len(whole) < 2:
        return
    copy = dice.choice(whole)
    node = cluster.nodes[copy.node]
    assert isinstance(node, DataNode)
    found = node.copies.get(copy.alloc_id)
    if found is not None and not node.paused:
        cluster.world.note(node.id, "finds a flipped bit")
        node.lose_copy(found)


def leave(cluster: DataCluster) -> None:
    """Stop a node as by SIGTERM: it hands its primaries over first."""
    node = some(cluster)
    if node is not None and len(cluster.running()) > 1:
        stop(cluster, node, cluster.world.random.uniform(0.5, 3.0))


def stop(cluster: DataCluster, node: DataNode, seconds: float) -> None:
    """Stop one node as by SIGTERM.

    Args:
        cluster: where.
        node: which.
        seconds: how long it takes to hand over.
    """
    node.submit(Leave(node.id, node.boot_epoch))
    cluster.world.note(node.id, "leaves")
    life = node.life

    def end() -> None:
        """Stop, if it still lives that life."""
        if node.machine is not None and node.life == life:
            kill(cluster, node, silent=False)

    cluster.world.at(seconds, end)


def join(cluster: DataCluster) -> None:
    """Start one more node, up to six."""
    if len(cluster.nodes) - len(cluster.gone) < 6 and cluster.data.state.shards:
        cluster.add().start()


def wipe(cluster: DataCluster) -> None:
    """Replace a node by one with an empty disk, unless that ends a shard or a vote."""
    node = some(cluster)
    if node is None or not may_lose(cluster, node):
        return
    cluster.world.note(node.id, "loses its disk")
    cluster.lose(node).start()


def may_lose(cluster: DataCluster, node: DataNode) -> bool:
    """Tell whether the cluster outlives the loss of a node's disk.

    Args:
        cluster: where.
        node: whose.
    """
    voters = [each for each in cluster.voters() if each not in cluster.gone]
    if not voters or 2 * len(cluster.gone & set(cluster.voters())) + 2 >= len(
        cluster.voters()
    ):
        return False
    for shard in cluster.data.state.shards.values():
        safe = [
            copy
            for copy in shard.copies
            if copy.alloc_id in shard.in_sync
            and copy.node != node.id
            and cluster.disk_of(copy.node, copy.alloc_id) is not None
        ]
        if not safe:
            return False
    return bool(cluster.data.state.shards)


def some(cluster: DataCluster) -> DataNode | None:
    """Choose a node that lives; None where none does."""
    nodes = [node for node in cluster.data_nodes if node.machine is not None]
    return cluster.world.random.choice(nodes) if nodes else None


def primary(cluster: DataCluster, number: int | None = None) -> DataNode | None:
    """Return the node with the primary of a shard; None where that is down.

    Args:
        cluster: where.
        number: of which shard; any by default.
    """
    shards = sorted(cluster.data.state.shards)
    if not shards:
        return None
    chosen = cluster.world.random.choice(shards) if number is None else ShardId(number)
    named = cluster.data.state.shards[chosen].primary
    node = cluster.nodes.get(named.node) if named else None
    if not isinstance(node, DataNode) or node.machine is None:
        return None
    return node


FAULTS: tuple[tuple[Fault, int], ...] = (
    (crash, 8),
    (restart, 10),
    (blink, 3),
    (power_loss, 1),
    (part, 3),
    (isolate_primary, 3),
    (one_way, 3),
    (cut, 4),
    (mend, 8),
    (pause, 4),
    (jump, 2),
    (disk_full, 2),
    (disk_broken, 1),
    (slow_disk, 2),
    (flip, 2),
    (leave, 1),
    (join, 1),
    (wipe, 1),
)


def storm(
    cluster: DataCluster,
    seconds: float,
    faults: tuple[tuple[Fault, int], ...] = FAULTS,
    pace: float = 1.5,
) -> None:
    """Let one fault follow the other.

    Args:
        cluster: to whom.
        seconds: for how long.
        faults: which, with their weights.
        pace: the longest time between two.
    """
    dice, end = cluster.world.random, cluster.world.now + seconds
    kinds, weights = zip(*faults, strict=True)
    cluster.rejects = 0.1
    while cluster.world.now < end:
        fault = dice.choices(kinds, weights)[0]
        cluster.world.note("fault", fault.__name__)
        fault(cluster)
        cluster.run(dice.uniform(0.0, pace))
    cluster.rejects = 0.0

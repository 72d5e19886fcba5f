"""What can happen to a simulated cluster: single faults, and stories made of them."""

from collections.abc import Callable

from tests.simulation.coordination_node import Node
from tests.simulation.coordination_rules import demand
from tests.simulation.coordination_world import Cluster
from torua.core.coordination.machine import Mode
from torua.core.coordination.messages import Voters
from torua.core.coordination.voters import has_majority

Fault = Callable[[Cluster], None]


def crash(cluster: Cluster) -> None:
    """End a life, heard of by broken connections or, as at a power loss, not at all."""
    node = _some(cluster, cluster.running())
    if node is None:
        return
    node.crash()
    if cluster.world.random.random() < 0.5:
        for other in cluster.running():
            cluster.network.cut(node.id, other.id)


def restart(cluster: Cluster) -> None:
    """Begin another life of a node that is down."""
    node = _some(cluster, cluster.down())
    if node is not None:
        node.start()


def lose_disk(cluster: Cluster) -> None:
    """Replace a node by one with an empty disk, unless that ends the cluster."""
    node = _some(cluster, list(cluster.nodes.values()))
    if node is None or node.id in cluster.gone or not _may_go(cluster, node):
        return
    cluster.world.note(node.id, "loses its disk")
    cluster.lose(node).start()


def add_node(cluster: Cluster) -> None:
    """Start one more node, up to seven."""
    if len(cluster.nodes) - len(cluster.gone) < 7 and _all_belong(cluster):
        cluster.add().start()


def part(cluster: Cluster) -> None:
    """Part the nodes into two groups."""
    names = sorted(cluster.nodes)
    cluster.world.random.shuffle(names)
    size = cluster.world.random.randint(0, len(names))
    cluster.world.note("parts", names[:size], names[size:])
    cluster.network.partition(names[:size], names[size:])


def block(cluster: Cluster) -> None:
    """Let one node no longer reach another, or several of them."""
    names = sorted(cluster.nodes)
    source = cluster.world.random.choice(names)
    for target in names:
        if target != source and cluster.world.random.random() < 0.5:
            cluster.network.block(source, target)


def blink(cluster: Cluster) -> None:
    """End a life and begin the next at once, with old letters still in the air."""
    node = _some(cluster, cluster.running())
    if node is not None:
        node.crash()
        node.start()


def cut(cluster: Cluster) -> None:
    """Break one connection."""
    names = sorted(cluster.nodes)
    one, other = cluster.world.random.choices(names, k=2)
    if one != other:
        cluster.network.cut(one, other)


def mend(cluster: Cluster) -> None:
    """Heal the network, and nothing else."""
    cluster.mend()


def pause(cluster: Cluster) -> None:
    """Stop a node for a while, as by SIGSTOP."""
    node = _some(cluster, cluster.running())
    if node is None or node.paused:
        return
    node.pause()
    life = node.life

    def resume() -> None:
        """Let it go on, if it still lives that life."""
        if node.paused and node.life == life:
            node.resume()

    cluster.world.at(cluster.world.random.uniform(0.05, 6.0), resume)


def jump(cluster: Cluster) -> None:
    """Let a node's clock jump ahead."""
    node = _some(cluster, list(cluster.nodes.values()))
    if node is not None:
        node.skew += cluster.world.random.choice([0.05, 0.5, 3.0, 100.0])


FAULTS: tuple[tuple[Fault, int], ...] = (
    (crash, 6),
    (blink, 2),
    (restart, 8),
    (lose_disk, 1),
    (add_node, 1),
    (part, 3),
    (block, 2),
    (cut, 2),
    (mend, 5),
    (pause, 3),
    (jump, 2),
)


def storm(cluster: Cluster, seconds: float) -> None:
    """Let one fault follow the other.

    Args:
        cluster: to whom.
        seconds: for how long.
    """
    dice, end = cluster.world.random, cluster.world.now + seconds
    faults, weights = zip(*FAULTS, strict=True)
    cluster.mishaps, cluster.startles, cluster.rejects = 0.002, 0.2, 0.1
    while cluster.world.now < end:
        cluster.measure()
        dice.choices(faults, weights)[0](cluster)
        cluster.world.run(cluster.world.now + dice.uniform(0.0, 1.5))
    cluster.mishaps = cluster.startles = cluster.rejects = 0.0


def calm_majority(cluster: Cluster) -> None:
    """Demand C12: with a connected majority for 5 s a coordinator exists, commits.

    It keeps as few nodes together as can decide, whatever voters are being changed.
    """
    electorates = _electorates(cluster)
    if not electorates:
        return
    members = [n for n in cluster.nodes.values() if n.id not in cluster.gone]
    cluster.world.random.shuffle(members)
    for node in list(members):
        rest = [each.id for each in members if each is not node]
        if all(has_majority(voters, rest) for voters in electorates):
            members.remove(node)
    inside = [node.id for node in members]
    loss, cluster.network.loss = cluster.network.loss, 0.0
    cluster.mend()
    outside = [name for name in cluster.nodes if name not in inside]
    cluster.network.partition(inside, outside)
    for node in members:
        if node.machine is None:
            node.start()
        elif node.paused:
            node.resume()
    cluster.world.note("calm among", sorted(inside))
    cluster.world.run(cluster.world.now + 5.0)
    kept = all(has_majority(voters, inside) for voters in _electorates(cluster))
    kept = kept and any(_knows_commit(node) for node in members)
    cluster.calms[kept] += 1
    if kept:
        demand(cluster.leader() is not None, "C12", "nobody leads", sorted(inside))
    cluster.network.loss = loss
    cluster.mend()


def flapping_minority(cluster: Cluster) -> None:
    """Demand C13: what comes and goes does not unseat a healthy coordinator.

    As many nodes flap as can, while the others are a majority that stays connected.
    """
    recover(cluster)
    leader = cluster.leader()
    voters = cluster.voters()
    terms = {node.machine.term for node in cluster.running() if node.machine}
    if leader is None or len(terms) != 1:
        return
    others = [node for node in cluster.running() if node is not leader]
    cluster.world.random.shuffle(others)
    flapping: list[Node] = []
    for node in others:
        rest = [n.id for n in cluster.running() if n not in [*flapping, node]]
        if has_majority(voters, rest) and 2 * len(rest) > len(others) + 1:
            flapping.append(node)
    life, term = leader.life, terms.pop()
    for _ in range(8):
        _flap(cluster, flapping)
        machine = leader.machine
        healthy = machine is not None and machine.mode is Mode.COORDINATOR
        demand(healthy and leader.life == life, "C13", life, "was unseated")
        demand(machine is not None and machine.term == term, "C13", life, term)


def recover(cluster: Cluster) -> None:
    """Heal all, and demand that the cluster is whole again (C12)."""
    trouble = (cluster.network.loss, cluster.network.reordering)
    cluster.network.loss = cluster.network.reordering = 0.0
    cluster.heal()
    cluster.world.run(cluster.world.now + 5.0)
    demand(cluster.leader() is not None, "C12", "nobody coordinates")
    cluster.world.run(cluster.world.now + 5.0)
    cluster.check_settled()
    cluster.network.loss, cluster.network.reordering = trouble


def reborn_coordinators(cluster: Cluster) -> None:
    """Let each coordinator crash and be back while its votes are still in the air."""
    for node in cluster.nodes.values():
        node.start()
    cluster.network.duplication = cluster.network.reordering = 0.9
    cluster.startles = 1.0
    cluster.world.run(cluster.world.now + 30.0)
    cluster.startles = 0.0
    recover(cluster)


def play(cluster: Cluster, rounds: int = 3) -> None:
    """Play a whole story: a stormy start, then storms, calm and flapping, and an end.

    Args:
        cluster: not started yet.
        rounds: how many storms.
    """
    for node in cluster.nodes.values():
        delay = cluster.world.random.uniform(0.0, 2.0)
        cluster.world.at(delay, _start, node)
    if cluster.world.random.random() < 0.5:
        part(cluster)
    cluster.world.run(cluster.world.random.uniform(0.5, 4.0))
    for _ in range(rounds):
        storm(cluster, 8.0)
        calm_majority(cluster)
        storm(cluster, 4.0)
        flapping_minority(cluster)
    recover(cluster)


def _start(node: Node) -> None:
    """Start a node, if nothing else did."""
    if node.machine is None and node.id not in node.cluster.gone:
        node.start()


def _some(cluster: Cluster, nodes: list[Node]) -> Node | None:
    """Choose a node; None of none."""
    return cluster.world.random.choice(nodes) if nodes else None


def _electorates(cluster: Cluster) -> list[Voters]:
    """Return every voter set that may matter; nothing before the first commit."""
    if not cluster.voters():
        return []
    found = {cluster.voters()}
    for node in cluster.nodes.values():
        kept = node.machine.register.facts if node.machine else node.disk.durable
        if kept is not None and kept.accepted.voters and node.id not in cluster.gone:
            found |= {kept.accepted.voters, kept.committed_voters} - {()}
    return sorted(found)


def _all_belong(cluster: Cluster) -> bool:
    """Tell whether no node is left that might still found a cluster of its own.

    Before that, another node would break the operator's promise that more than half of
    all nodes are expected.
    """
    nodes = [node for node in cluster.nodes.values() if node.id not in cluster.gone]
    kept = [n.machine.register.facts if n.machine else n.disk.durable for n in nodes]
    return all(facts is not None and facts.cluster_uuid for facts in kept)


def _knows_commit(node: Node) -> bool:
    """Tell whether a node knows that the first voters were committed.

    While nobody does, all of them are needed, for it may not have been.
    """
    kept = node.machine.register.facts if node.machine else node.disk.durable
    return kept is not None and bool(kept.committed_voters)


def _may_go(cluster: Cluster, node: Node) -> bool:
    """Tell whether every voter set survives the loss of one more disk.

    The set that is being agreed upon while it is lost must survive, too.
    """
    electorates = _electorates(cluster)
    left = [n for n in cluster.nodes if n not in cluster.gone and n != node.id]
    belong = _all_belong(cluster)
    return (
        belong and bool(electorates) and all(has_majority(v, left) for v in electorates)
    )


def _flap(cluster: Cluster, flapping: list[Node]) -> None:
    """Do something to the nodes that flap, for a second or two."""
    dice = cluster.world.random
    away = [node.id for node in flapping if dice.random() < 0.6]
    rest = [name for name in cluster.nodes if name not in away]
    if dice.random() < 0.5:
        cluster.network.partition(away, rest)
    else:
        for name in away:
            for other in rest:
                source, target = dice.sample([name, other], 2)
                cluster.network.block(source, target)
    for node in flapping:
        if node.machine is not None and dice.random() < 0.2:
            node.crash()
        elif node.machine is None and dice.random() < 0.5:
            node.start()
    cluster.world.run(cluster.world.now + dice.uniform(0.3, 3.5))
    cluster.mend()
    cluster.world.run(cluster.world.now + dice.uniform(0.0, 1.0))

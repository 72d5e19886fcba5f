"""Clusters of the real coordination machine, played under faults from a seed.

Membership is faked: a node believes of another what it could find out by reaching it,
a second or two late.  Everything else is the product's code.
"""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec.structs import replace

from tests.simulation.coordination_rules import Life, Rules, demand
from tests.simulation.world import Channel, Disk, Network, Timer, World
from torua.core.allocation import MarkStarted
from torua.core.coordination.founding import Founding
from torua.core.coordination.machine import Coordination, Mode
from torua.core.coordination.messages import (
    Accepted,
    Answer,
    Apply,
    Check,
    Checked,
    Disconnected,
    Event,
    Facts,
    Input,
    Members,
    Message,
    Noticed,
    Output,
    Persist,
    Persisted,
    PreVote,
    PreVoted,
    Publish,
    Received,
    Send,
    StartJoin,
    Submit,
    Verdict,
    Voters,
)
from torua.core.coordination.register import Register
from torua.core.coordination.timing import Timing
from torua.core.coordination.voters import has_majority
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.state import ClusterState, Settings

SUSPECT_AFTER_S = 0.8
DEAD_AFTER_S = 2.0
GOSSIP_S = 0.3
JOINING = Founding()
Machine = Callable[..., Coordination]


class Node:
    """One simulated node: a data dir, and now and then a life.

    Invariants: `machine` is None exactly while the node is down; a paused node keeps
    its inputs for later, in order.
    """

    def __init__(
        self, cluster: "Cluster", name: str, roles: tuple[str, ...], founding: Founding
    ) -> None:
        """Prepare an empty data dir; it is not started.

        Args:
            cluster: where it belongs.
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        self.founding = founding
        self.cluster = cluster
        self.world = cluster.world
        self.id = NodeId(name)
        self.roles = roles
        self.boot_epoch = 0
        self.disk: Disk[Facts] = Disk(self.world)
        self.machine: Coordination | None = None
        self.paused = False
        self.skew = 0.0
        self.reached_majority_at = -1e9
        self.last_reached: dict[NodeId, float] = {}
        self._lives: dict[NodeId, Member] = {}
        self._told: tuple[Member, ...] = ()
        self._backlog: list[Input] = []
        self._timer: Timer | None = None

    @property
    def life(self) -> Life:
        """Return which life this is."""
        return Life(self.id, self.boot_epoch)

    @property
    def member(self) -> Member:
        """Return what this node would say of itself."""
        facts = self.machine.register.facts if self.machine else None
        meta = Meta(roles=self.roles, cluster_uuid=facts.cluster_uuid if facts else "")
        where = Address("10.0.0.1", 1)
        return Member(self.id, self.id, where, self.boot_epoch, 0, Status.ALIVE, meta)

    @property
    def now(self) -> float:
        """Return this node's own clock."""
        return self.world.now + self.skew

    def start(self) -> None:
        """Begin a life with what the disk kept.

        What is in the network is not asked for; ghosts of the last life may come.
        """
        assert self.machine is None
        self.boot_epoch += 1
        kept = self.disk.durable or Facts(self.id, 0)
        facts = replace(kept, boot_epoch=self.boot_epoch)
        cluster = self.cluster
        self.machine = cluster.make(
            facts, self.founding, cluster.timing, self.world.random
        )
        self._spy(self.machine)
        self._told, self._lives, self.last_reached = (), {}, {}
        self.world.note(self.id, "starts", self.boot_epoch)
        cluster.network.attach(self.id, self)
        self.gossip()

    def crash(self) -> None:
        """End the life now, whatever is under way."""
        self.world.note(self.id, "crashes")
        self.machine = None
        self.paused = False
        self._backlog = []
        self._disarm()
        self.disk.crash()
        self.cluster.network.detach(self.id)

    def pause(self) -> None:
        """Stop, as by SIGSTOP; the clock goes on."""
        self.paused = True
        self._disarm()

    def resume(self) -> None:
        """Go on, as by SIGCONT, with all that came in meanwhile."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for message in backlog:
            self.receive(message)
        self._arm()

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take what the network brings; `Station`.

        Args:
            source: who sent it.
            message: a boot epoch and a letter.
            channel: does not matter.
        """
        epoch, letter = message  # type: ignore[misc]
        self.receive(Received(NodeId(source), epoch, letter))  # type: ignore[has-type]

    def cut(self, peer: str) -> None:
        """Take note of a broken connection; `Station`."""
        self.receive(Disconnected(NodeId(peer)))

    def receive(self, message: Input) -> None:
        """Hand an input to the machine, now or when the pause ends."""
        if self.machine is None:
            return
        if self.paused:
            self._backlog.append(message)
            return
        self._perform(self.machine.receive(message, self.now))

    def gossip(self) -> None:
        """Find out, as membership would, who lives; tell the machine what changed."""
        if self.machine is None:
            return
        for other in self.cluster.nodes.values():
            if self.cluster.connected(self, other):
                self.last_reached[other.id] = self.world.now
                self._lives[other.id] = other.member
        members = tuple(self._believe(node) for node in sorted(self._lives))
        self.reaches_majority()
        if members != self._told:
            self._told = members
            self.receive(Members(members))

    def reaches_majority(self) -> bool:
        """Tell whether this node lately could talk to a majority."""
        assert self.machine is not None
        register = self.machine.register
        others = self.cluster.nodes.values()
        reached = {each.id for each in others if self.cluster.connected(self, each)}
        voters = register.facts.committed_voters or register.facts.accepted.voters
        if not voters or has_majority(voters, reached):
            self.reached_majority_at = self.world.now
        return self.world.now - self.reached_majority_at < 2.0

    def _believe(self, node: NodeId) -> Member:
        """Return what is believed of a node that was reached once."""
        silence = self.world.now - self.last_reached[node]
        status = Status.ALIVE
        if node != self.id and silence > SUSPECT_AFTER_S:
            status = Status.DEAD if silence > DEAD_AFTER_S else Status.SUSPECT
        return replace(self._lives[node], status=status)

    def _spy(self, machine: Coordination) -> None:
        """Let the rules see what the machine tells itself."""
        inner = machine._dispatch

        def dispatch(source: NodeId, message: Message, now: float) -> None:
            """Check what came from this very node, then pass it on.

            Args:
                source: from whom.
                message: what.
                now: when.
            """
            if source == self.id:
                self._check_sent(message)
            inner(source, message, now)

        machine._dispatch = dispatch  # type: ignore[method-assign]
        register = machine.register
        make = register.propose

        def propose(state: ClusterState, voters: Voters) -> Accepted:
            """Check a publication at the moment it is made.

            Args:
                state: its document.
                voters: its voters.
            """
            parent = register.facts.accepted
            value = make(state, voters)
            self.cluster.rules.publishes(value, parent, machine.applied)
            return value

        register.propose = propose  # type: ignore[method-assign]

    def _check_sent(self, message: Message) -> None:
        """Check a message that leaves, or that this node tells itself."""
        rules = self.cluster.rules
        durable = Register(self.disk.durable or Facts(self.id, 0))
        rules.sends(self.life, message, durable)
        if isinstance(message, StartJoin):
            rules.asks(self.life, message, self.reaches_majority())

    def _perform(self, outputs: Iterable[Output]) -> None:
        """Do what the machine says, checking the rules on the way."""
        assert self.machine is not None
        for output in outputs:
            if self.world.random.random() < self.cluster.mishaps:
                self.crash()
                return
            self._perform_one(output)
            if self.machine is None:
                return
        self.cluster.rules.keeps(self.life, self.machine.register)
        self._arm()

    def _perform_one(self, output: Output) -> None:
        """Do one thing."""
        rules, machine = self.cluster.rules, self.machine
        assert machine is not None
        match output:
            case Persist():
                self.disk.save(output.facts, partial(self._persisted, output.token))
            case Send():
                self._check_sent(output.letter.message)
                self._send(output)
            case Apply():
                self.world.note(self.id, "applies", output.accepted.position)
                rules.applies(self.life, output.accepted)
                self._open_copies()
            case Answer():
                self.cluster.answers[output.verdict] += 1
                if output.verdict is Verdict.DONE:
                    rules.acts(machine.term, machine.applied)
            case Noticed():
                self._noticed(output)

    def _persisted(self, token: int) -> None:
        """Report a save; a later life never hears of it, for its disk crashed."""
        self.receive(Persisted(token))

    def _send(self, send: Send) -> None:
        """Send by TCP, as the product does, or by UDP, which is worse."""
        parcel = (self.boot_epoch, send.letter)
        channel: Channel = "udp" if self.cluster.rough else "tcp"
        message = send.letter.message
        if not isinstance(message, Check | Checked | PreVote | PreVoted):
            self.world.note(self.id, "to", send.target, spelled(message))
        self.cluster.network.send(self.id, send.target, parcel, channel)

    def _noticed(self, noticed: Noticed) -> None:
        """Check what was noticed, and count it."""
        machine, rules = self.machine, self.cluster.rules
        assert machine is not None
        self.world.note(self.id, noticed.event.value, noticed.term, noticed.detail)
        self.cluster.noticed[noticed.event] += 1
        if noticed.event is Event.ELECTED:
            rules.elected(self.life, noticed.term)
            if self.world.random.random() < self.cluster.startles:
                self.world.at(self.world.random.uniform(0.0, 0.02), self._blink)

    def _blink(self) -> None:
        """Crash, and start again with old letters still in the air."""
        if self.machine is not None:
            self.crash()
            self.start()

    def _open_copies(self) -> None:
        """Ask for what the shards part of a node asks for: mark own copies started."""
        assert self.machine is not None
        for shard in self.machine.applied.state.shards.values():
            primary = shard.primary
            if primary and primary.node == self.id and not shard.in_sync:
                command = MarkStarted(
                    shard.shard,
                    primary.alloc_id,
                    primary.boot_epoch,
                    shard.primary_term,
                )
                self.world.at(0.05, self.cluster.submit, command)

    def _wake(self) -> None:
        """Let time pass for the machine."""
        assert self.machine is not None
        outputs = self.machine.wake(self.now)
        deadline = self.machine.next_deadline()
        assert deadline is None or deadline > self.now
        self._perform(outputs)

    def _arm(self) -> None:
        """Wake at the machine's next deadline."""
        self._disarm()
        if self.machine is None or self.paused:
            return
        deadline = self.machine.next_deadline()
        if deadline is not None:
            self._timer = self.world.at(max(0.0, deadline - self.now), self._wake)

    def _disarm(self) -> None:
        """Wake no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def spelled(message: Message) -> str:
    """Spell a message for the trace, without the documents in it."""
    if isinstance(message, Publish):
        return f"Publish({message.term}, {message.version}, {message.voters})"
    return str(message)


class Cluster:
    """Nodes, their network, and the rules that hold for them.

    Invariants: a node whose disk was lost comes back under its id only in the gallery.

    Attributes:
        nodes: all that were ever made, by id.
        rough: whether letters go by UDP: lost, doubled and reordered.
        calms: how often a calm majority was one to the end, and how often not.
        mishaps: the chance that a node crashes before it does one thing.
        startles: the chance that a new coordinator crashes, and starts again at once.
        lost_at: when a disk was lost last.
        keeps_ids: whether a node whose disk was lost keeps its id; it must not.
    """

    def __init__(  # noqa: PLR0913
        self,
        seed: int,
        size: int,
        *,
        tiebreaker: bool = False,
        rough: bool = False,
        expect: int | None = None,
        make: Machine = Coordination,
        settings: Settings = Settings(shards=4),  # noqa: B008 it is frozen
    ) -> None:
        """Make nodes that expect each other; none is started.

        Args:
            seed: of everything that happens.
            size: how many data nodes.
            tiebreaker: whether there is one more node, which only votes.
            rough: see the attribute.
            expect: how many nodes each of them expects; None for all.
            make: the machine's class, or one that breaks a rule.
            settings: what is fixed for the cluster.
        """
        self.world = World(seed)
        trouble = {"loss": 0.05, "duplication": 0.1, "reordering": 0.1, "ghosts": True}
        self.network = Network(self.world, **(trouble if rough else {}))  # type: ignore[arg-type]
        self.rough = rough
        self.mishaps = self.startles = 0.0
        self.keeps_ids = False
        self.lost_at = 0.0
        self.make = make
        self.rules = Rules()
        self.timing = Timing()
        founding = Founding("sim", settings, expect or size + tiebreaker)
        self.nodes: dict[NodeId, Node] = {}
        self.gone: set[NodeId] = set()
        self.answers = dict.fromkeys(Verdict, 0)
        self.noticed = dict.fromkeys(Event, 0)
        self.calms = {True: 0, False: 0}
        self._requests = 0
        for _ in range(size):
            self.add(founding=founding)
        if tiebreaker:
            self.add(("voter",), founding)
        self._gossip()

    def add(
        self, roles: tuple[str, ...] = ("data", "voter"), founding: Founding = JOINING
    ) -> Node:
        """Make a node with an empty disk; it is not started.

        Args:
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster; later nodes only join.
        """
        node = self.node_of(f"n{len(self.nodes):02}", roles, founding)
        self.nodes[node.id] = node
        return node

    def node_of(self, name: str, roles: tuple[str, ...], founding: Founding) -> Node:
        """Make what stands for a node here.

        Args:
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        return Node(self, name, roles, founding)

    def lose(self, node: Node) -> Node:
        """Take a node's disk away; return what stands in its place, not started."""
        if node.machine is not None:
            node.crash()
        self.lost_at = self.world.now
        if self.keeps_ids:
            node.disk.durable = None
            return node
        self.gone.add(node.id)
        return self.add(node.roles)

    def connected(self, one: Node, other: Node) -> bool:
        """Tell whether two nodes run, and reach each other both ways.

        Args:
            one: a node.
            other: a node, or the same.
        """
        runs = all(each.machine and not each.paused for each in (one, other))
        there = self.network.reaches(one.id, other.id)
        return runs and there and self.network.reaches(other.id, one.id)

    def running(self) -> list[Node]:
        """Return the nodes that live, paused ones among them."""
        return [node for node in self.nodes.values() if node.machine is not None]

    def down(self) -> list[Node]:
        """Return the nodes that could be started."""
        nodes = self.nodes.values()
        return [n for n in nodes if n.machine is None and n.id not in self.gone]

    def leader(self) -> Node | None:
        """Return who coordinates in the highest term and committed in it; or None."""
        leading = [
            (node.machine.term, node)
            for node in self.running()
            if node.machine
            and node.machine.mode is Mode.COORDINATOR
            and node.machine.register.committed
        ]
        return max(leading, key=lambda each: each[0])[1] if leading else None

    def voters(self) -> tuple[NodeId, ...]:
        """Return the last committed voters; nobody before the first commit."""
        last = max(self.rules.committed, default=None)
        return () if last is None else self.rules.committed[last].voters

    def submit(self, command: MarkStarted) -> None:
        """Bring a command to whoever coordinates."""
        leader = self.leader()
        if leader is not None:
            self._requests += 1
            leader.receive(Submit(self._requests, command))

    def mend(self) -> None:
        """Heal the network: what TCP held back now tells who could be reached."""
        self.network.heal()
        for node in self.running():
            node.reaches_majority()

    def heal(self) -> None:
        """End every fault, and start whoever can be."""
        self.world.note("all heals")
        self.mend()
        for node in self.running():
            if node.paused:
                node.resume()
        for node in self.down():
            node.start()

    def check_settled(self) -> None:
        """Demand that one coordinator leads all, and all applied what it committed.

        It took them all in, and every copy whose disk still exists is open.
        """
        leader = self.leader()
        demand(leader is not None, "C12", "nobody coordinates")
        assert leader is not None and leader.machine is not None
        applied = leader.machine.applied.position
        for node in self.running():
            assert node.machine is not None
            found = (node.machine.coordinator, node.machine.applied.position)
            demand(found == (leader.id, applied), "C12", node.id, found, applied)
            entries = leader.machine.applied.state.nodes
            demand(node.id in entries, "C12", node.id, "is not taken in")
        shards = leader.machine.applied.state.shards.values()
        for shard in shards:
            lost = any(copy.node in self.gone for copy in shard.copies)
            started = bool(shard.in_sync)
            demand(started or lost, "C12", "shard", shard.shard, "is not started")

    def _gossip(self) -> None:
        """Let every node hear of the others now and then."""
        for node in list(self.nodes.values()):
            if not node.paused:
                node.gossip()
        self.world.at(GOSSIP_S * self.world.random.uniform(0.5, 1.5), self._gossip)

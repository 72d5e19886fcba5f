"""One node of a simulated cluster: the real machine, a disk, a clock, and lives.

It does what the machine says, and lets the rules look on; what a node believes of
others is what it could find out by reaching them, a second or two late.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.simulation.coordination_rules import Life
from tests.simulation.world import Channel, Disk, Timer
from torua.core.allocation import MarkStarted
from torua.core.coordination.founding import Founding
from torua.core.coordination.machine import Coordination
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
    Verdict,
    Voters,
)
from torua.core.coordination.register import Register
from torua.core.coordination.voters import has_majority
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.state import ClusterState

SUSPECT_AFTER_S = 0.8
DEAD_AFTER_S = 2.0
REDIAL_S = 0.05


if TYPE_CHECKING:
    from tests.simulation.coordination_world import Cluster


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
        self._letters: dict[NodeId, float] = {}
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
        self.cluster.measure()
        self.machine = None
        self.paused = False
        self._backlog = []
        self._disarm()
        self.disk.crash()
        self.cluster.network.detach(self.id)

    def pause(self) -> None:
        """Stop, as by SIGSTOP; the clock goes on."""
        self.cluster.measure()
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
        self._letters[NodeId(source)] = self.world.now
        self.receive(Received(NodeId(source), epoch, letter))  # type: ignore[has-type]

    def cut(self, peer: str) -> None:
        """Take note of a broken connection, and try another soon; `Station`."""
        self.receive(Disconnected(NodeId(peer)))
        delay = self.world.random.uniform(0.0, REDIAL_S)
        self.world.at(delay, self._redial, self.boot_epoch, NodeId(peer))

    def _redial(self, life: int, peer: NodeId) -> None:
        """Be refused where no process is, and now and then where a firewall is.

        Args:
            life: of this node, in which the connection broke.
            peer: with whom.
        """
        other, network = self.cluster.nodes.get(peer), self.cluster.network
        if self.machine is None or self.boot_epoch != life or other is None:
            return
        cut_off = network.blocks(self.id, peer) or network.blocks(peer, self.id)
        refused = other.machine is None and not cut_off
        if refused or self.world.random.random() < self.cluster.rejects:
            self.receive(Disconnected(peer, refused=True))

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
        self.reaches_majority()
        self.tell_members(tuple(self._believe(node) for node in sorted(self._lives)))

    def tell_members(self, members: tuple[Member, ...]) -> None:
        """Tell the machine who lives, where that changed."""
        if members != self._told:
            self._told = members
            self.receive(Members(members))

    def reaches_majority(self) -> bool:
        """Tell whether this node lately could talk to a majority, or was answered."""
        assert self.machine is not None
        register = self.machine.register
        others = self.cluster.nodes.values()
        reached = {each.id for each in others if self.cluster.connected(self, each)}
        since = self.world.now - 0.5
        reached |= {node for node, when in self._letters.items() if when >= since}
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

"""Runs this node's part in coordination: its messages, its votes file, its log lines.

`torua.core.coordination` decides.  Letters travel as notices of kind `KIND` between the
nodes; what a node wants changed goes to the coordinator as a request of kind
`SUBMIT_KIND`.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from torua.codec.plain import plain, shape, spell
from torua.core.allocation import Command
from torua.core.coordination.founding import Founding
from torua.core.coordination.machine import Coordination, Mode
from torua.core.coordination.messages import (
    Answer,
    Apply,
    Disconnected,
    Event,
    Input,
    Letter,
    Members,
    Noticed,
    Output,
    Persist,
    Persisted,
    Received,
    Send,
    Submit,
    Verdict,
)
from torua.core.coordination.timing import Timing
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.reporting import NodeReport, Sight
from torua.core.state import ClusterState
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    UnavailableError,
)
from torua.net.peer import REFUSED
from torua.net.peers import Inbound, Lane
from torua.node.driver import Driver
from torua.node.threads import Worker
from torua.node.votes import read_facts
from torua.storage.stable import StableStore

KIND = "coord"
"""The kind of message by which coordinations talk."""

SUBMIT_KIND = "coord.submit"
"""The kind of request that takes a command to the coordinator."""

SAVE_RETRY_S = 1.0
"""How long to wait before the votes are saved again where the disk was full."""

WAITING_LOG_S = 30.0
"""How often at most to say that nodes, or a cluster, are missing."""

log = Logger()

LINES = {
    Event.ELECTED: (LogLevel.info, "this node coordinates in term {term}"),
    Event.FOLLOWING: (LogLevel.info, "{node} coordinates in term {term}"),
    Event.STEPPED_DOWN: (
        LogLevel.warn,
        "this node coordinates no longer in term {term}: {detail}",
    ),
    Event.LOST: (LogLevel.warn, "coordinator {node} lost: {detail}"),
    Event.STANDING: (LogLevel.debug, "this node stands for coordinator"),
    Event.FORMED: (LogLevel.info, "cluster {detail} is formed"),
    Event.WAITING: (LogLevel.info, "waiting for nodes to form a cluster: {detail}"),
    Event.SEEKING: (
        LogLevel.info,
        "waiting for a cluster to join: no member of one answers yet; --join, "
        "--cluster-name and --cluster-secret must fit",
    ),
    Event.FOREIGN: (
        LogLevel.critical,
        "node {node} belongs to another cluster, {detail}: the two stay apart; check "
        "--join, --cluster-name and the data dirs",
    ),
}
"""What is worth a line, and how loud; the rest is only counted."""


class Peers(Protocol):
    """The connections to the other nodes."""

    def handle(
        self, kind: str, handler: Callable[[Inbound], Awaitable[object]]
    ) -> None:
        """Have all messages of one kind handled from now on.

        Args:
            kind: of messages.
            handler: a coroutine function.
        """

    def watch(
        self,
        on_up: Callable[[NodeId], None],
        on_down: Callable[[NodeId, str], None],
    ) -> None:
        """Hear of connections.

        Args:
            on_up: told of a new one.
            on_down: told of one that broke.
        """

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """Send a notice, as well as it goes.

        Args:
            node_id: to whom.
            kind: of message.
            body: plain values.
            lane: how urgent it is.
        """

    async def request(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane, timeout_s: float
    ) -> object:
        """Ask, and wait for the answer.

        Args:
            node_id: whom.
            kind: of message.
            body: plain values.
            lane: how urgent it is.
            timeout_s: how long to wait.
        """


class Membership(Protocol):
    """Who lives."""

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """Return every member that is known, this node among them."""

    def subscribe(self, callback: Callable[[Member], None]) -> None:
        """Call back with each member that changed."""


class CoordinatorService:
    """This node as a voter, a follower or the coordinator.

    Invariants: the machine's inputs come from one driver; of saves one is under way at
    a time, and the last that was asked for is the last that is made; each `submit` ends
    in a return or an error within its time.

    Threading: the reactor's thread; the votes are saved by a `Worker`.
    """

    def __init__(  # noqa: PLR0913
        self,
        reactor: IReactorTime,
        life: tuple[NodeId, int],
        votes: StableStore,
        peers: Peers,
        membership: Membership,
        *,
        founding: Founding,
        timing: Timing,
        random: Random,
        registry: CollectorRegistry,
        on_fatal: Callable[[str], None],
        worker: Worker,
    ) -> None:
        """Read what was kept; nothing is sent before `start`.

        Args:
            reactor: tells the time, and where threads report.
            life: this node, and its boot epoch.
            votes: where what it must never forget is kept.
            peers: connections to the others.
            membership: who lives.
            founding: how a cluster may be formed.
            timing: how long to wait.
            random: for jitter and ids.
            registry: for the metrics ``torua_coordination_*``.
            on_fatal: stops the node, for it can no longer keep its votes.
            worker: saves the votes.

        Raises:
            CorruptionError: the votes are another node's, or no votes.
        """
        self._clock = reactor
        self._me, boot_epoch = life
        self._votes = votes
        self._peers = peers
        self._membership = membership
        self._on_fatal = on_fatal
        facts = read_facts(votes, self._me, boot_epoch)
        self._machine = Coordination(facts, founding, timing, random)
        self._driver: Driver[Input, Output] = Driver(
            self._machine, reactor, self._perform
        )
        self._worker = worker
        self._wanted: Persist | None = None
        self._saves = False
        self._saving: Deferred[None] | None = None
        self._subscribers: list[Callable[[ClusterState], None]] = []
        self._pending: dict[int, Deferred[None]] = {}
        self._submitted = 0
        self._running = False
        self._waiting_since = float("-inf")
        self._declare(registry)
        self._peers.handle(KIND, self._on_letter)
        self._peers.handle(SUBMIT_KIND, self._on_submit)
        self._peers.watch(lambda node: None, self._on_down)
        self._membership.subscribe(self._on_member)

    @property
    def state(self) -> ClusterState:
        """Return the last committed state that this node applied."""
        return self._machine.applied.state

    @property
    def version(self) -> int:
        """Return the version of `state`."""
        return self._machine.applied.version

    @property
    def term(self) -> int:
        """Return the highest term that this node took part in."""
        return self._machine.term

    @property
    def cluster_uuid(self) -> str:
        """Return the cluster that this node belongs to; empty before it does."""
        return self._machine.register.facts.cluster_uuid

    @property
    def voters(self) -> tuple[NodeId, ...]:
        """Return who has a vote, as of `state`."""
        return self._machine.applied.voters

    @property
    def coordinator(self) -> NodeId | None:
        """Return who coordinates, as far as this node knows."""
        return self._machine.coordinator

    @property
    def is_coordinator(self) -> bool:
        """Tell whether this node does."""
        return self._machine.mode is Mode.COORDINATOR

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state that is applied from now on."""
        self._subscribers.append(callback)

    def start(self) -> None:
        """Take part from now on."""
        self._running = True
        self._on_member(None)

    async def stop(self) -> None:
        """Take part no longer; what is being saved is saved first."""
        self._running = False
        self._driver.stop()
        for request in list(self._pending):
            self._answer(Answer(request, Verdict.UNKNOWN))
        if self._saving is not None:
            await self._saving

    def report(self, node: NodeId, report: NodeReport) -> None:
        """Take what a node says of its disk and its copies, where this one coordinates.

        Args:
            node: whose.
            report: what it says.
        """
        self._machine.report(node, report)

    def sight(self) -> Sight:
        """Return what nodes reported, and what failed, where this one coordinates."""
        return self._machine.sight(self._clock.seconds())

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Have the coordinator, wherever it is, execute a command and commit it.

        Args:
            command: what to change; one that is not meant any more does nothing.
            timeout_s: how long to wait.

        Raises:
            UnavailableError: nobody coordinates, or no longer, or it was not heard of
                lately: what this node wants may come of its own deafness, and words of
                it that still arrive could have healthy copies dropped.
            OutcomeUnknownError: it may or may not have been done.
        """
        coordinator = self.coordinator
        if coordinator is None:
            raise UnavailableError("no coordinator is known")
        if self._machine.is_deaf(self._clock.seconds()):
            raise UnavailableError("the coordinator has not been heard of lately")
        if self.is_coordinator:
            await self._execute(command, timeout_s)
        else:
            await self._peers.request(
                coordinator,
                SUBMIT_KIND,
                plain(command),
                lane=Lane.CONTROL,
                timeout_s=timeout_s,
            )

    # What comes in

    def _receive(self, message: Input) -> None:
        """Tell the machine, while this node takes part."""
        if self._running:
            self._driver.receive(message)

    def _on_member(self, member: Member | None) -> None:
        """Tell the machine what membership believes now."""
        self._receive(Members(tuple(self._membership.members.values())))

    def _on_down(self, node: NodeId, reason: str) -> None:
        """Tell the machine that a connection broke, or could not be made."""
        self._receive(Disconnected(node, reason == REFUSED))

    async def _on_letter(self, inbound: Inbound) -> None:
        """Pass a letter on; ProtocolError where it is none."""
        letter = shape(inbound.body, Letter)
        self._receive(Received(inbound.node_id, inbound.boot_epoch, letter))

    async def _on_submit(self, inbound: Inbound) -> None:
        """Execute another node's command."""
        command: Command = shape(inbound.body, Command)
        await self._execute(command, inbound.deadline - self._clock.seconds())

    async def _execute(self, command: Command, timeout_s: float) -> None:
        """Hand a command to the machine, and wait for what becomes of it."""
        if not self._running or timeout_s <= 0:
            raise UnavailableError("this node does not coordinate")
        self._submitted += 1
        request = self._submitted
        answered: Deferred[None] = Deferred()
        self._pending[request] = answered
        timer = self._clock.callLater(
            timeout_s, self._answer, Answer(request, Verdict.UNKNOWN)
        )
        self._receive(Submit(request, command))
        try:
            await answered
        finally:
            if timer.active():
                timer.cancel()

    # What goes out

    def _perform(self, output: Output) -> None:
        """Do what the machine decided."""
        match output:
            case Persist():
                self._persist(output)
            case Send():
                self._peers.send(output.target, KIND, plain(output.letter))
            case Apply():
                self._version.set(output.accepted.version)
                for callback in list(self._subscribers):
                    callback(output.accepted.state)
            case Answer():
                self._answer(output)
            case Noticed():
                self._notice(output)
        self._term.set(self._machine.term)
        self._leads.set(self.is_coordinator)

    def _persist(self, persist: Persist) -> None:
        """Save as soon as the save under way ends; the last that is wanted wins."""
        self._wanted = persist
        if not self._saves:
            self._saves = True
            self._saving = Deferred.fromCoroutine(self._save())

    async def _save(self) -> None:
        """Save what is wanted, until nothing more is."""
        while (wanted := self._wanted) is not None:
            self._wanted = None
            try:
                await self._worker.run(partial(self._votes.save, spell(wanted.facts)))
            except DiskFullError as error:
                log.error("votes not kept, trying again: {error}", error=error.detail)
                if not self._running:
                    return
                self._wanted = self._wanted or wanted
                await self._pause(SAVE_RETRY_S)
            except Exception as error:
                log.failure("the votes cannot be kept")
                self._on_fatal(f"the votes cannot be kept: {error}")
                return
            else:
                self._receive(Persisted(wanted.token))
        self._saves = False

    async def _pause(self, seconds: float) -> None:
        """Wait."""
        over: Deferred[None] = Deferred()
        self._clock.callLater(seconds, over.callback, None)
        await over

    def _answer(self, answer: Answer) -> None:
        """End a command that waits here."""
        waiting = self._pending.pop(answer.request, None)
        if waiting is None:
            return
        match answer.verdict:
            case Verdict.DONE:
                waiting.callback(None)
            case Verdict.UNAVAILABLE:
                waiting.errback(UnavailableError("this node does not coordinate"))
            case Verdict.UNKNOWN:
                detail = "the coordinator did not learn whether it was committed"
                waiting.errback(OutcomeUnknownError(detail))

    # What people see

    def _declare(self, registry: CollectorRegistry) -> None:
        """Make the metrics."""
        self._term = Gauge(
            "torua_coordination_term", "The term of coordination.", registry=registry
        )
        self._version = Gauge(
            "torua_coordination_state_version",
            "The version of the applied cluster state.",
            registry=registry,
        )
        self._leads = Gauge(
            "torua_coordination_is_coordinator",
            "Whether this node coordinates.",
            registry=registry,
        )
        self._elections = Counter(
            "torua_coordination_elections",
            "Elections that this node called, or won.",
            ["outcome"],
            registry=registry,
        )
        self._publications = Counter(
            "torua_coordination_publications",
            "Cluster states that this node published, or committed.",
            ["outcome"],
            registry=registry,
        )
        self._counters = {
            Event.STANDING: self._elections.labels("called"),
            Event.ELECTED: self._elections.labels("won"),
            Event.STEPPED_DOWN: self._elections.labels("lost"),
            Event.PUBLISHED: self._publications.labels("published"),
            Event.COMMITTED: self._publications.labels("committed"),
        }
        self._version.set(self.version)

    def _notice(self, noticed: Noticed) -> None:
        """Count it, and say it."""
        if noticed.event in self._counters:
            self._counters[noticed.event].inc()
        waits = noticed.event in (Event.WAITING, Event.SEEKING)
        if waits and not self._is_news():
            return
        line = LINES.get(noticed.event)
        if line is not None:
            log.emit(
                line[0],
                line[1],
                node=self._name(noticed.node),
                term=noticed.term,
                detail=noticed.detail,
            )

    def _is_news(self) -> bool:
        """Tell whether it is time again to say what is missing."""
        now = self._clock.seconds()
        if now - self._waiting_since < WAITING_LOG_S:
            return False
        self._waiting_since = now
        return True

    def _name(self, node: NodeId) -> str:
        """Return what people call a node."""
        member = self._membership.members.get(node)
        return member.name if member else node

"""Writes of single keys, many at once: what most requests are that change something.

Where the primary is here, what clients of this node ask of it in a turn is one batch,
as far as it is alike; where it is elsewhere, all that is for one node in a turn goes in
one message, and while some are under way more is gathered, if not for long::

    gathering --few under way, or HOLD_S--> under way --answer--> told
                                                '--PART_S--> told in part

All of a message is begun in one turn, and mostly ends in one; so that a shard that
stands still holds up no other, what is done by then is told after `PART_S`.

This is a short way, as `torua.node.fetching` is for reads.  What certainly was not
begun goes the long way (`torua.node.dispatch`), where it is tried again, or refused
with the reason.  What may have been begun is answered here: as the primary answered, or
as unknown.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torua.codec.frames import Lane
from torua.codec.plain import plain, shape
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.core.routing import primary_node
from torua.core.splitting.door import is_moving
from torua.core.state import ClusterState
from torua.errors import (
    OutcomeUnknownError,
    ProtocolError,
    StaleRouteError,
    ToruaError,
    UnavailableError,
)
from torua.net.handlers import Inbound
from torua.node.deadlines import Deadlines
from torua.node.dispatch import GRACE_S, States
from torua.node.errands import Apply, Done, Peers
from torua.node.post import Notices
from torua.node.refusals import no_answer
from torua.node.rounds import (
    BYTES_MAX,
    TOGETHER_MAX,
    Asked,
    Bundle,
    Given,
    Outcomes,
    Part,
    Round,
    Tell,
    Told,
    Wanted,
    Write,
    size_of,
    writes_of,
)
from torua.node.targets import Targets
from torua.node.turn import Stage, Turn

KIND = "write"
PART_KIND = "written"

VALUE_BYTES_MAX = 64 << 10
"""A larger value goes by itself, that small ones need not wait for it."""

HOLD_S = 0.01
"""So long at most writes wait for the answer to others, to share a message."""

FEW = 12
"""While fewer are under way to a node, the next need not wait for company: one hot key
and few clients are bound by how long a write takes, many by what each message costs."""

PART_S = 0.02
"""What is done of a message after so long is told; what is not, later."""

ALIKE_S = 0.1
ALIKE = 0.1
"""Who waits so much longer or shorter than others, or by such a share of his time, goes
by himself."""


class Primaries(Protocol):
    """The primaries of this node."""

    @property
    def turn(self) -> Turn:
        """At whose end they decide."""

    def write_many(self, asked: Iterable[Asked], timeout_s: float, tell: Tell) -> None:
        """Do writes, those of one shard in order.

        Each is judged by itself; runs of them (`torua.node.rounds.runs_of`) are
        refused, timed out, or left unknown together.

        Args:
            asked: what to do: the shard whose primary is here, the write, and its
                caller's promise.
            timeout_s: how long the callers wait.
            tell: is told of each once, now or later, and of a run at a time.
        """

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""


class Links(Peers, Notices, Protocol):
    """The connections to the other nodes, for what is asked and what is told."""


class _Way:
    """What is asked of one other node.

    Invariants: ``timer`` is set while anything in ``gathering`` is to be sent;
    ``asked`` counts the writes that are under way.
    """

    __slots__ = ("asked", "gathering", "timer", "under_way")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.gathering = Bundle()
        self.under_way: dict[int, Bundle] = {}
        self.timer: IDelayedCall | None = None
        self.asked = 0


class Writes:
    """Writes keys at their primaries, here or elsewhere.

    Invariants: a write is begun by a route that both nodes have applied (R17); nothing
    is sent twice; whoever waits for a copy that leads no longer hears so within
    `GRACE_S`.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        states: States,
        primaries: Primaries,
        peers: Links,
        clock: IReactorTime,
        *,
        targets: Targets,
    ) -> None:
        """Begin to answer the other nodes.

        Args:
            me: this node.
            states: the applied cluster state.
            primaries: the copies here.
            peers: the way to the other nodes.
            clock: the reactor.
            targets: says whom to leave alone.
        """
        self._me = me
        self._states = states
        self._primaries = primaries
        self._peers = peers
        self._clock = clock
        self._targets = targets
        self._deadlines = Deadlines(clock)
        self._mine, self._mine_by = Bundle(), states.state
        self._ways: dict[NodeId, _Way] = {}
        # Numbers of an earlier life are not met again.
        self._numbers = count(secrets.randbits(60))
        self._slots_version = states.state.slots_version
        peers.handle(KIND, self._answer)
        peers.handle(PART_KIND, self._on_part)
        states.subscribe(self._on_state)

    async def write(
        self, shard: ShardId, write: Write, call: Call
    ) -> tuple[Done, NodeId] | ToruaError | None:
        """Do a write.

        Args:
            shard: whose key it is, by the slot table of now.
            write: what to do.
            call: who asks, and how long it waits.

        Returns:
            What became of it, and who did it; None where nothing was begun, and it has
            to be done another way; that its outcome is unknown, where its caller's
            promise makes it safe to do it once more.

        Raises:
            OutcomeUnknownError: it may or may not have been done, and that is all.
            ToruaError: as the node that did it refused it.
        """
        node = primary_node(self._states.state, shard)
        if node is None:
            return None
        asked = (shard, write, call.idempotency)
        here = node == self._me
        waiting = self._here(asked, call) if here else self._there(node, asked, call)
        told = None if waiting is None else await waiting
        if told is None or isinstance(told, UnavailableError | StaleRouteError):
            return None
        if isinstance(told, OutcomeUnknownError):
            unknown = no_answer(Apply(shard, 0, (write,)), told.detail)
            if call.idempotency is None:
                raise unknown from told
            return unknown
        if isinstance(told, ToruaError):
            raise told
        return told, node

    def _here(self, asked: Asked, call: Call) -> "Deferred[Told] | None":
        """Do a write at the primary here, with all others of this turn."""
        state, (shard, write, _) = self._states.state, asked
        if state.splits and is_moving(state, shard, (write.key,)):
            return None
        due_s = self._clock.seconds() + call.timeout_s
        # Whoever is told why nothing was begun may ask for the next, which is gathered.
        while (mine := self._mine).waiting and not (
            self._mine_by is state
            and _is_alike(mine.due_s, due_s, call)
            and len(mine.waiting) < TOGETHER_MAX
            and mine.size + size_of(write) <= BYTES_MAX
        ):
            self._begin()
        if not mine.waiting:
            mine.due_s, self._mine_by = due_s, state
            self._primaries.turn.add(Stage.DECIDE, self._begin)
        return mine.add(asked)

    def _begin(self) -> None:
        """Do what was gathered here, unless by a state that is no longer applied.

        What this node told of a shard since, as where its log ends for slots that move,
        nothing may follow that was asked before (R17).
        """
        mine, self._mine = self._mine, Bundle()

        def tell(places: Sequence[int], found: Outcomes | ToruaError) -> None:
            """Say where the shard stands, too; see `torua.node.rounds.Tell`.

            Args:
                places: of which writes.
                found: an outcome each, or why there are none.
            """
            if isinstance(found, ToruaError):
                mine.settle(lambda _: found, places)
                return
            at = self._primaries.position(mine.asked[places[0]][0])
            outcomes = dict(zip(places, found, strict=True))
            mine.settle(lambda place: Done((outcomes[place],), at), places)

        if self._mine_by is not self._states.state:
            mine.settle(lambda _: None)
        elif mine.waiting:
            left_s = max(0.0, mine.due_s - self._clock.seconds())
            self._primaries.write_many(mine.asked, left_s, tell)

    def _there(self, node: NodeId, asked: Asked, call: Call) -> "Deferred[Told] | None":
        """Ask with others, now or as soon as an answer has come."""
        way = self._ways.get(node)
        if way is None:
            way = self._ways[node] = _Way()
        bundle, due_s = way.gathering, self._clock.seconds() + call.timeout_s
        if not bundle.waiting:
            if not self._targets.is_well(node):
                return None
            bundle.due_s = due_s
        alike = _is_alike(bundle.due_s, due_s, call)
        if not alike or size_of(asked[1]) > VALUE_BYTES_MAX:
            return None
        self._targets.first(node, False)
        waiting = bundle.add(asked)
        if way.timer is None:
            hold_s = HOLD_S if way.asked >= FEW else 0.0
            way.timer = self._clock.callLater(hold_s, self._send, node, way)
        if len(bundle.waiting) >= TOGETHER_MAX or bundle.size >= BYTES_MAX:
            self._send_now(node, way)
        return waiting

    def _send_now(self, node: NodeId, way: _Way) -> None:
        """Ask for what was gathered, if there is any, before its time."""
        if way.timer is not None:
            way.timer.cancel()
            self._send(node, way)

    def _send(self, node: NodeId, way: _Way) -> None:
        """Ask for what was gathered, unless by a slot table that is no longer applied.

        Whoever else hears of a state first may write before `_on_state` is called.
        """
        way.timer = None
        bundle, way.gathering = way.gathering, Bundle()
        if self._states.state.slots_version != self._slots_version:
            bundle.settle(lambda _: None)
        elif bundle.waiting:
            number = next(self._numbers)
            bundle.leaders = self._leaders_of(self._states.state, bundle)
            way.under_way[number] = bundle
            way.asked += len(bundle.waiting)
            Deferred.fromCoroutine(self._ask(node, way, number))

    async def _ask(self, node: NodeId, way: _Way, number: int) -> None:
        """Ask a node, and tell whoever waits; send what was held back meanwhile."""
        bundle = way.under_way[number]
        try:
            tell = await self._asked(node, number, bundle)
        finally:
            del way.under_way[number]
            way.asked -= len(bundle.waiting)
        bundle.settle(tell)
        if way.asked < FEW:
            self._send_now(node, way)

    async def _asked(
        self, node: NodeId, number: int, bundle: Bundle
    ) -> Callable[[int], Told]:
        """Ask a node, and return what tells by place what became of it."""
        state = self._states.state
        wanted = bundle.wanted(number, state.routing_version, state.slots_version)
        left_s = max(0.0, bundle.due_s - self._clock.seconds())
        try:
            with self._targets.asking(node, left_s, measured=False):
                answer = await self._peers.request(
                    node, KIND, plain(wanted), lane=Lane.WRITES, timeout_s=left_s
                )
            if answer is None:
                return lambda _: None
            given = shape(answer, Given)
            if len(given.versions) == len(bundle.asked):
                return given.teller(bundle.shards)
            why = "the answer is not one to what was asked"
        except (CancelledError, ProtocolError) as error:
            why = f"the answer is none: {error}"
        except ToruaError as error:
            kind, detail, members = type(error), error.detail, error.members
            return lambda _: kind(detail, **members)
        return lambda _: OutcomeUnknownError(why)

    async def _on_part(self, inbound: Inbound) -> None:
        """Tell of what is done already, and send what was held back meanwhile."""
        part = shape(inbound.body, Part)
        way = self._ways.get(inbound.node_id)
        bundle = None if way is None else way.under_way.get(part.number)
        if bundle is None or way is None:
            return
        many = len(bundle.asked)
        if len(part.given.versions) != many or max(part.places, default=0) >= many:
            raise ProtocolError("a part of an answer to more than was asked")
        bundle.settle(part.given.teller(bundle.shards), part.places)

    def _on_state(self, state: ClusterState) -> None:
        """Wait no longer for a copy that leads no longer what it was asked about.

        Who may ask again does so at once; others wait a little for an answer that may
        be on its way.  What was gathered for it, or by another slot table, is not sent.
        """
        for node, way in tuple(self._ways.items()):
            for bundle in tuple(way.under_way.values()):
                self._give_up(state, bundle)
            bundle = way.gathering
            same = state.slots_version == self._slots_version
            if not same or any(primary_node(state, s) != node for s in bundle.shards):
                way.gathering = Bundle()
                bundle.settle(lambda _: None)
        self._slots_version = state.slots_version

    def _give_up(self, state: ClusterState, bundle: Bundle) -> None:
        """Have nobody wait for what another leads, the unsafe after a while."""
        before, leaders = bundle.leaders, self._leaders_of(state, bundle)
        if leaders == before:
            return
        bundle.leaders = leaders
        gone = [
            place
            for place, shard in enumerate(bundle.shards)
            if leaders[shard] != before[shard]
        ]

        def unknown(_: int) -> Told:
            """Say what is known."""
            return OutcomeUnknownError("another copy leads the shard by now")

        promises = bundle.promises
        bundle.settle(unknown, [each for each in gone if each in promises])
        if any(bundle.waiting[place] for place in gone):
            self._clock.callLater(GRACE_S, bundle.settle, unknown, gone)

    def _leaders_of(self, state: ClusterState, bundle: Bundle) -> dict[ShardId, object]:
        """Return who leads each shard of a bundle, and in which term."""
        held = ((shard, state.shards.get(shard)) for shard in set(bundle.shards))
        return {
            shard: each and (each.primary, each.primary_term) for shard, each in held
        }

    def _answer(self, inbound: Inbound) -> Awaitable[object]:
        """Do what another node wants; nothing is begun by another state.

        All of it is begun in this turn, by the state that is applied now.
        """
        wanted, state = shape(inbound.body, Wanted), self._states.state
        versions = wanted.routing_version, wanted.slots_version
        if versions != (state.routing_version, state.slots_version):
            return succeed(None)
        writes = writes_of(wanted)
        for shard in dict.fromkeys(wanted.shards):
            if primary_node(state, shard) != self._me:
                return succeed(None)
            keys = (
                w.key for s, w in zip(wanted.shards, writes, strict=True) if s == shard
            )
            if state.splits and is_moving(state, shard, keys):
                return succeed(None)
        promised = wanted.promises.get
        asked = (
            (shard, write, promised(place))
            for place, (shard, write) in enumerate(
                zip(wanted.shards, writes, strict=True)
            )
        )
        round_ = Round(wanted.shards, self._primaries.position)
        left_s = inbound.deadline - self._clock.seconds()
        self._primaries.write_many(asked, left_s, round_.tell)
        if not round_.done.called:
            self._part_later(inbound.node_id, wanted.number, round_)
        return round_.done

    def _part_later(self, node: NodeId, number: int, round_: Round) -> None:
        """Tell in a while what is done by then, where something is not."""

        def part() -> None:
            """Tell what is done and was not told."""
            places = round_.fresh()
            if places:
                body = plain(Part(number, places, round_.given(places)))
                self._peers.send(node, PART_KIND, body, lane=Lane.WRITES)
            self._part_later(node, number, round_)

        timer = self._deadlines.add(PART_S, part)

        def ended(result: object) -> object:
            """Tell no parts of what is told whole."""
            self._deadlines.drop(timer)
            return result

        round_.done.addCallback(ended)


def _is_alike(others_s: float, due_s: float, call: Call) -> bool:
    """Tell whether a caller gives up about when others do, who are told with him.

    Args:
        others_s: when they do.
        due_s: when he does.
        call: his.
    """
    return abs(others_s - due_s) <= min(ALIKE_S, ALIKE * call.timeout_s)

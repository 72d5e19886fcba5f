"""Who does an errand: this node or another, and who else where that fails.

The slot table, the primaries and the copies are those of the last cluster state that
this node applied.  Where the node that is asked knows better, it refuses with the
routing version that it has, and that state is waited for (rule R17).  What certainly
did nothing, or may be done twice, is tried again within the caller's deadline, so that
a failover is a slow answer and not an error (`torua.core.retrying`).
"""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol, TypeVar, cast

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from torua.codec.apart import set_apart
from torua.codec.plain import plain, shape
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.retrying import PATIENCE_S, may_retry, pause_s
from torua.core.routing import primary_node
from torua.core.splitting.door import is_stale
from torua.core.state import ClusterState, CopyState
from torua.errors import (
    MovedError,
    OutcomeUnknownError,
    StaleRouteError,
    ToruaError,
    UnavailableError,
)
from torua.net.peers import Inbound
from torua.node.deadlines import Deadlines
from torua.node.errands import (
    KIND,
    Apply,
    Errand,
    Listed,
    Peers,
    is_brief,
    is_repeatable,
    is_write,
    lane_of,
    needs_primary,
    parts_of,
)
from torua.node.refusals import (
    RETRY_AFTER_S,
    explained,
    final,
    is_held_up,
    is_red,
    no_answer,
    owned,
    unavailable,
)
from torua.node.serving import Serving
from torua.node.targets import Rest, Targets

T = TypeVar("T")

ROUTE_WAIT_S = 2.0
"""How long a request waits for a cluster state that another node already has."""

REPLICA_S = 2.0
"""How long one copy may take over a read that another could do as well."""

GRACE_S = 1.0
"""How long an answer may still come from a primary that has been replaced."""


class States(Protocol):
    """Where the last applied cluster state is found."""

    @property
    def state(self) -> ClusterState:
        """Return the last cluster state that this node applied."""

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state that is applied from now on."""


class Dispatch:
    """Has errands done, here and elsewhere.

    Invariants: what only a primary can do is done nowhere else; a write that is not
    repeatable is sent again only where it certainly was not begun; whoever once heard
    that an outcome is unknown is never told that nothing was done.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        states: States,
        serving: Serving,
        peers: Peers,
        clock: IReactorTime,
        *,
        is_live: Callable[[NodeId], bool],
        random: Random,
        targets: Targets,
    ) -> None:
        """Begin to answer the errands of other nodes.

        Args:
            me: this node.
            states: the applied cluster state.
            serving: does errands here.
            peers: the way to the other nodes.
            clock: the reactor.
            is_live: tells whether membership believes a node alive.
            random: draws pauses.
            targets: says whom to leave alone, where to read, and what to repeat.
        """
        self._targets = targets
        self._me = me
        self._states = states
        self._serving = serving
        self._peers = peers
        self._clock = clock
        self._is_live = is_live
        self._random = random
        self._turn = 0
        self._deadlines = Deadlines(clock)
        self._doing: dict[int, tuple[Errand, object, Deferred[Any]]] = {}
        self._waiting: list[tuple[Callable[[ClusterState], bool], Deferred[None]]] = []
        states.subscribe(self._on_state)
        targets.subscribe(lambda: self._on_state(self._states.state))
        peers.handle(KIND, self._answer)

    @property
    def version(self) -> int:
        """Return the routing version that this node has applied."""
        return self._states.state.routing_version

    async def run(
        self,
        errand: Errand,
        call: Call,
        kind: type[T],
        unknown: ToruaError | None = None,
    ) -> tuple[T, NodeId]:
        """Have an errand done, again where that is safe and may help.

        Args:
            errand: what to do.
            call: who asks, and how long.
            kind: what comes back.
            unknown: says that it may have been done before.

        Returns:
            The answer, and who gave it.

        Raises:
            MovedError: nothing was done, and there is another slot table by now.
            UnavailableError: nothing was done, within the time that there was.
            OutcomeUnknownError: a write may or may not have been done.
            ToruaError: as the node that did it refused it.
        """
        if errand.slots_version is None:
            slots_version = call.slots_version or self._states.state.slots_version
            errand = structs.replace(errand, slots_version=slots_version)
        began = self._clock.seconds()
        patient_until = began + min(call.timeout_s, PATIENCE_S)
        turn, attempt = self._turn + 1, 0
        self._turn = turn
        while True:
            if errand.slots_version != self._states.state.slots_version:
                moved = MovedError("the slots of its shard have changed")
                raise final(moved, None if is_repeatable(errand) else unknown)
            errand = structs.replace(errand, routing_version=self.version)
            left_s = began + call.timeout_s - self._clock.seconds()
            try:
                node = self._target(errand, turn, attempt)
                return await self._attempt(node, errand, call, left_s, kind), node
            except ToruaError as error:
                if isinstance(error, OutcomeUnknownError):
                    unknown = error
                red = is_red(self._states.state, errand.shard, self._is_live)
                again = may_retry(error, is_repeatable(errand)) and not red
                if not again or not await self._pause(
                    errand, (turn, attempt), error, patient_until
                ):
                    error = explained(error, errand.shard, red=red)
                    raise final(error, unknown) from error
            attempt += 1

    async def ask(self, node: NodeId, errand: Errand, call: Call, kind: type[T]) -> T:
        """Have an errand done by one node and no other, once.

        Args:
            node: who shall do it: only it has what is needed.
            errand: what to do.
            call: who asks, and how long it waits.
            kind: what comes back.

        Raises:
            ToruaError: it was not done, or not in time.
        """
        slots = errand.slots_version or call.slots_version
        version = self.version
        errand = structs.replace(errand, routing_version=version, slots_version=slots)
        return await self._attempt(node, errand, call, call.timeout_s, kind)

    async def until(
        self, condition: Callable[[ClusterState], bool], timeout_s: float
    ) -> None:
        """Wait for a state that another node has already, for a while.

        Args:
            condition: holds of that state.
            timeout_s: how long to wait at most.

        Raises:
            UnavailableError: it did not come.
        """
        if condition(self._states.state):
            return
        await self._sleep(min(timeout_s, ROUTE_WAIT_S), condition)
        if not condition(self._states.state):
            detail = "this node is behind the cluster state that a session saw"
            raise UnavailableError(detail, retry_after=RETRY_AFTER_S)

    def primary(self, shard: ShardId) -> NodeId:
        """Return the primary's node of a shard; UnavailableError where it has none."""
        node = primary_node(self._states.state, shard)
        if node is None:
            raise unavailable(shard, "has no primary")
        return node

    def holders(self, shard: ShardId, turn: int | None = None) -> list[NodeId]:
        """List the live nodes with a copy to be read, best first.

        Args:
            shard: which.
            turn: of which request, so that its attempts go by one order.
        """
        held = self._states.state.shards.get(shard)
        copies = held.copies if held else ()
        nodes = [
            copy.node
            for copy in copies
            if copy.state is not CopyState.INIT and self._is_live(copy.node)
        ]
        return self._targets.order(nodes, self._turn if turn is None else turn)

    def target(self, errand: Errand) -> NodeId:
        """Choose who shall be asked first; UnavailableError where there is nobody."""
        return self._target(errand, self._turn, 0)

    def _target(self, errand: Errand, turn: int, attempt: int) -> NodeId:
        """Choose who shall do an errand in one attempt of several."""
        at_any = not needs_primary(errand)
        if at_any:
            nodes = self.holders(errand.shard, turn)
            if not nodes:
                raise unavailable(errand.shard, "has no copy on a live node")
            node = nodes[attempt % len(nodes)]
        else:
            node = self.primary(errand.shard)
        if attempt == 0:
            self._targets.first(node, at_any)
        return node

    async def _attempt(
        self, node: NodeId, errand: Errand, call: Call, left_s: float, kind: type[T]
    ) -> T:
        """Have an errand done by one node, for as long as that makes sense."""
        if not needs_primary(errand) and is_brief(errand):
            left_s = min(left_s, REPLICA_S)
        if left_s <= 0:
            raise unavailable(errand.shard, "did not answer in time")
        call = structs.replace(call, timeout_s=left_s)
        measured = is_brief(errand) and not needs_primary(errand)
        with self._targets.asking(node, left_s, measured=measured):
            if node == self._me:
                doing = Deferred.fromCoroutine(self._do(errand, call))
                return cast(T, await self._bounded(doing, errand, left_s))
            asking = Deferred.fromCoroutine(self._ask(node, errand, call))
            return shape(await self._bounded(asking, errand, left_s), kind)

    async def _ask(self, node: NodeId, errand: Errand, call: Call) -> object:
        """Have another node do an errand."""
        return await self._peers.request(
            node,
            KIND,
            set_apart(plain(errand)),
            lane=lane_of(errand),
            timeout_s=call.timeout_s,
            request_id=call.request_id,
            traceparent=call.traceparent,
        )

    async def _bounded(
        self, doing: "Deferred[T]", errand: Errand, left_s: float
    ) -> object:
        """Wait for an errand until the time is up, or another primary makes it vain."""
        number = self._deadlines.add(left_s, doing.cancel)
        if before := self._leaders(self._states.state, errand):
            self._doing[number] = errand, before, doing
        try:
            return await doing
        except (DeferredTimeout, CancelledError) as error:
            raise no_answer(errand) from error
        except OutcomeUnknownError as error:
            raise no_answer(errand, error.detail) from error
        finally:
            self._deadlines.drop(number)
            self._doing.pop(number, None)

    def _give_up(self, state: ClusterState) -> None:
        """Give up what another node is now primary for, the unsafe after a while."""
        for number, (errand, before, doing) in tuple(self._doing.items()):
            if self._leaders(state, errand) != before:
                del self._doing[number]
                delay_s = 0.0 if is_repeatable(errand) else GRACE_S
                doing.addTimeout(delay_s, self._clock)

    def _leaders(self, state: ClusterState, errand: Errand) -> tuple[object, ...]:
        """Return who leads the shards whose primaries an errand needs."""
        return tuple(
            self._primary_of(state, each.shard)
            for each in parts_of(errand)
            if needs_primary(each)
        )

    def _primary_of(self, state: ClusterState, shard: ShardId) -> object:
        """Return who leads a shard, and in which term."""
        held = state.shards.get(shard)
        return held and (held.primary, held.primary_term)

    async def _pause(
        self,
        errand: Errand,
        made: tuple[int, int],
        error: ToruaError,
        until_s: float,
    ) -> bool:
        """Wait before another attempt; False where there is no time for one.

        It ends early when a state comes that may have a new primary.
        """
        waits_s = until_s - self._clock.seconds()
        if errand.routing_version < self.version:
            return waits_s > 0
        before, told = self.version, int(error.members.get("version") or 0)
        wanted = before + 1
        delay_s = self._delay_s(errand, made[1])
        rest = self._rest(errand, *made)
        if isinstance(error, StaleRouteError) and told >= wanted:
            wanted, delay_s = told, min(ROUTE_WAIT_S, waits_s - 1e-3)
        elif rest is not None:
            delay_s = rest.wait_s + pause_s(0, self._random)
            waits_s = min(waits_s, rest.patience_s)
        if delay_s >= waits_s or waits_s <= 0:
            return False
        if delay_s > 0:
            await self._sleep(
                delay_s,
                lambda state: (
                    state.routing_version >= wanted
                    or (rest is not None and self._rest(errand, *made) is None)
                ),
            )
        if rest is not None or self.version != before:
            return True
        return await self._afford(errand, made, until_s)

    def _rest(self, errand: Errand, turn: int, attempt: int) -> Rest | None:
        """Tell whether all who could do an errand next are left alone."""
        try:
            return self._targets.rest(self._target(errand, turn, attempt + 1))
        except UnavailableError:
            return None

    async def _afford(
        self, errand: Errand, made: tuple[int, int], until_s: float
    ) -> bool:
        """Wait until another attempt by the same route may be made; False if never."""
        turn, attempt = made
        try:
            node = self._target(errand, turn, attempt + 1)
        except UnavailableError:
            return True
        wait_s = self._targets.retry_s(node, until_s - self._clock.seconds())
        if wait_s is None:
            return False
        if wait_s > 0:
            before = self.version
            await self._sleep(wait_s, lambda state: state.routing_version > before)
        return True

    def _delay_s(self, errand: Errand, attempt: int) -> float:
        """Draw how long to wait; other copies are asked at once, each in its turn."""
        if needs_primary(errand):
            return pause_s(attempt, self._random)
        copies = max(1, len(self.holders(errand.shard)))
        if attempt % copies < copies - 1:
            return 0.0
        return pause_s(attempt // copies, self._random)

    async def _sleep(
        self, delay_s: float, until: Callable[[ClusterState], bool]
    ) -> None:
        """Wait for a state, or until the time is up."""
        arrived = self._when(until)
        arrived.addTimeout(delay_s, self._clock)
        arrived.addErrback(
            lambda failure: failure.trap(DeferredTimeout, CancelledError)
        )
        await arrived

    async def _answer(self, inbound: Inbound) -> object:
        """Do another router's errand, or refuse it where its route is stale."""
        errand: Errand = shape(inbound.body, Errand)
        left_s = inbound.deadline - self._clock.seconds()
        if self.version < errand.routing_version:
            wanted = errand.routing_version
            await self._sleep(
                max(0.0, min(left_s, ROUTE_WAIT_S)),
                lambda state: state.routing_version >= wanted,
            )
            if self.version < wanted:
                raise unavailable(errand.shard, "is asked of a node behind the state")
        for each in parts_of(errand):
            if needs_primary(each) and self.primary(each.shard) != self._me:
                raise StaleRouteError("its primary is elsewhere", version=self.version)
        call = Call(
            inbound.request_id,
            inbound.deadline - self._clock.seconds(),
            errand.idempotency if isinstance(errand, Apply) else None,
            inbound.traceparent,
        )
        return set_apart(plain(await self._do(errand, call)))

    async def _do(self, errand: Errand, call: Call) -> object:
        """Do an errand here; one whose primary here takes over waits for that."""
        left, began = call, self._clock.seconds()
        while True:
            try:
                return await self._do_now(errand, left)
            except UnavailableError:
                passed_s = self._clock.seconds() - began
                within_s = min(call.timeout_s, PATIENCE_S) - passed_s
                if not await self._serving.taken_over(errand, within_s):
                    raise
            if self.primary(errand.shard) != self._me:
                raise StaleRouteError("its primary is elsewhere", version=self.version)
            passed_s = self._clock.seconds() - began
            left = structs.replace(call, timeout_s=call.timeout_s - passed_s)

    async def _do_now(self, errand: Errand, call: Call) -> object:
        """Do an errand here, unless its route is stale, or ends just now (R17).

        What is done of it at once is done in this turn, by this very state.  What was
        read in a later turn is told only if the slots are still where they were.
        """
        state = self._states.state
        self._check_slots(errand)
        if state.splits and is_held_up(state, errand):
            version = state.routing_version + 1
            raise StaleRouteError("its slots are moved", version=version)
        answer = await self._serving.do(errand, call)
        if not is_write(errand):
            self._check_slots(errand)
        if isinstance(answer, Listed):
            return owned(state, errand.shard, answer)
        return answer

    def _check_slots(self, errand: Errand) -> None:
        """Refuse what was sent by another slot table."""
        state = self._states.state
        if is_stale(state, errand.slots_version):
            version = state.routing_version
            raise StaleRouteError("its slots have changed", version=version)

    def _when(self, until: Callable[[ClusterState], bool]) -> "Deferred[None]":
        """Return what fires at the first state that is as wanted, unless cancelled."""

        def forget(fired: "Deferred[None]") -> None:
            """Wait no longer."""
            self._waiting = [each for each in self._waiting if each[1] is not fired]

        arrived: Deferred[None] = Deferred(forget)
        self._waiting.append((until, arrived))
        return arrived

    def _on_state(self, state: ClusterState) -> None:
        """Let those go on who waited for this state."""
        self._give_up(state)
        ripe = [each for each in self._waiting if each[0](state)]
        self._waiting = [each for each in self._waiting if each not in ripe]
        for _, arrived in ripe:
            arrived.callback(None)

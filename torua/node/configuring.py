"""Changes the configuration of the cluster, and asks every node whether it has it.

A change is a command to the coordinator that names the version it was made for, and has
an id, which the committed configuration keeps for a while: so whoever asked for it
learns what became of it though others came after.  That a version is in effect is said
by each node itself when it is asked; one that is silent has not acknowledged.
"""

from collections.abc import Callable, Mapping

from msgspec import UNSET, Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.codec.plain import plain, shape
from torua.core.allocation import Configure
from torua.core.configuration import (
    CHANGES_KEPT,
    KEYS,
    Configuration,
    Value,
    merged,
    values,
)
from torua.core.ids import NodeId
from torua.core.kv import Call, Condition
from torua.core.state import ClusterState, NodeEntry
from torua.core.views import ConfigKey, ConfigView, NodeConfigured
from torua.errors import (
    ConflictError,
    PreconditionError,
    ToruaError,
    UnavailableError,
)
from torua.net.peers import Inbound, Lane
from torua.node.commanding import Commander, Coordination
from torua.node.errands import Peers
from torua.node.live import LiveConfiguration

KIND = "config"
"""The kind of message by which nodes ask each other what is in effect."""

ASK_TIMEOUT_S = 1.0
"""Whoever changes a key waits so long for nodes that do not acknowledge."""

TRAVEL_S = 0.2
"""How much of that is left to the answer's way back."""

log = Logger()


class Asked(Struct, frozen=True):
    """Which version is in effect there?  It may wait until ``version`` is."""

    version: int
    within_s: float


class InEffect(Struct, frozen=True):
    """This version is, less the parts that the node was started without."""

    version: int
    without: tuple[str, ...] = ()


class Configurator:
    """Reads and changes the configuration.

    Invariants: a change is committed whole or not at all; no node is said to have
    acknowledged a version that it has not put into effect in its present life.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        live: LiveConfiguration,
        coordination: Coordination,
        peers: Peers,
        clock: IReactorTime,
        *,
        is_live: Callable[[NodeId], bool],
        fresh_id: Callable[[], str],
    ) -> None:
        """Begin to answer what other nodes ask.

        Args:
            me: this node.
            live: what is in effect here.
            coordination: the cluster state, and the way to change it.
            peers: the way to the other nodes.
            clock: the reactor.
            is_live: tells whether membership believes a node alive.
            fresh_id: names changes.
        """
        self._me = me
        self._live = live
        self._coordination = coordination
        self._commander = Commander(coordination, clock)
        self._peers = peers
        self._clock = clock
        self._is_live = is_live
        self._fresh_id = fresh_id
        peers.handle(KIND, self._answer)

    async def show(self, call: Call, *, explained: bool = False) -> ConfigView:
        """Tell every value, and which nodes have put this version into effect.

        Args:
            call: who asks, and how long it waits.
            explained: whether the keys are explained, too.

        Raises:
            UnavailableError: this node belongs to no cluster yet.
        """
        return await self._shown(self._held(), call, 0.0, explained=explained)

    async def change(
        self,
        changes: Mapping[str, object],
        conditions: tuple[Condition, ...],
        call: Call,
    ) -> ConfigView:
        """Give keys other values, and wait a while for every node to acknowledge.

        Where nothing would change, nothing is committed.  Without a condition it is
        tried again where others change it at the same time.

        Args:
            changes: plain values by key; None stands for the default.
            conditions: what must hold of the version.
            call: who asks, and how long it waits.

        Raises:
            InvalidError: it names all that is wrong; nothing was changed.
            PreconditionError: the version is another one; nothing was changed.
            UnavailableError: nobody coordinates; nothing was changed.
            OutcomeUnknownError: it may or may not have been changed.
        """
        until = self._clock.seconds() + call.timeout_s
        await self._catch_up(conditions, call)
        while True:
            held = self._held()
            left = replace(call, timeout_s=until - self._clock.seconds())
            if not all(each.holds(held.version) for each in conditions):
                raise PreconditionError(
                    f"the configuration is at version {held.version}"
                )
            after = merged(held, changes)
            if after is held:
                return await self._shown(held, left, 0.0)
            try:
                await self._commit(held, after, changes, left)
            except ConflictError:
                if left.timeout_s <= 0:
                    raise
                continue
            return await self._shown(self._held(), left, ASK_TIMEOUT_S - TRAVEL_S)

    async def _catch_up(self, conditions: tuple[Condition, ...], call: Call) -> None:
        """Wait for the newest version that the caller has seen, at another node."""
        for condition in conditions:
            if condition.match and condition.versions:
                within_s = min(ASK_TIMEOUT_S, call.timeout_s)
                await self._live.reach(min(condition.versions), within_s)

    async def _commit(
        self,
        held: Configuration,
        after: Configuration,
        changes: Mapping[str, object],
        call: Call,
    ) -> None:
        """Have a change committed; ConflictError where others were first."""
        change, wanted = self._fresh_id(), values(after)
        named: dict[str, Value] = {
            key: None if given is None else wanted[key]
            for key, given in changes.items()
        }
        log.info(
            "the configuration is to change: {changes}",
            changes=", ".join(f"{key}={value}" for key, value in named.items()),
            request_id=call.request_id,
        )

        def stale(state: ClusterState) -> bool:
            """Tell whether others were first, as far as can be told."""
            later = state.configuration.version - held.version
            return 0 < later <= CHANGES_KEPT

        await self._commander.have(
            Configure(change, held.version, named),
            call,
            done=lambda state: change in state.configuration.recent,
            stale=stale,
            what="the configuration",
        )

    def _held(self) -> Configuration:
        """Return what is committed, as far as this node has applied it."""
        state = self._coordination.state
        if not state.cluster_uuid:
            raise UnavailableError("this node belongs to no cluster yet")
        return state.configuration

    async def _shown(
        self, held: Configuration, call: Call, wait_s: float, *, explained: bool = False
    ) -> ConfigView:
        """Describe a version, having asked all nodes whether they have it."""
        nodes = sorted(self._coordination.state.nodes.values(), key=_name)
        asked = Asked(held.version, min(wait_s, call.timeout_s))
        asking = [
            Deferred.fromCoroutine(self._configured(node, asked)) for node in nodes
        ]
        found: list[NodeConfigured] = await gatherResults(asking)
        has = values(held)
        return ConfigView(
            version=held.version,
            config=has,
            changed=tuple(key for key in KEYS if has[key] != KEYS[key].default),
            acknowledged=tuple(n.name for n in found if _has(n, held.version)),
            pending=tuple(n.name for n in found if not _has(n, held.version)),
            nodes=tuple(found),
            keys=_explained() if explained else UNSET,
        )

    async def _configured(self, node: NodeEntry, asked: Asked) -> NodeConfigured:
        """Ask a node; one that is silent has acknowledged nothing."""
        if node.node_id == self._me:
            told = InEffect(self._live.version, self._live.without)
        elif not self._is_live(node.node_id):
            return NodeConfigured(node.name, node.node_id)
        else:
            try:
                answer = await self._peers.request(
                    node.node_id,
                    KIND,
                    plain(asked),
                    lane=Lane.CONTROL,
                    timeout_s=ASK_TIMEOUT_S,
                )
            except ToruaError:
                return NodeConfigured(node.name, node.node_id)
            told = shape(answer, InEffect)
        return NodeConfigured(node.name, node.node_id, told.version, told.without)

    async def _answer(self, inbound: Inbound) -> object:
        """Tell another node what is in effect here, once it is, or time is up."""
        asked = shape(inbound.body, Asked)
        await self._live.reach(asked.version, min(asked.within_s, ASK_TIMEOUT_S))
        return plain(InEffect(self._live.version, self._live.without))


def _name(node: NodeEntry) -> tuple[str, str]:
    """Order nodes as people do."""
    return node.name, node.node_id


def _has(node: NodeConfigured, version: int) -> bool:
    """Tell whether a node has put a version into effect, or a newer one."""
    return node.version is not None and node.version >= version


def _explained() -> dict[str, ConfigKey]:
    """Explain every key."""
    return {
        key.name: ConfigKey(key.default, key.takes, key.help) for key in KEYS.values()
    }

"""Linearizable reads of single keys, many at once: what most requests are.

Where the primary is here, a read looks and shares a proof with others; where it is
elsewhere, all that is asked of one node in a turn goes in one message, and while one is
under way more is gathered, if not for long.  Where somebody waited so of late, it rests
after the answer as long as that took, for whoever was answered comes back by then.  At
the other end all keys of a message are looked at first, and each shard is proven once.

This is a short way and nothing else: it gives answers, never errors.  Whatever is in
doubt, a node that is left alone, a route that changed, a copy that does not serve, a
value too large for company, an answer that does not come, gives nothing, and the read
goes the long way (`torua.node.dispatch`), where it is tried again, or refused with the
reason.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Protocol

from msgspec import Meta, Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torua.codec.apart import set_apart
from torua.codec.frames import Lane
from torua.codec.plain import plain, shape
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Entry
from torua.core.reading import Position
from torua.core.routing import primary_node
from torua.core.splitting.door import is_moving
from torua.core.state import ClusterState
from torua.errors import ToruaError
from torua.net.handlers import Inbound
from torua.node.dispatch import States
from torua.node.errands import Found, Peers
from torua.node.targets import Targets

KIND = "fetch"

TOGETHER_MAX = 256
"""So many keys go in one message: spelled and read in a millisecond or two."""

VALUE_BYTES_MAX = 64 << 10
"""A larger value is fetched by itself, that small ones need not wait for it."""

ANSWER_BYTES_MAX = 1 << 20
"""What does not fit into one answer is fetched by itself as well."""

HOLD_S = 0.01
"""So long at most keys wait for the answer to others, and again for company, to share a
message."""

CROWD_ANSWERS = 8
"""So many answers later a crowd may be gone, if nobody waited for them."""

WAIT_S = 3.0
"""What takes longer goes the long way.  A node that is lost is found out sooner, by its
connection or by another primary; one that is only busy must not be asked twice."""

CAREFUL_S = 1.0
"""After a failure so long everything goes the long way."""

Key = Annotated[bytes, Meta(max_length=1024)]


class Wanted(Struct, frozen=True, array_like=True):
    """What is asked of a node: keys, and the shard of each, by a routing version."""

    version: int
    shards: Annotated[list[ShardId], Meta(max_length=TOGETHER_MAX)]
    keys: Annotated[list[Key], Meta(max_length=TOGETHER_MAX)]


class Line(Struct, frozen=True, array_like=True):
    """An entry, without its key."""

    version: int
    size: int
    content_type: str
    value: bytes
    expires_ns: int | None


class Given(Struct, frozen=True, array_like=True):
    """The answer: where each shard stands that could be proven, and what was found.

    Attributes:
        at: by shard, behind what is shown; a shard that is missing shows nothing.
        lines: by key, in order; False for a key that is absent, None for one that has
            to be fetched by itself.
    """

    at: dict[ShardId, Position]
    lines: list[Line | bool | None]


class Leading(Protocol):
    """A copy that serves; see `torua.node.copy.OpenCopy`."""

    @property
    def position(self) -> int:
        """Return the last record applied."""

    def peek(self, key: bytes) -> Entry | None:
        """Read a key as of what is applied."""

    def prove(self, tell: Callable[[bool], None]) -> None:
        """Tell, once, whether it was the primary after the call."""


class Primaries(Protocol):
    """The primaries of this node."""

    def proving(self, shard: ShardId) -> Leading:
        """Return the copy of a shard that serves; UnavailableError where none does."""

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""


class _Bundle:
    """Keys that are asked of one node together.

    Invariants: the lists are equally long; whoever waits is told once.
    """

    __slots__ = ("keys", "shards", "waiting")

    def __init__(self) -> None:
        """Begin with none."""
        self.shards: list[ShardId] = []
        self.keys: list[bytes] = []
        self.waiting: list[Deferred[Found | None]] = []

    def settle(self, given: Given | None) -> None:
        """Tell all who wait what was found; nothing where nothing was."""
        waiting, self.waiting = self.waiting, []
        lines = given.lines if given is not None else []
        if given is None or len(lines) != len(waiting):
            for each in waiting:
                each.callback(None)
            return
        for key, shard, line, each in zip(
            self.keys, self.shards, lines, waiting, strict=True
        ):
            each.callback(_found(key, given.at.get(shard), line))


class _Answering:
    """An answer to another node, until all of it is proven.

    Invariants: ``waits`` is how many shards are not proven yet; each is told once.
    """

    __slots__ = ("given", "primaries", "said", "waits")

    def __init__(self, primaries: Primaries, given: Given) -> None:
        """Begin with what was seen.

        Args:
            primaries: tell where shards stand.
            given: the answer; what is proven is added to it.
        """
        self.primaries = primaries
        self.given = given
        self.said: Deferred[object] = Deferred()
        self.waits = 0

    def prove(self, copies: Mapping[ShardId, Leading | None]) -> "Deferred[object]":
        """Have all shards proven that are here; the Deferred has the answer.

        Args:
            copies: the primaries, by shard.
        """
        here = [(shard, copy) for shard, copy in copies.items() if copy is not None]
        self.waits = len(here) + 1
        for shard, copy in here:
            copy.prove(partial(self._told, shard))
        self._end_one()
        return self.said

    def _told(self, shard: ShardId, proven: bool) -> None:
        """Take what became of a shard's proof."""
        place = self.primaries.position(shard) if proven else None
        if place is not None:
            self.given.at[shard] = place
        self._end_one()

    def _end_one(self) -> None:
        """Give the answer if nothing more is to come."""
        self.waits -= 1
        if not self.waits:
            given = plain(self.given)
            # In company no value is large enough to stand apart.
            alone = len(self.given.lines) == 1
            self.said.callback(set_apart(given) if alone else given)


class _Way:
    """What is asked of one other node.

    Invariants: ``timer`` is set while anything in ``gathering`` is to be sent.
    """

    __slots__ = (
        "careful_until",
        "crowd",
        "gathering",
        "rests_until",
        "sent_at",
        "timer",
        "under_way",
    )

    def __init__(self) -> None:
        """Begin with nothing."""
        self.gathering = _Bundle()
        self.under_way: dict[_Bundle, None] = {}
        self.timer: IDelayedCall | None = None
        self.careful_until = self.rests_until = self.sent_at = 0.0
        self.crowd = 0

    def hold_s(self, now: float) -> float:
        """Tell how long the next key waits for company."""
        if self.under_way:
            return HOLD_S
        return min(max(0.0, self.rests_until - now), HOLD_S)


class Fetches:
    """Reads keys at their primaries, here or elsewhere.

    Invariants: what is answered was read before the primary was proven (R22), by a
    route that both nodes have applied (R17); nothing waits longer than `WAIT_S` and
    `HOLD_S`, or beyond a change of its primary.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        states: States,
        primaries: Primaries,
        peers: Peers,
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
        self._ways: dict[NodeId, _Way] = {}
        self._slots_version = states.state.slots_version
        peers.handle(KIND, self._answer)
        states.subscribe(self._on_state)

    async def get(self, shard: ShardId, key: bytes) -> tuple[Found, NodeId] | None:
        """Read a key, linearizable.

        Args:
            shard: its shard.
            key: which.

        Returns:
            What was found, and who gave it; None where it has to be read another way.
        """
        node = primary_node(self._states.state, shard)
        if node is None:
            return None
        if node == self._me:
            found = await self._here(shard, key)
        else:
            found = await self._there(node, shard, key)
        return None if found is None else (found, node)

    async def _here(self, shard: ShardId, key: bytes) -> Found | None:
        """Look, then have it proven."""
        if self._is_moving(shard, key):
            return None
        try:
            copy = self._primaries.proving(shard)
            entry = copy.peek(key)
        except ToruaError:
            return None
        proven: Deferred[bool] = Deferred()
        copy.prove(proven.callback)
        if not await proven:
            return None
        return Found(entry, self._primaries.position(shard))

    async def _there(self, node: NodeId, shard: ShardId, key: bytes) -> Found | None:
        """Ask with others, now or as soon as an answer has come."""
        way = self._ways.get(node)
        if way is None:
            way = self._ways[node] = _Way()
        bundle = way.gathering
        if not bundle.keys and not self._is_well(node, way):
            return None
        waiting: Deferred[Found | None] = Deferred()
        bundle.shards.append(shard)
        bundle.keys.append(key)
        bundle.waiting.append(waiting)
        if way.timer is None:
            hold_s = way.hold_s(self._clock.seconds())
            way.timer = self._clock.callLater(hold_s, self._send, node, way)
        if len(bundle.keys) >= TOGETHER_MAX:
            way.timer.cancel()
            self._send(node, way)
        return await waiting

    def _is_well(self, node: NodeId, way: _Way) -> bool:
        """Tell whether a node answered of late as it should."""
        careful = self._clock.seconds() < way.careful_until
        return not careful and self._targets.is_well(node)

    def _send(self, node: NodeId, way: _Way) -> None:
        """Ask for what was gathered, unless by a slot table that is no longer applied.

        Whoever else hears of a state first may read before `_on_state` is called.
        """
        way.timer = None
        bundle, way.gathering = way.gathering, _Bundle()
        if not bundle.keys:
            return
        if self._states.state.slots_version != self._slots_version:
            bundle.settle(None)
            return
        way.under_way[bundle] = None
        way.sent_at = self._clock.seconds()
        self._targets.first(node, False, len(bundle.keys))
        Deferred.fromCoroutine(self._ask(node, way, bundle))

    async def _ask(self, node: NodeId, way: _Way, bundle: _Bundle) -> None:
        """Ask a node, and tell whoever waits; send what was held back meanwhile."""
        wanted = Wanted(self._version, bundle.shards, bundle.keys)
        given: Given | None = None
        try:
            answer = await self._peers.request(
                node, KIND, plain(wanted), lane=Lane.READS, timeout_s=WAIT_S
            )
            given = shape(answer, Given)
            self._targets.is_answered(node)
        except (ToruaError, CancelledError):
            way.careful_until = self._clock.seconds() + CAREFUL_S
        finally:
            del way.under_way[bundle]
            if not way.under_way:
                self._rest(way)
            bundle.settle(given)

    def _rest(self, way: _Way) -> None:
        """Give a crowd that is answered the time to come back, and then send."""
        now = self._clock.seconds()
        way.crowd = CROWD_ANSWERS if way.timer is not None else max(0, way.crowd - 1)
        if way.crowd:
            way.rests_until = now + (now - way.sent_at)
        if way.timer is not None:
            way.timer.reset(way.hold_s(now))

    def _is_moving(self, shard: ShardId, key: bytes) -> bool:
        """Tell whether a key belongs to nobody now (R17)."""
        state = self._states.state
        return bool(state.splits) and is_moving(state, shard, (key,))

    @property
    def _version(self) -> int:
        """Return the routing version that this node has applied."""
        return self._states.state.routing_version

    def _on_state(self, state: ClusterState) -> None:
        """Wait no longer for a node that leads no longer what it was asked about.

        Nor is asked what was gathered by another slot table.
        """
        moved, self._slots_version = (
            self._slots_version != state.slots_version,
            state.slots_version,
        )
        vain: list[_Bundle] = []
        for node, way in self._ways.items():
            for bundle in (*way.under_way, way.gathering):
                if not moved and all(
                    primary_node(state, each) == node for each in bundle.shards
                ):
                    continue
                if bundle is way.gathering:
                    way.gathering = _Bundle()
                vain.append(bundle)
        # Whoever is told may ask anew in this very turn, and a node never asked before.
        for bundle in vain:
            bundle.settle(None)

    def _answer(self, inbound: Inbound) -> object:
        """Look at all keys that another node wants, then prove each shard once."""
        wanted = shape(inbound.body, Wanted)
        if wanted.version != self._version or len(wanted.shards) != len(wanted.keys):
            return None
        copies = {shard: self._copy(shard) for shard in dict.fromkeys(wanted.shards)}
        room, lines = ANSWER_BYTES_MAX, []
        for shard, key in zip(wanted.shards, wanted.keys, strict=True):
            copy = None if self._is_moving(shard, key) else copies[shard]
            line = _look(copy, key, len(wanted.keys) == 1, room)
            room -= len(line.value) if isinstance(line, Line) else 0
            lines.append(line)
        answering = _Answering(self._primaries, Given({}, lines))
        return answering.prove(copies)

    def _copy(self, shard: ShardId) -> Leading | None:
        """Return the copy that serves a shard by the applied state, if it is here."""
        if primary_node(self._states.state, shard) != self._me:
            return None
        try:
            return self._primaries.proving(shard)
        except ToruaError:
            return None


def _look(
    copy: Leading | None, key: bytes, is_alone: bool, room: int
) -> Line | bool | None:
    """Read a key for an answer to another node.

    Args:
        copy: where; None where nothing can be read.
        key: which.
        is_alone: whether it is the only one.
        room: how many bytes the answer still takes.
    """
    try:
        entry = None if copy is None else copy.peek(key)
    except ToruaError:
        return None
    if copy is None:
        return None
    if entry is None:
        return False
    value = entry.value or b""
    if len(value) > min(room, VALUE_BYTES_MAX) and not is_alone:
        return None
    return Line(entry.version, entry.size, entry.content_type, value, entry.expires_ns)


def _found(key: bytes, at: Position | None, line: Line | bool | None) -> Found | None:
    """Make of an answer what the long way gives.

    Args:
        key: which.
        at: where its shard stood; None where it could not be proven.
        line: what was found.
    """
    if at is None or line is None or line is True:
        return None
    if isinstance(line, bool):
        return Found(None, at)
    entry = Entry(
        key, line.version, line.size, line.content_type, line.value, line.expires_ns
    )
    return Found(entry, at)

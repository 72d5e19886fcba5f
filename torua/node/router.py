"""Keys and values of the whole cluster: every request finds its shards.

What it asks of one shard is an errand (`torua.node.errands`); who does it, and who else
where that fails, is decided by `torua.node.dispatch`.  This module knows which shards a
request concerns, and puts their answers together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import TypeVar

from msgspec import Struct, structs
from twisted.internet.interfaces import IReactorTime

from torua.core.ids import NodeId, ShardId
from torua.core.kv import (
    Call,
    Delete,
    Entry,
    Operation,
    Outcome,
    Page,
    Put,
    Served,
    Single,
)
from torua.core.merging import merge
from torua.core.reading import (
    LINEARIZABLE,
    Level,
    Position,
    Reading,
    Token,
    spell_tokens,
)
from torua.core.routing import shard_of, shards_of
from torua.core.splitting.moving import born
from torua.errors import ToruaError, from_wire
from torua.node.bulk import Bulks
from torua.node.dispatch import Dispatch, States
from torua.node.errands import (
    Apply,
    Done,
    Fetch,
    Found,
    Listed,
    Mark,
    Marked,
    Measure,
    Measured,
    Peers,
    Queried,
    QueryMore,
    QueryRelease,
    Released,
    Scan,
)
from torua.node.fetching import Fetches
from torua.node.outcomes import all_of
from torua.node.parcels import Asked, Parcels, Visited
from torua.node.routes import Routes
from torua.node.serving import GraphReads, Looks, Serving, Shards
from torua.node.targets import Targets
from torua.node.writing import Writes

T = TypeVar("T")

PLAIN_S = 5.0
"""Who waits for less has no time for two ways: the short one may take three seconds."""


class _Fresh(Struct, frozen=True):
    """All writes acknowledged before ``as_of_s`` are at ``token`` or before."""

    as_of_s: float
    token: Token


class Router:
    """Keys and values of the whole cluster, as any node offers them.

    Invariants: nothing is served here for a shard whose primary, by the applied state,
    is elsewhere, but reads that any copy may serve; a write is sent again only where it
    certainly was not begun, or where its idempotency key makes that safe.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        states: States,
        copies: tuple[Shards, Looks],
        peers: Peers,
        clock: IReactorTime,
        *,
        is_live: Callable[[NodeId], bool],
        random: Random,
        targets: Targets,
        graphs: GraphReads | None = None,
        fetches: Fetches | None = None,
        writes: Writes | None = None,
    ) -> None:
        """Begin to answer the errands of other routers.

        Args:
            me: this node.
            states: the applied cluster state.
            copies: what this node holds, as primaries and as any copies.
            peers: the way to the other nodes.
            clock: the reactor.
            is_live: tells whether membership believes a node alive.
            random: draws the pauses between attempts.
            targets: says whom to leave alone, where to read, and what to repeat.
            graphs: the copies here as graphs.
            fetches: the short way for reads of single keys.
            writes: the short way for writes of single keys.
        """
        self._fetches = fetches
        self._writes = writes
        self._states = states
        self._clock = clock
        serving = Serving(*copies, graphs)
        self._dispatch = Dispatch(
            me,
            states,
            serving,
            peers,
            clock,
            is_live=is_live,
            random=random,
            targets=targets,
        )
        self._parcels = Parcels(self._dispatch, clock)
        self._routes = Routes(states, self._dispatch, clock)
        bulks = (self._portion, self._dispatch.primary, self._routes.owns)
        self._bulks = Bulks(clock, *bulks)
        self._fresh: dict[ShardId, _Fresh] = {}

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key with its value, as fresh as the call asks.

        Args:
            key: 1 to 1,024 bytes.
            call: who asks, and how long it waits.

        Returns:
            The entry, None where it is absent; and where it was served.
        """
        if self._fetches is not None and _is_plain(call):
            began = self._clock.seconds()
            shard = self.shard_of_key(key)
            given = await self._fetches.get(shard, key)
            if given is not None:
                return given[0].entry, self._served(shard, given[1], given[0].at)
            left_s = call.timeout_s - (self._clock.seconds() - began)
            call = structs.replace(call, timeout_s=left_s)
        return await self._routes.routed(lambda left: self._fetch(key, left), call)

    async def _fetch(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key where it is by the slot table of now."""
        await self._routes.caught_up(call)
        shard, version = self._routes.owner(key)
        reading = await self._reading(shard, call)
        errand = Fetch(shard, 0, key, reading, version)
        found, node = await self._dispatch.run(errand, call, Found)
        return found.entry, self._served(shard, node, found.at)

    async def write(
        self, operation: Put | Delete, call: Call
    ) -> tuple[Outcome, Served]:
        """Do one write at its primary; raise the error that its outcome names.

        Args:
            operation: what to do.
            call: who asks, and how long it waits.
        """
        began, unknown = self._clock.seconds(), None
        if self._writes is not None and not call.traceparent:
            shard = self.shard_of_key(operation.key)
            given = await self._writes.write(shard, operation, call)
            if isinstance(given, tuple):
                return self._written(shard, *given)
            unknown = given
            left_s = call.timeout_s - (self._clock.seconds() - began)
            call = structs.replace(call, timeout_s=left_s)
        return await self._routes.routed(
            lambda left: self._write(operation, left, unknown), call
        )

    async def _write(
        self, operation: Put | Delete, call: Call, unknown: ToruaError | None
    ) -> tuple[Outcome, Served]:
        """Do a write where its key is by the slot table of now."""
        shard, version = self._routes.owner(operation.key)
        errand = Apply(shard, 0, (operation,), call.idempotency, slots_version=version)
        done, node = await self._dispatch.run(errand, call, Done, unknown)
        return self._written(shard, done, node)

    def _written(
        self, shard: ShardId, done: Done, node: NodeId
    ) -> tuple[Outcome, Served]:
        """Give what became of one write, or raise the error that it names."""
        (outcome,) = done.outcomes
        if outcome.error is not None:
            raise from_wire(outcome.error, outcome.detail, {"shard": shard})
        return outcome, self._served(shard, node, done.at)

    async def bulk(
        self, operations: Sequence[Single], call: Call
    ) -> tuple[tuple[Outcome, ...], str]:
        """Do many operations, each shard's part at its primary, all parts at once.

        A part is done in portions (`torua.node.bulk`); one that fails leaves the other
        shards alone: its operations, and those behind it, have its error.

        Args:
            operations: what to do; those on one key keep their order.
            call: who asks, and how long it waits.

        Returns:
            One outcome each, in order; and the tokens of all shards, with commas.
        """
        outcomes: list[Outcome] = [Outcome()] * len(operations)
        tokens: dict[ShardId, Token] = {}
        until_s = self._clock.seconds() + call.timeout_s

        async def do(indexes: Sequence[int]) -> None:
            """Do some of the operations, by the slot table of now.

            Args:
                indexes: where they stand in the request.
            """
            slots, version = self._routes.slots, self._routes.version
            some = [operations[index] for index in indexes]
            parts = await self._bulks.parts(slots, some)
            left_s = until_s - self._clock.seconds()
            asked = structs.replace(call, timeout_s=left_s, slots_version=version)
            await all_of(
                part(shard, [indexes[place] for place in places], asked)
                for shard, places in parts.items()
            )

        async def part(shard: ShardId, indexes: list[int], asked: Call) -> None:
            """Do one shard's part, and put its outcomes where they belong.

            Args:
                shard: whose part.
                indexes: where its operations stand in the request.
                asked: who asks, and by which slot table.
            """
            mine = [operations[index] for index in indexes]
            found, token = await self._bulks.part(shard, mine, indexes, asked)
            if token is not None:
                tokens[shard] = token
            done, moved = indexes[: len(found)], indexes[len(found) :]
            for index, outcome in zip(done, found, strict=True):
                outcomes[index] = outcome
            if moved:
                await do(moved)

        await do(range(len(operations)))
        return tuple(outcomes), spell_tokens(tokens[shard] for shard in sorted(tokens))

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do operations, groups among them, at the primary of one shard.

        Args:
            shard: owns all their keys.
            operations: what to do, in order.
            call: who asks, and how long it waits.

        Raises:
            MovedError: nothing was done; some of it is no longer of that shard.

        Returns:
            One outcome each, in order, refusals among them; and a place in the shard's
            log behind all of it.
        """
        version = self._routes.check(shard, operations)
        errand = Apply(
            shard, 0, tuple(operations), call.idempotency, slots_version=version
        )
        done, _ = await self._dispatch.run(errand, call, Done)
        return done.outcomes, Token(shard, done.at) if done.at else None

    async def scan(
        self, prefix: bytes, after: bytes, limit: int, values: bool, call: Call
    ) -> Page:
        """List keys of all shards in byte order, as fresh as the call asks.

        Each shard lists as of its own instant; a key that is there throughout is listed
        exactly once.

        Args:
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many, 1 or more.
            values: whether the values come too.
            call: who asks, and how long it waits.
        """

        async def part(shard: ShardId, version: int, left: Call) -> Page:
            """List one shard.

            Args:
                shard: which.
                version: of the slot table by which it is one of those to be listed.
                left: who asks, and how long it still waits.
            """
            reading = await self._reading(shard, left)
            errand = Scan(shard, 0, prefix, after, limit, values, reading, version)
            listed, _ = await self._dispatch.run(errand, left, Listed)
            return listed.page

        async def every(left: Call) -> Page:
            """List all shards, by the slot table of now."""
            await self._routes.caught_up(left)
            self._routes.owner(b"-")
            version, shards = self._routes.version, born(self._states.state)
            pages = await all_of(part(shard, version, left) for shard in shards)
            return merge(pages, limit)

        return await self._routes.routed(every, call)

    def holders(self, shard: ShardId) -> list[NodeId]:
        """List the live nodes with a copy to be read, best first."""
        return self._dispatch.holders(shard)

    async def list_shard(
        self, shard: ShardId, span: tuple[bytes, bytes], limit: int, call: Call
    ) -> Page:
        """List keys of one shard in byte order, without values, as fresh as asked.

        Args:
            shard: which.
            span: what keys begin with, and the key to go on after.
            limit: at most so many, 1 or more.
            call: who asks, and how long it waits.
        """
        reading = await self._reading(shard, call)
        errand = Scan(shard, 0, *span, limit, False, reading)
        listed, _ = await self._dispatch.run(errand, call, Listed)
        return listed.page

    async def query_all(
        self, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """Read a graph at some shards at once, as fresh as the call asks.

        Args:
            asked: what to read; the ``reading`` of each errand is made here.
            call: who asks, and how long it waits.

        Returns:
            For each, in order, the first piece, and the node that has the rest, and
            the session; or why there is none.  A session that is gone is an
            `UnavailableError`: what was read in it must be read anew.
        """

        async def fresh(each: Asked) -> Asked:
            """Say how fresh; a transaction that is open is of its own moment."""
            if each.node is not None:
                return each
            reading = await self._reading(each.errand.shard, call)
            return Asked(structs.replace(each.errand, reading=reading))

        await self._routes.caught_up(call)
        return await self._parcels.run(await all_of(map(fresh, asked)), call)

    async def measure(self, errand: Measure, call: Call) -> Measured:
        """Count a graph's rows at one shard, as fresh as the call asks.

        Args:
            errand: of which graph; its ``reading`` is made here.
            call: who asks, and how long it waits.
        """
        reading = await self._reading(errand.shard, call)
        errand = structs.replace(errand, reading=reading)
        return (await self._dispatch.run(errand, call, Measured))[0]

    async def continue_query(
        self, node: NodeId, errand: QueryMore, call: Call
    ) -> Queried:
        """Fetch the next piece of an answer.

        Args:
            node: where it is.
            errand: names the session.
            call: who asks, and how long it waits.

        Raises:
            UnavailableError: it is gone; what was read with it must be read anew.
        """
        return await self._dispatch.ask(node, errand, call, Queried)

    async def release(self, node: NodeId, errand: QueryRelease, call: Call) -> None:
        """End a transaction at a copy.

        Args:
            node: where it is.
            errand: names the session.
            call: who asks, and how long it waits.
        """
        await self._dispatch.ask(node, errand, call, Released)

    @property
    def slots_version(self) -> int:
        """The version of the slot table by which shards are chosen now."""
        return self._routes.version

    def shards(self) -> tuple[ShardId, ...]:
        """List all shards; UnavailableError before they were given out."""
        self.shard_of_key(b"-")
        return tuple(born(self._states.state))

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key; UnavailableError before shards were given out."""
        return shard_of(self._routes.slots, key)

    def shards_of_keys(self, keys: Iterable[bytes]) -> Iterator[ShardId]:
        """Go through the shards of many keys."""
        return shards_of(self._routes.slots, keys)

    async def _reading(self, shard: ShardId, call: Call) -> Reading:
        """Return what a call asks of one shard: the primary's word, or some tokens.

        Tokens of a history that is no more ask for what the primary has now.
        """
        reading = call.reading.of(shard)
        if reading.level is Level.BOUNDED:
            token = await self._freshness(shard, reading.max_staleness_s, call)
            reading = Reading(Level.SESSION, (token,) if token else ())
        if reading.level is not Level.SESSION:
            return reading
        history = self._states.state.shards[shard].history_uuid
        known = all(token.position.history == history for token in reading.seen)
        return reading if known else LINEARIZABLE

    async def _freshness(
        self, shard: ShardId, max_staleness_s: float, call: Call
    ) -> Token | None:
        """Return a place behind all writes acknowledged so long ago.

        It is what the primary told last, confirmed as a linearizable read is; no two
        nodes' clocks are compared.
        """
        asked_s = self._clock.seconds()
        known = self._fresh.get(shard)
        if known is not None and asked_s - known.as_of_s <= max_staleness_s:
            return known.token
        errand = Mark(shard, 0)
        marked, _ = await self._dispatch.run(errand, call, Marked)
        if marked.at is None:
            return None
        token = Token(shard, marked.at)
        self._fresh[shard] = _Fresh(asked_s, token)
        return token

    def _served(self, shard: ShardId, node: NodeId, at: Position | None) -> Served:
        """Tell where a shard was served, and what to pass back."""
        entry = self._states.state.nodes.get(node)
        token = _spelled(shard, at) if at else ""
        return Served(shard, entry.name if entry else node, token)

    async def _portion(
        self, shard: ShardId, operations: tuple[Operation, ...], call: Call
    ) -> Done:
        """Do a portion of a bulk request at the primary of one shard."""
        errand = Apply(shard, 0, operations, call.idempotency)
        return (await self._dispatch.run(errand, call, Done))[0]


@lru_cache(maxsize=1024)
def _spelled(shard: ShardId, at: Position) -> str:
    """Spell a token; reads of one shard show the same place until it is written."""
    return spell_tokens([Token(shard, at)])


def _is_plain(call: Call) -> bool:
    """Tell whether a read may go the short way: it says nothing to be passed on."""
    return (
        call.reading.level is Level.LINEARIZABLE
        and not call.traceparent
        and call.timeout_s >= PLAIN_S
    )

"""Keeps each shard that is led here at the schemas that this node has applied.

A shard's own entry of a schema is what its writes are checked by, in its own log; so it
is written at the shard's primary, by whoever that is: a new primary looks at what
stands there and goes on.  Entries only rise, so a primary that lags does no harm.

What a schema left behind is noted in the same record as the schema, and removed bit by
bit; the note goes last, so what a primary did not finish, the next one does.  `MAIN` as
it is from the start has no entry: nothing can be written by it.
"""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from torua.codec.rows import read_remains, read_schema, spell_remains, spell_schema
from torua.core.graph.keys import (
    SCHEMAS,
    SWEEPS,
    SchemaKey,
    read_key,
    schema_key,
    sweep_key,
)
from torua.core.graph.remains import Remains, remains
from torua.core.graph.schema import MAIN_GRAPH, Graph
from torua.core.ids import NodeId, ShardId
from torua.core.kv import (
    Call,
    Condition,
    Delete,
    Entry,
    Group,
    Operation,
    Outcome,
    Page,
    Put,
)
from torua.core.splitting.moving import born
from torua.core.state import ClusterState, Shard
from torua.errors import ToruaError, UnavailableError
from torua.node.dispatch import States

LOOK_S = 0.25
"""How often it is looked whether a shard is led here by now: only memory is read."""

SWEEP_KEYS = 256
"""So many rows go in one record: their removal holds the log for milliseconds."""

SWEEP_PAUSE_S = 0.02
"""Between two such records, so that others come first."""

TIMEOUT_S = 10.0

log = Logger()


class Primaries(Protocol):
    """The primaries that this node holds."""

    def serving(self, shard: ShardId) -> bool:
        """Tell whether this node serves a shard."""

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations in order, at the primary; one outcome each.

        Args:
            shard: whose primary is here.
            operations: what to do.
            call: who asks.
        """

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys in byte order at the primary, linearizable.

        Args:
            shard: whose primary is here.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """


class Sweeper:
    """Removes rows of one shard, bit by bit.

    Invariants: a record of it is small, and others are let in between two.

    Threading: the reactor's thread only.
    """

    def __init__(self, clock: IReactorTime, primaries: Primaries) -> None:
        """Sweep at the primaries here.

        Args:
            clock: the reactor.
            primaries: what this node leads.
        """
        self._clock = clock
        self._primaries = primaries

    async def sweep(self, shard: ShardId, what: Remains) -> int:
        """Remove all rows of one sort, and return how many there were.

        Args:
            shard: is led here.
            what: is of nothing any more, and never will be.

        Raises:
            ToruaError: not all is removed; it may be begun again at any time.
        """
        after, removed = b"", 0
        while True:
            page = await self._primaries.scan(
                shard, what.prefix, after, SWEEP_KEYS, values=False
            )
            doomed = [each.key for each in page.items if what.has(each.key)]
            if doomed:
                operations = [Delete(key) for key in doomed]
                await self._primaries.write(shard, operations, _call())
                removed += len(doomed)
            if page.next is None:
                return removed
            after = page.next
            await deferLater(self._clock, SWEEP_PAUSE_S)


class Keeper:
    """Follows the cluster state with the schema entries of the shards led here.

    Invariants: one run a shard at a time; an entry is written only where it rises.

    Threading: the reactor's thread only.
    """

    def __init__(
        self, clock: IReactorTime, me: NodeId, states: States, primaries: Primaries
    ) -> None:
        """Begin to follow.

        Args:
            clock: the reactor.
            me: this node.
            states: the applied cluster state.
            primaries: what this node leads.
        """
        self._clock = clock
        self._me = me
        self._states = states
        self._primaries = primaries
        self._sweeper = Sweeper(clock, primaries)
        self._kept: dict[ShardId, object] = {}
        self._busy: dict[ShardId, None] = {}
        self._running = True
        states.subscribe(lambda _state: self._look())
        self._timer = clock.callLater(LOOK_S, self._again)

    def stop(self) -> None:
        """Begin nothing more."""
        self._running = False
        if self._timer.active():
            self._timer.cancel()

    def _again(self) -> None:
        """Look, and look again later."""
        self._timer = self._clock.callLater(LOOK_S, self._again)
        self._look()

    def _look(self) -> None:
        """Begin with each shard that is led here and is not as it should be."""
        if not self._running:
            return
        state = self._states.state
        for number in born(state):
            shard = state.shards[number]
            wanted = self._wanted(state, shard)
            if wanted is None:
                self._kept.pop(number, None)
            elif self._kept.get(number) != wanted and number not in self._busy:
                self._busy[number] = None
                run = Deferred.fromCoroutine(self._keep(number, wanted))
                run.addErrback(lambda failure: log.failure("schemas lag", failure))

    def _wanted(self, state: ClusterState, shard: Shard) -> object:
        """Tell by what to know that a shard is as it should be; None: not led here."""
        led = shard.primary
        if led is None or led.node != self._me:
            return None
        if not self._primaries.serving(shard.shard):
            return None
        versions = tuple((g.graph_id, g.version) for g in state.graphs.values())
        return shard.primary_term, shard.history_uuid, versions

    async def _keep(self, shard: ShardId, wanted: object) -> None:
        """Bring one shard to what the state says, and sweep it."""
        try:
            state = self._states.state
            await self._raise(shard, state)
            swept = await self._sweep(shard)
            if swept:
                log.info(
                    "{rows} rows of shard {shard} went with their tables",
                    rows=swept,
                    shard=shard,
                )
            self._kept[shard] = wanted
        except ToruaError as error:
            log.debug(
                "shard {shard} is not at the newest schemas yet: {detail}",
                shard=shard,
                detail=error.detail,
            )
        finally:
            del self._busy[shard]

    async def _raise(self, shard: ShardId, state: ClusterState) -> None:
        """Write the entries of all schemas that are newer than those that stand."""
        entries = {each.key: each for each in await self._list(shard, SCHEMAS)}
        operations: list[Operation] = []
        for graph in state.graphs.values():
            entry = entries.pop(schema_key(graph.graph_id), None)
            old = None if entry is None else _read(entry)
            if (MAIN_GRAPH if old is None and graph == MAIN_GRAPH else old) != graph:
                operations += _step(entry, old, graph)
        for key, entry in entries.items():
            row = read_key(key)
            assert isinstance(row, SchemaKey), "listed by its prefix"
            if row.graph_id < state.next_graph:
                operations += _step(entry, _read(entry), None)
        if operations:
            outcomes = await self._primaries.write(shard, operations, _call())
            if any(outcome.error for outcome in outcomes):
                raise UnavailableError("another has written schemas meanwhile")

    async def _sweep(self, shard: ShardId) -> int:
        """Remove what schemas left behind, and then the notes of it."""
        removed = 0
        for entry in await self._list(shard, SWEEPS):
            assert entry.value is not None, "listed with values"
            for what in read_remains(entry.value):
                removed += await self._sweeper.sweep(shard, what)
            await self._primaries.write(shard, [Delete(entry.key)], _call())
        return removed

    async def _list(self, shard: ShardId, prefix: bytes) -> list[Entry]:
        """List all entries whose keys begin so."""
        found: list[Entry] = []
        after = b""
        while True:
            page = await self._primaries.scan(shard, prefix, after, 100, values=True)
            found += page.items
            if page.next is None:
                return found
            after = page.next


def _step(entry: Entry | None, old: Graph | None, new: Graph | None) -> list[Operation]:
    """Make the group that takes a shard from one schema to a newer one, if it is."""
    if old is not None and new is not None and old.version >= new.version:
        return []
    known = entry.version if entry else None
    conditions = (
        (Condition(None, match=False),)
        if known is None
        else (Condition((known,), match=True),)
    )
    graph = new or old
    assert graph is not None, "from nothing to nothing"
    key = schema_key(graph.graph_id)
    writes: list[Put | Delete] = [
        Put(key, spell_schema(new), "", conditions=conditions)
        if new is not None
        else Delete(key, conditions)
    ]
    left = remains(old, new) if old is not None else ()
    if left:
        version = graph.version + (new is None)
        note = sweep_key(graph.graph_id, version)
        writes.append(Put(note, spell_remains(left), ""))
    return [Group((), tuple(writes))]


def _read(entry: Entry) -> Graph:
    """Read the schema in an entry."""
    assert entry.value is not None, "listed with values"
    return read_schema(entry.value)


def _call() -> Call:
    """Make the circumstances of a deed of our own."""
    return Call("schemas", TIMEOUT_S)

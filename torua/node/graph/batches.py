"""Writes sections of an import: a batch is some rows of one shard, all or none.

The far ends of relationships are looked up first, many at once.  All else is said in
the conditions of the batch itself: the schema is the one that the rows were made with,
nodes are absent, nodes that relationships go from exist.  Where one does not hold, the
batch did nothing; its rows are looked up, and it is made again without those that are
in already, or are wrong.  So it does no harm to send a batch twice, and it is sent
again where nobody knows what became of it.
"""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from torua.codec.rows import Row, read_row, spell_row
from torua.core.graph.importing import REPLACE, SKIP, Bad, Batch, Wanted
from torua.core.graph.keys import edge_between, schema_check
from torua.core.graph.schema import (
    KEY_VALUE,
    KEY_VALUE_TABLE,
    Graph,
    NodeTable,
    RelTable,
    find_table,
)
from torua.core.ids import ShardId
from torua.core.kv import (
    Call,
    Check,
    Condition,
    Entry,
    Get,
    Group,
    Operation,
    Outcome,
    Put,
    Single,
)
from torua.core.reading import Token
from torua.core.retrying import pause_s
from torua.core.routing import shard_of
from torua.core.state import SlotRange
from torua.errors import (
    ConflictError,
    MovedError,
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    PreconditionError,
    StaleRouteError,
    TooLargeError,
    UnavailableError,
    UnprocessableError,
    from_wire,
)
from torua.node.dispatch import States
from torua.node.graph.drafting import ONE_SOURCE, ONE_TARGET
from torua.node.graph.ledger import Ledger
from torua.node.graph.sheet import Made, Section, value_of
from torua.node.threads import Worker

T = TypeVar("T")

BATCH_ROWS = 512
"""Long enough to share a record and its sync, short enough to hold up nobody."""

BATCH_BYTES = 1 << 20
"""Likewise."""

LOOK_KEYS = 1000
"""How many keys are looked up in one request."""

ENDS_KEPT = 200_000
"""How many far ends an import remembers; about 30 MB."""

RETRY_S = 60.0
"""How long a shard without a primary is waited for, far longer than a failover."""

ROUNDS_MAX = 10
"""How often a batch is made again because others write the same rows."""

_RETRIED = (UnavailableError, StaleRouteError, OutcomeUnknownError, OverloadedError)
_ABSENT = (Condition(None, match=False),)
_EXISTS = (Condition(None, match=True),)


class Store(Protocol):
    """What it needs of the router."""

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do operations at the primary of one shard; one outcome each.

        Args:
            shard: owns all their keys.
            operations: what to do.
            call: who asks.
        """

    async def bulk(
        self, operations: Sequence[Single], call: Call
    ) -> tuple[tuple[Outcome, ...], str]:
        """Do operations of any shards; one outcome each.

        Args:
            operations: what to do.
            call: who asks.
        """


class Schemas(Protocol):
    """Where the schema is found."""

    def graph(self, name: str) -> Graph:
        """Return a graph's schema; NotFoundError where there is none."""


class Item(NamedTuple):
    """A row, ready to be written.

    Attributes:
        made: the row.
        value: of its entry.
        version: at which it exists, and is replaced; None where it must be absent.
    """

    made: Made
    value: bytes
    version: int | None = None


class Batches:
    """Writes the sections of one import.

    Invariants: a batch that is refused did nothing; a row is written at most once; of
    a section of which the ledger refuses a row, nothing more is begun.

    Threading: the reactor's thread; rows are spelled on the worker's.
    """

    def __init__(  # noqa: PLR0913
        self,
        wanted: Wanted,
        ledger: Ledger,
        *,
        schemas: Schemas,
        states: States,
        store: Store,
        worker: Worker,
        clock: IReactorTime,
        random: Random,
        call: Call,
    ) -> None:
        """Prepare to write.

        Args:
            wanted: the import.
            ledger: keeps account.
            schemas: the graphs.
            states: the cluster state.
            store: the shards.
            worker: where rows are spelled.
            clock: the reactor.
            random: draws pauses.
            call: who asks; its time is for each request.
        """
        self._wanted = wanted
        self._ledger = ledger
        self._schemas = schemas
        self._states = states
        self._store = store
        self._worker = worker
        self._clock = clock
        self._random = random
        self._call = call
        self.graph = schemas.graph(wanted.graph)
        self.table = _table(self.graph, wanted.table)
        self._is_edges = isinstance(self.table, RelTable)
        self._one_target = _has_one_target(self.table)
        self._ends: dict[bytes, int] = {}

    async def write(self, section: Section) -> None:
        """Write a section; the ledger tells what of it is in.

        Raises:
            UnprocessableError: a row is bad that the ledger does not let be left out.
            ConflictError: the schema is another now, or others write the same rows.
            ToruaError: a shard can't be written for long.
        """
        self._ledger.bad(section.bad)
        rows = section.rows if self._is_edges else self._once_each(section.rows)
        borns: list[int] = []
        if self._is_edges:
            rows, borns = await self._with_ends(rows)
        slots = self._states.state.slots
        batches = await self._worker.run(lambda: _batches(rows, borns, slots))
        first = section.first
        writing: list[Deferred[None]] = []
        for shard, items in batches:
            if any(isinstance(each.result, Failure) for each in writing if each.called):
                break
            writing.append(Deferred.fromCoroutine(self._write(first, shard, items)))
            # To spell and judge a batch takes milliseconds: others come in between.
            await deferLater(self._clock, 0.0, lambda: None)
        await _all(writing)
        self._ledger.end(first)

    def _once_each(self, rows: list[Made]) -> list[Made]:
        """Leave one row of each key: the first, or the last where it replaces."""
        if self._wanted.on_duplicate == REPLACE:
            last = {made.key: made for made in rows}
            self._ledger.skipped += len(rows) - len(last)
            return list(last.values())
        first: dict[bytes, Made] = {}
        bad = []
        for made in rows:
            other = first.setdefault(made.key, made)
            if other is not made:
                bad.append(Bad(made.line, f"has the key of line {other.line}"))
        if self._wanted.on_duplicate == SKIP:
            self._ledger.skipped += len(bad)
        else:
            self._ledger.bad(bad)
        return list(first.values())

    async def _with_ends(self, rows: list[Made]) -> tuple[list[Made], list[int]]:
        """Find when the far ends were made; leave out the rows that have none."""
        wanted = dict.fromkeys(made.target for made in rows)
        missing = [key for key in wanted if key not in self._ends]
        found = {key: self._ends[key] for key in wanted if key in self._ends}
        for key, entry in (await self._look(missing)).items():
            found[key] = read_row(entry.value or b"").born or entry.version
        if len(self._ends) + len(found) > ENDS_KEPT:
            self._ends.clear()
        self._ends |= found
        well = [made for made in rows if made.target in found]
        self._ledger.bad(
            [_no_end(made, "to") for made in rows if made.target not in found]
        )
        return well, [found[made.target] for made in well]

    async def _look(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Look keys up; those that are absent are left out."""
        found: dict[bytes, Entry] = {}
        parts = [keys[at : at + LOOK_KEYS] for at in range(0, len(keys), LOOK_KEYS)]
        for part in parts:
            found |= await self._patiently(partial(self._look_once, part))
        return found

    async def _look_once(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Look some keys up in one request; large values in further ones."""
        gets = tuple(Get(key) for key in keys)
        outcomes, _ = await self._store.bulk(gets, self._call)
        found: dict[bytes, Entry] = {}
        later: list[bytes] = []
        for key, outcome in zip(keys, outcomes, strict=True):
            if outcome.error == TooLargeError.code and len(keys) > 1:
                later.append(key)
            elif outcome.error is not None:
                raise from_wire(outcome.error, outcome.detail, {})
            elif outcome.entry is not None:
                found[key] = outcome.entry
        half = (len(later) + 1) // 2
        for part in (later[:half], later[half:]):
            found |= await self._look_once(part) if part else {}
        return found

    async def _write(self, first: int, shard: ShardId, items: list[Item]) -> None:
        """Write one batch, whatever it takes."""
        if self._wanted.on_duplicate == REPLACE and not self._is_edges:
            items = await self._resolved(items)
        until_s, rounds = self._clock.seconds() + RETRY_S, 0
        while items:
            try:
                outcome = await self._act(shard, items)
            except MovedError:
                await self._write_anew(first, items)
                return
            if outcome.error is None:
                lines = [item.made.line for item in items]
                batch = Batch(shard, min(lines), max(lines), len(items))
                self._ledger.wrote(first, batch)
                return
            if outcome.error != PreconditionError.code:
                raise from_wire(outcome.error, outcome.detail, {"shard": shard})
            if outcome.which == 0:
                await self._follow_schema(until_s)
                continue
            before, rounds = len(items), rounds + 1
            items = await self._resolved(self._uncrowded(items, outcome))
            if len(items) == before and rounds >= ROUNDS_MAX:
                raise ConflictError("others write the same rows", shard=shard)

    async def _write_anew(self, first: int, items: Sequence[Item]) -> None:
        """Write a batch of which nothing was done, for some of it is another shard's.

        Args:
            first: the section's first line.
            items: the batch.
        """
        slots = self._states.state.slots
        parts: dict[ShardId, list[Item]] = {}
        for item in items:
            parts.setdefault(shard_of(slots, item.made.key), []).append(item)
        for shard, part in parts.items():
            await self._write(first, shard, part)

    def _uncrowded(self, items: list[Item], outcome: Outcome) -> list[Item]:
        """Leave out relationships of a node that may have only one, and has another.

        Args:
            items: a batch that was refused.
            outcome: why.
        """
        sources = _sources(items)
        at = (outcome.which or 0) - 1 - len(sources)
        if not (self._one_target and 0 <= at < len(sources)):
            return items
        mine = [item for item in items if item.made.source == sources[at]]
        # Of several the first may go in; one alone was refused for what is there.
        refused = mine[1:] if len(mine) > 1 else mine
        detail = f"from: {self.table.name} lets a node have one relationship only"
        self._ledger.bad([Bad(item.made.line, detail) for item in refused])
        return [item for item in items if item not in refused]

    async def _act(self, shard: ShardId, items: list[Item]) -> Outcome:
        """Send one batch to its shard, until it answers."""
        sources = _sources(items)
        checks = [Check(source, _EXISTS) for source in sources]
        if self._one_target:
            assert isinstance(self.table, RelTable), "nodes go from nowhere"
            prefixes = [edge_between(self.table, each, b"", b"") for each in sources]
            checks += [Check(prefix, most=1) for prefix in prefixes]
        group = Group(
            (schema_check(self.graph), *checks), tuple(_put(item) for item in items)
        )

        async def act() -> Outcome:
            """Send it once."""
            outcomes, _ = await self._store.act(shard, (group,), self._call)
            return outcomes[0]

        return await self._patiently(act)

    async def _follow_schema(self, until_s: float) -> None:
        """Go on with another schema, where that means the same for these rows."""
        graph = self._schemas.graph(self._wanted.graph)
        if self._clock.seconds() >= until_s:
            raise UnavailableError("a shard does not take up the schema")
        if graph.version == self.graph.version:
            # The shard has it not yet, or this node has not.
            await deferLater(self._clock, pause_s(4, self._random), lambda: None)
        elif _table(graph, self._wanted.table) != self.table:
            raise ConflictError(f"the table {self.table.name} was changed meanwhile")
        self.graph = graph

    async def _resolved(self, items: list[Item]) -> list[Item]:
        """Leave out of a batch what is in already, or is bad."""
        keys = [key for item in items for key in (item.made.key, item.made.source)]
        found = await self._look(list(dict.fromkeys(key for key in keys if key)))
        left: list[Item] = []
        bad: list[Bad] = []
        for item in items:
            made, entry = item.made, found.get(item.made.key)
            if made.source and made.source not in found:
                bad.append(_no_end(made, "from"))
            elif entry is None:
                left.append(item._replace(version=None))
            elif _is_same(made, entry):
                self._ledger.unchanged += 1
            elif self._is_edges:
                detail = "another relationship was imported under this import id"
                bad.append(Bad(made.line, detail))
            elif self._wanted.on_duplicate == SKIP:
                self._ledger.skipped += 1
            elif self._wanted.on_duplicate == REPLACE:
                left.append(_replacing(item, entry))
            else:
                bad.append(Bad(made.line, "there is a node with this key already"))
        self._ledger.bad(bad)
        return left

    async def _patiently(self, do: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do what may be done twice, again while its shard has no primary."""
        until_s = self._clock.seconds() + RETRY_S
        for attempt in count():
            try:
                return await do()
            except MovedError:
                raise
            except _RETRIED:
                if self._clock.seconds() >= until_s:
                    raise
            await deferLater(self._clock, pause_s(attempt, self._random), lambda: None)
        raise AssertionError("unreachable")


def _table(graph: Graph, name: str) -> NodeTable | RelTable:
    """Return the table to import to; ToruaErrors where there is none."""
    table = find_table(graph, name)
    if table is None:
        raise NotFoundError(f"the graph {graph.name} has no table {name}")
    if table.name == KEY_VALUE and table.table_id == KEY_VALUE_TABLE.table_id:
        raise UnprocessableError("keys and values are written by /kv and /bulk")
    return table


def _has_one_target(table: NodeTable | RelTable) -> bool:
    """Tell whether a node may have only one such relationship.

    Raises:
        UnprocessableError: only one may come to a node, which is looked up for each.
    """
    if isinstance(table, NodeTable):
        return False
    if table.multiplicity in ONE_SOURCE:
        raise UnprocessableError(
            f"{table.name} is {table.multiplicity}; such relationships are made by "
            "statements, not imported"
        )
    return table.multiplicity in ONE_TARGET


def _sources(items: Sequence[Item]) -> list[bytes]:
    """List the nodes that relationships of a batch go from, each once."""
    found = dict.fromkeys(item.made.source for item in items)
    return [source for source in found if source]


def _no_end(made: Made, which: str) -> Bad:
    """Say that a node is missing that a relationship goes to or from."""
    return Bad(made.line, f"{which}: there is no node with this key")


def _put(item: Item) -> Put:
    """Make the write of a row."""
    conditions = _ABSENT
    if item.version is not None:
        conditions = (Condition((item.version,), match=True),)
    return Put(item.made.key, item.value, "", None, conditions)


def _is_same(made: Made, entry: Entry) -> bool:
    """Tell whether an entry is what a row would make it."""
    cells = read_row(entry.value or b"").cells
    return spell_row(Row(0, cells)) == spell_row(Row(0, made.cells))


def _replacing(item: Item, entry: Entry) -> Item:
    """Have a row replace a node that is there, which stays the same node."""
    born = read_row(entry.value or b"").born or entry.version
    return Item(item.made, value_of(item.made, born), entry.version)


def _batches(
    rows: Sequence[Made], borns: Sequence[int], slots: tuple[SlotRange, ...]
) -> list[tuple[ShardId, list[Item]]]:
    """Spell rows, and share them out over shards and batches."""
    open_: dict[ShardId, tuple[list[Item], int]] = {}
    full: list[tuple[ShardId, list[Item]]] = []
    for index, made in enumerate(rows):
        item = Item(made, value_of(made, borns[index] if borns else 0))
        shard = shard_of(slots, made.key)
        items, size = open_.get(shard, ([], 0))
        items.append(item)
        size += len(item.value) + len(made.key)
        if len(items) >= BATCH_ROWS or size >= BATCH_BYTES:
            full.append((shard, items))
            items, size = [], 0
        open_[shard] = (items, size)
    return full + [(shard, items) for shard, (items, _) in open_.items() if items]


async def _all(running: Sequence[Deferred[None]]) -> None:
    """Wait until all have come to their ends, then raise the first error, if any."""
    for _, result in await DeferredList(running, consumeErrors=True):
        if isinstance(result, Failure):
            result.raiseException()

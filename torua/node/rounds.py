"""What one node asks of another to be written at once, and what comes of it.

In columns, for most writes are alike: puts that say nothing but a key, a value and its
type.  What is unusual stands aside, by its place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct
from twisted.internet.defer import Deferred

from torua.codec.plain import plain
from torua.core.ids import ShardId
from torua.core.kv import Delete, IdempotencyKey, Outcome, Put
from torua.core.reading import Position
from torua.errors import ProtocolError, ToruaError, from_wire
from torua.node.errands import Done

TOGETHER_MAX = 256
"""So many writes go in one message: spelled, read and judged in some milliseconds."""

BYTES_MAX = 1 << 20
"""So many bytes of values do; a message takes some milliseconds of each node."""

Write = Put | Delete

Told = Done | ToruaError | None
"""What whoever waits is told: None where nothing was begun."""

Outcomes = tuple[Outcome, ...]

Tell = Callable[[Sequence[int], Outcomes | ToruaError], None]
"""Is told of some writes, by their places: an outcome each, or why there are none."""

Asked = tuple[ShardId, Write, IdempotencyKey | None]
"""A write: of which shard, what, and its caller's promise."""

Run = tuple[ShardId, IdempotencyKey | None, list[int], list[Write]]
"""Writes of one shard that are one batch, and the promise of the caller of one."""

_Many = Meta(max_length=TOGETHER_MAX)


class Wanted(Struct, frozen=True, array_like=True):
    """What is asked of a node: writes, each by itself, those of one shard in order.

    Attributes:
        number: by which parts of the answer are told.
        routing_version: of the state by which the primaries were found.
        slots_version: of the slot table by which the keys are the shards'.
        shards: of each write.
        keys: of each.
        values: of each put.
        types: of each put; one, where they are the same.
        unusual: what is no put, or one that says more, by its place.
        promises: of those whose callers made one, by their place.
    """

    number: int
    routing_version: int
    slots_version: int
    shards: Annotated[list[ShardId], _Many]
    keys: Annotated[list[bytes], _Many]
    values: Annotated[list[bytes], _Many]
    types: Annotated[list[str], _Many]
    unusual: dict[int, Write]
    promises: dict[int, IdempotencyKey]


def runs_of(asked: Iterable[Asked]) -> Iterator[Run]:
    """Put together what can be one batch, those of one shard in order.

    What is done as one is counted, timed and told once, and stands in one record, where
    each key is another.  Who made a promise is by himself, for that is kept with his
    record; and so is who made conditions: what certainly changed nothing may be asked
    again, where what becomes of a batch is unknown.

    Args:
        asked: writes, each at its place.
    """
    runs: dict[ShardId, Run] = {}
    for place, (shard, write, promise) in enumerate(asked):
        run = runs.get(shard)
        if promise is not None or write.conditions:
            if run is not None:
                yield runs.pop(shard)
            yield shard, promise, [place], [write]
        elif run is None:
            runs[shard] = shard, None, [place], [write]
        else:
            run[2].append(place)
            run[3].append(write)
    yield from runs.values()


def writes_of(wanted: Wanted) -> list[Write]:
    """Return the writes that are asked for; ProtocolError where columns differ."""
    shards, keys, values = wanted.shards, wanted.keys, wanted.values
    types = wanted.types * len(keys) if len(wanted.types) == 1 else wanted.types
    if not len(shards) == len(keys) == len(values) == len(types):
        raise ProtocolError("columns of writes differ in length")
    writes: list[Write] = list(map(Put, keys, values, types))
    for place, write in wanted.unusual.items():
        if not 0 <= place < len(writes):
            raise ProtocolError("a write has no place")
        writes[place] = write
    return writes


def size_of(write: Write) -> int:
    """Tell how many bytes of a value a write brings."""
    return len(write.value) if isinstance(write, Put) else 0


class Problem(Struct, frozen=True, array_like=True):
    """Why a write was not done, as a `ToruaError` is spelled."""

    code: str
    detail: str
    members: dict[str, object]


class Given(Struct, frozen=True, array_like=True):
    """What became of writes.

    Attributes:
        at: where each shard stands, behind all that is shown of it.
        versions: the keys' versions after each, in order, where nothing else is said.
        others: what became of it where that is more than a version, by place.
        problems: why one was refused, by place.
    """

    at: dict[ShardId, Position | None]
    versions: Annotated[list[int | None], _Many]
    others: dict[int, Outcome]
    problems: dict[int, Problem]

    def teller(self, shards: Sequence[ShardId]) -> Callable[[int], Told]:
        """Return what tells by place what became of a write.

        Args:
            shards: of each of the writes.
        """

        def tell(place: int) -> Told:
            """Tell of one."""
            problem = self.problems.get(place) if self.problems else None
            if problem is not None:
                return from_wire(problem.code, problem.detail, problem.members)
            outcome = self.others.get(place) if self.others else None
            if outcome is None:
                outcome = Outcome(self.versions[place])
            return Done((outcome,), self.at.get(shards[place]))

        return tell


class Part(Struct, frozen=True, array_like=True):
    """A part of an answer, before all of it is there.

    Attributes:
        number: of what was asked.
        places: which writes it tells of.
        given: about them; what it says of others is nothing.
    """

    number: int
    places: Annotated[list[Annotated[int, Meta(ge=0)]], _Many]
    given: Given


class Bundle:
    """Writes that are asked of one node together.

    Invariants: each that is asked has its place in ``waiting``; whoever waits is told
    once.

    Attributes:
        asked: what to do, in order.
        due_s: when whoever waits gives up.
        leaders: who led each shard when it was sent.
        size: of all values, in bytes.
        waiting: who waits, by place; None where he was told.
    """

    __slots__ = ("asked", "due_s", "leaders", "size", "waiting")

    def __init__(self) -> None:
        """Begin with none."""
        self.asked: list[Asked] = []
        self.due_s = 0.0
        self.leaders: dict[ShardId, object] = {}
        self.size = 0
        self.waiting: list[Deferred[Told] | None] = []

    @property
    def shards(self) -> list[ShardId]:
        """Of each write."""
        return [shard for shard, _, _ in self.asked]

    @property
    def promises(self) -> dict[int, IdempotencyKey]:
        """Of those whose callers made one, by their place."""
        promises = ((place, each[2]) for place, each in enumerate(self.asked))
        return {place: promise for place, promise in promises if promise is not None}

    def add(self, asked: Asked) -> "Deferred[Told]":
        """Take one more."""
        waiting: Deferred[Told] = Deferred()
        self.asked.append(asked)
        self.size += size_of(asked[1])
        self.waiting.append(waiting)
        return waiting

    def wanted(self, number: int, routing_version: int, slots_version: int) -> Wanted:
        """Return what asks for all of it.

        Args:
            number: by which it is told of.
            routing_version: by which it is sent.
            slots_version: likewise.
        """
        keys: list[bytes] = []
        values: list[bytes] = []
        types: list[str] = []
        unusual: dict[int, Write] = {}
        for place, (_, write, _) in enumerate(self.asked):
            keys.append(write.key)
            if isinstance(write, Put) and write.ttl_s is None and not write.conditions:
                values.append(write.value)
                types.append(write.content_type)
            else:
                unusual[place] = write
                values.append(b"")
                types.append("")
        return Wanted(
            number,
            routing_version,
            slots_version,
            self.shards,
            keys,
            values,
            types[:1] if len(set(types)) == 1 else types,
            unusual,
            self.promises,
        )

    def settle(
        self, tell: Callable[[int], Told], among: Sequence[int] | None = None
    ) -> None:
        """Tell who waits.

        Args:
            tell: makes of a place what is told there.
            among: which places; None for all.
        """
        places = range(len(self.waiting)) if among is None else among
        for place in places:
            waiting, self.waiting[place] = self.waiting[place], None
            if waiting is not None:
                waiting.callback(tell(place))


class Round:
    """Writes that another node asked for, while they are done.

    Invariants: ``done`` fires once, with the whole answer, when all are told of.
    """

    def __init__(
        self,
        shards: Sequence[ShardId],
        position: Callable[[ShardId], Position | None],
    ) -> None:
        """Begin with nothing done.

        Args:
            shards: of each write.
            position: tells where a shard stands.
        """
        self.done: Deferred[object] = Deferred()
        self._shards = shards
        self._position = position
        self._found: list[Outcome | ToruaError | None] = [None] * len(shards)
        self._left = len(shards)
        self._told: set[int] = set()

    def tell(self, places: Sequence[int], found: Outcomes | ToruaError) -> None:
        """Hear what became of some; see `Tell`.

        Args:
            places: which.
            found: an outcome each, or why there are none.
        """
        each: Sequence[Outcome | ToruaError] = (
            [found] * len(places) if isinstance(found, ToruaError) else found
        )
        for place, one in zip(places, each, strict=True):
            assert self._found[place] is None, "told twice"
            self._found[place] = one
        self._left -= len(places)
        if not self._left:
            self.done.callback(plain(self.given(range(len(self._found)))))

    def fresh(self) -> list[int]:
        """List what is done and was not listed before."""
        done = (place for place, found in enumerate(self._found) if found is not None)
        places = [place for place in done if place not in self._told]
        self._told.update(places)
        return places

    def given(self, places: Sequence[int]) -> Given:
        """Return what became of some.

        Args:
            places: which; all of them are done.
        """
        versions: list[int | None] = [None] * len(self._found)
        others: dict[int, Outcome] = {}
        problems: dict[int, Problem] = {}
        for place in places:
            found = self._found[place]
            if isinstance(found, ToruaError):
                problems[place] = Problem(found.code, found.detail, dict(found.members))
                continue
            assert found is not None, "not done"
            versions[place] = found.version
            if found.error is not None or found != Outcome(found.version):
                others[place] = found
        shards = dict.fromkeys(self._shards[place] for place in places)
        return Given({s: self._position(s) for s in shards}, versions, others, problems)

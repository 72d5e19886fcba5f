"""Bundles sent to their shards as groups, and what became of them put together.

Groups of one shard go one after the other, those of different shards at once.  A
relationship to a node that the same statement makes on another shard, or in another
group, waits for that to be made, for it says at which version.

Where slots moved before a group was begun, it goes to the shard that owns all of it
now, under the same promise; where several do, what is left is grouped anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain

from msgspec import Struct, structs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua.codec.plain import spell
from torua.core.graph.changes import Changed
from torua.core.graph.keys import schema_check
from torua.core.graph.schema import Graph, Placement
from torua.core.ids import ShardId
from torua.core.kv import Call, Group, IdempotencyKey, Outcome, keys_of
from torua.core.reading import Token, spell_tokens
from torua.core.splitting.moving import is_own
from torua.errors import (
    ConflictError,
    MovedError,
    OutcomeUnknownError,
    PreconditionError,
    StaleSchemaError,
    TooLargeError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.node.graph.bundles import (
    Again,
    Bundle,
    Demand,
    Packed,
    Pin,
    Why,
    batches,
    fits,
    pack,
    total,
)
from torua.node.graph.lookup import Store, together

SCHEMA_PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""How long a shard is waited for that has not heard of a schema yet."""

ROUTES_MAX = 3
"""How often a statement's groups are made, where slots move while they are sent."""

WRITE_S_MAX = 60.0
"""How long after its rows were looked up a statement may still write; a grave stands
for longer (`torua.node.graph.graves`)."""


class LookAgainError(ConflictError):
    """What was looked up on the way has changed, and nothing was done."""

    code = "look-again"


class Part(Struct, frozen=True):
    """What became of one shard's groups.

    Attributes:
        shard: which.
        done: the groups that were done, each with the version that it made.
        token: a place behind them.
        failure: why the next one was not done, or is not known to be.
        left: what is to be done elsewhere, where slots moved; nothing of it was begun.
    """

    shard: ShardId
    done: tuple[tuple[Packed, int], ...]
    token: Token | None
    failure: ToruaError | None = None
    left: tuple[Bundle, ...] = ()


class Sending(Struct, frozen=True):
    """The circumstances of one statement's groups.

    Attributes:
        graph: the schema that they were planned with.
        call: who asks.
        demand: what must hold besides, of a statement that is one group.
        until_s: when its time is up, by the reactor's clock; None: `WRITE_S_MAX` from
            when it is sent.
    """

    graph: Graph
    call: Call
    demand: Demand | None = None
    until_s: float | None = None

    @property
    def pins(self) -> tuple[Pin, ...]:
        """What each group checks first."""
        why = Why("the schema was changed meanwhile", Again.SCHEMA)
        schema = Pin(schema_check(self.graph), why)
        return (schema,) if self.demand is None else (schema, self.demand.pin)

    def promised(self, group: Group, attempt: int, left_s: float) -> Call:
        """Return the call for one group; each has a promise of its own.

        So a statement that is run anew is judged anew where it comes to another group,
        and answered as before where it comes to the same.

        Args:
            group: what is to be done.
            attempt: how often it was refused for want of a schema.
            left_s: how long it may take.
        """
        call = Call(
            self.call.request_id,
            left_s,
            traceparent=self.call.traceparent,
        )
        promise = self.call.idempotency
        if promise is None:
            return call
        if self.demand is not None:
            place = f"#{next(self.demand.numbers)}"
        else:
            digest = blake2b(spell(group), digest_size=16).hexdigest()
            place = f"{digest}.{attempt}"
        key = f"{promise.key}\n{place}"
        return structs.replace(
            call, idempotency=IdempotencyKey(key, promise.fingerprint)
        )


class Sender:
    """Sends bundles.

    Invariants: a group is sent again only where it certainly was not done; nothing is
    sent that rests on what failed.

    Threading: the reactor's thread.
    """

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        """Send to ``store``.

        Args:
            store: the shards.
            clock: the reactor.
        """
        self._store = store
        self._clock = clock

    async def send(self, sending: Sending, bundles: Sequence[Bundle]) -> Changed:
        """Do bundles, and tell what became of them.

        Args:
            sending: the circumstances.
            bundles: in the order in which those of one shard are to be done.

        Raises:
            TooLargeError: they are too many for a graph whose statements are atomic.
            ConflictError: nothing was done: a check failed.
            LookAgainError: likewise, and the writer can mend it.
            ToruaError: as the only shard refused it; nothing was done, or that is not
                known.
        """
        if sending.until_s is None:
            until_s = self._clock.seconds() + self.allowed_s(sending.call)
            sending = structs.replace(sending, until_s=until_s)
        single = sending.graph.placement is Placement.SINGLE
        if single and not all(map(fits, by_shard(bundles).values())):
            raise TooLargeError(
                "too much for one statement in a graph of one shard: do it in parts"
            )
        births: dict[bytes, int] = {}
        parts: list[Part] = []
        for _ in range(ROUTES_MAX):
            found, left = await self._all(sending, bundles, births)
            if not left:
                return _verdict(parts + found)
            parts += [structs.replace(each, failure=None) for each in found]
            bundles = [self._routed(each) for each in left]
        return _verdict(parts + found)

    async def _all(
        self, sending: Sending, bundles: Sequence[Bundle], births: dict[bytes, int]
    ) -> tuple[list[Part], list[Bundle]]:
        """Do bundles by their shards; tell which are to be done elsewhere."""
        parts: list[Part] = []
        todo = phases(bundles)
        while todo and not any(part.failure for part in parts):
            parts += await self._phase(sending, todo.pop(0), births)
        if not all(part.left for part in parts if part.failure):
            return parts, []
        left = [each for part in parts for each in part.left]
        late = [each for phase in todo for held in phase.values() for each in held]
        return parts, left + late

    def _routed(self, bundle: Bundle) -> Bundle:
        """Send a bundle to where its rows are by the slot table of now."""
        shard = self._store.shard_of_key(bundle.writes[0].key)
        return structs.replace(bundle, shard=shard)

    @staticmethod
    def allowed_s(call: Call) -> float:
        """Return how long a statement may take to write what it looked up."""
        return min(call.timeout_s, WRITE_S_MAX)

    async def _phase(
        self,
        sending: Sending,
        phase: Mapping[ShardId, Sequence[Bundle]],
        births: dict[bytes, int],
    ) -> list[Part]:
        """Do all groups that rest only on what was done before."""
        found = await together(
            [self._shard(sending, each, dict(births)) for each in phase.values()]
        )
        for part in found:
            for packed, version in part.done:
                births.update(dict.fromkeys(packed.makes, version))
        return found

    async def _shard(
        self,
        sending: Sending,
        bundles: Sequence[Bundle],
        births: dict[bytes, int],
    ) -> Part:
        """Do one shard's groups of a phase, up to the first that fails."""
        part = Part(bundles[0].shard, (), None)
        todo = list(batches(bundles))
        for number, batch in enumerate(todo):
            packed = pack(sending.pins, batch, births)
            try:
                version, token = await self._group(sending, packed)
            except MovedError as error:
                left = tuple(chain.from_iterable(todo[number:]))
                return structs.replace(part, failure=error, left=left)
            except ToruaError as error:
                return structs.replace(part, failure=error)
            done = (*part.done, (packed, version))
            part = structs.replace(part, done=done, token=token or part.token)
        return part

    async def _group(
        self, sending: Sending, packed: Packed
    ) -> tuple[int, Token | None]:
        """Do one group; wait for a schema that its shard has not got yet."""
        for again in range(len(SCHEMA_PAUSES_S) + 1):
            left_s = (sending.until_s or 0.0) - self._clock.seconds()
            if left_s <= 0:
                raise UnavailableError("there was no time left for it")
            call = sending.promised(packed.group, again, left_s)
            outcomes, token = await self._act(packed, call)
            (outcome,) = outcomes
            if outcome.error is None:
                return outcome.version or 0, token
            error, why = refusal(outcome, packed)
            if why is not Again.SCHEMA or again == len(SCHEMA_PAUSES_S):
                raise error
            await deferLater(self._clock, SCHEMA_PAUSES_S[again])
        raise AssertionError("the last attempt raises")

    async def _act(
        self, packed: Packed, call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Have a group done by its shard, or by that which owns all of it by now."""
        try:
            return await self._store.act(packed.shard, (packed.group,), call)
        except MovedError:
            keys = (key for key in keys_of(packed.group) if not is_own(key))
            owners = {self._store.shard_of_key(key) for key in keys}
            if len(owners) != 1:
                raise
            return await self._store.act(owners.pop(), (packed.group,), call)


def refusal(outcome: Outcome, packed: Packed) -> tuple[ToruaError, Again | None]:
    """Say why a group was refused, and who can mend it.

    Args:
        outcome: of the group.
        packed: the group.
    """
    members: dict[str, object] = {"shard": packed.shard}
    if outcome.error != PreconditionError.code or outcome.which is None:
        return from_wire(outcome.error or "", outcome.detail, members), None
    if outcome.which >= len(packed.whys):
        # What was promised before was refused then, as a longer group.
        return LookAgainError("it was refused before"), Again.LOOK
    why = packed.whys[outcome.which]
    kinds: dict[Again, Callable[[str], ToruaError]] = {
        Again.ROW: ConflictError,
        Again.LOOK: LookAgainError,
        Again.SCHEMA: StaleSchemaError,
        Again.DEMAND: PreconditionError,
    }
    return kinds[why.again](why.what), why.again


def by_shard(bundles: Iterable[Bundle]) -> dict[ShardId, list[Bundle]]:
    """Share bundles out over their shards, in order."""
    shards: dict[ShardId, list[Bundle]] = {}
    for bundle in bundles:
        shards.setdefault(bundle.shard, []).append(bundle)
    return shards


def phases(bundles: Iterable[Bundle]) -> list[dict[ShardId, list[Bundle]]]:
    """Tell what can be done at once, and what rests on that; all by shard, in order.

    Args:
        bundles: in the order in which those of one shard are to be done.
    """
    shards = by_shard(bundles)
    first: dict[ShardId, list[Bundle]] = {}
    late: dict[ShardId, list[Bundle]] = {}
    for shard, held in shards.items():
        made = {key for each in held for key in each.makes} if fits(held) else set()
        for each in held:
            now = made.issuperset(each.ends)
            (first if now else late).setdefault(shard, []).append(each)
    return [phase for phase in (first, late) if phase]


def _verdict(parts: Sequence[Part]) -> Changed:
    """Put together what became of all parts, or raise why nothing was done."""
    done = [packed.counts for part in parts for packed, _ in part.done]
    version = max((each for part in parts for _, each in part.done), default=None)
    failed = [part for part in parts if part.failure is not None]
    if failed and not done:
        raise _worst([part.failure for part in failed if part.failure])
    tokens: dict[ShardId, Token] = {}
    for part in parts:
        if part.token is not None:
            tokens[part.token.shard] = part.token
    return structs.replace(
        total(done),
        version=version if len(done) == 1 else None,
        atomic=len(done) + len(failed) <= 1,
        parts=tuple(_said(part) for part in failed),
        tokens=spell_tokens(tokens[shard] for shard in sorted(tokens)),
    )


def _said(part: Part) -> str:
    """Say what was refused."""
    error = part.failure
    assert error is not None, "a part that failed"
    return f"shard {part.shard}: {error.code}: {error.detail}"


def _worst(errors: Sequence[ToruaError]) -> ToruaError:
    """Choose what the caller is told where nothing is known to be done."""
    for kind in (OutcomeUnknownError, StaleSchemaError, LookAgainError):
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0]

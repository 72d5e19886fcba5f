"""Changes of graphs written: looked up, checked, bundled by shard, and sent.

    changes ── want ── look up ── compare ── bundles ── groups, one record each
                          ▲                                │ a check failed
                          └────────────────────────────────┘

What a change rests on is looked up at the primaries first, so that most conflicts are
told before anything is written; the groups then check the same again, in the moment in
which they are done.  Everything of one shard is one group, and atomic, up to the bounds
of `torua.node.graph.bundles`.  Several shards are not atomic together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b

from twisted.internet.interfaces import IReactorTime

from torua.core.cypher.plan import FastWrites
from torua.core.graph.changes import Change, Changed
from torua.core.graph.schema import Graph, Placement
from torua.core.kv import Call
from torua.errors import ConflictError, MovedError, ToruaError
from torua.node.graph.bundles import Bundle, Demand
from torua.node.graph.drafting import Draft, Found, compare, second
from torua.node.graph.fast import FastPath
from torua.node.graph.lookup import Lookup, Store, together
from torua.node.graph.removal import Finder, Incoming, Removal, still_related
from torua.node.graph.sending import LookAgainError, Sender, Sending
from torua.node.graph.wanted import Wanted, WantedNode, want

ATTEMPTS_MAX = 5
"""How often what the writer looks up by itself may change before it gives up."""

EDGE_ID_BYTES = 16

REMOVALS_AT_ONCE = 100
"""So many nodes are looked at at once for what goes from them."""


class Writes:
    """Writes changes.

    Invariants: a row is written only as it was read, or not at all; a relationship is
    made only where both of its nodes are; what an answer counts was done.

    Threading: the reactor's thread.
    """

    def __init__(
        self,
        store: Store,
        finder: Finder,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
    ) -> None:
        """Write to ``store``.

        Args:
            store: the shards.
            finder: finds the relationships that come to nodes.
            clock: the reactor.
            entropy: makes random bytes, for ids of relationships.
        """
        self._clock = clock
        self._store = store
        self._lookup = Lookup(store)
        self._removal = Removal(store, finder)
        self._sender = Sender(store, clock)
        self._fast = FastPath(self._lookup, clock)
        self._entropy = entropy

    async def apply(
        self,
        graph: Graph,
        changes: Sequence[Change],
        call: Call,
        known: Found | None = None,
        demand: Demand | None = None,
    ) -> Changed:
        """Write the changes of a statement.

        Args:
            graph: the schema that they were made with.
            changes: each node and relationship once.
            call: who asks, and how long it waits.
            known: rows that were looked up by key just now.
            demand: what must hold besides, where there is one change.

        Returns:
            What was done.  Where several shards take part, some may have refused:
            `Changed.parts` names them, and the rest holds.

        Raises:
            ConflictError: nothing was done: a row is not as it was read, or what is to
                be deleted has relationships.
            StaleSchemaError: nothing was done: the schema was changed.
            UnprocessableError, NotFoundError, TooLargeError: nothing was done.
            PreconditionError: nothing was done: what was demanded does not hold.
            OutcomeUnknownError: it may or may not have been done.
        """
        if not changes:
            return Changed()
        wanted = want(graph, changes, self._ids(call))
        until_s = self._clock.seconds() + Sender.allowed_s(call)
        sending = Sending(graph, call, demand, until_s)
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._attempt(sending, wanted, known or {})
            except (LookAgainError, MovedError) as error:
                known, last = None, error
        if isinstance(last, MovedError):
            raise last
        raise ConflictError(last.detail)

    async def fast(
        self,
        graph: Graph,
        writes: FastWrites,
        parameters: Mapping[str, object],
        call: Call,
    ) -> Changed:
        """Write what a statement says that names all it touches by keys.

        Args:
            graph: the schema that it was planned with.
            writes: what to do.
            parameters: of the statement.
            call: who asks, and how long it waits.

        Raises:
            ToruaError: as `apply`.
        """
        changes, found = await self._fast.changes(graph, writes, parameters, call)
        return await self.apply(graph, changes, call, found)

    async def _attempt(self, sending: Sending, wanted: Wanted, known: Found) -> Changed:
        """Look up, compare, bundle and send, once."""
        graph, call = sending.graph, sending.call
        missing = [each for each in wanted.rests_on() if each[0] not in known]
        found = {**known, **await self._lookup.rows(missing, call)}
        compare(wanted, found, promised=call.idempotency is not None)
        draft = Draft(graph, self._store.shard_of_key, wanted, found)
        gone = [node for node in wanted.nodes.values() if node.cells is None]
        coming = await self._coming(graph, gone, wanted, found, call)
        bundles = [
            *draft.nodes(),
            *draft.edges(),
            *await self._unique(draft, call),
            *await self._removals(graph, gone, wanted, found, call),
            *coming,
        ]
        changed = await self._sender.send(sending, bundles)
        return await self._swept(sending, gone, found, changed)

    def _ids(self, call: Call) -> Callable[[int], bytes]:
        """Return what makes ids of relationships; the same ones for a retry."""
        promise = call.idempotency
        if promise is None:
            return lambda _: self._entropy(EDGE_ID_BYTES)
        key = promise.key.encode()

        def derived(index: int) -> bytes:
            """Derive an id from the promise."""
            digest = blake2b(key, digest_size=EDGE_ID_BYTES)
            digest.update(index.to_bytes(4))
            return digest.digest()

        return derived

    async def _unique(self, draft: Draft, call: Call) -> list[Bundle]:
        """See to it that nodes have no second relationship come to them."""
        for edge in draft.uniques():
            table, pk = edge.target
            stand = WantedNode(edge.target_key, table, pk, None, None, False)
            for each in await self._removal.incoming(draft.graph, (stand,), call):
                other = draft.wanted.edges.get(each.key(draft.graph))
                if each.rel == edge.rel and (other is None or other.cells is not None):
                    raise second(edge)
        return draft.touches()

    async def _coming(
        self,
        graph: Graph,
        gone: Sequence[WantedNode],
        wanted: Wanted,
        found: Found,
        call: Call,
    ) -> list[Bundle]:
        """Look for what comes to deleted nodes, before they are.

        Where they are not to be detached there must be none.  In a graph of one shard
        it goes in the same group.
        """
        single = graph.placement is Placement.SINGLE
        looked = [node for node in gone if single or not node.detach]
        if not looked:
            return []
        coming = await self._removal.incoming(graph, looked, call)
        coming = _alive(graph, coming, found, wanted)
        kept = {node.key: node for node in looked if not node.detach}
        for each in coming:
            node = kept.get(each.target_key(graph))
            if node is not None:
                raise still_related(node, "relationships come to it")
        sources = {node.key for node in gone}
        others = [each for each in coming if each.source_key(graph) not in sources]
        return self._removal.detached(graph, others)

    async def _removals(
        self,
        graph: Graph,
        gone: Sequence[WantedNode],
        wanted: Wanted,
        found: Found,
        call: Call,
    ) -> list[Bundle]:
        """Bundle the nodes that are deleted with what goes from them."""
        bundles: list[Bundle] = []
        for start in range(0, len(gone), REMOVALS_AT_ONCE):
            parts = []
            for node in gone[start : start + REMOVALS_AT_ONCE]:
                stands = found[node.key]
                assert stands is not None, "compared"
                parts.append(self._removal.bundle(graph, node, stands, wanted, call))
            bundles += await together(parts)
        return bundles

    async def _swept(
        self,
        sending: Sending,
        gone: Sequence[WantedNode],
        found: Found,
        changed: Changed,
    ) -> Changed:
        """Remove what still comes to deleted nodes; what can't be is left to graves."""
        detached = [node for node in gone if node.detach]
        if not detached or changed.parts:
            return changed
        try:
            return await self._sweep(sending, detached, found, changed)
        except ToruaError:
            return changed

    async def _sweep(
        self,
        sending: Sending,
        gone: Sequence[WantedNode],
        found: Found,
        changed: Changed,
    ) -> Changed:
        """Remove what still comes to deleted nodes."""
        graph, call = sending.graph, sending.call
        coming = await self._removal.incoming(graph, gone, call)
        coming = _alive(graph, coming, found, Wanted({}, {}))
        bundles = self._removal.detached(graph, coming)
        if not bundles:
            return changed
        return added(changed, await self._sender.send(sending, bundles))


def added(changed: Changed, more: Changed) -> Changed:
    """Add what was removed afterwards to what was done.

    Args:
        changed: what was done.
        more: what was done then.
    """
    return Changed(
        nodes_created=changed.nodes_created,
        nodes_deleted=changed.nodes_deleted,
        nodes_updated=changed.nodes_updated,
        edges_created=changed.edges_created,
        edges_deleted=changed.edges_deleted + more.edges_deleted,
        edges_updated=changed.edges_updated,
        atomic=False,
        parts=changed.parts,
        tokens=",".join(filter(None, (changed.tokens, more.tokens))),
    )


def _alive(
    graph: Graph, coming: Iterable[Incoming], found: Found, wanted: Wanted
) -> list[Incoming]:
    """Leave out what came to another life of a node, or is deleted anyway."""
    alive = []
    for each in coming:
        stands = found.get(each.target_key(graph))
        other = wanted.edges.get(each.key(graph))
        deleted = other is not None and other.cells is None
        if stands is not None and stands.born == each.born and not deleted:
            alive.append(each)
    return alive

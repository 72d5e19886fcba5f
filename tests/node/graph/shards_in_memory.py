"""Shards in memory, with versions, conditions and groups, that fail as a test says."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, maybeDeferred

from torua.core.graph.keys import schema_key
from torua.core.graph.schema import Graph
from torua.core.ids import ShardId
from torua.core.kv import Call, Check, Entry, Get, Group, Operation, Outcome, Put
from torua.core.reading import Token
from torua.core.routing import even_slots, shard_of
from torua.core.state import ClusterState
from torua.errors import PreconditionError, ToruaError


class Now:
    """A worker that does each job at once.

    Invariants: none.
    """

    def run(self, job: Callable[[], object]) -> "Deferred[object]":
        """Do it."""
        return maybeDeferred(job)


class ShardsInMemory:
    """Takes groups and look-ups, as the router does.

    Invariants: a group does all or nothing; versions rise.
    """

    def __init__(self, graph: Graph, shards: int = 4) -> None:
        """Begin with a schema and no rows."""
        self.of_graph = graph
        self.state = ClusterState(slots=even_slots(shards))
        self.entries: dict[bytes, Entry] = {}
        self.version = 0
        self.groups: list[tuple[ShardId, Group]] = []
        self.before: list[ToruaError] = []
        self.after: list[ToruaError] = []
        self.gate: Deferred[None] | None = None
        self.set_schema(graph)

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Tell of no other state: there is none."""

    def graph(self, name: str) -> Graph:
        """Return the schema."""
        return self.of_graph

    def set_schema(self, graph: Graph) -> None:
        """Have all shards know a schema."""
        self.of_graph = graph
        spelled = graph.version.to_bytes(8)
        self.put(schema_key(graph.graph_id), spelled)

    def put(self, key: bytes, value: bytes) -> int:
        """Write an entry, whatever there is.

        Args:
            key: its key.
            value: its value.
        """
        self.version += 1
        self.entries[key] = Entry(key, self.version, len(value), "", value)
        return self.version

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do one group.

        Args:
            shard: must own all its keys.
            operations: the group.
            call: who asks.
        """
        if self.gate is not None:
            await self.gate
        if self.before:
            raise self.before.pop(0)
        (group,) = operations
        assert isinstance(group, Group)
        outcome = self._group(shard, group)
        if self.after:
            raise self.after.pop(0)
        return (outcome,), None

    async def bulk(
        self, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], str]:
        """Look keys up.

        Args:
            operations: reads.
            call: who asks.
        """
        found = []
        for operation in operations:
            assert isinstance(operation, Get)
            entry = self.entries.get(operation.key)
            found.append(Outcome(entry.version if entry else None, entry))
        return tuple(found), ""

    def _group(self, shard: ShardId, group: Group) -> Outcome:
        """Do all of a group, or nothing."""
        for which, each in enumerate((*group.checks, *group.writes)):
            if isinstance(each, Check) and each.most is not None:
                keys = {*self.entries, *(write.key for write in group.writes)}
                if sum(key.startswith(each.key) for key in keys) > each.most:
                    code = PreconditionError.code
                    return Outcome(error=code, detail="too many", which=which)
                continue
            if not (isinstance(each, Check) and each.begins is not None):
                assert shard_of(self.state.slots, each.key) == shard
            if not self._holds(each):
                code = PreconditionError.code
                return Outcome(error=code, detail="it does not hold", which=which)
        self.groups.append((shard, group))
        for write in group.writes:
            assert isinstance(write, Put)
            self.put(write.key, write.value)
        return Outcome(self.version)

    def _holds(self, each: object) -> bool:
        """Tell whether all conditions of a check or a write hold."""
        assert isinstance(each, Check | Put)
        entry = self.entries.get(each.key)
        version = entry.version if entry else None
        if isinstance(each, Check) and each.begins is not None:
            value = entry.value if entry else None
            if value is None or not value.startswith(each.begins):
                return False
        return all(condition.holds(version) for condition in each.conditions)

"""Each shard that is led here has the schemas, and what they left behind goes."""

from collections.abc import Sequence

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.core.replication.desk import Desk
from tests.node.fakes import ONE, TWO, States, state_of
from torua.codec.rows import Row, read_schema, spell_row
from torua.core.graph.ddl import define, parse_ddl
from torua.core.graph.keys import (
    SWEEPS,
    edge_key,
    grave_key,
    is_graph_key,
    node_key,
    schema_check,
    schema_key,
)
from torua.core.graph.schema import MAIN, MAIN_GRAPH, Graph, node_table, rel_table
from torua.core.ids import ShardId
from torua.core.kv import Call, Group, Operation, Outcome, Page, Put
from torua.core.state import ClusterState
from torua.errors import UnavailableError
from torua.node.graph.keeper import LOOK_S, SWEEP_KEYS, Keeper

SHARD = ShardId(0)
CALL = Call("r1")


def defined(graph: Graph, *texts: str) -> Graph:
    """Return a graph after some definitions."""
    for text in texts:
        ddl = parse_ddl(text)
        assert ddl is not None
        graph = define(graph, ddl)
    return graph


PEOPLE = defined(
    MAIN_GRAPH,
    "CREATE NODE TABLE Person(id INT64 PRIMARY KEY)",
    "CREATE NODE TABLE City(id INT64 PRIMARY KEY)",
    "CREATE REL TABLE Knows(FROM Person TO Person, FROM Person TO City)",
    "CREATE REL TABLE Likes(FROM Person TO Person)",
)


class Primaries:
    """Shards judged by the machine itself, on a desk each.

    Invariants: whatever was answered is applied.
    """

    def __init__(self) -> None:
        """Lead shards 0 and 1."""
        self.desks = {ShardId(n): Desk().ready() for n in range(2)}
        self.led = dict.fromkeys(self.desks, True)
        self.writes = 0
        self.fail_after: int | None = None

    def serving(self, shard: ShardId) -> bool:
        """Tell whether it serves."""
        return self.led[shard]

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations.

        Args:
            shard: which.
            operations: what.
            call: who asks.
        """
        if self.fail_after == 0 or not self.led[shard]:
            raise UnavailableError("not now")
        if self.fail_after is not None:
            self.fail_after -= 1
        self.writes += 1
        return tuple(self.desks[shard].done(*operations))

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List entries.

        Args:
            shard: which.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: ignored.
        """
        if not self.led[shard]:
            raise UnavailableError("not now")
        view = self.desks[shard].map
        keys = [k for k in sorted(view.entries) if k.startswith(prefix) and k > after]
        found = [view.get(key) for key in keys[:limit]]
        items = tuple(each for each in found if each is not None)
        return Page(items, keys[limit - 1] if len(keys) > limit else None)


class KeeperTests(SynchronousTestCase):
    """This node leads two shards; `Person` and what goes from it are defined."""

    def setUp(self) -> None:
        """Begin with the schema that is there from the start."""
        self.clock = Clock()
        self.states = States(state_of({0: ONE, 1: ONE}))
        self.primaries = Primaries()
        self.keeper = Keeper(self.clock, ONE, self.states, self.primaries)

    def tearDown(self) -> None:
        """Leave no timer behind."""
        self.keeper.stop()
        assert self.clock.getDelayedCalls() == []

    def apply(self, *graphs: Graph) -> None:
        """Apply a state with some graphs."""
        ids = [graph.graph_id + 1 for graph in graphs]
        state: ClusterState = replace(
            self.states.state,
            graphs={graph.name: graph for graph in graphs},
            next_graph=max([self.states.state.next_graph, *ids]),
        )
        self.states.apply(state)

    def entry(self, graph_id: int = 0, shard: int = 0) -> Graph | None:
        """Read a shard's entry of a schema.

        Args:
            graph_id: which.
            shard: whose.
        """
        found = self.primaries.desks[ShardId(shard)].map.get(schema_key(graph_id))
        return read_schema(found.value or b"") if found else None

    def put_rows(self, graph: Graph, people: int) -> None:
        """Write people who know and like each other, and a grave.

        Args:
            graph: which.
            people: how many.
        """
        person, city = node_table(graph, "Person"), node_table(graph, "City")
        knows, likes = rel_table(graph, "Knows"), rel_table(graph, "Likes")
        value = spell_row(Row(0, {}))
        keys = [node_key(graph, city, 1), grave_key(graph, person, 1, 7)]
        for key in range(people):
            one = (person, key)
            keys += [
                node_key(graph, person, key),
                edge_key(graph, knows, one, one, b""),
                edge_key(graph, knows, one, (city, 1), b""),
                edge_key(graph, likes, one, one, b""),
            ]
        writes = tuple(Put(key, value, "") for key in keys)
        group = Group((schema_check(graph),), writes)
        (outcome,) = self.primaries.desks[SHARD].done(group)
        assert outcome.error is None

    def rows(self) -> list[bytes]:
        """List what is left of rows, and of notes."""
        view = self.primaries.desks[SHARD].map
        keys = [key for key in view.entries if is_graph_key(key) and key[1:2] != b"s"]
        return sorted(keys)

    def settle(self) -> None:
        """Let time pass until nothing more happens."""
        self.clock.pump([LOOK_S] * 40)

    def test_the_first_schema_needs_no_entry(self) -> None:
        """A cluster without graphs has nothing of them in its logs."""
        self.settle()
        assert self.entry() is None
        assert self.primaries.writes == 0

    def test_every_shard_gets_each_newer_schema_once(self) -> None:
        """And nothing is written at rest."""
        self.apply(PEOPLE)
        assert (self.entry(), self.entry(shard=1)) == (PEOPLE, PEOPLE)
        writes = self.primaries.writes
        self.settle()
        assert self.primaries.writes == writes == 2

    def test_an_older_schema_is_never_written(self) -> None:
        """A primary that lags leaves the entry alone (R21)."""
        self.apply(PEOPLE)
        self.apply(MAIN_GRAPH)
        self.settle()
        assert self.entry() == PEOPLE

    def test_a_shard_that_serves_later_gets_it_then(self) -> None:
        """Whether it was not yet led, or is led in another term."""
        self.primaries.led[SHARD] = False
        self.apply(PEOPLE)
        self.settle()
        assert (self.entry(), self.entry(shard=1)) == (None, PEOPLE)
        self.primaries.led[SHARD] = True
        self.clock.advance(LOOK_S)
        assert self.entry() == PEOPLE

    def test_another_nodes_shards_are_its_own(self) -> None:
        """Nothing is asked of a shard that the state gives to another node."""
        self.states.apply(state_of({0: TWO, 1: ONE}))
        self.apply(PEOPLE)
        self.settle()
        assert (self.entry(), self.entry(shard=1)) == (None, PEOPLE)

    def test_a_write_by_an_older_schema_is_refused(self) -> None:
        """The check fails, and says at which version the entry is."""
        self.apply(PEOPLE)
        newer = defined(PEOPLE, "ALTER TABLE Person ADD age INT64")
        self.apply(newer)
        group = Group((schema_check(PEOPLE),), (Put(b"\xffn", b""),))
        (outcome,) = self.primaries.desks[SHARD].done(group)
        assert (outcome.error, outcome.which) == ("precondition-failed", 0)

    def test_what_a_dropped_table_left_goes_and_nothing_else(self) -> None:
        """A relationship table, in several records, and then the note."""
        self.apply(PEOPLE)
        self.put_rows(PEOPLE, SWEEP_KEYS)
        before = self.rows()
        self.apply(defined(PEOPLE, "DROP TABLE Likes"))
        self.settle()
        likes = rel_table(PEOPLE, "Likes").table_id.to_bytes(4)
        gone = [key for key in before if key not in self.rows()]
        assert len(gone) == SWEEP_KEYS
        assert all(key[1:2] == b"e" and likes in key for key in gone)
        assert len(self.rows()) == len(before) - len(gone)

    def test_what_a_dropped_pair_left_goes(self) -> None:
        """Only the relationships that go to the other table."""
        self.apply(PEOPLE)
        self.put_rows(PEOPLE, 3)
        before = self.rows()
        self.apply(defined(PEOPLE, "ALTER TABLE Knows DROP FROM Person TO City"))
        self.settle()
        assert len(self.rows()) == len(before) - 3

    def test_tables_go_with_nodes_and_graves(self) -> None:
        """All that is left is of the other table."""
        self.apply(PEOPLE)
        self.put_rows(PEOPLE, 3)
        drops = ("DROP TABLE Likes", "DROP TABLE Knows", "DROP TABLE Person")
        self.apply(defined(PEOPLE, *drops))
        self.settle()
        assert self.rows() == [node_key(PEOPLE, node_table(PEOPLE, "City"), 1)]

    def test_a_dropped_graph_goes_whole(self) -> None:
        """Its rows, its schema and the note."""
        graph = replace(PEOPLE, graph_id=5, name="tenant")
        self.apply(PEOPLE, graph)
        self.put_rows(graph, 3)
        self.put_rows(PEOPLE, 1)
        kept = [key for key in self.rows() if key[3:7] == bytes(4)]
        self.apply(PEOPLE)
        self.settle()
        assert self.rows() == kept
        assert (self.entry(5), self.entry()) == (None, PEOPLE)

    def test_a_graph_that_this_node_has_not_heard_of_stays(self) -> None:
        """Its id is yet to be given, by what is applied here."""
        graph = replace(PEOPLE, graph_id=5, name="tenant")
        self.apply(PEOPLE, graph)
        self.states.apply(
            replace(self.states.state, graphs={MAIN: PEOPLE}, next_graph=5)
        )
        self.settle()
        assert self.entry(5) == graph

    def test_a_sweep_that_failed_goes_on(self) -> None:
        """Wherever it ended, the note says what is left to do."""
        self.apply(PEOPLE)
        self.put_rows(PEOPLE, 3 * SWEEP_KEYS)
        before = len(self.rows())
        self.primaries.fail_after = 3
        self.apply(defined(PEOPLE, "DROP TABLE Likes"))
        self.settle()
        assert before > len(self.rows()) > before - 3 * SWEEP_KEYS
        assert any(key.startswith(SWEEPS) for key in self.rows())
        self.primaries.fail_after = None
        self.settle()
        assert len(self.rows()) == before - 3 * SWEEP_KEYS

"""Graves of deleted nodes, swept once nothing can point to them any more."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred

from tests.node.fakes import ONE, TWO, States, state_of
from tests.node.graph.shards import (
    CALL,
    SHARDED,
    SINGLE,
    check_consistent,
    edges,
    graves,
    nodes,
)
from tests.node.graph.test_writes import World, knows, person, result, together
from torua.core.graph.changes import Change, Changed, NodeChange
from torua.node.graph.graves import SETTLE_S, SWEEP_S, Graves


class Swept(World):
    """Writes over fake shards, and what sweeps the graves of some of them.

    Invariants: nothing comes to light by the looks of the writer, who finds nothing.
    """

    def __init__(self, primaries: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        """Begin with three people who know the first.

        Args:
            primaries: the shards that are led here.
        """
        super().__init__()
        state = state_of({n: ONE if n in primaries else TWO for n in range(4)})
        known = {each.name: each for each in (SHARDED, SINGLE)}
        self.registry = CollectorRegistry()
        self.graves = Graves(
            self.clock,
            ONE,
            States(structs.replace(state, graphs=known)),
            store=self.store,
            finder=self.store,
            registry=self.registry,
        )
        self.graves.stop()
        self.apply(*(person(key) for key in range(9)))
        self.apply(*(knows(key, 0) for key in range(1, 9)))

    def bury(self) -> None:
        """Delete the first person; all who know it are out of sight then."""
        finding = self.store.incoming

        async def nobody(*_: object) -> list[object]:
            """Find nothing."""
            return []

        self.store.incoming = nobody  # type: ignore[assignment, method-assign]
        self.delete("Person", 0, detach=True)
        self.store.incoming = finding  # type: ignore[method-assign]

    def drop(self, key: int) -> None:
        """Delete a person at once, while a sweeper waits for its time."""
        version = self.version("Person", key)
        change = NodeChange("Person", key, None, version, True)
        applying = self.writes.apply(self.graph, [change], CALL)
        done: list[Changed] = []
        Deferred.fromCoroutine(applying).addCallback(done.append)
        assert done[0].nodes_deleted == 1

    def sweep(self) -> None:
        """Look at all graves once."""
        result(Deferred.fromCoroutine(self.graves.sweep()), self.clock)

    def metric(self, name: str) -> float | None:
        """Read a metric."""
        return self.registry.get_sample_value(name)


def test_a_grave_is_left_alone_until_writes_in_flight_are_over() -> None:
    """Then what points to it goes, and then the grave."""
    world = Swept()
    world.bury()
    world.sweep()
    world.clock.advance(SETTLE_S - 1)
    world.sweep()
    assert (len(edges(world.store, SHARDED)), world.metric("torua_graph_graves")) == (
        8,
        1,
    )
    world.clock.advance(1)
    world.sweep()
    assert (edges(world.store, SHARDED), graves(world.store, SHARDED)) == ([], set())
    assert world.metric("torua_graph_swept_total") == 8
    world.sweep()
    assert world.metric("torua_graph_graves") == 0


def test_the_next_life_of_a_node_is_left_alone() -> None:
    """Only relationships to the life that the grave names are removed."""
    world = Swept()
    world.bury()
    world.apply(person(0))
    world.apply(knows(1, 0), knows(2, 0))
    world.sweep()
    world.clock.advance(SETTLE_S)
    world.sweep()
    assert len(edges(world.store, SHARDED)) == 2
    check_consistent(world.store, SHARDED)


def test_a_grave_stays_while_a_shard_can_not_be_looked_at() -> None:
    """What might be there is not forgotten."""
    world = Swept()
    world.bury()
    (home,) = (
        shard
        for shard, each in enumerate(world.store.shards)
        if any(key[1:2] == b"g" for key in each.view.entries)
    )
    world.sweep()
    world.clock.advance(SETTLE_S)
    world.store.broken = {(home + 1) % 4}
    world.sweep()
    world.store.broken = set()
    assert len(graves(world.store, SHARDED)) == 1
    world.sweep()
    assert graves(world.store, SHARDED) == set()


def test_each_grave_is_swept_by_its_primary() -> None:
    """A node looks at the shards that it leads only."""
    world = Swept(primaries=())
    world.bury()
    for _ in range(2):
        world.sweep()
        world.clock.advance(SETTLE_S)
    world.sweep()
    assert len(graves(world.store, SHARDED)) == 1


def test_graves_are_looked_at_again_and_again() -> None:
    """By itself, until it is stopped."""
    world = Swept()
    state = structs.replace(state_of({0: ONE, 1: ONE}), graphs={"g": SHARDED})
    registry = CollectorRegistry()
    swept = Graves(
        world.clock,
        ONE,
        States(state),
        store=world.store,
        finder=world.store,
        registry=registry,
    )
    for key in range(9):
        world.drop(key)
    for _ in range(int(SETTLE_S / SWEEP_S) + 2):
        world.clock.advance(SWEEP_S)
    swept.stop()
    homes = {world.store.home(SHARDED, "Person", key) for key in range(9)}
    left = graves(world.store, SHARDED)
    assert {world.store.home(SHARDED, *each[:2]) for each in left} == homes - {0, 1}
    assert homes & {0, 1}
    assert world.clock.getDelayedCalls() == []


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_once_all_is_swept_nothing_dangles(seed: int) -> None:
    """Whatever met whatever, in the end every relationship has both of its nodes."""
    random = Random(seed)
    world = Swept()
    world.store.slow(random)
    for _ in range(3):
        statements: list[list[Change]] = []
        for key in [key for _, key in nodes(world.store, SHARDED)]:
            if random.random() < 0.3:
                version = world.version("Person", key)
                statements.append([NodeChange("Person", key, None, version, True)])
        for _ in range(6):
            statements.append([knows(random.randrange(9), random.randrange(9))])
            statements.append([person(random.randrange(9))])
        together(world, statements, random)
        world.sweep()
        check_consistent(world.store, SHARDED)
    world.clock.advance(SETTLE_S)
    world.sweep()
    assert graves(world.store, SHARDED) == set()
    check_consistent(world.store, SHARDED)

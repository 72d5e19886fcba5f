"""Tests for `torua.node.fetching`: many reads in few messages, and no errors."""

from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Holdings, States, Wire, state_of, targets
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call, Entry, Served
from torua.core.reading import Position
from torua.core.routing import shard_of
from torua.errors import UnavailableError
from torua.node import fetching
from torua.node.errands import Found
from torua.node.fetching import Fetches
from torua.node.router import Router

CALL = Call("r1", timeout_s=5.0)
KEYS = [b"key-%d" % number for number in range(40)]


class Copy:
    """A copy that is read as it is told.

    Invariants: proofs are given at once, or by hand where ``slow``.
    """

    def __init__(self) -> None:
        """Begin empty, and proven."""
        self.entries: dict[bytes, Entry] = {}
        self.position = 7
        self.proven = True
        self.slow = False
        self.asked: list[Callable[[bool], None]] = []
        self.log: list[str] = []

    def peek(self, key: bytes) -> Entry | None:
        """Read a key."""
        self.log.append("look")
        return self.entries.get(key)

    def prove(self, tell: Callable[[bool], None]) -> None:
        """Tell what the test wants."""
        self.log.append("prove")
        if self.slow:
            self.asked.append(tell)
        else:
            tell(self.proven)


class Primaries:
    """The copies of one node.

    Invariants: none of its own.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.copies: dict[ShardId, Copy] = {}

    def proving(self, shard: ShardId) -> Copy:
        """Return a copy."""
        if shard not in self.copies:
            raise UnavailableError("not here")
        return self.copies[shard]

    def position(self, shard: ShardId) -> Position | None:
        """Tell where a copy stands."""
        copy = self.copies.get(shard)
        return Position("h", copy.position) if copy else None


class Nodes:
    """Two nodes; shards 0 and 2 are on the first, 1 and 3 on the second.

    Invariants: the clock moves only when the test moves it.
    """

    def __init__(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.state = state_of({0: ONE, 1: TWO, 2: ONE, 3: TWO})
        self.states = {node: States(self.state) for node in (ONE, TWO)}
        self.primaries = {node: Primaries() for node in (ONE, TWO)}
        for shard, node in enumerate((ONE, TWO, ONE, TWO)):
            self.primaries[node].copies[ShardId(shard)] = Copy()
        self.targets = {node: targets(node, self.clock) for node in (ONE, TWO)}
        self.fetches = {
            node: Fetches(
                node,
                self.states[node],
                self.primaries[node],
                self.wire.end(node),
                self.clock,
                targets=self.targets[node],
            )
            for node in (ONE, TWO)
        }

    def copy_of(self, key: bytes) -> Copy:
        """Return the primary's copy of a key's shard."""
        shard = shard_of(self.state.slots, key)
        return self.primaries[ONE if shard % 2 == 0 else TWO].copies[shard]

    def put(self, key: bytes, value: bytes) -> Entry:
        """Put a key where it belongs.

        Args:
            key: which.
            value: its.
        """
        entry = Entry(key, 3, len(value), "text/x", value, 99)
        self.copy_of(key).entries[key] = entry
        return entry

    def get(self, key: bytes) -> "Deferred[tuple[Found, NodeId] | None]":
        """Begin to read a key through the first node."""
        shard = shard_of(self.state.slots, key)
        return Deferred.fromCoroutine(self.fetches[ONE].get(shard, key))

    def keys_on(self, node: NodeId) -> list[bytes]:
        """List keys whose primary is on a node."""
        wanted = 0 if node == ONE else 1
        return [k for k in KEYS if shard_of(self.state.slots, k) % 2 == wanted]


def _result(
    done: "Deferred[tuple[Entry | None, Served]]",
) -> tuple[Entry | None, Served]:
    """Return what came of something that has come to its end."""
    results: list[tuple[Entry | None, Served]] = []
    done.addCallback(results.append)
    return results[0]


class FetchesTests(SynchronousTestCase):
    """What is read the short way."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.nodes = Nodes()

    def test_all_that_a_turn_wants_of_a_node_goes_in_one_message(self) -> None:
        """Whole entries come back, absent keys as absent, each with its position."""
        nodes, keys = self.nodes, self.nodes.keys_on(TWO)
        entries = {key: nodes.put(key, key * 2) for key in keys[1:]}
        reads = [nodes.get(key) for key in keys]
        nodes.clock.advance(0)
        for key, read in zip(keys, reads, strict=True):
            given = self.successResultOf(read)
            assert given is not None
            found, node = given
            self.assertEqual(found.entry, entries.get(key))
            self.assertEqual((found.at, node), (Position("h", 7), TWO))
        self.assertEqual(len(nodes.wire.asked), 1)

    def test_what_is_here_costs_no_message(self) -> None:
        """It is looked at, then proven."""
        key = self.nodes.keys_on(ONE)[0]
        entry = self.nodes.put(key, b"v")
        given = self.successResultOf(self.nodes.get(key))
        assert given is not None
        self.assertEqual((given[0].entry, given[1]), (entry, ONE))
        self.assertEqual(self.nodes.copy_of(key).log, ["look", "prove"])
        self.assertEqual(self.nodes.wire.asked, [])

    def test_each_shard_is_proven_once_after_all_were_looked_at(self) -> None:
        """No value is taken after its proof was asked for (R22)."""
        nodes = self.nodes
        for key in nodes.keys_on(TWO):
            nodes.get(key)
        nodes.clock.advance(0)
        for copy in nodes.primaries[TWO].copies.values():
            self.assertEqual(copy.log.count("prove"), 1)
            self.assertEqual(copy.log[-1], "prove")

    def test_what_is_not_proven_is_not_shown(self) -> None:
        """Neither here nor elsewhere; the rest of the message is."""
        nodes = self.nodes
        nodes.primaries[TWO].copies[ShardId(1)].proven = False
        nodes.primaries[ONE].copies[ShardId(0)].proven = False
        reads = {key: nodes.get(key) for key in KEYS}
        nodes.clock.advance(0)
        for key, read in reads.items():
            proven = shard_of(nodes.state.slots, key) in (2, 3)
            self.assertEqual(self.successResultOf(read) is not None, proven)

    def test_while_a_message_is_under_way_the_next_is_held_for_a_while(self) -> None:
        """It leaves with the answer to the first, or when its time is up."""
        nodes, keys = self.nodes, self.nodes.keys_on(TWO)
        for copy in nodes.primaries[TWO].copies.values():
            copy.slow = True
        nodes.get(keys[0])
        nodes.clock.advance(0)
        for key in keys[1:4]:
            nodes.get(key)
            nodes.clock.advance(0)
        self.assertEqual(len(nodes.wire.asked), 1)
        for copy in nodes.primaries[TWO].copies.values():
            for tell in copy.asked:
                tell(True)
        nodes.clock.advance(0)
        self.assertEqual(len(nodes.wire.asked), 2)
        last = nodes.get(keys[5])
        nodes.clock.advance(fetching.HOLD_S)
        self.assertEqual(len(nodes.wire.asked), 3)
        self.assertNoResult(last)

    def test_a_large_value_is_fetched_by_itself(self) -> None:
        """In company it is left out; alone it comes."""
        nodes = self.nodes
        large, small = nodes.keys_on(TWO)[:2]
        entry = nodes.put(large, b"v" * (fetching.VALUE_BYTES_MAX + 1))
        nodes.put(small, b"v")
        first, second = nodes.get(large), nodes.get(small)
        nodes.clock.advance(0)
        self.assertIsNone(self.successResultOf(first))
        self.assertIsNotNone(self.successResultOf(second))
        alone = nodes.get(large)
        nodes.clock.advance(0)
        given = self.successResultOf(alone)
        assert given is not None
        self.assertEqual(given[0].entry, entry)

    def test_an_answer_has_its_bounds(self) -> None:
        """What passes them is left out, not cut."""
        nodes, keys = self.nodes, self.nodes.keys_on(TWO)
        for key in keys:
            nodes.put(key, b"v" * fetching.VALUE_BYTES_MAX)
        reads = [nodes.get(key) for key in keys]
        nodes.clock.advance(0)
        shown = sum(self.successResultOf(read) is not None for read in reads)
        most = fetching.ANSWER_BYTES_MAX // fetching.VALUE_BYTES_MAX
        self.assertEqual(shown, min(most, len(keys)))

    def test_by_another_routing_version_nothing_is_shown(self) -> None:
        """Whichever side is ahead (R17)."""
        nodes, key = self.nodes, self.nodes.keys_on(TWO)[0]
        nodes.put(key, b"v")
        ahead = structs.replace(nodes.state, routing_version=9)
        for node in (ONE, TWO):
            nodes.states[node].state = ahead
            read = nodes.get(key)
            nodes.clock.advance(0)
            self.assertIsNone(self.successResultOf(read))
            nodes.states[node].state = nodes.state

    def test_a_primary_elsewhere_shows_nothing(self) -> None:
        """A copy that still leads does not, where the state names another."""
        nodes, key = self.nodes, self.nodes.keys_on(TWO)[0]
        nodes.put(key, b"v")
        other = state_of({0: ONE, 1: ONE, 2: ONE, 3: ONE})
        nodes.states[TWO].state = other
        read = nodes.get(key)
        nodes.clock.advance(0)
        self.assertIsNone(self.successResultOf(read))

    def test_a_change_of_the_primary_ends_the_wait(self) -> None:
        """What the old one was asked, or would be, goes another way at once."""
        nodes, keys = self.nodes, self.nodes.keys_on(TWO)
        nodes.wire.silent.add(TWO)
        first = nodes.get(keys[0])
        nodes.clock.advance(0)
        second = nodes.get(keys[1])
        nodes.states[ONE].apply(state_of({0: ONE, 1: ONE, 2: ONE, 3: ONE}, 2))
        self.assertIsNone(self.successResultOf(first))
        self.assertIsNone(self.successResultOf(second))
        nodes.clock.advance(fetching.WAIT_S)
        self.assertEqual(nodes.clock.getDelayedCalls(), [])

    def test_whoever_waits_no_longer_may_ask_a_node_that_was_never_asked(self) -> None:
        """In the turn in which the state changes; so nobody else is forgotten."""
        nodes = self.nodes
        keys = nodes.keys_on(TWO)
        nodes.wire.silent.add(TWO)
        first = nodes.get(keys[0])
        nodes.clock.advance(0)
        second = nodes.get(keys[1])
        three = NodeId("3" * 36)

        def ask(given: object) -> object:
            """Read a key whose primary is elsewhere now."""
            nodes.get(keys[2])
            return given

        first.addCallback(ask)
        nodes.states[ONE].apply(state_of(dict.fromkeys(range(4), three), 2))
        self.assertIsNone(self.successResultOf(first))
        self.assertIsNone(self.successResultOf(second))

    def test_a_node_that_does_not_answer_is_asked_no_more_for_a_while(self) -> None:
        """One wait, then none; later it is tried again."""
        nodes, keys = self.nodes, self.nodes.keys_on(TWO)
        nodes.wire.silent.add(TWO)
        read = nodes.get(keys[0])
        nodes.clock.advance(0)
        nodes.clock.advance(fetching.WAIT_S)
        self.assertIsNone(self.successResultOf(read))
        self.assertIsNone(self.successResultOf(nodes.get(keys[1])))
        self.assertEqual(len(nodes.wire.asked), 1)
        nodes.wire.silent.clear()
        nodes.clock.advance(fetching.WAIT_S)
        again = nodes.get(keys[1])
        nodes.clock.advance(0)
        self.assertIsNotNone(self.successResultOf(again))

    def test_a_slot_table_that_others_heard_of_first_counts_as_well(self) -> None:
        """A full message is not sent by the new table with the old one's shards."""
        nodes, key = self.nodes, self.nodes.keys_on(TWO)[0]
        other = structs.replace(nodes.state, slots_version=2)
        reads = [nodes.get(key) for _ in range(fetching.TOGETHER_MAX - 1)]
        for states in nodes.states.values():
            states.state = other
        reads.append(nodes.get(key))
        nodes.clock.advance(fetching.HOLD_S)
        for read in reads:
            self.assertIsNone(self.successResultOf(read))
        self.assertEqual(nodes.wire.asked, [])

    def test_no_more_than_so_many_go_in_one_message(self) -> None:
        """The rest goes in the next."""
        nodes, key = self.nodes, self.nodes.keys_on(TWO)[0]
        reads = [nodes.get(key) for _ in range(fetching.TOGETHER_MAX + 1)]
        nodes.clock.advance(fetching.HOLD_S)
        self.assertEqual(len(nodes.wire.asked), 2)
        for read in reads:
            self.assertIsNotNone(self.successResultOf(read))


@given(
    puts=st.dictionaries(st.sampled_from(KEYS), st.binary(max_size=20)),
    asked=st.lists(st.sampled_from(KEYS), max_size=12),
)
def test_both_ways_read_the_same(puts: dict[bytes, bytes], asked: list[bytes]) -> None:
    """A router gives the same with the short way as without it."""
    nodes = Nodes()
    held = {ONE: Holdings(0, 2), TWO: Holdings(1, 3)}
    entries = {key: nodes.put(key, value) for key, value in puts.items()}
    for key, entry in entries.items():
        shard = shard_of(nodes.state.slots, key)
        held[ONE if shard % 2 == 0 else TWO].held[shard][key] = entry
    routers = [
        Router(
            node,
            nodes.states[node],
            (held[node], held[node]),
            nodes.wire.end(node),
            nodes.clock,
            is_live=lambda _: True,
            random=Random(1),
            targets=nodes.targets[node],
            fetches=nodes.fetches[ONE] if short else None,
        )
        for node, short in ((TWO, False), (ONE, False), (ONE, True))
    ]
    for key in asked:
        answers = []
        for router in routers[1:]:
            read = Deferred.fromCoroutine(router.get(key, CALL))
            nodes.clock.advance(0)
            found, served = _result(read)
            answers.append((found, served.shard, served.node))
        assert answers[0] == answers[1]

"""Tests for `torua.node.writing`: what one node asks of its own primaries."""

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO
from tests.node.test_writing import CALL, PROMISE, Nodes, Result
from torua.core.ids import ShardId
from torua.core.kv import Outcome, Put
from torua.core.reading import Position
from torua.errors import DiskFullError, OverloadedError
from torua.node import rounds


class HereTests(SynchronousTestCase):
    """All that a turn has for primaries here is begun together."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.nodes = Nodes()

    def test_what_is_here_costs_no_message(self) -> None:
        """It is begun at the end of the turn, with its promise."""
        key = self.nodes.keys_of(0)[0]
        call = structs.replace(CALL, idempotency=PROMISE)
        write = self.nodes.put(key, call)
        self.assertEqual(self.nodes.primaries[ONE].begun, [])
        self.nodes.clock.advance(0)
        result = self.successResultOf(write)
        assert isinstance(result, tuple)
        self.assertEqual(result[1], ONE)
        begun = [(ShardId(0), Put(key, key), PROMISE)]
        self.assertEqual(self.nodes.primaries[ONE].begun, begun)
        self.assertEqual(self.nodes.wire.asked, [])

    def test_all_that_a_turn_has_for_primaries_here_is_begun_together(self) -> None:
        """In order, and each is told by itself what became of it."""
        nodes, here = self.nodes, self.nodes.primaries[ONE]
        keys = nodes.keys_of(0, 2)
        here.errors = {keys[1]: OverloadedError("too much")}
        writes = [nodes.put(key) for key in keys]
        nodes.clock.advance(0)
        self.assertEqual([each[1].key for each in here.begun], keys)
        self.assertEqual(here.calls, [len(keys)])
        self.failureResultOf(writes.pop(1), OverloadedError)
        for number, write in zip([1, *range(3, len(keys) + 1)], writes, strict=True):
            result = self.successResultOf(write)
            assert isinstance(result, tuple)
            done, node = result
            self.assertEqual((done.outcomes, node), ((Outcome(number),), ONE))
            self.assertEqual(done.at, Position("h", number))

    def test_each_of_a_run_is_told_what_became_of_it(self) -> None:
        """Whichever are told together, and in whatever order."""
        nodes, here = self.nodes, self.nodes.primaries[ONE]
        here.slow = {ShardId(0)}
        writes = [nodes.put(nodes.keys_of(0)[0]) for _ in range(4)]
        nodes.clock.advance(0)
        tell = here.late[0][2]
        tell((3, 1), (Outcome(9), Outcome(7)))
        self.assertNoResult(writes[0])
        tell((0, 2), (Outcome(6), Outcome(8)))
        for version, write in enumerate(writes, 6):
            result = self.successResultOf(write)
            assert isinstance(result, tuple)
            self.assertEqual(result[0].outcomes, (Outcome(version),))

    def test_what_is_begun_here_has_its_bounds(self) -> None:
        """By number, by size, and by how long callers wait; nobody is left behind."""
        nodes, here = self.nodes, self.nodes.primaries[ONE]
        key = nodes.keys_of(0)[0]
        large = Put(key, bytes(rounds.BYTES_MAX // 2 + 1))
        writes = [nodes.put(key) for _ in range(rounds.TOGETHER_MAX + 1)]
        self.assertEqual(here.calls, [rounds.TOGETHER_MAX])
        writes += [nodes.write(large), nodes.write(large)]
        self.assertEqual(here.calls, [rounds.TOGETHER_MAX, 2])
        writes.append(nodes.put(key, structs.replace(CALL, timeout_s=2.0)))
        nodes.clock.advance(0)
        self.assertEqual(here.calls, [rounds.TOGETHER_MAX, 2, 1, 1])
        self.assertEqual(here.timeouts, [5.0, 5.0, 5.0, 2.0])
        for write in writes:
            self.successResultOf(write)

    def test_who_asks_again_while_others_begin_is_told_too(self) -> None:
        """As the next request of a connection does, once the last is refused."""
        nodes, here = self.nodes, self.nodes.primaries[ONE]
        first, second, third = nodes.keys_of(0)[:3]
        here.errors = {first: DiskFullError("flooded")}
        again: list[Deferred[Result]] = []
        refused = nodes.put(first)
        refused.addErrback(lambda _: again.append(nodes.put(second)))
        other = nodes.put(third, structs.replace(CALL, timeout_s=2.0))
        self.assertEqual(here.calls, [1, 1])
        nodes.clock.advance(0)
        self.assertEqual(here.calls, [1, 1, 1])
        for write in (*again, other):
            self.assertIsInstance(self.successResultOf(write), tuple)

    def test_who_has_no_time_waits_for_nobody_and_nobody_for_him(self) -> None:
        """Here and elsewhere: what times one out is no end to another."""
        nodes = self.nodes
        for node, shard in ((ONE, 0), (TWO, 1)):
            key = nodes.keys_of(shard)[0]
            for times in ((0.001, 0.1), (0.1, 0.001)):
                nodes.primaries[node].timeouts.clear()
                found = [
                    nodes.put(key, structs.replace(CALL, timeout_s=each))
                    for each in times
                ]
                nodes.clock.advance(0)
                told = [self.successResultOf(each) for each in found]
                done = [
                    each
                    for each, result in zip(times, told, strict=True)
                    if result is not None
                ]
                self.assertEqual(nodes.primaries[node].timeouts, done)
                self.assertEqual(len(done), 2 if node == ONE else 1)

    def test_here_nothing_follows_a_state_that_it_was_asked_before(self) -> None:
        """What this node told of a shard by the new one holds; all go the long way."""
        nodes, here = self.nodes, self.nodes.primaries[ONE]
        key = nodes.keys_of(0)[0]
        write = nodes.put(key)
        nodes.states[ONE].apply(structs.replace(nodes.state, next_graph=2))
        later = nodes.put(key)
        nodes.clock.advance(0)
        self.assertIsNone(self.successResultOf(write))
        self.assertIsInstance(self.successResultOf(later), tuple)
        self.assertEqual(here.calls, [1])

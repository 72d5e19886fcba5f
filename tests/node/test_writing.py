"""Tests for `torua.node.writing`: many writes in few messages, each told once."""

from collections.abc import Iterable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, States, Wire, state_of, targets
from torua.codec.plain import plain
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call, Condition, Delete, IdempotencyKey, Outcome, Put
from torua.core.reading import Position
from torua.core.routing import shard_of
from torua.core.state import SLOTS, Phase, Split
from torua.errors import (
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.net.peers import Inbound, Lane
from torua.node import rounds, writing
from torua.node.dispatch import GRACE_S
from torua.node.errands import Done
from torua.node.rounds import Asked, Given, Part, Tell, Write
from torua.node.turn import Turn
from torua.node.writing import KIND, PART_KIND, Writes

CALL = Call("r1", timeout_s=5.0)
PROMISE = IdempotencyKey("key", b"f")
KEYS = [b"key-%d" % number for number in range(40)]

Result = tuple[Done, NodeId] | ToruaError | None


class Primaries:
    """The primaries of one node: all is done at once, or by hand where ``slow``.

    Invariants: ``begun`` lists what was asked, in order.

    Attributes:
        turn: at whose end they decide.
        calls: how many writes were asked at a time.
    """

    def __init__(self, clock: Clock) -> None:
        """Have done nothing."""
        self.turn = Turn(clock)
        self.calls: list[int] = []
        self.begun: list[Asked] = []
        self.errors: dict[bytes, ToruaError] = {}
        self.slow: set[ShardId] = set()
        self.late: list[tuple[ShardId, int, Tell]] = []
        self.timeouts: list[float] = []

    def write_many(self, asked: Iterable[Asked], timeout_s: float, tell: Tell) -> None:
        """Do writes; the version is how many were begun.

        Args:
            asked: which.
            timeout_s: how long that may take.
            tell: hears of each.
        """
        self.timeouts.append(timeout_s)
        before = len(self.begun)
        for place, each in enumerate(asked):
            self.begun.append(each)
            if each[0] in self.slow:
                self.late.append((each[0], place, tell))
            elif each[1].key in self.errors:
                tell((place,), self.errors[each[1].key])
            else:
                tell((place,), (Outcome(len(self.begun)),))
        self.calls.append(len(self.begun) - before)

    def finish(self, shard: int) -> None:
        """Do what waits of a shard."""
        late, self.late = self.late, []
        for each in late:
            if each[0] == shard:
                each[2]((each[1],), (Outcome(9),))
            else:
                self.late.append(each)

    def position(self, shard: ShardId) -> Position | None:
        """Tell where a copy stands."""
        return Position("h", len(self.begun))


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
        self.primaries = {node: Primaries(self.clock) for node in (ONE, TWO)}
        self.targets = {node: targets(node, self.clock) for node in (ONE, TWO)}
        self.writes = {
            node: Writes(
                node,
                self.states[node],
                self.primaries[node],
                self.wire.end(node),
                self.clock,
                targets=self.targets[node],
            )
            for node in (ONE, TWO)
        }

    def write(self, write: Write, call: Call = CALL) -> "Deferred[Result]":
        """Begin to write through the first node.

        Args:
            write: what.
            call: who asks.
        """
        shard = shard_of(self.state.slots, write.key)
        return Deferred.fromCoroutine(self.writes[ONE].write(shard, write, call))

    def put(self, key: bytes, call: Call = CALL) -> "Deferred[Result]":
        """Begin to put a key.

        Args:
            key: which; it is its own value.
            call: who asks.
        """
        return self.write(Put(key, key), call)

    def keys_of(self, *shards: int) -> list[bytes]:
        """List keys of some shards."""
        return [k for k in KEYS if shard_of(self.state.slots, k) in shards]

    def asked(self, kind: str = KIND) -> int:
        """Count the messages of a kind."""
        return sum(each[1] == kind for each in self.wire.asked)


class WritesTests(SynchronousTestCase):
    """What is written the short way."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.nodes = Nodes()
        self.there = self.nodes.primaries[TWO]

    def test_all_that_a_turn_has_for_a_node_goes_in_one_message(self) -> None:
        """Each is done as it was asked, in order, and told by itself."""
        nodes, keys = self.nodes, self.nodes.keys_of(1, 3)
        conditions = (Condition((7,), match=True),)
        asked: list[Write] = [Put(key, key * 2, "text/x") for key in keys[3:]]
        asked += [Delete(keys[0]), Put(keys[1], b"", ttl_s=3.0)]
        asked += [Put(keys[2], b"v", conditions=conditions)]
        writes = [nodes.write(write) for write in asked]
        nodes.clock.advance(0)
        self.assertEqual([each[1] for each in self.there.begun], asked)
        self.assertEqual(nodes.wire.asked, [(TWO, KIND, Lane.WRITES)])
        for number, write in enumerate(writes, 1):
            result = self.successResultOf(write)
            assert isinstance(result, tuple)
            done, node = result
            self.assertEqual(done.outcomes, (Outcome(number),))
            self.assertEqual((done.at, node), (Position("h", len(asked)), TWO))

    def test_a_promise_travels_with_its_write_and_so_does_the_time(self) -> None:
        """Only of those who made one."""
        nodes, keys = self.nodes, self.nodes.keys_of(1)
        nodes.put(keys[0])
        nodes.put(keys[1], structs.replace(CALL, idempotency=PROMISE))
        nodes.clock.advance(0)
        self.assertEqual([each[2] for each in self.there.begun], [None, PROMISE])
        self.assertEqual(self.there.timeouts, [CALL.timeout_s])

    def test_each_is_refused_by_itself(self) -> None:
        """What was not begun goes another way, what was refused says why."""
        nodes, keys = self.nodes, self.nodes.keys_of(1, 3)
        self.there.errors = {
            keys[0]: UnavailableError("not here", shard=1),
            keys[1]: OverloadedError("too much", retry_after=1),
            keys[2]: OutcomeUnknownError("the term ended"),
        }
        writes = [nodes.put(key) for key in keys[:4]]
        nodes.clock.advance(0)
        self.assertIsNone(self.successResultOf(writes[0]))
        error = self.failureResultOf(writes[1], OverloadedError).value
        self.assertEqual((error.detail, error.members["retry_after"]), ("too much", 1))
        unknown = self.failureResultOf(writes[2], OutcomeUnknownError).value
        self.assertIn("the term ended", unknown.detail)
        self.assertIsNotNone(self.successResultOf(writes[3]))

    def test_while_many_are_under_way_the_next_are_held_for_a_while(self) -> None:
        """They leave with the answer to the first, or when their time is up."""
        nodes, keys = self.nodes, self.nodes.keys_of(1, 3)
        self.there.slow = {ShardId(1), ShardId(3)}
        for key in keys[: writing.FEW]:
            nodes.put(key)
            nodes.clock.advance(0)
        few = nodes.asked()
        self.assertEqual(few, writing.FEW)
        for key in keys[:3]:
            nodes.put(key)
            nodes.clock.advance(0)
        self.assertEqual(nodes.asked(), few)
        self.there.finish(1)
        self.there.finish(3)
        self.assertEqual(nodes.asked(), few + 1)
        for key in keys[: writing.FEW]:
            nodes.put(key)
        nodes.clock.advance(0)
        nodes.clock.advance(writing.HOLD_S)
        self.assertEqual(nodes.asked(), few + 2)

    def test_a_shard_that_stands_still_holds_up_no_other(self) -> None:
        """What is done is told after a while, each once; the rest when it is done."""
        nodes = self.nodes
        one, three = nodes.keys_of(1)[:3], nodes.keys_of(3)[:3]
        self.there.slow = {ShardId(3)}
        quick, slow = [nodes.put(k) for k in one], [nodes.put(k) for k in three]
        nodes.clock.advance(0)
        self.assertNoResult(quick[0])
        nodes.clock.advance(writing.PART_S)
        for write in quick:
            self.assertIsNotNone(self.successResultOf(write))
        for write in slow:
            self.assertNoResult(write)
        nodes.clock.advance(writing.PART_S)
        self.assertEqual(nodes.asked(PART_KIND), 1)
        self.there.finish(3)
        for write in slow:
            result = self.successResultOf(write)
            assert isinstance(result, tuple)
            self.assertEqual(result[0].outcomes, (Outcome(9),))
        self.assertEqual([each.active() for each in nodes.clock.getDelayedCalls()], [])

    def test_a_part_of_what_was_not_asked_is_no_answer(self) -> None:
        """By its number nobody waits; by its places it is garbage."""
        nodes, key = self.nodes, self.nodes.keys_of(3)[0]
        self.there.slow = {ShardId(3)}
        write = nodes.put(key)
        nodes.clock.advance(0)
        end = nodes.wire.end(TWO)
        for number in range(3):
            part = Part(number, [0], Given({}, [1], {}, {}))
            end.send(ONE, PART_KIND, plain(part), lane=Lane.WRITES)
        self.assertNoResult(write)
        (number,) = nodes.writes[ONE]._ways[TWO].under_way
        for places, versions in (([1], [1]), ([0], [1, 2]), ([0], [])):
            part = Part(number, places, Given({}, [*versions], {}, {}))
            sent = end.request(
                ONE, PART_KIND, plain(part), lane=Lane.WRITES, timeout_s=1.0
            )
            self.failureResultOf(Deferred.fromCoroutine(sent), ToruaError)
        self.assertNoResult(write)

    def test_by_another_state_nothing_is_begun(self) -> None:
        """Whichever side is ahead, and whoever leads there (R17)."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        others = (
            structs.replace(nodes.state, routing_version=9),
            structs.replace(nodes.state, slots_version=9),
            state_of({0: ONE, 1: ONE, 2: ONE, 3: ONE}),
        )
        for other in others:
            nodes.states[TWO].state = other
            write = nodes.put(key)
            nodes.clock.advance(0)
            self.assertIsNone(self.successResultOf(write))
        self.assertEqual(self.there.begun, [])

    def test_what_never_left_was_not_begun(self) -> None:
        """No connection, or nobody there: it goes another way."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        del nodes.wire.ends[TWO]
        write = nodes.put(key)
        nodes.clock.advance(0)
        self.assertIsNone(self.successResultOf(write))

    def test_an_answer_that_does_not_come_is_unknown(self) -> None:
        """To each who waits, when the time of all is up."""
        nodes, keys = self.nodes, self.nodes.keys_of(1, 3)
        nodes.wire.silent.add(TWO)
        writes = [nodes.put(key) for key in keys[:3]]
        nodes.clock.advance(0)
        nodes.clock.advance(CALL.timeout_s)
        for write in writes:
            self.failureResultOf(write, OutcomeUnknownError)

    def test_who_waits_for_longer_or_has_a_large_value_goes_by_himself(self) -> None:
        """The short way is for those who are alike."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        first = nodes.put(key)
        other = nodes.put(key, structs.replace(CALL, timeout_s=9.0))
        large = nodes.write(Put(key, b"v" * (writing.VALUE_BYTES_MAX + 1)))
        self.assertIsNone(self.successResultOf(other))
        self.assertIsNone(self.successResultOf(large))
        nodes.clock.advance(0)
        self.assertIsNotNone(self.successResultOf(first))

    def test_a_change_of_the_primary_ends_the_wait(self) -> None:
        """At once where promised, or not sent, else after a while; others wait."""
        nodes, keys = self.nodes, self.nodes.keys_of(1)
        nodes.wire.silent.add(TWO)
        safe = nodes.put(keys[0], structs.replace(CALL, idempotency=PROMISE))
        unsafe = nodes.put(keys[1])
        stays = nodes.put(nodes.keys_of(3)[0])
        fill = nodes.put(keys[3])
        nodes.clock.advance(0)
        held = nodes.put(keys[2])
        changed = state_of({0: ONE, 1: ONE, 2: ONE, 3: TWO}, 2)
        nodes.states[ONE].apply(changed)
        self.assertIsNone(self.successResultOf(held))
        self.assertIsInstance(self.successResultOf(safe), OutcomeUnknownError)
        self.assertNoResult(unsafe)
        nodes.clock.advance(GRACE_S)
        self.failureResultOf(unsafe, OutcomeUnknownError)
        self.failureResultOf(fill, OutcomeUnknownError)
        self.assertNoResult(stays)

    def test_what_belongs_to_nobody_now_is_not_begun(self) -> None:
        """Here, or where the other node knows that its slots move (R17)."""
        nodes = self.nodes
        for shard, node in ((0, ONE), (1, TWO)):
            split = Split(
                parent=ShardId(shard),
                child=ShardId(9),
                spans=((0, SLOTS - 1),),
                parent_history="h",
                child_history="i",
                phase=Phase.CLOSING,
            )
            moving = structs.replace(nodes.state, splits={ShardId(9): split})
            nodes.states[node].state = moving
            write = nodes.put(nodes.keys_of(shard)[0])
            nodes.clock.advance(0)
            self.assertIsNone(self.successResultOf(write))
            self.assertEqual(nodes.primaries[node].begun, [])
            nodes.states[node].state = nodes.state

    def test_an_answer_that_is_none_is_unknown(self) -> None:
        """Garbage, and an answer to more or fewer writes."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        for answer in (
            7,
            plain(Given({}, [1, 2], {}, {})),
            plain(Given({}, [], {}, {})),
        ):
            nodes.wire.end(TWO).handle(KIND, partial(_say, answer))
            write = nodes.put(key)
            nodes.clock.advance(0)
            self.failureResultOf(write, OutcomeUnknownError)

    def test_what_was_gathered_by_another_slot_table_is_not_sent(self) -> None:
        """It is routed anew, though others heard of the new table first (R17)."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        other = structs.replace(nodes.state, slots_version=2)
        writes = [nodes.put(key) for _ in range(rounds.TOGETHER_MAX - 1)]
        nodes.states[ONE].state = nodes.states[TWO].state = other
        writes += [nodes.put(key), nodes.put(key)]
        nodes.states[ONE].apply(other)
        nodes.clock.advance(writing.HOLD_S)
        for write in writes:
            self.assertIsNone(self.successResultOf(write))
        self.assertEqual(nodes.asked(), 0)

    def test_a_message_has_its_bounds(self) -> None:
        """In number and in bytes; the rest goes in the next."""
        nodes, key = self.nodes, self.nodes.keys_of(1)[0]
        writes = [nodes.put(key) for _ in range(rounds.TOGETHER_MAX + 1)]
        self.assertEqual(nodes.asked(), 1)
        nodes.clock.advance(writing.HOLD_S)
        self.assertEqual(nodes.asked(), 2)
        value = b"v" * writing.VALUE_BYTES_MAX
        for _ in range(rounds.BYTES_MAX // len(value) + 1):
            writes.append(nodes.write(Put(key, value)))
        self.assertEqual(nodes.asked(), 3)
        nodes.clock.advance(writing.HOLD_S)
        for write in writes:
            self.assertIsNotNone(self.successResultOf(write))


@given(st.lists(st.sampled_from(KEYS), max_size=12))
def test_each_is_told_once_and_what_became_of_it(asked: list[bytes]) -> None:
    """Whatever comes together, and in whatever order it ends."""
    nodes = Nodes()
    nodes.primaries[TWO].slow = {ShardId(3)}
    told: list[int] = []
    for number, key in enumerate(asked):
        nodes.put(key).addCallback(partial(_note, told, number))
        if number % 3 == 0:
            nodes.clock.advance(writing.HOLD_S)
    for _ in range(4):
        nodes.clock.advance(writing.PART_S)
        nodes.primaries[TWO].finish(3)
    assert sorted(told) == list(range(len(asked)))


def _note(told: list[int], number: int, result: Result) -> None:
    """Note that one was told of.

    Args:
        told: where.
        number: which.
        result: what it was told.
    """
    assert result is not None
    told.append(number)


def _say(answer: object, _: Inbound) -> "Deferred[object]":
    """Answer something, whatever is asked.

    Args:
        answer: what.
        _: what is asked.
    """
    return succeed(answer)

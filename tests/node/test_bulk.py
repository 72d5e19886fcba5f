"""Long requests are done in portions, so that others come in between."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call, IdempotencyKey, Operation, Outcome, Put
from torua.core.reading import Position, Token
from torua.core.resilience.portions import BYTES_MAX, OPERATIONS_MAX, ROOM
from torua.core.routing import even_slots, shard_of
from torua.errors import (
    MovedError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.node.bulk import ROUTED_AT_ONCE, Bulks
from torua.node.errands import Done

SHARD, OTHER = ShardId(3), ShardId(4)
CALL = Call("r1", 5.0, IdempotencyKey("POST /bulk k", b"f"))
Part = tuple[list[Outcome], Token | None]


class BulksTests(SynchronousTestCase):
    """Two shards on two nodes, whose answers the test gives.

    Invariants: `asked` and `answers` are of the portions that are not yet answered.
    """

    def setUp(self) -> None:
        """Begin with nothing under way."""
        self.clock = Clock()
        self.nodes = {SHARD: NodeId("one"), OTHER: NodeId("two")}
        self.asked: list[tuple[ShardId, tuple[Operation, ...], Call]] = []
        self.answers: list[Deferred[Done]] = []
        self.bulks = Bulks(
            self.clock, self.apply, self.primary, lambda *_: self.slots_version
        )
        self.slots_version: int | None = None

    def tearDown(self) -> None:
        """Let all come to its end that was begun."""
        while self.answers:
            self.answers.pop(0).callback(Done(()))
            self.clock.advance(0)

    def primary(self, shard: ShardId) -> NodeId:
        """Tell where a shard is."""
        if shard not in self.nodes:
            raise UnavailableError("it has no primary")
        return self.nodes[shard]

    def apply(
        self, shard: ShardId, operations: tuple[Operation, ...], call: Call
    ) -> "Deferred[Done]":
        """Do a portion once the test says so.

        Args:
            shard: which.
            operations: what to do.
            call: who asks.
        """
        self.asked.append((shard, operations, call))
        self.answers.append(Deferred())
        return self.answers[-1]

    def part(self, shard: ShardId, portions: int) -> "Deferred[Part]":
        """Begin a part of so many portions.

        Args:
            shard: whose.
            portions: how many.
        """
        puts = [Put(b"%d" % n, b"") for n in range(portions * OPERATIONS_MAX)]
        doing: Coroutine[Any, Any, Part] = self.bulks.part(
            shard, puts, range(len(puts)), CALL
        )
        return Deferred.fromCoroutine(doing)

    def answer(self, with_seq: int = 1) -> None:
        """Answer the oldest portion, and let the reactor turn."""
        _, operations, _ = self.asked.pop(0)
        outcomes = tuple(Outcome(version=with_seq) for _ in operations)
        self.answers.pop(0).callback(Done(outcomes, Position("h", with_seq)))
        self.clock.advance(0)

    def refuse(self, error: ToruaError) -> None:
        """Refuse the oldest portion."""
        self.asked.pop(0)
        self.answers.pop(0).errback(error)
        self.clock.advance(0)

    def test_portions_follow_one_another_in_order(self) -> None:
        """The place behind all of them is that of the last."""
        done = self.part(SHARD, 3)
        for number in range(3):
            (asked,) = self.asked
            first = asked[1][0]
            assert isinstance(first, Put)
            self.assertEqual(first.key, b"%d" % (number * OPERATIONS_MAX))
            self.answer(number + 1)
        outcomes, token = self.successResultOf(done)
        self.assertEqual(len(outcomes), 3 * OPERATIONS_MAX)
        self.assertEqual(outcomes[-1].version, 3)
        self.assertEqual(token, Token(SHARD, Position("h", 3)))

    def test_the_reactor_turns_between_two_portions(self) -> None:
        """Whatever else came meanwhile is done first."""
        self.part(SHARD, 2)
        self.answers.pop(0).callback(Done((Outcome(),) * OPERATIONS_MAX))
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(0)
        self.assertEqual(len(self.asked), 2)

    def test_many_keys_are_routed_in_several_turns(self) -> None:
        """Each stands at its place in the part of its shard."""
        puts = [Put(b"%d" % n, b"") for n in range(2 * ROUTED_AT_ONCE)]
        slots = even_slots(3)
        routing = Deferred.fromCoroutine(self.bulks.parts(slots, puts))
        self.assertNoResult(routing)
        self.clock.advance(0)
        found = self.successResultOf(routing)
        places_of_all = [place for places in found.values() for place in places]
        self.assertEqual(sorted(places_of_all), list(range(len(puts))))
        for shard, places in found.items():
            self.assertEqual(places, sorted(places))
            self.assertEqual({shard_of(slots, puts[n].key) for n in places}, {shard})

    def test_large_values_make_short_portions(self) -> None:
        """What a portion holds in bytes is bounded as well."""
        puts = [Put(b"a", b"x" * (BYTES_MAX // 2)), Put(b"b", b"x" * BYTES_MAX)]
        Deferred.fromCoroutine(self.bulks.part(SHARD, puts, range(len(puts)), CALL))
        self.assertEqual(len(self.asked[0][1]), 1)

    def test_a_node_has_little_to_do_at_a_time(self) -> None:
        """One that does not answer leaves the requests to others alone."""
        for _ in range(5):
            self.part(SHARD, 1)
        self.assertEqual(len(self.asked), ROOM // OPERATIONS_MAX)
        self.part(OTHER, 1)
        self.assertEqual(self.asked[-1][0], OTHER)
        self.answer()
        self.assertEqual(len(self.asked), ROOM // OPERATIONS_MAX + 1)

    def test_small_portions_are_many_at_once(self) -> None:
        """They share the way to the disk; large values take more room than small."""
        for _ in range(2 * ROOM):
            Deferred.fromCoroutine(self.bulks.part(SHARD, [Put(b"a", b"")], [0], CALL))
        self.assertEqual(len(self.asked), ROOM)
        self.asked.clear()
        for _ in range(ROOM):
            put = Put(b"a", b"x" * (BYTES_MAX // 2))
            Deferred.fromCoroutine(self.bulks.part(OTHER, [put], [0], CALL))
        self.assertLess(len(self.asked), 5)

    def test_a_shard_without_a_primary_is_asked_all_the_same(self) -> None:
        """Who does errands knows how long to wait for one."""
        self.nodes.clear()
        self.part(SHARD, 1)
        self.assertEqual(len(self.asked), 1)

    def test_time_and_promise_are_those_of_the_request(self) -> None:
        """What is left of its time; and a promise for each portion."""
        self.part(SHARD, 2)
        self.clock.advance(2)
        self.answer()
        (_, _, call) = self.asked[0]
        self.assertEqual(call.timeout_s, 3.0)
        places = tuple(range(OPERATIONS_MAX, 2 * OPERATIONS_MAX))
        promise = IdempotencyKey("POST /bulk k\n1", b"f", places)
        self.assertEqual(call.idempotency, promise)

    def test_slots_of_others_that_move_are_nothing_to_it(self) -> None:
        """A portion is sent again by the newer table."""
        done = self.part(SHARD, 2)
        self.slots_version = 7
        self.refuse(MovedError("another table"))
        self.assertEqual(self.asked[0][2].slots_version, 7)
        self.answer()
        self.answer()
        self.assertEqual(len(self.successResultOf(done)[0]), 2 * OPERATIONS_MAX)

    def test_what_moved_away_is_left_to_be_routed_anew(self) -> None:
        """The outcomes are those of the operations before it."""
        done = self.part(SHARD, 3)
        self.answer()
        self.slots_version = None
        self.refuse(MovedError("another table"))
        self.assertEqual(len(self.successResultOf(done)[0]), OPERATIONS_MAX)

    def test_behind_a_portion_that_failed_nothing_is_done(self) -> None:
        """All have its error, and what was done before keeps its outcome."""
        done = self.part(SHARD, 3)
        self.answer(7)
        self.refuse(OverloadedError("full"))
        outcomes, token = self.successResultOf(done)
        told = [outcome.error for outcome in outcomes]
        self.assertEqual(told[:OPERATIONS_MAX], [None] * OPERATIONS_MAX)
        self.assertEqual(set(told[OPERATIONS_MAX:]), {"overloaded"})
        self.assertEqual(token, Token(SHARD, Position("h", 7)))
        self.assertEqual(self.asked, [])

    def test_only_what_was_begun_is_unknown(self) -> None:
        """The rest was certainly not done, and says so."""
        done = self.part(SHARD, 2)
        self.refuse(OutcomeUnknownError("who knows"))
        outcomes, _ = self.successResultOf(done)
        told = [outcome.error for outcome in outcomes]
        self.assertEqual(set(told[:OPERATIONS_MAX]), {OutcomeUnknownError.code})
        self.assertEqual(set(told[OPERATIONS_MAX:]), {UnavailableError.code})

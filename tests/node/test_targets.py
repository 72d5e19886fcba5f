"""Tests for `torua.node.targets`, and for how routers go by it."""

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, state_of, with_replica
from tests.node.test_router import TwoNodes
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call, IdempotencyKey, Put, Served
from torua.core.reading import Level, Position, Reading, Token, spell_tokens
from torua.core.resilience.breaker import FAILURES_MAX, PATIENCE_S, REST_S
from torua.core.resilience.budget import TOKENS_MAX
from torua.core.resilience.policies import NAMES, Policies
from torua.errors import (
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.node.targets import Targets

CALL = Call("r1", timeout_s=30.0)
ANY = Call("r1", 30.0, reading=Reading(Level.ANY))


class TargetsTests(SynchronousTestCase):
    """What becomes of errands says whom to leave alone."""

    def setUp(self) -> None:
        """Know nothing of anybody."""
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.live = True
        self.targets = self.make(Policies())

    def make(self, policies: Policies) -> Targets:
        """Make targets."""
        self.registry = CollectorRegistry()
        made = Targets(ONE, self.clock, self.registry, is_live=lambda _: self.live)
        made.use(policies)
        return made

    def trouble(self, error: ToruaError, node: NodeId = TWO) -> None:
        """Have an errand end in trouble.

        Args:
            error: how it ends.
            node: who was asked.
        """
        with (
            self.assertRaises(type(error)),
            self.targets.asking(node, 5.0, measured=False),
        ):
            raise error

    def metric(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self.registry.get_sample_value(f"torua_node_{name}", labels) or 0.0

    def test_a_node_without_a_connection_is_left_alone_after_a_few(self) -> None:
        """The next errand is refused without being sent; this is counted."""
        for _ in range(FAILURES_MAX):
            self.trouble(UnavailableError("no connection"))
        self.assertIsNotNone(self.targets.rest(TWO))
        with (
            self.assertRaises(UnavailableError),
            self.targets.asking(TWO, 5.0, measured=False),
        ):
            raise AssertionError("it was sent")
        self.assertEqual(self.metric("breaker_openings_total"), 1)
        self.assertEqual(self.metric("breaker_refusals_total"), 1)
        self.assertEqual(self.metric("breakers_open"), 1)

    def test_what_the_other_node_says_is_an_answer_whatever_it_says(self) -> None:
        """Trouble that it reports shuts nobody out."""
        for code in ("unavailable", "outcome-unknown", "overloaded"):
            for _ in range(FAILURES_MAX * 2):
                self.trouble(from_wire(code, "it says so", {}))
        self.assertIsNone(self.targets.rest(TWO))

    def test_a_full_queue_here_says_nothing_of_the_other_node(self) -> None:
        """Nor does an error that is ours."""
        for _ in range(FAILURES_MAX * 2):
            self.trouble(OverloadedError("too much waits"))
            self.trouble(NotFoundError("what is asked"))
        self.assertIsNone(self.targets.rest(TWO))

    def test_only_who_waited_long_enough_may_say_that_no_answer_came(self) -> None:
        """A caller in a hurry does not shut a node out for all."""
        for wait_s in (0.1, 5.0):
            for _ in range(FAILURES_MAX):
                with (
                    self.assertRaises(OutcomeUnknownError),
                    self.targets.asking(TWO, wait_s, measured=False),
                ):
                    self.clock.advance(wait_s)
                    raise OutcomeUnknownError("no answer in time")
            self.assertEqual(self.targets.rest(TWO) is None, wait_s < 1.0)

    def test_this_node_is_never_left_alone(self) -> None:
        """What it refuses, it refuses itself."""
        for _ in range(FAILURES_MAX * 2):
            self.trouble(UnavailableError("not here"), ONE)
        self.assertIsNone(self.targets.rest(ONE))

    def test_each_part_can_be_off(self) -> None:
        """Without breakers all is sent, without budgets all is sent again."""
        self.targets = self.make(Policies().without(NAMES))
        for _ in range(FAILURES_MAX * 2):
            self.trouble(UnavailableError("no connection"))
        self.assertIsNone(self.targets.rest(TWO))
        grants = [self.targets.retry_s(TWO, 1.0) for _ in range(1000)]
        self.assertEqual(set(grants), {0.0})
        with self.targets.asking(TWO, 5.0, measured=True):
            self.clock.advance(2.0)
        orders = [self.targets.order([TWO, NodeId("3" * 32)], turn) for turn in (0, 1)]
        self.assertEqual(orders[0], orders[1][::-1])

    def test_breakers_that_are_turned_off_leave_nobody_alone(self) -> None:
        """Whoever waited for the node is told; turned on, they begin anew."""
        told: list[None] = []
        self.targets.subscribe(lambda: told.append(None))
        for _ in range(FAILURES_MAX):
            self.trouble(UnavailableError("no connection"))
        self.assertIsNotNone(self.targets.rest(TWO))
        self.targets.use(Policies(breakers=False))
        self.assertIsNone(self.targets.rest(TWO))
        self.assertEqual(len(told), 1)
        self.targets.use(Policies())
        self.assertIsNone(self.targets.rest(TWO))

    def test_a_copy_that_is_slow_or_left_alone_is_read_last(self) -> None:
        """The copy here, too."""
        with self.targets.asking(ONE, 5.0, measured=True):
            self.clock.advance(0.2)
        self.assertEqual(self.targets.order([ONE, TWO], 0), [TWO, ONE])
        for _ in range(FAILURES_MAX):
            self.trouble(UnavailableError("no connection"))
        self.assertEqual(self.targets.order([ONE, TWO], 0), [ONE, TWO])


class RoutedTests(TwoNodes):
    """What a dead peer costs those who ask the other node."""

    def setUp(self) -> None:
        """Node two is gone, with the primary of shard 1."""
        super().setUp()
        self.other = self.key_of(1)
        self.two = self.wire.ends.pop(TWO)

    def begin(self, call: Call = CALL) -> "Deferred[object]":
        """Begin a read that only the dead node can do."""
        return Deferred.fromCoroutine(self.routers[ONE].get(self.other, call))

    def pass_s(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 100)):
            self.clock.advance(0.01)

    def test_a_dead_primary_costs_one_opening_and_few_messages(self) -> None:
        """Fifty callers wait at once; one probe a second is sent for all of them."""
        asking = [self.begin() for _ in range(50)]
        self.pass_s(4.0)
        self.assertLess(len(self.wire.asked), 50 + FAILURES_MAX + 5)
        for each in asking:
            self.assertNoResult(each)

    def test_after_a_while_it_is_said_at_once(self) -> None:
        """Nobody took over: whoever comes now hears so, and when to come again."""
        asking = [self.begin() for _ in range(10)]
        self.pass_s(PATIENCE_S + REST_S)
        for each in asking:
            self.failureResultOf(each, UnavailableError)
        self.pass_s(0.05)
        asked = len(self.wire.asked)
        late = [self.begin() for _ in range(10)]
        self.pass_s(REST_S / 2)
        for each in late:
            failure = self.failureResultOf(each, UnavailableError)
            self.assertEqual(failure.value.members["retry_after"], 1)
        self.assertLessEqual(len(self.wire.asked) - asked, 1)

    def test_a_new_primary_is_asked_at_once(self) -> None:
        """Who waited for the dead one goes by the new route, all of them."""
        token = spell_tokens([Token(ShardId(1), Position("h", 0))])
        served = Served(ShardId(1), "n1", token)
        asking = [self.begin() for _ in range(200)]
        self.pass_s(1.0)
        self.held[ONE].held[1] = {}
        self.states[ONE].apply(state_of({0: ONE, 1: ONE}, version=2, term=2))
        for each in asking:
            self.assertEqual(self.successResultOf(each), (None, served))

    def test_a_node_that_is_back_serves_within_one_rest(self) -> None:
        """One probe finds it, and all who wait follow."""
        asking = [self.begin() for _ in range(20)]
        self.pass_s(2.0)
        self.wire.ends[TWO] = self.two
        self.pass_s(REST_S + 0.2)
        for each in asking:
            self.successResultOf(each)

    def test_a_connection_ends_the_wait_at_once(self) -> None:
        """Nobody waits for the rest to be over: one asks, and all others follow."""
        asking = [self.begin() for _ in range(20)]
        self.pass_s(2.0)
        self.wire.ends[TWO] = self.two
        self.targets[ONE].connected(TWO)
        for each in asking:
            self.successResultOf(each)

    def test_a_read_at_any_copy_goes_past_the_dead_one(self) -> None:
        """At once, and without a time-out."""
        state = with_replica(self.state, 1, ONE)
        self.states[ONE].apply(state)
        self.held[ONE].held[1] = {}
        for _ in range(20):
            done = self.begin(ANY)
            self.successResultOf(done)

    def test_what_is_sent_again_by_the_same_route_is_bounded(self) -> None:
        """Keyed writes that time out are repeated no more than the budget says."""
        self.wire.ends[TWO] = self.two
        self.held[TWO].error = UnavailableError("not ready", shard=1)
        promised = Call("r", 10.0, IdempotencyKey("PUT /kv/x", b"f"))
        router = self.routers[ONE]
        asking = [
            Deferred.fromCoroutine(router.write(Put(self.other, b""), promised))
            for _ in range(100)
        ]
        self.pass_s(2.0)
        again = len(self.wire.asked) - 100
        self.assertLessEqual(again, TOKENS_MAX + 100 * 0.1 + 2.0 * 5.0 + 1)
        self.held[TWO].error = None
        self.pass_s(10.0)
        answered = [each for each in asking if each.called]
        self.assertEqual(len(answered), 100)
        for each in asking:
            each.addErrback(lambda failure: failure.trap(UnavailableError))

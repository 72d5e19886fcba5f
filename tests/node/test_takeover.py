"""Tests for `torua.node.takeover`."""

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, state_of
from tests.node.test_router import CALL, TwoNodes
from torua.core.ids import ShardId
from torua.core.kv import Put, Served
from torua.errors import ToruaError, UnavailableError
from torua.node.takeover import HELD_BYTES_MAX, HELD_MAX, LOOK_S, Takeovers

SHARD, OTHER = ShardId(1), ShardId(2)


class TakeoverTests(SynchronousTestCase):
    """One shard is taken over, another is served."""

    def setUp(self) -> None:
        """Begin with nobody waiting."""
        self.clock = Clock()
        self.between = {SHARD}
        self.registry = CollectorRegistry()
        self.takeovers = Takeovers(
            self.clock, lambda shard: shard in self.between, self.registry
        )

    def over(self, shard: ShardId = SHARD, size: int = 1) -> "Deferred[bool]":
        """Wait for a shard for ten seconds.

        Args:
            shard: which.
            size: of what is asked.
        """
        return Deferred.fromCoroutine(self.takeovers.over(shard, size, 10.0))

    def waiting(self) -> float | None:
        """Return the metric."""
        return self.registry.get_sample_value("torua_node_takeover_waiting")

    def test_who_waits_goes_on_once_the_shard_is_served(self) -> None:
        """And hears that it is worth asking again; nothing is left behind."""
        waits = [self.over() for _ in range(3)]
        self.clock.pump([LOOK_S] * 5)
        assert not any(each.called for each in waits)
        assert self.waiting() == 3
        self.between.clear()
        self.clock.advance(LOOK_S)
        assert [self.successResultOf(each) for each in waits] == [True] * 3
        assert self.waiting() == 0
        assert not self.clock.getDelayedCalls()

    def test_what_is_not_taken_over_is_not_waited_for(self) -> None:
        """The refusal had another reason, which stays."""
        assert self.successResultOf(self.over(OTHER)) is False

    def test_who_waits_in_vain_hears_it_before_his_time_is_up(self) -> None:
        """So that it is a refusal, and not an outcome that nobody knows."""
        wait = self.over()
        self.clock.pump([0.5] * 17)
        self.assertNoResult(wait)
        self.clock.pump([0.5] * 2)
        assert self.successResultOf(wait) is False

    def test_so_many_wait_and_no_more(self) -> None:
        """Another is refused at once, until one of them went on."""
        waits = [self.over() for _ in range(HELD_MAX)]
        assert self.successResultOf(self.over()) is False
        self.between.clear()
        self.clock.advance(LOOK_S)
        assert all(self.successResultOf(each) for each in waits)
        self.between.add(SHARD)
        self.assertNoResult(self.over())

    def test_so_many_bytes_wait_and_no_more(self) -> None:
        """Also where one that waited was given up meanwhile."""
        wait = self.over(size=HELD_BYTES_MAX)
        assert self.successResultOf(self.over()) is False
        wait.addErrback(lambda _: None)
        wait.cancel()
        self.assertNoResult(self.over(size=HELD_BYTES_MAX))
        self.clock.advance(LOOK_S)


class AskingTests(TwoNodes):
    """Node one is asked for what node two leads, which takes over or hands over."""

    def puts(self, error: ToruaError) -> "list[Deferred[Served]]":
        """Put many times, more than there are retries; return where each is served.

        Args:
            error: what node two refuses them with.
        """
        two = self.held[TWO]
        two.takeover, two.error = Deferred(), error

        async def put() -> Served:
            """Put once."""
            operation = Put(self.key_of(1), b"v")
            return (await self.routers[ONE].write(operation, CALL))[1]

        return [Deferred.fromCoroutine(put()) for _ in range(200)]

    def end_takeover(self) -> None:
        """Have all go on."""
        takeover = self.held[TWO].takeover
        assert takeover is not None
        takeover.callback(None)

    def test_what_a_primary_refuses_waits_there(self) -> None:
        """Hundreds of requests cost a message each, and no retry."""
        puts = self.puts(UnavailableError("not yet served"))
        self.clock.advance(1.0)
        self.held[TWO].error = None
        self.end_takeover()
        self.assertEqual({self.successResultOf(put).node for put in puts}, {"n2"})
        self.assertEqual(len(self.wire.asked), 200)
        self.assertEqual({each.timeout_s for each in self.held[TWO].calls[200:]}, {4.0})

    def test_what_waits_goes_to_the_primary_that_takes_over(self) -> None:
        """A new route costs no retry, be it that the node asked knew it first."""
        puts = self.puts(UnavailableError("handed over"))
        self.held[ONE].held[1] = {}
        for node in (ONE, TWO):
            self.states[node].apply(state_of({0: ONE, 1: ONE}, version=2, term=2))
        self.end_takeover()
        self.clock.advance(0.0)
        self.assertEqual({self.successResultOf(put).node for put in puts}, {"n1"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

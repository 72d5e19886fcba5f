"""Tests for `torua.node.lag`."""

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torua.node.lag import ReactorLag


class ReactorLagTests(SynchronousTestCase):
    """A clock that jumps is a reactor that stood still."""

    def test_it_reports_by_how_much_a_timer_was_late(self) -> None:
        """Nothing while all is well, the rest of the jump where it was not."""
        clock, late, registry = Clock(), list[float](), CollectorRegistry()
        lag = ReactorLag(clock, 0.5, late.append, registry)
        lag.start()
        for step in (0.5, 0.5, 2.0, 0.5):
            clock.advance(step)
        self.assertEqual(late, [0.0, 0.0, 1.5, 0.0])
        lag.stop()
        lag.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

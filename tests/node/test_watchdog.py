"""Tests for `torua.node.watchdog`."""

import threading
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from torua.core.configuration import Configuration, Limits
from torua.core.resilience.policies import Policies
from torua.core.resilience.stalls import STALL_S
from torua.node.watchdog import Watchdog


class WatchdogTests(SynchronousTestCase):
    """A clock that goes on without the reactor is a reactor that stands still."""

    def setUp(self) -> None:
        """Watch a reactor whose beats come when the test says so."""
        self.reactor, self.now = Clock(), 100.0
        self.registry = CollectorRegistry()
        self.dog = Watchdog(self.reactor, self.registry, seconds=lambda: self.now)
        self.events = list[dict[str, object]]()
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[str]:
        """Return the stacks that were shown."""
        return [str(each["stack"]) for each in self.events if "stack" in each]

    def stalls(self) -> float:
        """Read the metric."""
        found = self.registry.get_sample_value("torua_node_reactor_stalls_total")
        return found or 0.0

    def turn(self, seconds: float) -> None:
        """Let the reactor turn, and the clock with it."""
        self.now += seconds
        self.reactor.advance(seconds)

    def test_a_reactor_that_turns_is_left_in_peace(self) -> None:
        """However often it is looked at."""
        self.dog.start()
        self.addCleanup(self.dog.stop)
        for _ in range(100):
            self.turn(STALL_S / 2)
            self.dog.look()
        self.assertEqual((self.stalls(), self.lines()), (0, []))

    def test_a_stall_is_counted_and_shown_with_where_it_is(self) -> None:
        """The line names what the watched thread is doing; one a minute."""
        self.dog.start()
        self.addCleanup(self.dog.stop)
        for _ in range(3):
            self.now += 0.2
            self.dog.look()
            self.turn(STALL_S)
        self.assertEqual(self.stalls(), 3)
        (line,) = self.lines()
        self.assertIn("test_a_stall_is_counted", line)
        longest = "torua_node_reactor_stall_longest_seconds"
        self.assertGreater(self.registry.get_sample_value(longest) or 0.0, 0.19)

    def test_it_is_turned_on_and_off(self) -> None:
        """Being told twice what it does already is fine."""
        for is_on in (True, True, False, False, True):
            self.dog.use(Configuration(resilience=Policies(watchdog=is_on)))
            self.assertEqual(len(self.reactor.getDelayedCalls()), is_on)
        self.dog.stop()

    def test_what_a_stall_is_may_change(self) -> None:
        """The same delay is one, and is none."""
        self.addCleanup(self.dog.stop)
        for stall_s, stalls in ((1.0, 0), (0.1, 1), (1.0, 1)):
            self.dog.use(Configuration(limits=Limits(stall_s=stall_s)))
            self.now += 0.7
            self.dog.look()
            self.assertEqual(self.stalls(), stalls)
            self.turn(stall_s)

    def test_nothing_is_left_of_it(self) -> None:
        """Neither a timer nor a thread; stopping twice is fine."""
        self.dog.start()
        self.dog.stop()
        self.dog.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        names = [each.name for each in threading.enumerate()]
        self.assertNotIn("watchdog", names)

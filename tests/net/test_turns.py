"""Tests for `torua.net.turns`."""

import socket
import time

from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torua.net.turns import plain_turns, steady


class Reading(FileDescriptor):
    """One end of a pair of sockets, which notes what comes.

    Invariants: what is raised, if anything, is raised at each read.
    """

    def __init__(self, reactor: EPollReactor, trouble: Exception | None = None) -> None:
        """Begin to read.

        Args:
            reactor: by which.
            trouble: what reading raises.
        """
        super().__init__(reactor)
        self.mine, self.other = socket.socketpair()
        self.trouble = trouble
        self.read: list[bytes] = []
        self.lost = False
        self.startReading()

    def fileno(self) -> int:
        """Tell which socket it is."""
        return self.mine.fileno()

    def doRead(self) -> Exception | None:
        """Note what came."""
        self.read.append(self.mine.recv(100))
        if self.trouble is not None:
            raise self.trouble
        return None

    def connectionLost(self, reason: object) -> None:
        """Close."""
        super().connectionLost(reason)
        self.lost = True

    def close(self) -> None:
        """Close both ends."""
        self.stopReading()
        self.mine.close()
        self.other.close()


class TurnsTests(SynchronousTestCase):
    """A reactor that never runs, but for single turns."""

    def setUp(self) -> None:
        """Make one."""
        self.reactor = plain_turns(EPollReactor())
        self.addCleanup(self.reactor._poller.close)

    def reading(self, trouble: Exception | None = None) -> Reading:
        """Read by that reactor.

        Args:
            trouble: what reading raises.
        """
        made = Reading(self.reactor, trouble)
        self.addCleanup(made.close)
        return made

    def test_what_is_ready_is_served(self) -> None:
        """And nothing else."""
        ready, other = self.reading(), self.reading()
        ready.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual((ready.read, other.read), ([b"a"], []))

    def test_one_that_fails_is_closed_and_the_others_are_served(self) -> None:
        """What it raised is logged."""
        failing, other = self.reading(ZeroDivisionError()), self.reading()
        for each in (failing, other):
            each.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual((failing.lost, other.lost), (True, False))
        self.assertEqual(other.read, [b"a"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_that_cannot_even_be_closed_is_logged(self) -> None:
        """And the others are served."""

        def fail(reason: object) -> None:
            """Fail to close."""
            raise KeyError(reason)

        failing, other = self.reading(ZeroDivisionError()), self.reading()
        failing.connectionLost = fail  # type: ignore[method-assign]
        for each in (failing, other):
            each.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual(other.read, [b"a"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_one_that_was_closed_in_the_same_turn_is_left_out(self) -> None:
        """Whoever is served first may close another that is ready too."""
        pair = [self.reading(), self.reading()]
        for each, peer in (pair, reversed(pair)):
            each.doRead = peer.stopReading  # type: ignore[method-assign]
            each.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual(len(self.reactor.getReaders()), 2)

    def test_other_reactors_are_left_alone(self) -> None:
        """A clock of a test among them."""
        clock = Clock()
        self.assertIs(plain_turns(clock), clock)


class SteadyTest(SynchronousTestCase):
    """A reactor whose clock nobody sets."""

    def test_a_step_of_the_wall_clock_ends_no_wait(self) -> None:
        """What was to be done in a while is done in a while."""
        reactor = steady(EPollReactor())
        self.addCleanup(reactor._poller.close)
        self.patch(time, "time", lambda: 1e12)
        before = time.monotonic()
        self.assertLessEqual(before, reactor.seconds())
        done: list[float] = []
        timer = reactor.callLater(3600.0, done.append, 1.0)
        reactor.callLater(0, done.append, 0.0)
        reactor.runUntilCurrent()
        self.assertEqual(done, [0.0])
        self.assertLess(timer.getTime() - before, 3700.0)
        timer.cancel()

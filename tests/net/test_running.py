"""Tests for `torua.net.running`."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from torua.net.running import run


class RunningTests(SynchronousTestCase):
    """A coroutine goes on as its Deferreds fire."""

    def setUp(self) -> None:
        """Begin with two Deferreds that have not fired."""
        self.first: Deferred[int] = Deferred()
        self.second: Deferred[int] = Deferred()
        self.seen: list[object] = []

    async def note(self) -> None:
        """Note both results, or what failed."""
        for each in (self.first, self.second):
            try:
                self.seen.append(await each)
            except ValueError as error:
                self.seen.append(error.args)
        self.seen.append("end")

    def test_what_is_there_is_taken_at_once(self) -> None:
        """A coroutine that waits for nothing has ended when the call returns."""
        self.first.callback(1)
        self.second.callback(2)
        run(self.note())
        self.assertEqual(self.seen, [1, 2, "end"])

    def test_it_waits_for_what_is_not_there(self) -> None:
        """It goes on with each result once that has come, and not before."""
        run(self.note())
        self.second.callback(2)
        self.assertEqual(self.seen, [])
        self.first.callback(1)
        self.assertEqual(self.seen, [1, 2, "end"])

    def test_a_failure_is_raised_where_it_is_awaited(self) -> None:
        """The coroutine handles it, and nothing of it is left behind."""
        run(self.note())
        self.first.errback(ValueError("no"))
        self.second.callback(2)
        self.assertEqual(self.seen, [("no",), 2, "end"])

    def test_one_that_raises_says_so(self) -> None:
        """At once where it did not wait, else as an unhandled error of its Deferred."""
        with self.assertRaises(ZeroDivisionError):
            run(self.divide(0))
        run(self.divide(await_first=True))
        self.first.callback(0)
        self.failureResultOf(self.first, ZeroDivisionError)

    async def divide(self, number: int = 1, *, await_first: bool = False) -> None:
        """Divide by a number, or by the first result.

        Args:
            number: by which.
            await_first: whether by that result.
        """
        self.seen.append(1 / (await self.first if await_first else number))

"""Several things done at once: what each returned or raised, in order."""

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torua.errors import ToruaError, UnavailableError
from torua.node.outcomes import all_of, outcomes_of


async def told(value: int) -> int:
    """Return at once."""
    return value


async def refused(detail: str) -> int:
    """Raise at once what a caller may be told."""
    raise UnavailableError(detail)


async def broken() -> int:
    """Raise at once what nobody expects."""
    raise KeyError("broken")


async def waits(*steps: "Deferred[int]") -> int:
    """Return the sum of what comes, one after the other."""
    return sum([await step for step in steps])


async def forgives(step: "Deferred[int]") -> int:
    """Return 0 where what it waits for fails."""
    try:
        return await step
    except ToruaError:
        return 0


class OutcomesTest(SynchronousTestCase):
    """Coroutines that wait, and others that do not."""

    def test_outcomes_are_in_order_whoever_ends_first(self) -> None:
        """Refusals among them."""
        first, second, third, fourth = (Deferred[int]() for _ in range(4))
        parts = (
            waits(first, second),
            told(1),
            refused("now"),
            waits(third),
            forgives(fourth),
        )
        done = Deferred.fromCoroutine(outcomes_of(parts))
        third.errback(Failure(UnavailableError("later")))
        fourth.errback(Failure(UnavailableError("later")))
        first.callback(2)
        self.assertNoResult(done)
        second.callback(3)
        found = self.successResultOf(done)
        self.assertEqual([str(each) for each in found], ["5", "1", "now", "later", "0"])

    def test_what_never_waits_is_there_at_once(self) -> None:
        """None at all is no outcome."""
        done = Deferred.fromCoroutine(outcomes_of([told(1), refused("now")]))
        self.assertEqual(
            [str(each) for each in self.successResultOf(done)], ["1", "now"]
        )
        nothing: list[int] = self.successResultOf(Deferred.fromCoroutine(all_of(())))
        self.assertEqual(nothing, [])

    def test_what_nobody_expects_is_raised(self) -> None:
        """By both, at once and later, when all have begun."""
        later = Deferred[int]()
        done = Deferred.fromCoroutine(outcomes_of([broken(), waits(later)]))
        self.assertNoResult(done)
        later.callback(1)
        self.failureResultOf(done, KeyError)
        self.failureResultOf(Deferred.fromCoroutine(all_of([broken()])), KeyError)

    def test_all_are_there_or_the_first_that_failed_is_raised(self) -> None:
        """Others run on, and nobody hears what becomes of them."""
        step, failing = Deferred[int](), Deferred[int]()
        done = Deferred.fromCoroutine(all_of([waits(step), told(2)]))
        step.callback(1)
        self.assertEqual(self.successResultOf(done), [1, 2])
        parts = [waits(failing), refused("now"), told(1)]
        self.failureResultOf(Deferred.fromCoroutine(all_of(parts)), UnavailableError)
        failing.errback(Failure(UnavailableError("unheard")))
        failing = Deferred()
        done = Deferred.fromCoroutine(all_of([waits(failing), told(1)]))
        failing.errback(Failure(UnavailableError("later")))
        self.failureResultOf(done, UnavailableError)

    def test_who_is_cancelled_cancels_those_that_run(self) -> None:
        """They hear of it where they wait."""
        heard: list[str] = []
        step: Deferred[int] = Deferred(lambda _: heard.append("cancelled"))
        done = Deferred.fromCoroutine(outcomes_of([told(1), waits(step)]))
        done.addErrback(lambda _: None)
        done.cancel()
        self.assertEqual(heard, ["cancelled"])

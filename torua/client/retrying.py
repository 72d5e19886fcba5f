"""Which failed attempts are made again, when, and what is said in the end.

    attempt --nothing was done (429, 503, no connection)--> pause, attempt
            --nobody knows (504, a break)--> where it is safe to repeat: pause, attempt
            --anything else--> that is the answer

Once an attempt may have done something, only a definite answer of a later one makes the
outcome known; else it is told to be unknown, whatever the last attempt failed of.
"""

from random import Random

from msgspec import Struct

from torua.client.errors import (
    ClientError,
    OutcomeUnknownError,
    OverloadedError,
    UnavailableError,
    UnreachableError,
)

_DOUBLINGS_MAX = 16


class Retry(Struct, frozen=True):
    """How stubborn a client is, within the time that a request has.

    Attributes:
        attempts: how often a request is sent at most; 1 for no retries.
        base_s: the bound of the first pause; it doubles with each.
        cap_s: the bound of the longest; a pause is drawn from zero to its bound (full
            jitter), after what ``Retry-After`` asks.
    """

    attempts: int = 12
    base_s: float = 0.05
    cap_s: float = 2.0


class Course:
    """The attempts of one request.

    Invariants: `unknown` stays once an attempt may have done something; no pause ends
    after the deadline.
    """

    def __init__(
        self,
        retry: Retry,
        deadline: float,
        *,
        repeatable: bool,
        patient: bool,
        random: Random,
    ) -> None:
        """Begin, before the first attempt.

        Args:
            retry: how stubborn to be.
            deadline: when the time of the request is over.
            repeatable: whether doing it twice is as good as once.
            patient: whether to come again after a refusal that may pass.
            random: draws pauses.
        """
        self._retry = retry
        self._repeatable = repeatable
        self._patient = patient
        self._random = random
        self._failures = 0
        self.deadline = deadline
        self.unknown: OutcomeUnknownError | None = None
        self.tried: list[str] = []

    def failed(self, error: ClientError, now: float, *, others: bool) -> float | None:
        """Take note of a failure; return how long to pause, None to give up.

        Args:
            error: how the attempt ended.
            now: the time.
            others: whether there are endpoints that were not tried yet.
        """
        if isinstance(error, OutcomeUnknownError):
            self.unknown = self.unknown or error
        if not self._may_repeat(error):
            return None
        jitter_s = jittered_s(self._retry, self._failures, self._random)
        self._failures += 1
        if self._failures >= self._retry.attempts:
            return None
        pause_s = jitter_s
        if isinstance(error, UnreachableError) and others:
            pause_s = 0.0
        elif not others:
            pause_s += error.retry_after or 0.0
        return pause_s if now + pause_s < self.deadline else None

    def verdict(self, error: ClientError) -> ClientError:
        """Return what is to be raised after the last attempt.

        Args:
            error: how that ended.
        """
        error.uncertain = self.unknown is not None
        if self.unknown is not None and _nothing_done(error):
            return self.unknown
        return error

    def _may_repeat(self, error: ClientError) -> bool:
        """Tell whether another attempt is safe, and may help."""
        if isinstance(error, OutcomeUnknownError):
            return self._repeatable
        if isinstance(error, UnreachableError):
            return True
        return self._patient and _nothing_done(error)


def jittered_s(retry: Retry, failures: int, random: Random) -> float:
    """Draw how long to pause: from zero to a bound that doubles.

    Args:
        retry: how stubborn to be.
        failures: how many there were before this one.
        random: what to draw with.
    """
    bound = min(retry.cap_s, retry.base_s * 2.0 ** min(failures, _DOUBLINGS_MAX))
    return random.uniform(0.0, bound)


def _nothing_done(error: ClientError) -> bool:
    """Tell whether a failed attempt certainly did nothing, and another may help."""
    return isinstance(error, OverloadedError | UnavailableError | UnreachableError)

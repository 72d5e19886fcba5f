"""Several things done at once, each of which may be refused by itself."""

from collections.abc import Coroutine, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from torua.errors import ToruaError

T = TypeVar("T")


async def outcomes_of(
    parts: Iterable[Coroutine[Deferred[object], object, T]],
) -> list[T | ToruaError]:
    """Run coroutines at once, and wait for all of them.

    Args:
        parts: each begins in this turn, in order.

    Returns:
        What each returned, or the `ToruaError` that it raised, in order.
    """
    running = [Deferred.fromCoroutine(part) for part in parts]
    found: list[T | ToruaError] = []
    for _, result in await DeferredList(running, consumeErrors=True):
        if isinstance(result, Failure):
            error = result.value
            if not isinstance(error, ToruaError):
                result.raiseException()
            found.append(error)
        else:
            found.append(result)
    return found

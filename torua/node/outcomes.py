"""Several things done at once, each of which may be refused by itself, or none.

A coroutine that never waits costs no `Deferred`: most of what is asked of eight shards
at once is there already.
"""

from collections.abc import Coroutine, Generator, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults
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
    ended: dict[int, T | Failure] = {}
    running: dict[int, Deferred[T]] = {}
    for place, part in enumerate(parts):
        _begin(place, part, ended, running)
    if running:
        results = await DeferredList(list(running.values()), consumeErrors=True)
        for place, (_, result) in zip(running, results, strict=True):
            ended[place] = result
    return [_outcome(ended[place]) for place in range(len(ended))]


async def all_of(parts: Iterable[Coroutine[Deferred[T], object, T]]) -> list[T]:
    """Run coroutines at once, and return what each returned, in order.

    The first that fails is raised; the others run on, for nobody.

    Args:
        parts: each begins in this turn, in order.
    """
    ended: dict[int, T | Failure] = {}
    running: dict[int, Deferred[T]] = {}
    for place, part in enumerate(parts):
        _begin(place, part, ended, running)
    for result in ended.values():
        if isinstance(result, Failure):
            for each in running.values():
                each.addErrback(_unheard)
            result.raiseException()
    try:
        found = await gatherResults(list(running.values()), consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
        raise
    ended.update(zip(running, found, strict=True))
    return [_returned(ended[place]) for place in range(len(ended))]


def _begin(
    place: int,
    part: Coroutine[Any, object, T],
    ended: dict[int, T | Failure],
    running: dict[int, Deferred[T]],
) -> None:
    """Run a coroutine to where it waits first, or to its end.

    Args:
        place: of what becomes of it.
        part: the coroutine.
        ended: takes what came of it, if it has ended.
        running: takes it, if it has not.
    """
    try:
        waited = part.send(None)
    except StopIteration as done:
        ended[place] = done.value
    except Exception:
        ended[place] = Failure()
    else:
        running[place] = Deferred.fromCoroutine(_resumed(part, waited))


def _resumed(
    part: Coroutine[Any, object, T], waited: Deferred[Any]
) -> Generator[Deferred[Any], object, T]:
    """Go on with a coroutine that waits.

    Args:
        part: the coroutine.
        waited: what it waits for.
    """
    found: object = None
    while True:
        failed: BaseException | None = None
        try:
            found = yield waited
        except BaseException as error:
            failed = error
        try:
            waited = part.send(found) if failed is None else part.throw(failed)
        except StopIteration as done:
            returned: T = done.value
            return returned


def _outcome(result: T | Failure) -> T | ToruaError:
    """Return what came of one; raise what is no `ToruaError`."""
    if not isinstance(result, Failure):
        return result
    if not isinstance(result.value, ToruaError):
        result.raiseException()
    refused: ToruaError = result.value
    return refused


def _returned(result: T | Failure) -> T:
    """Return what one returned."""
    assert not isinstance(result, Failure), "failures are raised"
    return result


def _unheard(_: Failure) -> None:
    """Leave an error to nobody: another one came first."""

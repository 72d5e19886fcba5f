"""Coroutines that nobody waits for, run at little cost.

`Deferred.fromCoroutine` makes a Deferred of the coroutine's own result, a context and a
record by which it can be cancelled.  Where a coroutine ends by itself, and nobody asks
for what it returns, all of that is spared: one that waits for nothing is just called,
and one that waits adds one callback to what it waits for.
"""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def run(coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
    """Run a coroutine as far as it comes, and on once what it waits for is there.

    Args:
        coroutine: it handles its errors; what it raises all the same comes out here, or
            is an unhandled error of what it waited for.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration:
        return
    waited.addBoth(_go_on, coroutine)


def _go_on(result: object, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
    """Run on; the coroutine takes a result from its Deferred itself.

    Args:
        result: what it waited for; a failure is raised in it.
        coroutine: which.
    """
    try:
        if isinstance(result, Failure):
            waited = result.throwExceptionIntoGenerator(coroutine)
        else:
            waited = coroutine.send(None)
    except StopIteration:
        return
    waited.addBoth(_go_on, coroutine)

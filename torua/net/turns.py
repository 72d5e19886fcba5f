"""The reactor as a node wants it: by a clock that nobody sets, and without detours.

Twisted's reactors go by the wall clock.  When that is set, by hand or by NTP, all
timers would be due at once, or late: those of elections, of probes, and whoever waits.

Twisted serves each ready socket within a context that names it, for those who log by
`twisted.python.log`.  Our lines say themselves what they are about, and leave that name
out; to make the context costs more than to receive what came.
"""

import time
from typing import Any, TypeVar

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

R = TypeVar("R")

log = Logger()


def steady(reactor: R) -> R:
    """Have a reactor go by the monotonic clock; nothing may have a timer by then.

    Args:
        reactor: it tells `time.monotonic` from now on, and its timers go by that.

    Returns:
        The reactor.
    """
    timed: Any = reactor
    assert not timed.getDelayedCalls(), "by another clock these are never due"
    timed.seconds = time.monotonic
    return reactor


def plain_turns(reactor: R) -> R:
    """Have a reactor serve its sockets without contexts, if it is the epoll reactor.

    Args:
        reactor: it runs, or will; any other is left as it is.

    Returns:
        The reactor.
    """
    if isinstance(reactor, EPollReactor):
        # Its class declares none of what its turns are made of.
        epoll: Any = reactor
        poller, selectables = epoll._poller, epoll._selectables
        serve = epoll._doReadOrWrite

        def turn(timeout_s: float | None) -> None:
            """Wait for sockets, and serve those that are ready.

            Args:
                timeout_s: how long at most; None for as long as it takes.
            """
            wait_s = -1 if timeout_s is None else timeout_s
            for number, event in poller.poll(wait_s, len(selectables)):
                selectable = selectables.get(number)
                if selectable is not None:
                    try:
                        serve(selectable, number, event)
                    except Exception:
                        log.failure("a socket was not served")

        epoll.doPoll = epoll.doIteration = turn
    return reactor

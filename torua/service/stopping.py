"""How long a stop may take, counted in time in which the process ran.

Where the machine stood still for a while, all that was to be done meanwhile is due at
once: a plain timer would cut off a stop that needs but another moment.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

STOP_TIMEOUT_S = 12.0
"""How long a graceful stop runs at most; the contract promises 15 s to the process."""

BEAT_S = 0.5
"""So much is counted from one beat to the next, however long it was."""


def bounded(clock: IReactorTime, stopping: "Deferred[None]") -> "Deferred[None]":
    """Cancel a stop that does not end in time.

    Args:
        clock: the reactor.
        stopping: what is to end.

    Returns:
        ``stopping``.
    """
    left_s = STOP_TIMEOUT_S

    def beat() -> None:
        """Count another moment."""
        nonlocal left_s
        left_s -= BEAT_S
        if left_s <= 0:
            stopping.cancel()

    def ended(result: None) -> None:
        """Count no more."""
        counting.stop()
        return result

    counting = LoopingCall(beat)
    counting.clock = clock
    counting.start(BEAT_S, now=False)
    return stopping.addBoth(ended)

"""How long one statement may still take."""

from msgspec import structs
from twisted.internet.interfaces import IReactorTime

from torua.core.kv import Call
from torua.core.reading import LINEARIZABLE
from torua.errors import QueryTimeoutError


class Deadline:
    """The moment by which a statement is answered, or given up.

    Invariants: it does not move.
    """

    def __init__(self, clock: IReactorTime, call: Call) -> None:
        """Let the time run from now.

        Args:
            clock: the reactor.
            call: who asks, and how long it waits.
        """
        self._clock = clock
        self._call = call
        self._end_s = clock.seconds() + call.timeout_s

    @property
    def left_s(self) -> float:
        """How long it is to that moment; 0 or less once it is past."""
        return self._end_s - self._clock.seconds()

    def call(self) -> Call:
        """Return who asks, with the time that is left.

        Raises:
            QueryTimeoutError: there is none.
        """
        left_s = self.left_s
        if left_s <= 0:
            raise self.passed()
        return structs.replace(self._call, timeout_s=left_s)

    def linearizable(self) -> None:
        """Read at the primaries from now on: a write rests on what is true."""
        self._call = structs.replace(self._call, reading=LINEARIZABLE)

    def passed(self) -> QueryTimeoutError:
        """Make the error of a statement that took too long."""
        return QueryTimeoutError(
            f"the statement took longer than {self._call.timeout_s:g} s; give it "
            "more time (timeout_ms), or ask for less"
        )

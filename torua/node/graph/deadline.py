"""How long one statement may still take, and how it goes."""

from msgspec import structs
from twisted.internet.interfaces import IReactorTime

from torua.core.kv import Call
from torua.core.reading import LINEARIZABLE
from torua.errors import QueryTimeoutError, ToruaError


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


class Course:
    """How one statement goes.

    Invariants: ``strategy`` is what was found out last; a write reads at the primaries.

    Attributes:
        deadline: when it ends.
        promised: its caller may send it again, and means the same one then.
        strategy: how it is answered, as far as known.
        version: of the schema that it was planned with; None where there was none.
        renewed: a newer schema was waited for.
        last: why the last attempt was in vain.
    """

    def __init__(self, clock: IReactorTime, call: Call) -> None:
        """Begin.

        Args:
            clock: the reactor.
            call: who asks, how fresh, and how long it waits.
        """
        self.deadline = Deadline(clock, call)
        self.promised = call.idempotency is not None
        self.strategy = "unplanned"
        self.version: int | None = None
        self.renewed = False
        self.last: ToruaError | None = None

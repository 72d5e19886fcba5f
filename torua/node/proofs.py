"""Proofs that a copy leads, each for as many reads as may share it.

A read may use a barrier only if its value was taken before the nonce was sent (R22).
So reads share a proof from when it is asked for until barriers are sent next, which
`torua.core.replication.barrier.Barriers.turn` counts; whoever comes later has another.
"""

from collections.abc import Callable

from torua.node.requests import Requests

PROOF_S = 2.5
"""How long reads wait that share a proof: less than whoever asked for them by then."""

Tell = Callable[[bool], None]


class _Gathering:
    """Reads that wait for one proof.

    Invariants: whoever waits is told once.
    """

    __slots__ = ("turn", "waiting")

    def __init__(self, turn: int) -> None:
        """Begin with nobody.

        Args:
            turn: of the barriers, when the proof is asked for.
        """
        self.turn = turn
        self.waiting: list[Tell] = []


class Proofs:
    """The proofs of one copy.

    Invariants: nobody joins a proof that is over, or of which a nonce was sent.
    """

    def __init__(
        self,
        requests: Requests,
        turn: Callable[[], int],
        confirm: Callable[[int], None],
    ) -> None:
        """Begin with none.

        Args:
            requests: of the copy.
            turn: counts the times that barriers were sent.
            confirm: has the copy's machine confirm a request.
        """
        self._requests = requests
        self._turn = turn
        self._confirm = confirm
        self._gathering: _Gathering | None = None

    def ask(self, tell: Tell) -> None:
        """Tell whether this was the primary after the call; no where nobody knows.

        Args:
            tell: is called once, now or within `PROOF_S`.
        """
        gathering = self._gathering
        if gathering is not None and gathering.turn == self._turn():
            gathering.waiting.append(tell)
            return
        gathering = self._gathering = _Gathering(self._turn())
        gathering.waiting.append(tell)
        request, done = self._requests.proof(PROOF_S)
        done.addCallbacks(
            lambda _: self._ended(gathering, True),
            lambda _: self._ended(gathering, False),
        )
        self._confirm(request)

    def _ended(self, gathering: _Gathering, proven: bool) -> None:
        """Let nobody join a proof that is over, and tell who waited for it."""
        if self._gathering is gathering:
            self._gathering = None
        waiting, gathering.waiting = gathering.waiting, []
        for tell in waiting:
            tell(proven)

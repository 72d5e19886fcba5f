"""What nodes asked the coordinator to change, on its way to being committed."""

from collections.abc import Iterator

from torua.core.allocation import Command
from torua.core.coordination.messages import Answer, Submit, Verdict

WAITING_MAX = 4096
"""One command a shard copy; more wait only where something asks in a loop."""


class Commands:
    """Commands that wait for a publication, and those that are in one.

    Invariants: every command that `add` took is answered once, by `done` or `drop`.
    """

    def __init__(self) -> None:
        """Have none."""
        self._waiting: list[Submit] = []
        self._published: list[Submit] = []

    def add(self, submit: Submit) -> bool:
        """Take a command; False where too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append(submit)
        return True

    def publish(self) -> Iterator[Command]:
        """Yield those that wait; from now on they are in the next publication."""
        self._published, self._waiting = self._waiting, []
        yield from (submit.command for submit in self._published)

    def done(self) -> list[Answer]:
        """Answer those whose publication is committed."""
        done, self._published = self._published, []
        return [Answer(submit.request, Verdict.DONE) for submit in done]

    def drop(self) -> list[Answer]:
        """Answer all: what was published may yet be committed, the rest is not done."""
        unknown, self._published = self._published, []
        undone, self._waiting = self._waiting, []
        return [Answer(submit.request, Verdict.UNKNOWN) for submit in unknown] + [
            Answer(submit.request, Verdict.UNAVAILABLE) for submit in undone
        ]

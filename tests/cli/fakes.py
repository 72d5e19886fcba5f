"""A cluster that answers from memory, and a way to run commands against it."""

from collections.abc import Callable

from click.testing import CliRunner, Result

from torua.cli.http import Answer, Client
from torua.cli.main import main

Handler = Callable[[str, str, bytes | None, dict[str, str]], Answer]


class FakeClient(Client):
    """Answers as its handler says, and remembers what it was asked."""

    def __init__(self, handler: Handler) -> None:
        """Answer by ``handler``: method, target, body, headers."""
        super().__init__(["http://fake:1"])
        self._handler = handler
        self.asked: list[tuple[str, str, bytes | None, dict[str, str]]] = []

    def send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        """Answer at once.

        Args:
            method: of HTTP.
            target: path and query.
            body: what was sent.
            headers: what was sent with it.
        """
        self.asked.append((method, target, body, headers))
        return self._handler(method, target, body, headers)


def answering(answer: Answer) -> FakeClient:
    """Return a client that always gets the same answer."""
    return FakeClient(lambda *_: answer)


def run(client: Client | None, *words: str, stdin: bytes = b"") -> Result:
    """Run a command of ``torua``.

    Args:
        client: whom it asks.
        words: the command line.
        stdin: what it can read.
    """
    return CliRunner().invoke(main, list(words), obj=client, input=stdin)

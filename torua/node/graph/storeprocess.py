"""One life of the storage worker, as its node sees it."""

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec import views
from torua.codec.messages import MessageReader
from torua.core.graph.schema import Graph
from torua.errors import ProtocolError, UnavailableError

log = Logger()


class Keeper(Protocol):
    """Whose worker it is."""

    def reported(self, report: views.Report) -> None:
        """Take what a view did."""

    def ended(self, process: "StoreProcess", reason: Failure) -> None:
        """Take note that the worker died.

        Args:
            process: which life.
            reason: how it ended.
        """


class StoreProcess(ProcessProtocol):
    """One life of the worker.

    Invariants: whoever asked is answered once, by it or by its end.
    """

    transport: IProcessTransport

    def __init__(self, keeper: Keeper) -> None:
        """Begin a life; ``keeper`` is told what comes."""
        self.waiting: dict[int, Deferred[views.Reply]] = {}
        self._keeper = keeper
        self._reader = MessageReader()
        self._errors = b""
        self._number = 0
        self._known: dict[int, Graph] = {}

    def send(self, ask: views.Ask) -> "Deferred[views.Reply]":
        """Ask something.

        Returns:
            Fires with the reply, or with `UnavailableError` where the worker dies.
        """
        self._number += 1
        answer: Deferred[views.Reply] = Deferred()
        self.waiting[self._number] = answer
        self._write(self._number, ask)
        return answer

    def tell(self, ask: views.OpenCopy | views.Release) -> None:
        """Say something that is not answered."""
        self._write(0, ask)

    def know(self, graph: Graph) -> None:
        """See that it knows a schema: what is sent next is of it."""
        if self._known.get(graph.graph_id) is not graph:
            self._known[graph.graph_id] = graph
            self._write(0, views.Know(graph))

    def kill(self, reason: str) -> None:
        """End it, and say why."""
        log.error("the storage worker is killed: {reason}", reason=reason)
        if self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """Take what it writes."""
        try:
            for header, blobs in self._reader.feed(data):
                number, reply = views.read_reply(header, blobs)
                if isinstance(reply, views.Report):
                    self._keeper.reported(reply)
                elif number in self.waiting:
                    self.waiting.pop(number).callback(reply)
        except ProtocolError as error:
            self.kill(str(error))

    def errReceived(self, data: bytes) -> None:
        """Take what it says of itself, by lines."""
        *lines, self._errors = (self._errors + data).split(b"\n")
        for line in lines:
            said = line.decode(errors="replace")
            log.warn("storage worker: {said}", said=said)

    def processEnded(self, reason: Failure) -> None:
        """Tell all who wait."""
        waiting, self.waiting = self.waiting, {}
        self._keeper.ended(self, reason)
        for answer in waiting.values():
            answer.errback(UnavailableError("the storage worker died", retry_after=1))

    def _write(self, number: int, ask: views.Ask) -> None:
        """Write a message."""
        for piece in views.spell_ask(number, ask):
            self.transport.write(piece)

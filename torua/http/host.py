"""What a connection needs of the site that it belongs to."""

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

from torua.errors import ToruaError
from torua.http.messages import Answer, Ask
from torua.http.routes import Match
from torua.http.streaming import Streaming

if TYPE_CHECKING:
    from torua.http.connection import Channel
    from torua.http.hot import Reader


class Asked(Protocol):
    """A request that came in whole, or was refused, by whichever way.

    Attributes:
        method: as it came.
        match: what serves it; None where it was refused before that was known.
        refusal: why it is not served.
        request_id: the caller's or ours.
        raw_path: its path, as it came.
        started_s: when it was in whole, by the reactor.
    """

    method: bytes
    match: Match | None
    refusal: ToruaError | None
    request_id: str
    raw_path: str
    started_s: float

    @property
    def size(self) -> int:
        """Tell how many bytes of its body are held."""

    def ask(self) -> Ask:
        """Make the value that handlers see.

        Raises:
            MalformedError: path or query are not well encoded.
        """

    def drop(self) -> None:
        """Keep nothing of the body: it is refused, and will be told so in a while."""

    def served(self) -> None:
        """Let the body go: whoever served the request is done with it."""

    def deliver(self, answer: Answer) -> None:
        """Write the answer, unless there is nobody any more to read it."""


class Host(Protocol):
    """What a connection needs of the site that it belongs to."""

    reactor: IReactorTime
    plain: "Reader"

    def match(self, method: str, path: str) -> Match:
        """Find what serves a request, or raise why nothing does.

        Args:
            method: as it came.
            path: as it came, percent-encoded.
        """

    def wants(self, match: Match, length: int) -> bool:
        """Tell whether a request would be served now; if not, it is refused by that.

        Args:
            match: what would serve it.
            length: of its body.
        """

    def hold(self, count: int) -> bool:
        """Account for so many more bytes of bodies; False where there is no room."""

    def let_go(self, count: int) -> None:
        """Account for so many bytes less."""

    def has_room(self, count: int) -> bool:
        """Tell whether so many more bytes could be held now."""

    def pouring(self, count: int) -> None:
        """Account for so many more bytes of answers, or less, that wait to be taken."""

    def fresh_id(self) -> str:
        """Make a request id."""

    def serve(self, request: Asked) -> None:
        """Answer a request, sooner or later, by `Asked.deliver`."""

    def rejection(self, error: ToruaError, request_id: str) -> Answer:
        """Answer what is not a request, and count it.

        Args:
            error: what is wrong with it.
            request_id: its id.
        """

    def streams(self, streaming: Streaming) -> None:
        """Start an answer without an end, and end it when the site drains."""

    def opened(self, channel: "Channel") -> None:
        """Count a connection in."""

    def closed(self, channel: "Channel") -> None:
        """Count a connection out."""

    @property
    def draining(self) -> bool:
        """Tell whether each connection is closed after its next answer."""

"""What a connection needs of the site that it belongs to."""

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

from torua.errors import ToruaError
from torua.http.messages import Answer
from torua.http.routes import Match
from torua.http.streaming import Streaming

if TYPE_CHECKING:
    from torua.http.connection import ApiRequest, Channel


class Host(Protocol):
    """What a connection needs of the site that it belongs to."""

    reactor: IReactorTime

    def match(self, method: str, path: str) -> Match:
        """Find what serves a request, or raise why nothing does.

        Args:
            method: as it came.
            path: as it came, percent-encoded.
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

    def serve(self, request: "ApiRequest") -> None:
        """Answer a request, sooner or later, by `ApiRequest.deliver`."""

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

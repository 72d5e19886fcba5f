"""What a node asks its storage worker, and how both sides spell it.

Pieces of answers are megabytes of Arrow: they follow a message as blobs.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from torua.codec.messages import spell_message
from torua.codec.plain import plain, shape
from torua.core.graph.fragments import CopyRead, Piece
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId
from torua.errors import ProtocolError, ToruaError, from_wire


class OpenCopy(Struct, frozen=True, tag="open"):
    """A copy's map is there from now on; nothing is answered.

    Attributes:
        alloc: which copy.
        map_path: its map.
        directory: where its graphs are kept.
    """

    alloc: AllocId
    map_path: str
    directory: str


class CloseCopy(Struct, frozen=True, tag="close"):
    """Let go of a copy; answered once nothing of it is open."""

    alloc: AllocId


class Know(Struct, frozen=True, tag="know"):
    """What is read of a graph from now on is asked with this schema of it."""

    graph: Graph


class Read(Struct, frozen=True, tag="read"):
    """Read at some copies; see `torua.node.graph.store.GraphStore.read_all`.

    Attributes:
        graph_id: the graph, whose schema is known.
        copies: what to read of each.
        timeout_s: how long it may take.
    """

    graph_id: int
    copies: tuple[CopyRead, ...]
    timeout_s: float


class More(Struct, frozen=True, tag="more"):
    """Hand on the next piece of an answer."""

    alloc: AllocId
    graph_id: int
    session: str


class Release(Struct, frozen=True, tag="release"):
    """End transactions of one graph; nothing is answered.

    Attributes:
        graph_id: the graph.
        sessions: copies, and names of transactions.
    """

    graph_id: int
    sessions: tuple[tuple[AllocId, str], ...]


class Measure(Struct, frozen=True, tag="measure"):
    """Count rows and estimated bytes by table."""

    alloc: AllocId
    graph: Graph
    timeout_s: float


class Verify(Struct, frozen=True, tag="verify"):
    """Compare a graph's database with the map; where it differs it is built anew."""

    alloc: AllocId
    graph: Graph
    timeout_s: float


Ask = OpenCopy | CloseCopy | Know | Read | More | Release | Measure | Verify


class Measured(Struct, frozen=True, tag="measured"):
    """Rows and estimated bytes by table."""

    rows: dict[str, tuple[int, int]]


class Verified(Struct, frozen=True, tag="verified"):
    """What came of a comparison.

    Attributes:
        digest: of the content, equal on equal copies.
        same: whether it was what the map says; None where the map moved meanwhile.
    """

    digest: bytes
    same: bool | None


class Done(Struct, frozen=True, tag="done"):
    """It was done."""


class Report(Struct, frozen=True, tag="report"):
    """What a view did of itself since the last report.

    Attributes:
        alloc: of which copy.
        graph_id: of which graph.
        applied: up to where its file needs the journal no more.
        lag: how many records the map was ahead of it.
        rows: how many rows it took up.
        rebuilds: how often it was built.
        checkpoints: how many there were.
        checkpoint_s: how long they took together.
        pool_share: how much of its pool is in use, from 0 to 1.
        gone: whether it is closed.
    """

    alloc: AllocId
    graph_id: int
    applied: int
    lag: int = 0
    rows: int = 0
    rebuilds: int = 0
    checkpoints: int = 0
    checkpoint_s: float = 0.0
    pool_share: float = 0.0
    gone: bool = False


class Failed(Struct, frozen=True, tag="failed"):
    """Why there is no answer."""

    code: str
    detail: str
    members: dict[str, object]

    def error(self) -> ToruaError:
        """Make the error that it was."""
        return from_wire(self.code, self.detail, self.members)


class Pieces(Struct, frozen=True):
    """The first pieces of what some copies were asked for, in order."""

    parts: tuple[Piece | Failed, ...]


Reply = Pieces | Measured | Verified | Done | Failed | Report
_Tagged = Measured | Verified | Done | Failed | Report


def spell_ask(number: int, ask: Ask) -> list[bytes]:
    """Spell what is asked.

    Args:
        number: names it in the reply.
        ask: what.
    """
    return spell_message([number, plain(ask)])


def read_ask(header: object) -> tuple[int, Ask]:
    """Read what is asked; ProtocolError where it is nothing."""
    match header:
        case [int(number), body]:
            return number, shape(body, Ask)
    raise ProtocolError("not an ask")


def spell_reply(number: int, reply: Reply) -> list[bytes]:
    """Spell an answer.

    Args:
        number: of what was asked; 0 for a report.
        reply: what came of it; streams are not copied.
    """
    if not isinstance(reply, Pieces):
        return spell_message([number, plain(reply)])
    heads: list[object] = []
    blobs: list[bytes] = []
    for part in reply.parts:
        if isinstance(part, Failed):
            heads.append([plain(part)])
            continue
        places = [place for place, _ in part.results]
        heads.append([plain(replace(part, results=())), places])
        blobs += [stream for _, stream in part.results]
    return spell_message([number, heads], blobs)


def read_reply(header: object, blobs: list[bytes]) -> tuple[int, Reply]:
    """Read an answer.

    Args:
        header: of the message.
        blobs: of the message.

    Raises:
        ProtocolError: it is none.
    """
    match header:
        case [int(number), [*heads]]:
            left = iter(blobs)
            return number, Pieces(tuple(_part(head, left) for head in heads))
        case [int(number), body]:
            return number, shape(body, _Tagged)
    raise ProtocolError("not a reply")


def _part(head: object, blobs: Iterator[bytes]) -> Piece | Failed:
    """Read what one copy answered."""
    match head:
        case [body, [*places]]:
            results = tuple((place, next(blobs)) for place in shape(places, list[int]))
            return replace(shape(body, Piece), results=results)
        case [body]:
            return shape(body, Failed)
    raise ProtocolError("not a piece")


def failed(error: ToruaError) -> Failed:
    """Say why there is no answer."""
    return Failed(error.code, error.detail, dict(error.members))

"""What those who work at a split are told, and what they ask for.

Each question has a number, and each answer names it; one is open at a time.
"""

from msgspec import Struct

from torua.core.ids import ShardId
from torua.core.records import Moved
from torua.core.splitting.commands import OfSplits
from torua.core.splitting.notes import Progress
from torua.core.state import ClusterState, Spans


class Follow(Struct, frozen=True, tag=True):
    """The committed state, as this node applied it."""

    state: ClusterState


class Told(Struct, frozen=True, tag=True):
    """Answers `Pull`.

    Attributes:
        number: of the question.
        progress: how much there is once ``moved`` is done.
        moved: what came to what there was.
        tip: the newest record that the copy that was asked has applied.
    """

    number: int
    progress: Progress
    moved: Moved
    tip: int


class EndsAt(Struct, frozen=True, tag=True):
    """Answers `AskEnd`: no record of the parent behind ``seq`` is of what moves."""

    number: int
    seq: int


class Listed(Struct, frozen=True, tag=True):
    """Answers `List`.

    Attributes:
        number: of the question.
        keys: those that moved away.
        last: the last that was looked at; None where that was the end.
    """

    number: int
    keys: tuple[bytes, ...]
    last: bytes | None


class Kept(Struct, frozen=True, tag=True):
    """Answers `Keep`: the record at ``seq`` is committed."""

    number: int
    seq: int


class Missed(Struct, frozen=True, tag=True):
    """Answers any question: nobody could tell, or it may not have been done.

    ``gone`` is true where the parent's log no longer goes back so far.
    """

    number: int
    gone: bool = False


Input = Follow | Told | EndsAt | Listed | Kept | Missed


class Pull(Struct, frozen=True, tag=True):
    """Ask any copy of the parent for what comes next.

    Attributes:
        number: of the question.
        parent: whom to ask.
        history: that it must be of.
        spans: the slots that move.
        progress: what there is; None for nothing.
    """

    number: int
    parent: ShardId
    history: str
    spans: Spans
    progress: Progress | None


class AskEnd(Struct, frozen=True, tag=True):
    """Ask the parent's primary where its log ends for the slots that move.

    Attributes:
        number: of the question.
        parent: whom to ask.
        child: of which split.
        history: the child's.
        round: in which it must be closing.
    """

    number: int
    parent: ShardId
    child: ShardId
    history: str
    round: int


class List(Struct, frozen=True, tag=True):
    """List keys of the shard here that moved away.

    Attributes:
        number: of the question.
        spans: the slots that moved.
        after: only keys behind this one.
    """

    number: int
    spans: Spans
    after: bytes


class Keep(Struct, frozen=True, tag=True):
    """Have this done in one record of the shard that is led here, in ``term``."""

    number: int
    term: int
    moved: Moved


class Propose(Struct, frozen=True, tag=True):
    """Ask the coordinator; it is asked again until the state answers."""

    command: OfSplits


Output = Pull | AskEnd | List | Keep | Propose

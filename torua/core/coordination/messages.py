"""What coordination keeps, is told, says to its peers, and wants done.

Received, Persisted, Members, Disconnected, Submit  -->  machine
machine  -->  Persist, Send, Apply, Answer, Noticed
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from torua.core.allocation import Command
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import ClusterState
from torua.core.state_diff import StateDiff

Voters = tuple[NodeId, ...]


class Position(NamedTuple):
    """Which value of the register: it names one value (C3)."""

    term: int
    version: int


NOWHERE = Position(0, 0)
"""Where a node is that never accepted anything."""


class Accepted(Struct, frozen=True):
    """A value of the register, committed or not.

    Attributes:
        term: in which it was published.
        version: its place in the chain.
        state: the document.
        voters: who has a vote once it is committed.
        committed_voters: who had one when it was published; empty in the first set.
    """

    term: int = 0
    version: int = 0
    state: ClusterState = ClusterState()
    voters: Voters = ()
    committed_voters: Voters = ()

    @property
    def position(self) -> Position:
        """Return which value this is."""
        return Position(self.term, self.version)


class Facts(Struct, frozen=True):
    """What a node must never forget; synced before any reply that depends on it.

    Attributes:
        node_id: whose facts they are.
        boot_epoch: the life in which they were last saved.
        cluster_uuid: the cluster it belongs to, for good; empty before.
        term: the highest term it gave its Join to.
        accepted: the last value it accepted.
        committed: whether it knows that value to be committed.
    """

    node_id: NodeId
    boot_epoch: int
    cluster_uuid: str = ""
    term: int = 0
    accepted: Accepted = Accepted()
    committed: bool = False

    @property
    def committed_voters(self) -> Voters:
        """Return the last voters known to be committed; empty before the first."""
        if self.committed:
            return self.accepted.voters
        return self.accepted.committed_voters


class PreVote(Struct, frozen=True, tag="pre_vote"):
    """Would you join me?  ``attempt`` tells the replies of one attempt from others."""

    attempt: int
    term: int
    position: Position


class PreVoted(Struct, frozen=True, tag="pre_voted"):
    """The answer, and where the one who answers stands."""

    attempt: int
    granted: bool
    term: int
    position: Position


class StartJoin(Struct, frozen=True, tag="start_join"):
    """Join me in ``term``.  ``boot_epoch`` is the candidate's life."""

    term: int
    boot_epoch: int


class Join(Struct, frozen=True, tag="join"):
    """My one vote of a term.

    Attributes:
        term: the term.
        boot_epoch: the life of the candidate to which it is given.
        position: what the voter accepted last.
        lineage: the ``cluster_uuid`` in that.
        heard: how many seconds ago the voter last heard each node.
    """

    term: int
    boot_epoch: int
    position: Position
    lineage: str = ""
    heard: dict[NodeId, float] = {}


class Refused(Struct, frozen=True, tag="refused"):
    """Your term is not mine, which is this."""

    term: int


class Publish(Struct, frozen=True, tag="publish"):
    """Accept this value: ``whole``, or ``diff`` upon the value at ``parent``."""

    term: int
    version: int
    voters: Voters
    committed_voters: Voters
    parent: Position = NOWHERE
    whole: ClusterState | None = None
    diff: StateDiff | None = None


class Wanted(Struct, frozen=True, tag="wanted"):
    """I do not have the parent; send the whole."""

    term: int
    version: int


class Ack(Struct, frozen=True, tag="ack"):
    """I keep this value."""

    term: int
    version: int


class Commit(Struct, frozen=True, tag="commit"):
    """This value is committed."""

    term: int
    version: int


class Check(Struct, frozen=True, tag="check"):
    """Are you there?  From the coordinator to all, and from each to the coordinator.

    Attributes:
        term: the sender's.
        leads: whether the sender coordinates.
        nonce: to be echoed; tells when the question was asked.
    """

    term: int
    leads: bool
    nonce: int


class Checked(Struct, frozen=True, tag="checked"):
    """I am.  What the sender accepted, and whether it knows that to be committed."""

    term: int
    leads: bool
    nonce: int
    position: Position
    committed: bool


Message = (
    PreVote
    | PreVoted
    | StartJoin
    | Join
    | Refused
    | Publish
    | Wanted
    | Ack
    | Commit
    | Check
    | Checked
)


class Letter(Struct, frozen=True):
    """A message, and the sender's cluster (empty: it belongs to none yet)."""

    cluster_uuid: str
    message: Message


class Received(Struct, frozen=True):
    """A letter came from ``source``, in its life ``boot_epoch``."""

    source: NodeId
    boot_epoch: int
    letter: Letter


class Persisted(Struct, frozen=True):
    """The facts of this token, and all before them, are on the disk."""

    token: int


class Members(Struct, frozen=True):
    """All that membership believes now, this node among it."""

    members: tuple[Member, ...]


class Disconnected(Struct, frozen=True):
    """The TCP connection with ``peer`` broke, or could not be made.

    Attributes:
        peer: with whom.
        refused: whether its machine said that nobody listens there, as none does for a
            process that is only busy, or stands still.
    """

    peer: NodeId
    refused: bool = False


class Submit(Struct, frozen=True):
    """Change the state so; ``Answer(request)`` tells what became of it."""

    request: int
    command: Command


Input = Received | Persisted | Members | Disconnected | Submit


class Persist(Struct, frozen=True):
    """Put ``facts`` on the disk, then say `Persisted`.  The last one asked for wins."""

    facts: Facts
    token: int


class Send(Struct, frozen=True):
    """Send, as well as it goes."""

    target: NodeId
    letter: Letter


class Apply(Struct, frozen=True):
    """This value is committed: act upon it."""

    accepted: Accepted


class Verdict(StrEnum):
    """What became of a command."""

    DONE = "done"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Answer(Struct, frozen=True):
    """What became of a command: done, not done, or nobody knows."""

    request: int
    verdict: Verdict


class Event(StrEnum):
    """What an operator wants to hear of, once each time."""

    ELECTED = "elected"
    STEPPED_DOWN = "stepped down"
    FOLLOWING = "following"
    LOST = "lost"
    STANDING = "standing"
    PUBLISHED = "published"
    COMMITTED = "committed"
    FORMED = "formed"
    WAITING = "waiting"
    SEEKING = "seeking"
    FOREIGN = "foreign"


class Noticed(Struct, frozen=True):
    """Something worth a line in the log or a count.

    Attributes:
        event: what it was.
        term: in which term.
        node: whom it is about, this node included.
        detail: why, or how much, in words; a cluster's uuid.
    """

    event: Event
    term: int
    node: NodeId
    detail: str = ""


Output = Persist | Send | Apply | Answer | Noticed

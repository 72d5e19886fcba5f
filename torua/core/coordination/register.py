"""The rules that make it safe: who may vote, who won, what is accepted and committed.

This is Elasticsearch's ``CoordinationState`` with a first voter set that must be
unanimous.  Nothing here knows time: whatever order and number messages come in, and
whoever crashes, two values are never committed at one place of the chain.

    ask -> StartJoin -> start_join -> Join -> join (won?) -> propose -> Publish
        -> accept -> Ack -> ack (committed?) -> Commit -> commit

Every method that changes `Register.facts` is followed by a sync before its answer goes
out; the caller sees to that.
"""

from msgspec.structs import replace

from torua.core.coordination.messages import (
    NOWHERE,
    Accepted,
    Ack,
    Commit,
    Facts,
    Join,
    Position,
    Publish,
    Refused,
    StartJoin,
    Voters,
    Wanted,
)
from torua.core.coordination.voters import agree, has_majority
from torua.core.ids import NodeId
from torua.core.state import ClusterState
from torua.core.state_diff import patch


class Register:
    """One node's part in the register.

    Invariants: `facts.accepted.term` is at most `facts.term` (C2), which never falls;
    `won` only while the joins of this term, asked for in this life, agree; at most one
    publication is not committed.

    Attributes:
        facts: what must be kept.  To read, not to write.
        joins: who joined this node in this term and life.
        won: whether this node coordinates in `facts.term`.
        published: the last value that this node published in this term.
        committed: whether that is committed.
    """

    def __init__(self, facts: Facts) -> None:
        """Go on from what was kept, in the life that ``facts.boot_epoch`` names."""
        self.facts = facts
        self.joins: dict[NodeId, Join] = {}
        self.won = False
        self.published: Accepted | None = None
        self.committed = False
        self._asked = 0
        self._founders: Voters = ()
        self._acks: set[NodeId] = set()

    @property
    def position(self) -> Position:
        """Return which value was accepted last."""
        return self.facts.accepted.position

    @property
    def is_idle(self) -> bool:
        """Tell whether this node may propose, having committed in its own term."""
        if not self.won or self.published is None or not self.facts.committed:
            return False
        return self.position == self.published.position

    def is_published(self, position: Position) -> bool:
        """Tell whether this is the last publication of this node in this term."""
        return self.published is not None and self.published.position == position

    def electorate(self, founders: Voters) -> Voters:
        """Return all whose joins may matter: both voter sets, or the founders."""
        facts = self.facts
        voters = facts.accepted.voters or founders
        return tuple(sorted({*voters, *facts.committed_voters}))

    def elects(self, nodes: set[NodeId], founders: Voters = ()) -> bool:
        """Tell whether these nodes suffice to make this one coordinator.

        Args:
            nodes: who would join, or did.
            founders: the first set that is tried where none was ever accepted.
        """
        voters = self.facts.accepted.voters or founders
        return agree(voters, self.facts.committed_voters, nodes)

    def ask(self, term: int, founders: Voters) -> StartJoin:
        """Stand for ``term``; the answer goes to the whole electorate, me included.

        Args:
            term: above every term that is known.
            founders: the first set to try where none was ever accepted.
        """
        assert term > self.facts.term
        self._asked, self._founders = term, founders
        return StartJoin(term, self.facts.boot_epoch)

    def start_join(self, message: StartJoin) -> Join | Refused:
        """Give the one vote of a new term to whoever asks first."""
        if message.term <= self.facts.term:
            return Refused(self.facts.term)
        self._leave_term()
        self.facts = replace(self.facts, term=message.term)
        lineage = self.facts.accepted.state.cluster_uuid
        return Join(message.term, message.boot_epoch, self.position, lineage)

    def join(self, source: NodeId, message: Join) -> bool:
        """Count a vote, if it is for this life and term and its giver is not ahead.

        Returns:
            Whether it made this node coordinator.
        """
        if not self._counts(message):
            return False
        self.joins[source] = message
        if self.won or not self.elects(set(self.joins), self._founders):
            return False
        self.won = True
        return True

    def resign(self) -> None:
        """Coordinate no longer, and not in this term again."""
        self._leave_term()
        self._asked = 0

    def first(self, blank: ClusterState) -> tuple[ClusterState, Voters]:
        """Return what to propose first in a term: what was accepted, as it is.

        Args:
            blank: the state to begin with where nothing was ever accepted.
        """
        accepted = self.facts.accepted
        if not accepted.voters:
            return blank, self._founders
        return accepted.state, accepted.voters

    def propose(self, state: ClusterState, voters: Voters) -> Accepted:
        """Make the next value; the caller publishes it, to itself too.

        Args:
            state: the document.
            voters: who shall have a vote; changed only while none is being changed, and
                with the joins of a majority of them.
        """
        facts = self.facts
        assert self.won
        assert self.published is None or self.is_idle
        if facts.accepted.voters and voters != facts.accepted.voters:
            assert facts.accepted.voters == facts.committed_voters
            assert has_majority(voters, self.joins)
        version = facts.accepted.version + 1
        self.published = Accepted(
            facts.term, version, state, voters, facts.committed_voters
        )
        self.committed = False
        self._acks = set()
        return self.published

    def accept(self, message: Publish) -> Ack | Wanted | Refused | None:
        """Keep a newer value of the current term; None where nothing is to be said."""
        if message.term != self.facts.term:
            return Refused(self.facts.term)
        position = Position(message.term, message.version)
        if position > self.position:
            state = self._state_of(message)
            if state is None:
                return Wanted(*position)
            if not self._is_ours(state):
                return None
            self._keep(message, state)
        return Ack(*position) if position == self.position else None

    def ack(self, source: NodeId, message: Ack) -> bool:
        """Count one that keeps the publication.

        Returns:
            Whether that committed it.
        """
        published = self.published
        if not self.won or published is None or self.committed:
            return False
        if not self.is_published(Position(message.term, message.version)):
            return False
        self._acks.add(source)
        self.committed = agree(published.voters, published.committed_voters, self._acks)
        return self.committed

    def commit(self, message: Commit) -> bool:
        """Mark what was accepted as committed, and belong to its cluster for good.

        Returns:
            Whether that was news.
        """
        accepted = self.facts.accepted
        position = Position(message.term, message.version)
        if self.facts.committed or position != accepted.position:
            return False
        uuid = accepted.state.cluster_uuid
        self.facts = replace(self.facts, committed=True, cluster_uuid=uuid)
        return True

    def _leave_term(self) -> None:
        """Forget the votes and the publication of the term so far."""
        self.joins = {}
        self.won = False
        self.published = None
        self.committed = False

    def _counts(self, message: Join) -> bool:
        """Tell whether a join is for this life and term, from one not ahead of me.

        While the first set is not committed, neither may its giver have accepted
        another one: that might be committed by now.
        """
        facts = self.facts
        if not message.term == facts.term == self._asked:
            return False
        if message.boot_epoch != facts.boot_epoch or message.position > self.position:
            return False
        mine = ("", facts.accepted.state.cluster_uuid)
        return bool(facts.committed_voters) or message.lineage in mine

    def _state_of(self, message: Publish) -> ClusterState | None:
        """Return the document of a publication; None where its parent is not here."""
        if message.whole is not None:
            return message.whole
        if message.diff is None or message.parent != self.position:
            return None
        return patch(self.facts.accepted.state, message.diff)

    def _is_ours(self, state: ClusterState) -> bool:
        """Tell whether a document is of the cluster that this node belongs to."""
        return self.facts.cluster_uuid in ("", state.cluster_uuid)

    def _keep(self, message: Publish, state: ClusterState) -> None:
        """Accept a value.

        A publication that follows a committed one shows that its cluster exists.
        """
        accepted = Accepted(
            message.term,
            message.version,
            state,
            message.voters,
            message.committed_voters,
        )
        assert accepted.position > self.position >= NOWHERE
        exists = bool(message.committed_voters)
        self.facts = replace(
            self.facts,
            accepted=accepted,
            committed=False,
            cluster_uuid=state.cluster_uuid if exists else self.facts.cluster_uuid,
        )

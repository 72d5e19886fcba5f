"""The bug gallery of coordination: each switch breaks one rule, and is found.

A switch is a small override of the product's classes.  `SWITCHES` says which rules may
report it, and within how many seeds it must be found.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from tests.simulation.coordination_faults import play, reborn_coordinators
from tests.simulation.coordination_rules import RuleBrokenError
from tests.simulation.coordination_shapes import cluster_of
from tests.simulation.coordination_world import Cluster, Machine
from torua.core.coordination.machine import Coordination, Founding
from torua.core.coordination.messages import (
    Accepted,
    Ack,
    Checked,
    Commit,
    Facts,
    Join,
    Message,
    Position,
    PreVote,
    Publish,
    Refused,
    StartJoin,
    Voters,
    Wanted,
)
from torua.core.coordination.outbox import Outbox
from torua.core.coordination.register import Register
from torua.core.coordination.timing import Timing
from torua.core.coordination.voters import has_majority
from torua.core.ids import NodeId
from torua.core.state import ClusterState
from torua.core.state_diff import patch


class TermNotSynced(Outbox):
    """Skips the save where only the term is new.

    Invariants: none that hold.
    """

    def keep(self, facts: Facts) -> None:
        """Take a new term for durable at once."""
        if facts.accepted is self._facts.accepted:
            self._facts = facts
        super().keep(facts)


class RepliesBeforeSaved(Outbox):
    """Sends before the facts are on the disk.

    Invariants: none that hold.
    """

    def take(self) -> tuple[NodeId, Message] | None:
        """Take the next letter, whatever it rests on."""
        self._durable = self._token
        return super().take()


class VotesTwice(Register):
    """Votes again in a term it voted in.

    Invariants: none that hold.
    """

    def start_join(self, message: StartJoin) -> Join | Refused:
        """Forget the vote of this term."""
        if message.term == self.facts.term:
            lineage = self.facts.accepted.state.cluster_uuid
            return Join(message.term, message.boot_epoch, self.position, lineage)
        return super().start_join(message)


class IgnoresCommittedVoters(Register):
    """Counts majorities of the newest voters only.

    Invariants: none that hold.
    """

    def elects(self, nodes: set[NodeId], founders: Voters = ()) -> bool:
        """Leave the committed voters out.

        Args:
            nodes: who would join.
            founders: the first set.
        """
        voters = self.facts.accepted.voters
        if not voters or not self.facts.committed_voters:
            return super().elects(nodes, founders)
        return has_majority(voters, nodes)

    def ack(self, source: NodeId, message: Ack) -> bool:
        """Leave the committed voters out.

        Args:
            source: who acked.
            message: what.
        """
        before = super().ack(source, message)
        published = self.published
        if before or self.committed or published is None or not self.won:
            return before
        if not published.committed_voters:
            return False
        self.committed = has_majority(published.voters, self._acks)
        return self.committed


class FoundsByMajority(Register):
    """Forms a cluster with a majority of the first set.

    Invariants: none that hold.
    """

    def elects(self, nodes: set[NodeId], founders: Voters = ()) -> bool:
        """Ask for a majority of the first set, too.

        Args:
            nodes: who would join.
            founders: the first set.
        """
        voters = self.facts.accepted.voters or founders
        return super().elects(nodes, founders) or (
            not self.facts.committed_voters and has_majority(voters, nodes)
        )

    def ack(self, source: NodeId, message: Ack) -> bool:
        """Commit the first set by a majority, too.

        Args:
            source: who acked.
            message: what.
        """
        if super().ack(source, message):
            return True
        published = self.published
        if published is None or self.committed or published.committed_voters:
            return False
        self.committed = has_majority(published.voters, self._acks)
        return self.committed


class TakesOldJoins(Register):
    """Counts joins that were given to an earlier life of this node.

    Invariants: none that hold.
    """

    def _counts(self, message: Join) -> bool:
        """Look at the term only."""
        return message.term == self.facts.term and message.position <= self.position


class TakesJoinsFromAhead(Register):
    """Counts joins of voters that accepted something newer.

    Invariants: none that hold.
    """

    def _counts(self, message: Join) -> bool:
        """Do not compare what was accepted."""
        mine = (self.facts.term, self._asked, self.facts.boot_epoch)
        return mine == (message.term, message.term, message.boot_epoch)


class PatchesAnyParent(Register):
    """Applies a difference to whatever it has.

    Invariants: none that hold.
    """

    def _state_of(self, message: Publish) -> ClusterState | None:
        """Do not compare the parent."""
        if message.diff is not None:
            return patch(self.facts.accepted.state, message.diff)
        return message.whole


class KeepsOldAcks(Register):
    """Counts acks of the publication before.

    Invariants: none that hold.
    """

    def propose(self, state: ClusterState, voters: Voters) -> Accepted:
        """Do not forget who acked.

        Args:
            state: what to propose.
            voters: who shall vote.
        """
        acks = set(self._acks)
        published = super().propose(state, voters)
        self._acks = acks
        return published


class CommitsAnything(Register):
    """Takes what it accepted for committed by whatever commit comes.

    Invariants: none that hold.
    """

    def commit(self, message: Commit) -> bool:
        """Do not compare term and version."""
        return super().commit(Commit(*self.position))


class AcceptsAnyTerm(Register):
    """Accepts publications of terms that it did not keep.

    Invariants: none that hold.
    """

    def accept(self, message: Publish) -> Ack | Wanted | Refused | None:
        """Do not compare the term."""
        kept, self.facts = self.facts, replace(self.facts, term=message.term)
        reply = super().accept(message)
        self.facts = replace(self.facts, term=kept.term - 1)
        return reply


class ForgetsLostAcks(Coordination):
    """Does not make up for an ack that was lost by the next heartbeat.

    Invariants: none that hold.
    """

    def _checked(self, source: NodeId, message: Checked, now: float) -> None:
        """Send what was published to whoever is behind, and look no further."""
        published = self.register.published
        if published is None or message.position != published.position:
            super()._checked(source, message, now)
        else:
            self._pulse.answer(source, message.nonce)


class ActsTooSoon(Coordination):
    """Changes the state in the first publication of its term.

    Invariants: none that hold.
    """

    def _propose(self, state: ClusterState, voters: Voters, *, now: float) -> None:
        """Let what nodes asked for ride along."""
        if self.register.published is None:
            version = state.routing_version + 1
            state = replace(state, routing_version=version)
        super()._propose(state, voters, now=now)


class NeverPreVotes(Coordination):
    """Raises the term without asking first.

    Invariants: none that hold.
    """

    def _stand(self, now: float) -> None:
        """Ask for joins at once."""
        super()._stand(now)
        electorate = self.register.electorate(())
        if self.me in electorate:
            start = self.register.ask(max(self.term, self._highest_term) + 1, ())
            for node in electorate:
                self._post(node, start)


class GrantsAlways(Coordination):
    """Grants pre-votes although a coordinator is healthy.

    Invariants: none that hold.
    """

    def _is_led(self, source: NodeId, now: float) -> bool:
        """Know of no coordinator."""
        return False


class LetsTheBehindWin(Coordination):
    """Elects candidates that are behind their voters.

    Invariants: none that hold.
    """

    def __init__(
        self, facts: Facts, founding: Founding, timing: Timing, random: Random
    ) -> None:
        """Compare nothing in joins either."""
        super().__init__(facts, founding, timing, random)
        self.register = TakesJoinsFromAhead(facts)

    def _pre_vote(self, source: NodeId, message: PreVote, now: float) -> None:
        """Do not compare what was accepted."""
        ahead = replace(message, position=Position(message.term + 1000, 0))
        super()._pre_vote(source, ahead, now)


class SendsDiffsToAll(Coordination):
    """Sends differences to all, and they do not compare the parent.

    Invariants: none that hold.
    """

    def __init__(
        self, facts: Facts, founding: Founding, timing: Timing, random: Random
    ) -> None:
        """Patch whatever is there."""
        super().__init__(facts, founding, timing, random)
        self.register = PatchesAnyParent(facts)

    def _send_publication(self, node: NodeId) -> None:
        """Believe that everybody has the parent."""
        if self.register.published is not None:
            self._post(node, self._publisher.message(node, has_parent=True))


def swapped(name: str, kind: type[Register] | type[Outbox]) -> Machine:
    """Return a maker of machines in which one part is another.

    Args:
        name: the attribute that holds the part.
        kind: what to make of the facts instead.
    """

    def make(facts: Facts, *others: Any) -> Coordination:
        """Make one, and swap the part before it does anything.

        Args:
            facts: as for `Coordination`.
            others: likewise.
        """
        machine = Coordination(facts, *others)
        setattr(machine, name, kind(facts))
        return machine

    return make


def with_register(kind: type[Register]) -> Machine:
    """Return a maker of machines with another register."""
    return swapped("register", kind)


def with_outbox(kind: type[Outbox]) -> Machine:
    """Return a maker of machines with another outbox."""
    return swapped("_outbox", kind)


SWITCHES: tuple[tuple[str, Callable[..., Coordination], str, int], ...] = (
    ("skip the term fsync", with_outbox(TermNotSynced), "C7 C8", 5),
    ("reply before Persisted", with_outbox(RepliesBeforeSaved), "C7 C8", 5),
    ("vote twice a term", with_register(VotesTwice), "C1 C3 C8", 40),
    ("ignore committed_voters", with_register(IgnoresCommittedVoters), "C5", 40),
    ("bootstrap by a majority", with_register(FoundsByMajority), "C5 C6", 40),
    # C1: who is behind counts the votes of voters that are no more.
    ("joins from ahead", LetsTheBehindWin, "C1 C4 C8 C9", 40),
    ("diff on any parent", SendsDiffsToAll, "C3", 40),
    ("acks of an older publication", with_register(KeepsOldAcks), "C5", 5),
    ("commit of anything", with_register(CommitsAnything), "C4 C5 C6", 20),
    ("accept in any term", with_register(AcceptsAnyTerm), "C2", 5),
    ("a lost ack stays lost", ForgetsLostAcks, "C12", 60),
    ("act before an own-term commit", ActsTooSoon, "C10", 5),
    ("no pre-vote", NeverPreVotes, "C11 C13", 20),
    ("pre-vote despite a coordinator", GrantsAlways, "C13", 20),
)


def found_within(
    seeds: int, make: Machine = Coordination, keeps_ids: bool = False
) -> str | None:
    """Play seeds until a rule is broken, and return which; None where none is.

    Args:
        seeds: how many at most.
        make: the machine with the switch thrown.
        keeps_ids: another switch: an empty disk keeps its id.
    """
    for seed in range(seeds):
        cluster = cluster_of(seed, make)
        cluster.keeps_ids = keeps_ids
        try:
            play(cluster)
        except RuleBrokenError as broken:
            return str(broken).partition(":")[0]
    return None


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("make", "rules", "seeds"),
    [each[1:] for each in SWITCHES],
    ids=[each[0] for each in SWITCHES],
)
def test_a_switch_is_found(make: Machine, rules: str, seeds: int) -> None:
    """Whoever breaks the rule is caught, by that rule, within so many seeds."""
    assert found_within(seeds, make) in rules.split()


@pytest.mark.simulation
def test_an_empty_disk_that_keeps_its_id_is_found() -> None:
    """A node that votes after amnesia is caught (C8)."""
    assert found_within(60, keeps_ids=True) in ("C1", "C3", "C4", "C7", "C8")


@pytest.mark.simulation
def test_joins_of_an_older_life_are_found() -> None:
    """A coordinator that is elected by votes for its last life is caught (C1, C3)."""
    make = with_register(TakesOldJoins)
    for seed in range(20):
        try:
            reborn_coordinators(Cluster(seed, 3, rough=True, make=make))
        except RuleBrokenError as broken:
            assert str(broken)[:2] in ("C1", "C3")
            return
    pytest.fail("not found")

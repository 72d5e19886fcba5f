"""Rules R1 to R22 of replication, as assertions about what simulated copies do.

`DataRules` keeps the truth: of each shard the records that any copy ever took for
committed, in order, and what a key was after each.  Whatever a copy applies, answers,
truncates or shows is compared with that; what is acknowledged is looked for on the
disks of all copies that the committed state calls in sync.

R17 is looked at by `parting`, R12, R9, R10 and R11 in `history`.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from tests.simulation.beginnings import Beginnings
from tests.simulation.coordination_rules import demand
from tests.simulation.disk import CopyDisk, View
from tests.simulation.grouping import written_apart
from tests.simulation.parting import PartingRules
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Entry, Outcome
from torua.core.records import KvDelete, Moved, Record
from torua.core.replication.tip import entry_of
from torua.core.replication.wire import Acked
from torua.core.state import ClusterState, Shard


class Truth(Struct):
    """What is committed of one history of a shard.

    Invariants: ``records`` are contiguous, from ``base + 1`` on, and never change;
    ``digests`` has that of the view after each of them.
    """

    base: int = 0
    records: list[Record] = field(default_factory=list)
    digests: list[int] = field(default_factory=lambda: [0])
    keys: dict[bytes, list[tuple[int, Entry | None]]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    view: View = field(default_factory=View)

    @property
    def last(self) -> int:
        """Return the newest record."""
        return self.base + len(self.records)

    def add(self, record: Record) -> None:
        """Take in the next record (R11: an idempotency key stands in it once).

        Args:
            record: right after the last one.
        """
        if record.answered is not None:
            known = self.answers.setdefault(record.answered.key, record.seq)
            demand(known == record.seq, "R11", record.answered.key, known, record.seq)
        changes = ((e.key, isinstance(e, KvDelete)) for e in record.effects)
        demand(written_apart(changes) is None, "R1", "a part of a group", record)
        self.records.append(record)
        self.view.apply(record)
        if record.moved is not None:
            self._move(record.moved, record.seq)
        self.digests.append(self.view.digest)
        for effect in record.effects:
            entry = entry_of(effect, record.seq, True)
            kept = None if isinstance(effect, KvDelete) else entry
            self.keys.setdefault(effect.key, []).append((record.seq, kept))

    def _move(self, moved: Moved, seq: int) -> None:
        """Take in what a split moved."""
        keys = [key for key, _ in moved.removed]
        for key in [*keys, *(each.key for each in moved.entries)]:
            self.keys.setdefault(key, []).append((seq, self.view.get(key)))
        for answer in moved.answers:
            self.answers.setdefault(answer.answered.key, seq)

    def digest(self, seq: int) -> int:
        """Return the digest of the view after a record."""
        return self.digests[seq - self.base]

    def entry(self, key: bytes, seq: int) -> Entry | None:
        """Return a key as it was after a record.

        Args:
            key: which.
            seq: after which record.
        """
        found = self.keys.get(key, [])
        place = bisect_right(found, seq, key=lambda each: each[0])
        return found[place - 1][1] if place else None


class Seen(Struct):
    """What is known of one copy in one life.

    Invariants: ``gcp`` and ``applied`` never fall.
    """

    gcp: int = 0
    applied: int = 0


Look = Callable[[NodeId, AllocId], CopyDisk | None]
"""Finds what a node has of a copy; None where it was lost with its disk."""


class DataRules:
    """What is known to have happened to the data of one cluster.

    Invariants: nothing is ever forgotten.

    Attributes:
        state: the newest committed state, whoever applied it.
        checks: how often something was compared.
    """

    def __init__(self, look: Look) -> None:
        """Have seen nothing; ``look`` looks into the disks."""
        self.state = ClusterState()
        self.version = 0
        self.checks = 0
        self.truths: dict[tuple[ShardId, str], Truth] = {}
        self.leaders: dict[tuple[ShardId, str, int], tuple[AllocId, NodeId, int]] = {}
        self.acked: dict[tuple[ShardId, str], int] = {}
        self.parting = PartingRules(self.truth)
        self._beginnings = Beginnings()
        self._seen: dict[tuple[AllocId, int], Seen] = {}
        self._look = look

    def truth(self, shard: Shard) -> Truth:
        """Return what is committed of a shard in its present history."""
        place = (shard.shard, shard.history_uuid)
        if place not in self.truths:
            self.truths[place] = Truth(shard.base, view=View(shard.base))
        return self.truths[place]

    def commits(self, version: int, state: ClusterState) -> Iterator[Shard]:
        """Check a committed state against the one before; yield changed shards.

        Args:
            version: its version.
            state: what it says.
        """
        if version <= self.version:
            return
        before, self.state, self.version = self.state, state, version
        self.parting.commits(before, state)
        for number, shard in sorted(state.shards.items()):
            old = before.shards.get(number)
            if old is not None and old is not shard and old != shard:
                if shard.in_sync and not old.in_sync:
                    self._starts(shard)
                self._succeeds(old, shard)
                yield shard

    def applies(
        self, shard: Shard, copy: tuple[AllocId, int], record: Record, digest: int
    ) -> None:
        """Check R5, R8, R14, R20 of a record that a copy takes for committed.

        Args:
            shard: as the copy knows it.
            copy: which copy, in which life.
            record: the next one.
            digest: of its view, with the record.
        """
        self.checks += 1
        truth = self.truth(shard)
        seen = self._seen.setdefault(copy, Seen())
        if self._is_nothing(shard):
            self._beginnings.applies(shard, copy[0], record)
            return
        if record.seq > truth.last:
            demand(record.seq == truth.last + 1, "R20", copy, "a gap at", record.seq)
            truth.add(record)
            self._is_safe(record)
            self.parting.adds(shard, record)
        place = record.seq - truth.base - 1
        known = truth.records[place]
        demand(known == record, "R5", copy, known, record)
        demand(digest == truth.digest(record.seq), "R14", copy, record.seq)
        seen.applied = record.seq

    def opens(self, shard: Shard, copy: tuple[AllocId, int], view: View) -> None:
        """Check R14 of a view that comes from a disk or a snapshot.

        Args:
            shard: as the copy knows it.
            copy: which copy, in which life.
            view: what was found.
        """
        self.checks += 1
        truth = self.truth(shard)
        if self._is_nothing(shard):
            self._beginnings.opens(shard, copy[0], view)
            return
        if truth.base <= view.applied_seq <= truth.last:
            same = truth.digest(view.applied_seq) == view.digest
            demand(same, "R14", copy, "differs at", view.applied_seq)
        else:
            below = view.applied_seq <= truth.last
            demand(below, "R8", copy, view.applied_seq, "of", truth.last)

    def _is_nothing(self, shard: Shard) -> bool:
        """Tell whether no copy of a shard is counted on: then any may begin it anew."""
        known = self.state.shards.get(shard.shard)
        same = known is not None and known.history_uuid == shard.history_uuid
        return known is None or (same and not known.in_sync)

    def _starts(self, shard: Shard) -> None:
        """Take the first copy that is counted on for the truth."""
        truth = self.truths[shard.shard, shard.history_uuid] = Truth(
            shard.base, view=View(shard.base)
        )
        first = next(c for c in shard.copies if c.alloc_id == shard.in_sync[0])
        for record in self._beginnings.of(shard, first.alloc_id):
            demand(record.seq == truth.last + 1, "R20", "begins with a gap", record)
            truth.add(record)
        disk = self._look(first.node, first.alloc_id)
        if disk is not None:
            self.opens(shard, (first.alloc_id, 0), disk.view)

    def checkpoint(self, copy: tuple[AllocId, int], gcp: int) -> None:
        """Check R4: the checkpoint that a copy knows never falls.

        Args:
            copy: which copy, in which life.
            gcp: what it takes for committed.
        """
        seen = self._seen.setdefault(copy, Seen())
        demand(gcp >= seen.gcp, "R4", copy, "fell from", seen.gcp, "to", gcp)
        seen.gcp = gcp

    def truncates(self, copy: tuple[AllocId, int], after: int, gcp: int) -> None:
        """Check R6: nothing at or below the checkpoint is voided.

        Args:
            copy: which copy, in which life.
            after: what is behind this is voided.
            gcp: what it knows to be committed.
        """
        self.checks += 1
        known = self._seen.setdefault(copy, Seen())
        least = max(gcp, known.gcp, known.applied)
        demand(after >= least, "R6", copy, "truncates after", after, "below", least)

    def acknowledges(
        self, copy: tuple[AllocId, int], disk: CopyDisk, message: Acked
    ) -> None:
        """Check R1, R2: what a copy acknowledges, and the term, are on its disk.

        Args:
            copy: which copy, in which life.
            disk: what it has.
            message: what it says.
        """
        self.checks += 1
        facts = disk.facts.durable
        kept = 0 if facts is None else facts.term
        demand(kept >= message.term, "R2", copy, "kept", kept, "of", message.term)
        last = disk.durable.last
        demand(last >= message.match_seq, "R1", copy, last, message.match_seq)

    def leads(
        self, shard: ShardId, history: str, term: int, who: tuple[AllocId, NodeId, int]
    ) -> None:
        """Check R2: one copy, in one life, leads a shard in a term.

        Args:
            shard: which.
            history: its history.
            term: which.
            who: copy, node and life.
        """
        first = self.leaders.setdefault((shard, history, term), who)
        demand(first == who, "R2", shard, term, first, who)

    def tracks(self, shard: Shard, mine: AllocId, tracked: set[AllocId]) -> None:
        """Check R3: the committed in-sync copies are tracked by the primary.

        Args:
            shard: as it is committed, in the primary's term.
            mine: the primary's copy.
            tracked: the others that it waits for.
        """
        missing = [a for a in shard.in_sync if a != mine and a not in tracked]
        demand(not missing, "R3", shard.shard, mine, "does not track", missing)

    def writes(self, shard: Shard, applied: int) -> None:
        """Check R1 of an answer to a batch.

        Args:
            shard: as the primary knows it.
            applied: where the primary's view is.
        """
        self.checks += 1
        history = (shard.shard, shard.history_uuid)
        self.acked[history] = max(self.acked.get(history, 0), applied)
        self._is_on_disks(shard.shard, applied)

    def succeeds(self, shard: Shard, applied: int) -> None:
        """Check R16: enough copies in sync hold what succeeded.

        Args:
            shard: as the primary knows it.
            applied: where the primary's view is.
        """
        disks = [
            self._look(copy.node, copy.alloc_id)
            for copy in shard.copies
            if copy.alloc_id in shard.in_sync
        ]
        held = sum(disk is None or disk.durable.last >= applied for disk in disks)
        demand(held >= shard.min_copies, "R16", shard.shard, held, "of", shard)

    def reads(self, shard: Shard, view: View, key: bytes, found: Outcome) -> None:
        """Check R8, R19: what is shown is the truth at the position of the view.

        Args:
            shard: as the copy knows it.
            view: what was read.
            key: which key.
            found: what was shown of it.
        """
        self.checks += 1
        truth = self.truth(shard)
        demand(view.applied_seq <= truth.last, "R8", shard.shard, view.applied_seq)
        entry = truth.entry(key, view.applied_seq)
        demand(found.entry == entry, "R19", key, view.applied_seq, entry, found.entry)

    def everything(self) -> None:
        """Check R1 and R15 of all that is committed."""
        for number, shard in sorted(self.state.shards.items()):
            key = (number, shard.history_uuid)
            truth = self.truths.get(key)
            if truth is not None:
                self._is_on_disks(number, truth.last)

    def _succeeds(self, old: Shard, new: Shard) -> None:
        """Check R7, R16 and CAS of a change of one shard."""
        demand(new.shard_version > old.shard_version, "R21", old, new)
        demand(new.primary_term >= old.primary_term, "R2", old, new)
        demand(bool(new.in_sync) or not old.in_sync, "R16", "nobody in sync", new)
        if new.history_uuid != old.history_uuid:
            return
        who, was = new.primary, old.primary
        if who is not None and who != was:
            demand(new.primary_term > old.primary_term, "R2", old, new)
            # One publication may hold several changes: a MarkInSync, then a failover.
            several = new.shard_version > old.shard_version + 1
            ids = (*old.in_sync, *(new.in_sync if several else ()))
            demand(not ids or who.alloc_id in ids, "R7", "promoted", who, "of", ids)
        left = {copy.alloc_id for copy in new.copies}
        for copy in old.copies:
            if copy.alloc_id in old.in_sync and copy.alloc_id not in left:
                spare = len(old.in_sync) > min(old.rf, new.rf)
                needed = self._look(copy.node, copy.alloc_id) is not None
                demand(spare or not needed, "R16", "removed", copy, "of", old)
        nodes = [copy.node for copy in new.copies]
        demand(len(nodes) == len(set(nodes)), "R16", "two copies on one node", new)

    def _is_safe(self, record: Record) -> None:
        """Check R1, R4 of a record that is committed now."""
        self._is_on_disks(record.shard, record.seq, record)

    def _is_on_disks(
        self, number: ShardId, seq: int, record: Record | None = None
    ) -> None:
        """Demand that all committed in-sync copies hold all up to a record, durably."""
        shard = self.state.shards.get(number)
        if shard is None:
            return
        for copy in shard.copies:
            if copy.alloc_id not in shard.in_sync:
                continue
            disk = self._look(copy.node, copy.alloc_id)
            if disk is None:
                continue
            last = disk.durable.last
            demand(last >= seq, "R1", shard.shard, copy, "holds", last, "of", seq)
            if record is not None and seq > disk.durable.base:
                found = disk.durable.at(seq)
                demand(found == record, "R1", copy, found, record)

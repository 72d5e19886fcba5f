"""Switches that break what the copies of a shard promise each other."""

from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from torua.core.kv import Group as WriteGroup
from torua.core.kv import Outcome, Put
from torua.core.records import Record
from torua.core.replication import messages as m
from torua.core.replication.barrier import Barriers
from torua.core.replication.batch import Draft
from torua.core.replication.copy import ShardCopy
from torua.core.replication.follower import Follower, Source
from torua.core.replication.group import Group
from torua.core.replication.primary import Primary
from torua.core.replication.replica import Replica
from torua.core.replication.requests import Waiting
from torua.core.replication.wire import Acked, Message
from torua.core.state import Shard

Patch = pytest.MonkeyPatch

SEQ_MAX = 1 << 62


def ack_at_a_majority(patch: Patch) -> None:
    """Commit what a majority of the tracked copies holds.

    Args:
        patch: undoes it afterwards.
    """

    def committable(self: Group) -> int:
        """Count a majority."""
        held = sorted([self.own, *(each.match for each in self.tracked)])
        return max(self._source.tip.committed, held[(len(held) - 1) // 2])

    patch.setattr(Group, "committable", committable)


def ack_before_fail_copy(patch: Patch) -> None:
    """Wait no more for a copy that the coordinator was only asked to fail.

    Args:
        patch: undoes it afterwards.
    """

    def committable(self: Group) -> int:
        """Leave out whom is being failed."""
        held = [
            each.match
            for each in self.tracked
            if self._asks[each.alloc_id].failing is None
        ]
        return max(self._source.tip.committed, min([self.own, *held]))

    patch.setattr(Group, "committable", committable)


def too_few_copies(patch: Patch) -> None:
    """Let writes succeed however few copies are counted.

    Args:
        patch: undoes it afterwards.
    """
    patch.setattr(Group, "sufficient", property(lambda self: True))


def no_boot_epoch(patch: Patch) -> None:
    """Let a later life of a copy go on in the term of an earlier one.

    Args:
        patch: undoes it afterwards.
    """

    def leads(self: ShardCopy, shard: Shard) -> bool:
        """Do not compare the life.

        Args:
            self: the copy.
            shard: the state.
        """
        named = shard.primary
        return named is not None and named.alloc_id == self.me.alloc_id

    before = ShardCopy.receive

    def receive(self: ShardCopy, message: m.Input, now: float) -> list[m.Output]:
        """Forget in which terms it led.

        Args:
            self: the copy.
            message: passed on.
            now: passed on.
        """
        self._spent = 0
        return before(self, message, now)

    patch.setattr(ShardCopy, "_leads", leads)
    patch.setattr(ShardCopy, "receive", receive)


def acks_of_an_older_term(patch: Patch) -> None:
    """Count what was acknowledged to an earlier primary.

    Args:
        patch: undoes it afterwards.
    """
    before = Group._heard

    def heard(self: Group, message: Message, now: float) -> Iterator[m.Output]:
        """Take any term for ours.

        Args:
            self: the copies.
            message: from one of them.
            now: when.
        """
        if isinstance(message, Acked):
            message = replace(message, term=self._source.term)
        yield from before(self, message, now)

    patch.setattr(Group, "_heard", heard)


def truncate_below_gcp(patch: Patch) -> None:
    """Void what is committed, too.

    Args:
        patch: undoes it afterwards.
    """

    def truncate(self: Replica, after: int) -> Iterator[m.Output]:
        """Go back too far.

        Args:
            self: the copy.
            after: what is behind this conflicts.
        """
        yield m.Truncate(max(0, min(after, self.gcp) - 1), 0)

    patch.setattr(Replica, "_truncate", truncate)


def apply_above_gcp(patch: Patch) -> None:
    """Apply on replicas whatever they hold.

    Args:
        patch: undoes it afterwards.
    """

    def committed(self: Replica, held: int) -> int:
        """Take all that is held for committed.

        Args:
            self: the copy.
            held: up to where.
        """
        return max(self.gcp, held)

    patch.setattr(Replica, "_committed", committed)


def send_all_of_the_log(patch: Patch) -> None:
    """Send a copy what the log holds above the checkpoint, too.

    Args:
        patch: undoes it afterwards.
    """
    read = Follower.read

    def unbounded(
        self: Follower,
        after: int,
        records: Sequence[Record],
        source: Source,
        now: float,
    ) -> Iterator[m.Output]:
        """Forget what was committed when the reading began.

        Args:
            self: of the copy.
            after: as it was asked for.
            records: what stands there.
            source: the log.
            now: the monotonic clock.
        """
        if self.reading is not None:
            self.reading = (self.reading[0], SEQ_MAX)
        yield from read(self, after, records, source, now)

    patch.setattr(Follower, "read", unbounded)


def early_refusal(patch: Patch) -> None:
    """Answer what changed nothing before the tip that it rests on is committed.

    Args:
        patch: undoes it afterwards.
    """
    before = Primary._admit

    def admit(self: Primary, waiting: Waiting, now: float) -> Iterator[m.Output]:
        """Wait for nothing.

        Args:
            self: the primary.
            waiting: the request.
            now: when.
        """
        if waiting.seq < waiting.first and waiting.outcomes:
            yield m.Reply(waiting.requests[0], tuple(waiting.outcomes))
        else:
            yield from before(self, waiting, now)

    patch.setattr(Primary, "_admit", admit)


def no_barrier(patch: Patch) -> None:
    """Read at whoever believes to be the primary.

    Args:
        patch: undoes it afterwards.
    """

    def confirm(self: Primary, request: int, now: float) -> Iterator[m.Output]:
        """Ask nobody.

        Args:
            self: the primary.
            request: a read.
            now: when.
        """
        if self.serves:
            yield m.Reply(request, ())
        else:
            yield m.Refuse(request, "unavailable", "")

    patch.setattr(Primary, "_confirm", confirm)


def nonce_reuse(patch: Patch) -> None:
    """Give all barriers one nonce.

    Args:
        patch: undoes it afterwards.
    """
    patch.setattr(Barriers, "_nonce", lambda self: 7)


def groups_in_parts(patch: Patch) -> None:
    """Do of a group what its own conditions allow, whatever becomes of the rest.

    Args:
        patch: undoes it afterwards.
    """

    def group(self: Draft, asked: WriteGroup) -> Outcome:
        """Judge each write alone.

        Args:
            self: the part.
            asked: the group.
        """
        outcomes = [
            self._put(write) if isinstance(write, Put) else self._delete(write)
            for write in asked.writes
        ]
        for which, outcome in enumerate(outcomes, len(asked.checks)):
            if outcome.error is not None:
                return replace(outcome, which=which)
        return Outcome(version=self._seq)

    patch.setattr(Draft, "_group", group)

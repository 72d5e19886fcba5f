"""Rules R16 and R17 of shards that are split: a slot has one owner, who has all of it.

When the committed state gives slots to a new shard, that must have just what its parent
has of them; from then on nothing that the parent commits is about them, and before
nothing that the child commits is of a client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.coordination_rules import demand
from torua.core.records import NOTE_KEY, Record
from torua.core.routing import shard_of
from torua.core.splitting.moving import is_born, moves
from torua.core.state import ClusterState, Phase, Shard, Split

if TYPE_CHECKING:
    from tests.simulation.rules import Truth


class PartingRules:
    """What is known of splits.

    Invariants: nothing is forgotten.

    Attributes:
        finished: how many splits there were.
        cancelled: how many were called off.
        reopened: how often the parent went on.
    """

    def __init__(self, truth: "Callable[[Shard], Truth]") -> None:
        """Have seen none; ``truth`` tells what is committed of a shard."""
        self.finished = self.cancelled = self.reopened = 0
        self._truth = truth
        self._state = ClusterState()
        self._gone: dict[tuple[int, str], list[Split]] = {}
        self._answers: dict[tuple[int, str], list[tuple[str, list[bytes]]]] = {}

    def commits(self, before: ClusterState, state: ClusterState) -> None:
        """Check what a committed state changes.

        Args:
            before: the newest state before.
            state: what it says.
        """
        self._state = state
        for child, split in state.splits.items():
            old = before.splits.get(child)
            was = old is not None and old.child_history == split.child_history
            if split.phase is Phase.TRIMMING and not (
                was and old is not None and old.phase is Phase.TRIMMING
            ):
                self._finishes(state, split)
            elif was and old is not None and old.phase is Phase.CLOSING:
                self.reopened += split.phase is Phase.COPYING
        for child in before.splits:
            self.cancelled += child not in state.shards
        owners = [each.shard for each in state.slots]
        unborn = [shard for shard in owners if not is_born(state, shard)]
        demand(not unborn, "R17", "slots of a shard that is not filled", unborn)

    def _finishes(self, state: ClusterState, split: Split) -> None:
        """Check that a child has all that its parent has of its slots."""
        self.finished += 1
        parent = self._truth(state.shards[split.parent])
        child = self._truth(state.shards[split.child])
        begins = state.shards[split.child].begins
        demand(begins <= child.last, "R16", "begins before it is committed", split)
        for key in sorted({*parent.view.entries, *child.view.entries}):
            if not moves(split.spans, key):
                continue
            there, here = parent.view.get(key), child.view.get(key)
            expired = here is None and there is not None and there.expires_ns
            same = there == here or bool(expired)
            demand(same, "R17", split.child, key, "has", here, "of", there)
        place = (split.parent, split.parent_history)
        missing = [
            answered
            for answered, keys in self._answers.get(place, ())
            if answered not in child.answers
            and any(moves(split.spans, key) for key in keys)
        ]
        demand(not missing, "R11", split.child, "does not know", missing)
        self._gone.setdefault(place, []).append(split)

    def adds(self, shard: Shard, record: Record) -> None:
        """Check a record that is committed now.

        Args:
            shard: as the copy knows it that has it first.
            record: in its log.
        """
        keys = [effect.key for effect in record.effects]
        place = (shard.shard, shard.history_uuid)
        if record.answered is not None:
            answered = (record.answered.key, keys)
            self._answers.setdefault(place, []).append(answered)
        for split in self._gone.get(place, ()):
            late = [key for key in keys if moves(split.spans, key)]
            demand(not late, "R17", shard.shard, "changes", late, "of", split.child)
        split_now = self._state.splits.get(shard.shard)
        if split_now is not None and split_now.child_history == shard.history_uuid:
            early = (
                split_now.phase is not Phase.TRIMMING and record.answered is not None
            )
            demand(not early, "R17", shard.shard, "answers before it has slots", record)

    def shows(self, shard: Shard, applied_seq: int) -> None:
        """Check that of a shard that a split made all is shown that its parent had.

        Args:
            shard: as the copy knows it.
            applied_seq: up to where it is shown.
        """
        early = applied_seq < shard.born
        demand(not early, "R17", shard.shard, "is read before it has all")

    def rests(self, state: ClusterState) -> None:
        """Check that at rest each key is where its slot is, and nowhere else.

        Args:
            state: the newest.
        """
        for number, shard in sorted(state.shards.items()):
            for key in self._truth(shard).view.entries:
                if key != NOTE_KEY:
                    owner = shard_of(state.slots, key)
                    demand(owner == number, "R17", key, "of", owner, "is in", number)

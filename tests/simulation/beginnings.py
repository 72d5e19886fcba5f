"""What copies applied of a shard before any of them was counted on.

While nothing is in sync nothing was acknowledged, and any copy may begin the shard; the
one that is counted on first has the truth.  Neither its log nor its view may be asked
what that is: retention cuts the log, a snapshot comes without one, and a crash takes
the view back to its checkpoint.
"""

from tests.simulation.disk import View
from torua.core.ids import AllocId, ShardId
from torua.core.records import Record
from torua.core.state import Shard

Applied = dict[int, Record]
"""All that a copy applied, by seq."""


class Beginnings:
    """What is known of shards that no copy is counted on for.

    Invariants: of each copy all records are known up to where its view ever was.
    """

    def __init__(self) -> None:
        """Know of none."""
        self._applied: dict[tuple[ShardId, str], dict[AllocId, Applied]] = {}

    def applies(self, shard: Shard, alloc_id: AllocId, record: Record) -> None:
        """Take note of what a copy applies.

        Args:
            shard: as the copy knows it.
            alloc_id: which copy.
            record: the next one.
        """
        self._copies(shard).setdefault(alloc_id, {})[record.seq] = record

    def opens(self, shard: Shard, alloc_id: AllocId, view: View) -> None:
        """Take note of a view that may have come from another copy.

        The same record at its end means the same records before, for one copy leads
        a shard in a term.

        Args:
            shard: as the copy knows it.
            alloc_id: which copy.
            view: what it has now.
        """
        copies, seq = self._copies(shard), view.applied_seq
        own = copies.get(alloc_id, {})
        for applied in (own, *copies.values()):
            if seq in applied and applied[seq].term == view.term:
                if applied is not own:
                    known = {each: applied[each] for each in applied if each <= seq}
                    copies[alloc_id] = known
                return

    def of(self, shard: Shard, alloc_id: AllocId) -> list[Record]:
        """Return all that a copy applied, in order.

        Args:
            shard: of which shard.
            alloc_id: which copy.
        """
        applied = self._copies(shard).get(alloc_id, {})
        return [applied[seq] for seq in sorted(applied)]

    def _copies(self, shard: Shard) -> dict[AllocId, Applied]:
        """Return what the copies of a shard applied, in its present history."""
        return self._applied.setdefault((shard.shard, shard.history_uuid), {})

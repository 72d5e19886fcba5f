"""What brings a view back to where its log is, after any stop."""

from torua.codec.records import read_record
from torua.core.ids import AllocId
from torua.core.records import Record
from torua.errors import CorruptionError, ProtocolError
from torua.storage.log import Log, LogEntry
from torua.storage.map import Map

_BATCH_BYTES = 4 << 20
"""How much one transaction of a replay holds in memory."""


def replay(log: Log, alloc: AllocId, view: Map, through: int) -> None:
    """Apply to a map the records of its copy that it has not applied yet.

    Args:
        log: the node's; the caller's thread owns it.
        alloc: the copy.
        view: that copy's map, not yet in use.
        through: the last one that is known to be committed, if the log has it; what is
            behind it may yet be void.

    Raises:
        CorruptionError: log and map do not fit together: one of them lost what was kept
            in it, the log's end, or a map as new as the log's beginning.
        DiskError, DiskFullError: as `Log.read` and `Map.apply`.
    """
    first, last = log.first(alloc), log.last(alloc)
    if not first - 1 <= view.applied_seq <= last:
        raise CorruptionError(
            f"copy {alloc} has lost records: its map ends at {view.applied_seq}, its "
            f"log holds {first} to {last}",
            alloc_id=alloc,
        )
    while view.applied_seq < min(last, through):
        entries = log.read(alloc, view.applied_seq, _BATCH_BYTES)
        view.apply([_record(entry) for entry in entries if entry.seq <= through])


def _record(entry: LogEntry) -> Record:
    """Read the record in a log entry."""
    try:
        return read_record(entry.payload)
    except ProtocolError as error:
        raise CorruptionError(
            f"record {entry.seq} of copy {entry.alloc} is none: {error}",
            alloc_id=entry.alloc,
        ) from error

"""Records of the write log as bytes: CBOR, the same on every copy.

Large values stand apart from it (`torua.codec.apart`).

A record is spelled once.  Its bytes stay with it while it is in memory: the same go to
the log and to every other copy, and from there into that copy's log.  What it moves is
left out where it moves nothing, as almost always.
"""

from collections.abc import Sequence

import msgspec

from torua.codec.apart import LARGE_BYTES, is_apart, read_shared, set_apart, spell_apart
from torua.codec.plain import decode, encode, shape
from torua.codec.rope import Bytes
from torua.core.records import Record
from torua.core.replication.tip import cost_of
from torua.errors import ProtocolError

_BYTES = (bytes,)
_SPELLED = "spelled"
_Records = list[Record]


def spell_record(record: Record) -> Bytes:
    """Spell one record as CBOR, as it stands in the log and travels to copies."""
    known: dict[str, Bytes] = record.__dict__
    if _SPELLED not in known:
        fields = msgspec.to_builtins(record, builtin_types=_BYTES)
        if record.moved is None:
            del fields[-1]
        is_large = cost_of(record) >= LARGE_BYTES
        spelled = spell_apart(set_apart(fields)) if is_large else encode(fields)
        known[_SPELLED] = spelled
    return known[_SPELLED]


def read_record(data: Bytes) -> Record:
    """Read one record; ProtocolError where ``data`` is not exactly one."""
    value, spelled = read_shared(data)
    record = shape(value, Record)
    record.__dict__[_SPELLED] = spelled
    return record


def read_records(payloads: Sequence[Bytes]) -> list[Record]:
    """Read records, all at once; ProtocolError where any is not exactly one.

    Args:
        payloads: each as `spell_record` spells one.
    """
    if len(payloads) < 2 or any(map(is_apart, payloads)):
        return [read_record(data) for data in payloads]
    head = b"\x9a" + len(payloads).to_bytes(4, "big")
    whole = b"".join([head, *(data[:] for data in payloads)])
    found = shape(decode(whole), _Records)
    if len(found) != len(payloads):
        raise ProtocolError("records are missing")
    for record, data in zip(found, payloads, strict=True):
        record.__dict__[_SPELLED] = data
    return found

"""Records of the write log as bytes: CBOR, the same on every copy."""

import cbor2
import msgspec

from torua.codec.plain import read
from torua.core.records import Record

_BYTES = (bytes,)


def spell_record(record: Record) -> bytes:
    """Spell one record as CBOR, as it stands in the log and travels to copies."""
    return cbor2.dumps(msgspec.to_builtins(record, builtin_types=_BYTES))


def read_record(data: bytes) -> Record:
    """Read one record; ProtocolError where ``data`` is not exactly one."""
    return read(data, Record)

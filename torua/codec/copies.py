"""What copies say to each other, many messages in one value that CBOR can spell.

Records stand in it as the bytes that stand in the log: they are spelled once, and read
with all others of the value.
"""

from typing import Annotated

from msgspec import Meta, Struct

from torua.codec.apart import set_apart
from torua.codec.plain import plain, shape
from torua.codec.records import read_records, spell_record
from torua.codec.rope import Bytes, Rope, pieces_of
from torua.core.ids import AllocId, ShardId
from torua.core.records import Record
from torua.core.replication.wire import (
    Acked,
    Append,
    HandingOver,
    Message,
    Mismatch,
    Refused,
    SnapshotOpen,
    SnapshotWanted,
)

MESSAGES_MAX = 4096
"""No more go in one notice, however small."""


class _Append(Struct, frozen=True, array_like=True, tag="append"):
    """An `Append` on the wire."""

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    attempt: int
    prev_seq: int
    prev_term: int
    gcp: int
    payloads: list[bytes | list[bytes]]


_Wired = (
    _Append | Acked | Mismatch | Refused | SnapshotWanted | SnapshotOpen | HandingOver
)
_Messages = Annotated[list[_Wired], Meta(max_length=MESSAGES_MAX)]


def plain_message(message: Message) -> object:
    """Make of a message what CBOR can spell.

    Args:
        message: between copies; its records are spelled once, whoever they go to.
    """
    if not isinstance(message, Append):
        return plain(message)
    return [
        "append",
        message.shard,
        message.history,
        message.term,
        message.alloc_id,
        message.attempt,
        message.prev_seq,
        message.prev_term,
        message.gcp,
        [_payload(record) for record in message.records],
    ]


def _payload(record: Record) -> object:
    """Give a record as it stands in a message: in pieces where it is in pieces."""
    spelled = spell_record(record)
    return set_apart(pieces_of(spelled) if isinstance(spelled, Rope) else spelled)


def _joined(payload: bytes | list[bytes]) -> Bytes:
    """Take a record as it stood in a message."""
    return payload if isinstance(payload, bytes) else Rope(payload)


def read_messages(body: object) -> list[Message]:
    """Read what `plain_message` made of some messages.

    Args:
        body: a list, from anybody.

    Raises:
        ProtocolError: it is anything else.
    """
    wired = shape(body, _Messages)
    appends = [each for each in wired if isinstance(each, _Append)]
    records = read_records(
        [_joined(payload) for each in appends for payload in each.payloads]
    )
    found: list[Message] = []
    begin = 0
    for each in wired:
        if isinstance(each, _Append):
            end = begin + len(each.payloads)
            found.append(_append(each, records[begin:end]))
            begin = end
        else:
            found.append(each)
    return found


def _append(wired: _Append, records: list[Record]) -> Append:
    """Make the message of its wire's form."""
    return Append(
        wired.shard,
        wired.history,
        wired.term,
        wired.alloc_id,
        wired.attempt,
        wired.prev_seq,
        wired.prev_term,
        tuple(records),
        wired.gcp,
    )

"""What copies say to each other comes back as it was, and records keep their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.test_records import RECORDS
from torua.codec.apart import LARGE_BYTES, read_apart, spell_apart
from torua.codec.copies import plain_message, read_messages
from torua.codec.plain import decode, encode
from torua.codec.records import read_records, spell_record
from torua.codec.rope import Rope
from torua.core.ids import AllocId, ShardId
from torua.core.records import KvPut, Record
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
from torua.errors import ProtocolError

WHERE = (ShardId(1), "h", 3)
COPY = AllocId("a" * 32)
OTHERS: list[Message] = [
    Acked(*WHERE, COPY, 5, 7, 6),
    Mismatch(*WHERE, COPY, 5, 1, 7, 6),
    Refused(*WHERE, COPY, 5),
    SnapshotWanted(*WHERE, COPY),
    SnapshotOpen(*WHERE, COPY, 5, 9),
    HandingOver(*WHERE, COPY),
]


@given(batches=st.lists(st.lists(RECORDS, max_size=3), max_size=3))
def test_messages_come_back(batches: list[list[object]]) -> None:
    """Whatever stands between them, each has its own records."""
    messages = list(OTHERS)
    for batch in batches:
        append = Append(*WHERE, COPY, 1, 2, 3, tuple(batch), 4)  # type: ignore[arg-type]
        messages.insert(len(messages) // 2, append)
    body = decode(encode([plain_message(message) for message in messages]))
    assert read_messages(body) == messages


def test_a_large_record_travels_as_it_is_in_the_log() -> None:
    """Its bytes are not spelled anew, nor put into the CBOR."""
    value = b"\xff" * LARGE_BYTES
    record = Record(ShardId(1), 3, 3, 9, (KvPut(b"k", value, "a/b"),))
    append = Append(*WHERE, COPY, 1, 2, 3, (record,), 4)
    sent = spell_apart([plain_message(append)])
    assert isinstance(sent, Rope) and any(piece is value for piece in sent.pieces)
    body = read_apart(sent[:])
    (came,) = read_messages(body)
    assert came == append and isinstance(came, Append)
    assert spell_record(came.records[0])[:] == spell_record(record)[:]


@given(records=st.lists(RECORDS, max_size=4))
def test_a_record_that_came_is_spelled_as_it_came(records: list[object]) -> None:
    """The bytes in a copy's log are those in the primary's."""
    payloads = [spell_record(record) for record in records]  # type: ignore[arg-type]
    found = read_records(payloads)
    assert found == records
    assert all(
        spell_record(record) is data
        for record, data in zip(found, payloads, strict=True)
    )


@pytest.mark.parametrize(
    "payloads", [[b"\x01", b"\x02"], [b""], [b"", b"\x80"], [b"\x9f", b"\xff"]]
)
def test_what_are_no_records_is_refused(payloads: list[bytes]) -> None:
    """By the one error that says so."""
    with pytest.raises(ProtocolError):
        read_records(payloads)


@given(body=st.recursive(st.integers() | st.binary() | st.text(), st.lists))
def test_anything_else_is_refused(body: object) -> None:
    """No value raises anything but the error that says so."""
    try:
        read_messages(body)
    except ProtocolError:
        return
    assert body == []

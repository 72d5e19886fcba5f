"""Records are spelled the same on every copy, and read back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.apart import LARGE_BYTES, is_apart
from torua.codec.records import read_record, read_records, spell_record
from torua.core.ids import ShardId
from torua.core.records import Answered, KvDelete, KvPut, Record
from torua.errors import ProtocolError

NUMBERS = st.integers(0, (1 << 63) - 1)
EFFECTS = st.one_of(
    st.builds(
        KvPut, st.binary(), st.binary(), st.text(), st.one_of(st.none(), NUMBERS)
    ),
    st.builds(KvDelete, st.binary()),
)
RECORDS = st.builds(
    Record,
    st.integers(0, 4095).map(ShardId),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.lists(EFFECTS, max_size=4).map(tuple),
    st.one_of(st.none(), st.builds(Answered, st.text(), st.binary(), st.binary())),
)


@given(record=RECORDS)
def test_a_record_comes_back(record: Record) -> None:
    """Whatever it holds, reading reverses spelling."""
    assert read_record(spell_record(record)) == record


def test_the_spelling_does_not_change() -> None:
    """What lies on disks today must be read by every later version."""
    record = Record(
        ShardId(2), 7, 1, 9, (KvPut(b"k", b"v", "a/b"), KvDelete(b"d")), None
    )
    spelled = bytes.fromhex("86020701098285626b70416b417663612f62f682626b644164f6")
    assert spell_record(record) == spelled
    assert read_record(spelled) == record


@given(data=st.binary(max_size=80))
def test_anything_else_is_refused(data: bytes) -> None:
    """No bytes raise anything but the error that says so."""
    try:
        assert isinstance(read_record(data), Record)
    except ProtocolError:
        return


def test_bytes_behind_a_record_are_refused() -> None:
    """A record is the whole of its payload."""
    with pytest.raises(ProtocolError):
        read_record(spell_record(Record(ShardId(0), 1, 1, 1))[:] + b"\0")


def test_a_large_value_stands_apart_and_comes_back() -> None:
    """Beside others too, which are read all at once where all are small."""
    value = b"\xff" * LARGE_BYTES
    records = [
        Record(ShardId(1), seq, 2, seq, (KvPut(b"k", data, "a/b"),))
        for seq, data in enumerate((b"small", value, b"\xff"), 1)
    ]
    payloads = [spell_record(record) for record in records]
    assert [is_apart(payload) for payload in payloads] == [False, True, False]
    assert read_records(payloads) == records
    assert read_record(payloads[1]) == records[1]

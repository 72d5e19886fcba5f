"""The primary, by example."""

import pytest
from msgspec import structs

from tests.core.replication.desk import SHARD, Desk, puts
from torua.core.kv import Condition, Delete, Get, Outcome, Put
from torua.core.records import KvDelete, KvPut, Record
from torua.core.replication.batch import PART_BYTES_MAX, READ_BYTES_MAX
from torua.core.replication.messages import (
    Begin,
    Configure,
    DiskFull,
    Limits,
    RoomAgain,
    StepDown,
    StorageFailed,
    Stored,
)
from torua.core.replication.primary import State

ABSENT = Condition(None, match=False)


def at(*versions: int) -> Condition:
    """Make an If-Match."""
    return Condition(versions, match=True)


def test_it_serves_once_a_no_op_of_its_term_is_stored() -> None:
    """Before, writes are refused; the no-op is the term's first record."""
    desk = Desk()
    early = desk.write(Put(b"k", b"v"))
    assert desk.refusals[early].error == "unavailable"
    assert desk.state() is State.RECOVERING
    assert desk.served == 0
    desk.sync()
    assert desk.served == 1
    assert desk.state() is State.ACTIVE
    assert desk.log == [Record(SHARD, 1, 1, desk.log[0].time_ns)]


def test_beginning_twice_appends_one_no_op() -> None:
    """A repeated announcement does no harm."""
    desk = Desk()
    desk.tell(Begin(5))
    assert len(desk.unsynced) == 1
    desk.sync()
    desk.tell(Begin(6))
    assert desk.unsynced == []


def test_a_write_is_answered_when_stored_and_applied() -> None:
    """Not before its record is durable; its version is the record's seq."""
    desk = Desk().ready()
    request = desk.write(Put(b"k", b"v", "text/plain"))
    assert request not in desk.replies
    assert not desk.primary.idle
    desk.sync()
    assert desk.replies[request] == (Outcome(version=2),)
    entry = desk.map.get(b"k")
    assert entry is not None
    assert (entry.value, entry.content_type, entry.version) == (b"v", "text/plain", 2)
    assert desk.primary.idle
    assert desk.primary.gcp == 2


def test_records_in_flight_are_seen_by_later_writes() -> None:
    """Conditions and gets are judged by the tip."""
    desk = Desk().ready()
    first = desk.write(Put(b"k", b"1", conditions=(ABSENT,)))
    second = desk.write(Put(b"k", b"2", conditions=(ABSENT,)))
    third = desk.write(Get(b"k"), Get(b"k", value=False), Get(b"none"))
    assert desk.replies == {}
    desk.sync()
    assert desk.replies[first][0].version == 2
    assert desk.replies[second][0].error == "precondition-failed"
    assert desk.replies[second][0].version == 2
    got, bare, none = desk.replies[third]
    assert got.entry is not None and got.entry.value == b"1"
    assert bare.entry is not None and bare.entry.value is None
    assert none == Outcome()


def test_a_refusal_waits_for_the_tip_that_it_was_judged_by() -> None:
    """R8: what it says of the key may still be rolled back."""
    desk = Desk().ready()
    desk.write(Put(b"k", b"1"))
    refused = desk.write(Put(b"k", b"2", conditions=(ABSENT,)))
    deleted = desk.write(Delete(b"nothing"))
    assert desk.replies == {}
    assert len(desk.unsynced) == 1
    desk.crash()
    assert refused not in desk.replies
    assert deleted not in desk.replies


def test_without_anything_in_flight_a_refusal_is_given_at_once() -> None:
    """The tip that it was judged by is committed."""
    desk = Desk().ready()
    request = desk.write(Delete(b"k", conditions=(at(1),)))
    assert desk.replies[request][0].error == "precondition-failed"
    assert desk.unsynced == []


def test_a_key_stands_once_in_a_record() -> None:
    """A batch that writes it twice becomes two records, and two versions."""
    desk = Desk().ready()
    outcomes = desk.done(
        Put(b"a", b"1"), Put(b"b", b"1"), Put(b"a", b"2"), Get(b"a"), Delete(b"b")
    )
    assert [each.version for each in outcomes] == [2, 2, 3, 3, None]
    assert outcomes[3].entry is not None and outcomes[3].entry.value == b"2"
    assert [len(each.effects) for each in desk.log[1:]] == [2, 2]
    assert puts(desk.log[2]) == {b"a": b"2"}


def test_a_batch_sees_its_own_writes_within_a_part() -> None:
    """A get after a delete or a put of the same part finds what it left."""
    desk = Desk().ready()
    desk.done(Put(b"a", b"1"))
    gone, nothing, put, got = desk.done(
        Delete(b"a"), Get(b"a"), Put(b"b", b"2", conditions=(ABSENT,)), Get(b"b")
    )
    assert gone == nothing == Outcome()
    assert put.version == 3
    assert got.entry is not None and got.entry.value == b"2"
    assert isinstance(desk.log[-1].effects[0], KvDelete)


def test_a_large_batch_is_split_by_bytes() -> None:
    """A large value stands alone; small ones share up to a mebibyte."""
    desk = Desk().ready()
    big = b"x" * PART_BYTES_MAX
    half = b"y" * (PART_BYTES_MAX // 3)
    desk.done(*(Put(b"%d" % n, v) for n, v in enumerate([half, half, big, half])))
    assert [len(each.effects) for each in desk.log[1:]] == [2, 1, 1]


def test_one_request_reads_a_bounded_number_of_bytes() -> None:
    """The rest is refused, an operation each."""
    desk = Desk().ready()
    desk.done(Put(b"big", b"x" * (READ_BYTES_MAX // 2)))
    outcomes = desk.done(*[Get(b"big")] * 3, Get(b"none"))
    assert [each.error for each in outcomes] == [None, None, "too-large", None]
    assert outcomes[2].version == 2


def test_versions_rise_across_deletes_and_terms() -> None:
    """A version never repeats for a key."""
    desk = Desk().ready()
    (first,) = desk.done(Put(b"k", b"1"))
    desk.done(Delete(b"k"))
    desk.crash()
    desk.ready()
    (second,) = desk.done(Put(b"k", b"1"))
    assert first.version is not None and second.version is not None
    assert second.version > first.version


def test_time_rises_though_the_clock_stands_or_falls() -> None:
    """Each record is later than the last, by a nanosecond at least."""
    desk = Desk().ready()
    desk.done(Put(b"a", b"1"))
    desk.now_ns -= 500
    desk.done(Put(b"b", b"1"))
    times = [each.time_ns for each in desk.log]
    assert times == sorted(set(times))


def test_a_time_to_live_is_resolved_by_the_primary() -> None:
    """The record says when; a nonsensical one is never or at once."""
    desk = Desk().ready()
    desk.done(
        Put(b"a", b"", ttl_s=1.5),
        Put(b"b", b"", ttl_s=1e300),
        Put(b"c", b"", ttl_s=float("nan")),
        Put(b"d", b"", ttl_s=-1.0),
    )
    record = desk.log[-1]
    found = {
        each.key: each.expires_ns for each in record.effects if isinstance(each, KvPut)
    }
    never = (1 << 63) - 1
    assert found == {
        b"a": record.time_ns + 1_500_000_000,
        b"b": never,
        b"c": never,
        b"d": record.time_ns,
    }


def test_an_expired_key_goes_by_a_record() -> None:
    """R19: the delete is in the log; nothing wakes once no key expires."""
    desk = Desk().ready()
    desk.done(Put(b"k", b"v", ttl_s=1.0))
    desk.pass_time(0.9)
    desk.sync()
    assert desk.map.version(b"k") is not None
    desk.pass_time(0.4)
    assert desk.map.version(b"k") is not None
    assert desk.unsynced[0].effects == (KvDelete(b"k"),)
    desk.sync()
    assert desk.map.version(b"k") is None
    desk.pass_time(1.0)
    assert desk.primary.next_deadline() is None


def test_expiry_spares_a_key_that_changed_at_the_tip() -> None:
    """The delete is conditional on the version that was due."""
    desk = Desk().ready()
    desk.done(Put(b"k", b"old", ttl_s=0.1), Put(b"l", b"old", ttl_s=0.1))
    desk.write(Put(b"k", b"new"))
    desk.pass_time(0.5)
    desk.sync()
    desk.pass_time(0.5)
    desk.sync()
    assert desk.map.version(b"k") is not None
    assert desk.map.version(b"l") is None


def test_expiry_goes_on_after_a_restart() -> None:
    """The first sweep of a term finds what the last life left."""
    desk = Desk().ready()
    desk.done(Put(b"k", b"v", ttl_s=1.0))
    desk.now_ns += 10**10
    desk.crash()
    desk.ready()
    desk.pass_time(0.5)
    desk.sync()
    assert desk.map.version(b"k") is None


def test_a_shard_that_has_no_slots_yet_expires_nothing() -> None:
    """Its parent does until then; from then on it does, and change feeds hear of it."""
    desk = Desk().ready()
    desk.done(Put(b"k", b"v", ttl_s=0.1))
    now = desk.primary.group.shard
    filled = structs.replace(now, base=7, shard_version=now.shard_version + 1)
    desk.tell(Configure(filled, desk.now_ns))
    desk.pass_time(2.0)
    assert not desk.unsynced
    born = structs.replace(filled, born=9, shard_version=filled.shard_version + 1)
    desk.tell(Configure(born, desk.now_ns))
    desk.pass_time(0.5)
    assert desk.unsynced[0].effects == (KvDelete(b"k"),)


def test_many_keys_that_expire_at_once_go_within_a_second() -> None:
    """A sweep is bounded, and followed by the next at once."""
    desk = Desk().ready()
    for part in range(5):
        keys = (b"%d" % n for n in range(part * 1000, part * 1000 + 1000))
        desk.done(*(Put(key, b"", ttl_s=1.0) for key in keys))
    desk.now_ns += 10**9
    for _ in range(100):
        desk.pass_time(0.01)
        desk.sync()
    assert desk.map.entries == {}


def test_sweeps_wait_while_much_is_in_flight() -> None:
    """Expiry does not add to an overload."""
    desk = Desk(limits=Limits(records=4)).ready()
    desk.done(Put(b"k", b"v", ttl_s=0.1))
    for n in range(3):
        desk.write(Put(b"%d" % n, b""))
    desk.pass_time(1.0)
    assert len(desk.unsynced) == 3
    desk.sync()
    desk.pass_time(1.0)
    desk.sync()
    assert desk.map.version(b"k") is None


def test_an_answered_key_gets_the_same_answer() -> None:
    """R11: also after a crash, also for refusals, and nothing is run again."""
    desk = Desk().ready()
    first = desk.done(Put(b"k", b"1"), Delete(b"n"), Get(b"k"), key="i")
    other = desk.done(Put(b"k", b"2", conditions=(ABSENT,)), key="j")
    desk.done(Put(b"k", b"3"))
    length = len(desk.log)
    desk.crash()
    desk.ready()
    assert desk.done(Put(b"k", b"1"), Delete(b"n"), Get(b"k"), key="i") == first
    assert desk.done(Put(b"k", b"2", conditions=(ABSENT,)), key="j") == other
    assert len(desk.log) == length + 1


def test_a_key_in_flight_attaches() -> None:
    """Both are answered, by one record."""
    desk = Desk().ready()
    first = desk.write(Put(b"k", b"1"), key="i")
    second = desk.write(Put(b"k", b"1"), key="i")
    assert len(desk.unsynced) == 1
    desk.sync()
    assert desk.replies[first] == desk.replies[second]
    assert desk.primary.idle


@pytest.mark.parametrize("synced", [True, False])
def test_a_key_of_another_request_is_refused(synced: bool) -> None:
    """Whether the first is in flight or answered."""
    desk = Desk().ready()
    desk.write(Put(b"k", b"1"), key="i", body=b"1")
    if synced:
        desk.sync()
    second = desk.write(Put(b"k", b"2"), key="i", body=b"2")
    assert desk.refusals[second].error == "unprocessable"


def test_a_batch_of_which_a_part_survived_is_completed() -> None:
    """The part that is in the log gives its answer; the rest is done."""
    batch = (Put(b"a", b"1"), Put(b"a", b"2"), Put(b"a", b"3"))
    desk = Desk().ready()
    desk.write(*batch, key="i")
    desk.crash(survive=2)
    desk.ready()
    outcomes = desk.done(*batch, key="i")
    assert [each.version for each in outcomes] == [2, 3, 5]
    assert desk.done(*batch, key="i") == outcomes


def test_an_idempotent_value_that_is_read_has_a_part_to_itself() -> None:
    """A record's answer is bounded by one value."""
    desk = Desk().ready()
    desk.done(Put(b"a", b"1"), Put(b"b", b"1"))
    desk.done(Get(b"a"), Get(b"b"), Get(b"a", value=False), key="i")
    assert len(desk.log) == 5


@pytest.mark.parametrize(
    "limits",
    [Limits(requests=2), Limits(records=2), Limits(bytes=500)],
    ids=["requests", "records", "bytes"],
)
def test_beyond_its_limits_it_refuses_before_anything_is_done(limits: Limits) -> None:
    """R18: and takes writes again when those in flight are done."""
    desk = Desk(limits=limits).ready()
    kept = [desk.write(Put(b"%d" % n, b""), key=str(n)) for n in range(2)]
    refused = desk.write(Put(b"2", b"x" * 100))
    assert desk.refusals[refused].error == "overloaded"
    desk.sync()
    assert list(desk.replies) == kept
    assert desk.done(Put(b"2", b"x" * 100))[0].error is None


def test_the_limits_count_what_comes_and_goes() -> None:
    """After any traffic nothing is left in the accounts."""
    desk = Desk(limits=Limits(requests=2, records=3, bytes=900)).ready()
    for n in range(50):
        desk.done(Put(b"%d" % n, b"v"), Get(b"%d" % n), key=str(n % 7) + "x" * (n % 7))
        desk.done(Get(b"1"), Delete(b"none"))
    assert desk.refusals == {}


@pytest.mark.parametrize("end", [StepDown("over"), StorageFailed("broken")])
def test_the_end_of_a_term_leaves_outcomes_unknown(
    end: StepDown | StorageFailed,
) -> None:
    """R12: never a success, though the records may be stored a moment later."""
    desk = Desk().ready()
    write = desk.write(Put(b"k", b"v"), key="i")
    attached = desk.write(Put(b"k", b"v"), key="i")
    read = desk.write(Get(b"k"))
    desk.tell(end)
    assert desk.primary.state is State.STOPPED
    for request in (write, attached):
        assert desk.refusals[request].error == "outcome-unknown"
    assert desk.refusals[read].error == "unavailable", "it changed nothing"
    assert desk.refusals[read].detail == end.detail
    assert desk.tell(Stored(2)) == []
    late = desk.write(Put(b"k", b"v"))
    assert desk.refusals[late].error == "unavailable"
    assert desk.replies == {}
    assert desk.primary.next_deadline() is None


def test_a_full_disk_refuses_what_was_in_flight_and_what_comes() -> None:
    """Nothing of it was done; with room again its seqs are given anew."""
    desk = Desk().ready()
    desk.done(Put(b"k", b"0"))
    lost = desk.write(Put(b"k", b"1"), key="i")
    desk.unsynced = []
    desk.tell(DiskFull())
    assert desk.primary.state is State.FULL
    refused = desk.write(Put(b"k", b"2"))
    assert desk.refusals[lost].error == desk.refusals[refused].error == "disk-full"
    desk.tell(RoomAgain(desk.now_ns))
    (outcome,) = desk.done(Put(b"k", b"1", conditions=(at(2),)), key="i")
    assert outcome.version == 3


def test_a_batch_that_a_full_disk_cut_is_of_unknown_outcome() -> None:
    """A part of it was done, so it is not said that nothing was."""
    desk = Desk().ready()
    batch = (Put(b"k", b"1"), Put(b"k", b"2"))
    request = desk.write(*batch, key="i")
    desk.sync(1)
    desk.unsynced = []
    desk.tell(DiskFull())
    assert desk.refusals[request].error == "outcome-unknown"
    desk.tell(RoomAgain(desk.now_ns))
    assert [each.version for each in desk.done(*batch, key="i")] == [2, 3]


def test_a_disk_that_is_full_from_the_start_is_waited_for() -> None:
    """The term is taken up when there is room."""
    desk = Desk()
    desk.unsynced = []
    desk.tell(DiskFull())
    assert desk.state() is State.RECOVERING
    desk.tell(RoomAgain(desk.now_ns))
    desk.sync()
    assert desk.state() is State.ACTIVE


def test_an_empty_batch_is_done_at_once() -> None:
    """It has no outcomes, and leaves no record."""
    desk = Desk().ready()
    assert desk.done() == []
    assert len(desk.log) == 1

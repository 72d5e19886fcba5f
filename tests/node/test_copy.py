"""An open copy: its checkpoints, and what becomes of it when the disk fails."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError

from tests.node.lone_node import ALLOC, SHARD, LoneNode, result, state_of
from torua.core.kv import Delete, Get, Put
from torua.core.records import Record
from torua.core.state import CopyState
from torua.errors import (
    CorruptionError,
    DiskError,
    DiskFullError,
    OutcomeUnknownError,
    OverloadedError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.commit import QUEUE_BYTES_MAX
from torua.node.copies import REOPEN_AFTER_S
from torua.node.holding import CHECKPOINT_BYTES, CHECKPOINT_PERIOD_S, FLUSH_S
from torua.storage.effects import MapChange
from torua.storage.files import DiskFile, DiskFiles
from torua.storage.map import Map
from torua.storage.staged import STAGED_BYTES_MAX
from torua.storage.writing import Written

BIG = b"x" * (1 << 20)


class BadDisk(DiskFiles):
    """A disk that fails when it is told to.

    Invariants: ``trouble`` is the errno of every append; 0 for none.
    """

    def __init__(self) -> None:
        """Begin sound."""
        self.trouble = 0

    def open(self, path: Path) -> DiskFile:
        """Open a file that fails.

        It does so while there is trouble.
        """
        disk = self

        class BadFile(DiskFile):
            """A file of it.

            Invariants: those of `DiskFile`.
            """

            def append(self, data: bytes) -> None:
                """Write, or fail."""
                if disk.trouble:
                    raise OSError(disk.trouble, os.strerror(disk.trouble))
                super().append(data)

        return BadFile(path)


def test_the_log_is_cut_after_a_durable_checkpoint(tmp_path: Path) -> None:
    """Some seconds after the last write, or after enough of them."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    assert node.needed == 1
    node.pass_time(CHECKPOINT_PERIOD_S + 1)
    assert node.needed == 3
    for n in range(CHECKPOINT_BYTES // len(BIG)):
        node.write(Put(b"%d" % n, BIG))
    node.settle()
    assert node.needed == 7
    node.close()


def test_one_checkpoint_runs_at_a_time(tmp_path: Path) -> None:
    """What comes meanwhile is left to the next, which follows at once if large."""
    node = LoneNode(tmp_path, state_of()).settle()
    for n in range(3 * CHECKPOINT_BYTES // len(BIG)):
        node.begin(Put(b"%d" % n, BIG))
        node.clock.advance(0)
        while node.log_worker.step() or node.writer.step():
            node.clock.advance(0)
    assert len(node.worker.jobs) == 1
    node.worker.step()
    node.log_worker.step()
    assert len(node.worker.jobs) == 1
    node.settle()
    assert node.needed == node.log.last(ALLOC) + 1
    node.close()


def test_a_restart_after_a_checkpoint_finds_everything(tmp_path: Path) -> None:
    """The log begins behind what the map holds durably."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"), key="i")
    node.pass_time(CHECKPOINT_PERIOD_S + 1)
    node.write(Put(b"l", b"w"))
    node.close()
    again = LoneNode(tmp_path, state_of(CopyState.STARTED, 2, 2), 2).settle()
    assert (again.get(b"k"), again.get(b"l")) == (b"v", b"w")
    assert again.write(Put(b"k", b"v"), key="i")[0].version == 2
    again.close()


def test_a_caller_that_goes_away_does_not_tear_a_write(tmp_path: Path) -> None:
    """It is done all the same, and whoever asks again is told so."""
    node = LoneNode(tmp_path, state_of()).settle()
    write = node.begin(Put(b"k", b"v"), key="i")
    write.cancel()
    with pytest.raises(CancelledError):
        result(write)
    node.settle()
    assert node.get(b"k") == b"v"
    assert node.write(Put(b"k", b"v"), key="i")[0].version == 2
    node.close()


def test_a_write_that_takes_too_long_is_of_unknown_outcome(tmp_path: Path) -> None:
    """The caller's time is up; the record may be kept a moment later."""
    node = LoneNode(tmp_path, state_of()).settle()
    write = node.begin(Put(b"k", b"v"), timeout_s=2.0)
    node.clock.advance(2.5)
    with pytest.raises(OutcomeUnknownError):
        result(write)
    node.settle()
    assert node.get(b"k") == b"v"
    node.close()


def test_a_crowded_disk_refuses_before_anything_is_done(tmp_path: Path) -> None:
    """The caller may come again."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.commit.queued_bytes += QUEUE_BYTES_MAX + 1
    with pytest.raises(OverloadedError) as caught:
        result(node.begin(Put(b"k", b"v")))
    assert caught.value.members["retry_after"] == 1
    node.close()


def test_what_the_machine_refuses_is_raised(tmp_path: Path) -> None:
    """With the shard it is about."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"), key="i")
    with pytest.raises(UnprocessableError) as caught:
        done = node.begin(Put(b"k", b"w"), key="i", body=b"2")
        node.settle()
        result(done)
    assert caught.value.members == {"shard": 0}
    node.close()


def test_a_full_disk_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    """And takes writes again when there is room."""
    disk = BadDisk()
    node = LoneNode(tmp_path, state_of(), files=disk).settle()
    node.write(Put(b"k", b"1"))
    disk.trouble = errno.ENOSPC
    with pytest.raises(DiskFullError):
        node.write(Put(b"k", b"2"))
    with pytest.raises(DiskFullError):
        node.write(Put(b"k", b"3"))
    assert node.get(b"k") == b"1"
    disk.trouble = 0
    node.pass_time(1.5)
    assert node.write(Put(b"k", b"4"))[0].version == 3
    assert node.fatal == []
    node.close()


def test_a_failed_disk_leaves_outcomes_unknown_and_ends_the_node(
    tmp_path: Path,
) -> None:
    """No write is acknowledged, and none begun, after an error of the log."""
    disk = BadDisk()
    node = LoneNode(tmp_path, state_of(), files=disk).settle()
    disk.trouble = errno.EIO
    with pytest.raises(OutcomeUnknownError):
        node.write(Put(b"k", b"2"))
    assert len(node.fatal) == 1
    with pytest.raises(UnavailableError):
        node.write(Put(b"k", b"3"))
    assert "log failed" in node.shards.failures()[SHARD]
    node.close()


def failing(error: Exception) -> Callable[..., None]:
    """Make a method that fails."""

    def fail(*_: object) -> None:
        """Fail."""
        raise error

    return fail


def test_a_copy_whose_map_cannot_be_written_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged is in the log; opened again, the copy has it."""
    node = LoneNode(tmp_path, state_of()).settle()
    with monkeypatch.context() as patch:
        patch.setattr(Map, "flush", failing(DiskFullError("no room")))
        node.write(Put(b"k", b"v"))
        node.pass_time(2 * FLUSH_S)
        assert "no room" in node.shards.failures()[SHARD]
    node.pass_time(REOPEN_AFTER_S + 0.5)
    assert node.shards.failures() == {}
    assert node.get(b"k") == b"v"
    node.close()


def test_large_values_are_written_at_once_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for no time, and none is written with another."""
    node, parts, write = LoneNode(tmp_path, state_of()).settle(), [], Map._write

    def note(view: Map, records: Sequence[Record]) -> Written:
        """Note how many values are written in one transaction.

        Args:
            view: which map.
            records: of the transaction.
        """
        parts.append(sum(len(record.effects) for record in records))
        return write(view, records)

    monkeypatch.setattr(Map, "_write", note)
    large = b"x" * STAGED_BYTES_MAX
    node.write(Put(b"a", large), Put(b"b", large))
    node.write(Put(b"c", large))
    node.settle()
    assert parts == [0, 1, 1, 1]
    node.write(Put(b"d", b"small"))
    assert node.get(b"a") == large
    node.close()


def test_a_large_value_that_cannot_be_written_fails_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whichever thread; what was acknowledged is there once there is room."""
    node, large = LoneNode(tmp_path, state_of()).settle(), b"x" * STAGED_BYTES_MAX
    node.pass_time(2 * FLUSH_S)
    with monkeypatch.context() as patch:
        patch.setattr(MapChange, "facts", failing(DiskFullError("no room")))
        assert node.write(Put(b"k", large))[0].error is None
        assert node.shards.positions()[0].state == "failed"
    node.pass_time(2 * REOPEN_AFTER_S)
    assert node.get(b"k") == large
    node.close()


def test_a_node_that_dies_while_a_large_value_is_written_has_it(tmp_path: Path) -> None:
    """It was answered before; the log has it, and the map gets it once."""
    large = b"x" * STAGED_BYTES_MAX
    for life in (False, True):
        place = tmp_path / str(life)
        node = LoneNode(place, state_of()).settle()
        node.pass_time(2 * FLUSH_S)
        done = node.begin(Put(b"k", large))
        node.clock.advance(0)
        while node.log_worker.step():
            node.clock.advance(0)
        (outcome,) = result(done)
        assert len(node.writer.jobs) == 1
        assert node.get(b"k") == large
        if life:
            node.writer.step()
        node.close()
        again = LoneNode(place, state_of(CopyState.STARTED, 2, 2), 2).settle()
        assert again.get(b"k") == large
        assert again.write(Get(b"k"))[0].version == outcome.version
        again.close()


def test_a_damaged_map_is_served_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a read or a write comes upon it; the reason is told."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    monkeypatch.setattr(Map, "get", failing(DiskError("unreadable")))
    with pytest.raises(OutcomeUnknownError):
        node.write(Get(b"k"))
    with pytest.raises(UnavailableError, match="unreadable"):
        node.get(b"k")
    node.settle()
    with pytest.raises(UnavailableError, match="unreadable"):
        node.write(Put(b"k", b"w"))
    assert node.shards.positions()[0].state == "failed"
    node.close()


def test_a_checkpoint_without_room_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log keeps what the map might lose; any other failure ends the copy."""
    node = LoneNode(tmp_path, state_of()).settle()
    monkeypatch.setattr(Map, "checkpoint", failing(DiskFullError("no room")))
    node.write(Put(b"k", b"v"))
    node.pass_time(CHECKPOINT_PERIOD_S + 1)
    assert node.get(b"k") == b"v"
    assert node.needed == 1
    monkeypatch.setattr(Map, "checkpoint", failing(DiskError("unwritable")))
    node.write(Put(b"k", b"v"))
    node.pass_time(CHECKPOINT_PERIOD_S + 1)
    assert "unwritable" in node.shards.failures()[SHARD]
    node.close()


def test_an_invariant_that_breaks_ends_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than serve on what is wrong."""
    node = LoneNode(tmp_path, state_of()).settle()
    with monkeypatch.context() as patch:
        patch.setattr(Map, "version", failing(AssertionError("impossible")))
        with pytest.raises(OutcomeUnknownError):
            node.write(Delete(b"k"))
    node.close()


def test_a_read_that_comes_upon_damage_ends_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is told at once, the operator as long as it lasts."""
    node = LoneNode(tmp_path, state_of()).settle()
    monkeypatch.setattr(Map, "get", failing(CorruptionError("a flipped bit")))
    with pytest.raises(UnavailableError, match="flipped"):
        node.get(b"k")
    node.pass_time(REOPEN_AFTER_S + 1)
    assert "flipped" in node.shards.failures()[SHARD]
    node.close()


def test_nothing_is_read_before_the_no_op_is_stored(tmp_path: Path) -> None:
    """The last term's records are not known to be committed until then."""
    node = LoneNode(tmp_path, state_of())
    while node.shards.positions()[0].role != "primary":
        assert node.worker.step() or node.log_worker.step()
    with pytest.raises(UnavailableError, match="not yet served"):
        node.get(b"k")
    with pytest.raises(UnavailableError) as caught:
        node.write(Put(b"k", b"v"))
    assert caught.value.members == {"shard": 0, "retry_after": 1}
    node.settle()
    assert node.get(b"k") is None
    node.close()


def test_a_map_that_does_not_close_holds_up_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has it all."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    monkeypatch.setattr(Map, "close", failing(DiskError("gone")))
    stopped = node.shards.stop()
    node.settle()
    assert stopped.called
    assert node.clock.getDelayedCalls() == []
    node.close()

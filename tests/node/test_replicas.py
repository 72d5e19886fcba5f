"""Copies on several nodes: they follow, lead, catch up, and are made anew."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred

from tests.node.lone_node import CALL, SHARD, result
from tests.node.several_nodes import ALLOCS, NODES, Several
from torua.core.allocation import CopyLost
from torua.core.kv import Put
from torua.core.replication.barrier import BARRIER_S
from torua.core.state import CopyState, Shard
from torua.errors import OutcomeUnknownError, UnavailableError
from torua.node import holding, scrubber, transfer
from torua.node.copy import OpenCopy
from torua.storage.log import Log


def digests(several: Several) -> list[bytes]:
    """Return the digest of every open copy."""
    return [several.copy(n).holding.view.digest() for n in sorted(several.nodes)]


def test_what_is_acknowledged_is_in_every_copy(tmp_path: Path) -> None:
    """In sync, equal, and readable at each."""
    several = Several(tmp_path)
    assert set(several.shard.in_sync) == set(ALLOCS)
    several.write(0, b"k", b"l")
    assert len(set(digests(several))) == 1
    assert several.get(0, b"k") == b"v"
    for node in several.nodes.values():
        held = node.shards.readable(SHARD)
        assert held is not None and held[0] == "h"
        entry = held[1].peek(b"l")
        assert entry is not None and entry.value == b"v"
        (position,) = node.shards.positions()
        assert position.in_sync and position.gcp == position.position
    several.close()


def test_a_replica_applies_nothing_that_is_not_committed(tmp_path: Path) -> None:
    """It has the record in its log, and shows it once all have it."""
    several = Several(tmp_path)
    several.network.cut.add(NODES[2])
    done = several.nodes[0].begin(Put(b"k", b"v"))
    several.settle(0.5)
    assert several.nodes[1].log.last(ALLOCS[1]) == several.copy(1).position + 1
    assert several.copy(1).peek(b"k") is None
    assert not done.called
    several.settle(3.0)
    assert ALLOCS[2] not in several.shard.in_sync
    assert several.copy(1).peek(b"k") is not None
    result(done)
    several.close()


def test_a_read_is_refused_where_the_others_do_not_confirm(tmp_path: Path) -> None:
    """A primary that is cut off cannot know whether it still is."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.network.cut.add(NODES[0])
    several.coordinator.reachable = False
    done = Deferred.fromCoroutine(several.nodes[0].shards.get(SHARD, b"k", CALL))
    several.settle(CALL.timeout_s + 1)
    with pytest.raises(UnavailableError):
        result(done)
    several.close()


@pytest.mark.parametrize("stays", [(0,), (0, 1)])
def test_a_read_waits_no_longer_for_copies_that_are_gone(
    tmp_path: Path, stays: tuple[int, ...]
) -> None:
    """Once the state counts on them no more, what they were asked does not matter."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.network.cut |= {NODES[n] for n in range(3) if n not in stays}
    several.coordinator.reachable = False
    done = Deferred.fromCoroutine(several.nodes[0].shards.get(SHARD, b"k", CALL))
    several.settle(BARRIER_S / 2)
    assert not done.called
    several.change(in_sync=tuple(ALLOCS[n] for n in stays))
    several.settle(0.1)
    entry = result(done)
    assert entry is not None and entry.value == b"v"
    several.close()


def test_another_leads_from_what_it_has(tmp_path: Path) -> None:
    """What was acknowledged is there; the old primary's own tail is void."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.network.cut.add(NODES[0])
    lonely = several.nodes[0].begin(Put(b"lonely", b"v"))
    several.settle(0.1)
    several.promote(1)
    several.settle(3.0)
    with pytest.raises((OutcomeUnknownError, UnavailableError)):
        result(lonely)
    several.write(1, b"l", b"m")
    assert several.get(1, b"k") == b"v"
    several.network.cut.clear()
    for end in several.network.ends.values():
        for node in NODES:
            end.up(node)
    several.settle(4.0)
    assert set(several.shard.in_sync) == set(ALLOCS)
    assert len(set(digests(several))) == 1
    assert several.copy(0).peek(b"lonely") is None
    assert not several.copy(0).leads
    several.close()


def test_what_is_asked_of_a_primary_that_takes_over_waits(tmp_path: Path) -> None:
    """It serves once the old one is dropped; what is served is not waited for."""
    several = Several(tmp_path)
    shards = several.nodes[1].shards
    several.write(0, b"k")
    several.network.cut.add(NODES[0])
    several.promote(1)
    several.settle(0.01)
    assert not shards.serving(SHARD)
    over = Deferred.fromCoroutine(shards.taken_over(SHARD, 1, 10.0))
    assert not over.called
    several.settle(3.0)
    assert result(over)
    assert shards.serving(SHARD)
    again = Deferred.fromCoroutine(shards.taken_over(SHARD, 1, 10.0))
    assert not result(again)
    several.close()


def test_a_node_that_was_killed_catches_up_from_the_log(tmp_path: Path) -> None:
    """In its next life, from where it was; without a snapshot."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.kill(2)
    several.settle(2.0)
    several.write(0, *(b"%d" % n for n in range(20)))
    several.coordinator.commit(next_life(several, 2))
    several.start(2, 2)
    several.settle(5.0)
    assert set(several.shard.in_sync) == set(ALLOCS)
    assert len(set(digests(several))) == 1
    assert not [sent for sent in several.network.sent if sent[2] == transfer.KIND]
    several.close()


def next_life(several: Several, number: int):  # type: ignore[no-untyped-def]
    """Return the state in which a node is known in its second life.

    Args:
        several: the nodes.
        number: which of them.
    """
    state = several.coordinator.state
    entry = replace(state.nodes[NODES[number]], boot_epoch=2)
    return replace(state, nodes=state.nodes | {NODES[number]: entry})


def small_logs(patch: pytest.MonkeyPatch) -> None:
    """Let logs keep what their maps need, and no more."""
    patch.setattr(Log.open.__func__, "__defaults__", (2000, 0))  # type: ignore[attr-defined]


def test_a_copy_that_the_log_cannot_serve_gets_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through pieces that are lost now and then; what is written meanwhile is there."""
    small_logs(monkeypatch)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 4096)
    several = Several(tmp_path, copies=2)
    several.write(0, *(b"%d" % n for n in range(30)), value=b"v" * 200)
    several.settle(holding.CHECKPOINT_PERIOD_S + 1)
    several.write(0, *(b"%d" % n for n in range(30)), value=b"w" * 200)
    lost = iter([False, True, False, False, True] * 100)
    several.network.lose = lambda kind, body: kind == transfer.KIND and next(lost)
    shard = several.shard
    more = (*shard.copies, replace(shard.copies[0], alloc_id=ALLOCS[2], node=NODES[2]))
    more = (*more[:-1], replace(more[-1], state=CopyState.INIT))
    several.change(copies=more)
    several.settle(1.0)
    several.write(0, b"meanwhile")
    several.settle(20.0)
    assert set(several.shard.in_sync) == set(ALLOCS)
    assert len(set(digests(several))) == 1
    assert several.nodes[2].log.first(ALLOCS[2]) > 1
    several.write(0, b"after")
    assert several.copy(2).peek(b"meanwhile") is not None
    names = {path.name for path in (tmp_path / "2" / "shards" / "0").iterdir()}
    assert names == {ALLOCS[2]}
    readers = several.nodes[2].readers
    assert [what for what, _ in readers.history] == ["opened", "closed", "opened"]
    several.nodes[2].shards.stop()
    several.settle(1.0)
    assert readers.shown == {}
    several.close()


def test_a_damaged_copy_is_given_up_and_made_anew(tmp_path: Path) -> None:
    """Under another id; nobody reads a wrong byte meanwhile."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.kill(1)
    shutil.rmtree(tmp_path / "1" / "shards")
    several.coordinator.commit(next_life(several, 1))
    several.start(1, 2)
    several.settle(3.0)
    assert CopyLost(SHARD, ALLOCS[1], 2) in several.coordinator.commands
    assert ALLOCS[1] not in [copy.alloc_id for copy in several.shard.copies]
    assert several.nodes[1].shards.failures() == {}
    assert several.nodes[1].log.last(ALLOCS[1]) == 0
    several.close()


def test_the_last_copy_is_never_given_up(tmp_path: Path) -> None:
    """Its shard is red, and the reason says why it stays so."""
    several = Several(tmp_path, copies=1)
    several.write(0, b"k")
    several.kill(0)
    (path,) = (tmp_path / "0" / "shards").glob("*/*/map.db")
    path.write_bytes(path.read_bytes()[:3000])
    several.start(0, 2)
    several.settle(3.0)
    (reason,) = several.nodes[0].shards.failures().values()
    assert "no other copy has all that was acknowledged" in reason
    assert several.shard.copies[0].alloc_id == ALLOCS[0]
    assert path.exists()
    several.close()


def test_a_copy_that_differs_is_found_and_fails(tmp_path: Path) -> None:
    """The primary's digests are compared now and then, at equal records."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.settle(scrubber.COMPARE_PERIOD_S)
    assert several.nodes[2].shards.failures() == {}
    rotten = several.copy(2).holding.view
    several.write(0, b"l")
    several.settle(2 * holding.FLUSH_S)
    seq, digest = rotten.digests[-1]
    rotten.digests[-1] = (seq, digest[:-1] + bytes([digest[-1] ^ 1]))
    several.settle(scrubber.COMPARE_PERIOD_S)
    assert CopyLost(SHARD, ALLOCS[2], 1) in several.coordinator.commands
    several.write(0, b"m")
    several.close()


def test_a_stop_has_another_lead_first(tmp_path: Path) -> None:
    """What is in flight is done, and the node serves until another does."""
    several = Several(tmp_path)
    write = several.nodes[0].begin(Put(b"k", b"v"))
    leaving = Deferred.fromCoroutine(several.nodes[0].shards.leave())
    several.settle(0.2)
    assert several.coordinator.state.nodes[NODES[0]].leaving
    several.change(successor=ALLOCS[1])
    several.settle(1.0)
    result(write)
    assert several.shard.primary is not None
    assert several.shard.primary.alloc_id == ALLOCS[1]
    assert leaving.called
    several.write(1, b"l")
    assert several.get(1, b"k") == b"v"
    several.close()


def test_a_stop_does_not_wait_for_a_copy_that_failed(tmp_path: Path) -> None:
    """It cannot hand over: the sooner its node is gone, the sooner another leads."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.copy(0).failed("its log is lost")
    leaving = Deferred.fromCoroutine(several.nodes[0].shards.leave())
    several.settle(0.2)
    assert several.shard.primary is not None
    assert several.shard.primary.alloc_id == ALLOCS[0]
    assert leaving.called
    several.close()


def test_nothing_waits_for_a_copy_that_goes(tmp_path: Path) -> None:
    """It led, handed over, and left the in-sync set before its node stops."""
    several = Several(tmp_path)
    leaving = Deferred.fromCoroutine(several.nodes[0].shards.leave())
    several.settle(0.2)
    several.change(successor=ALLOCS[1])
    several.settle(2.0)
    assert leaving.called
    assert set(several.shard.in_sync) == set(ALLOCS[1:])
    several.network.cut.add(NODES[0])
    done = several.nodes[1].begin(Put(b"l", b"v"))
    several.settle(0.2)
    result(done)
    several.close()


def test_what_the_cluster_gave_up_while_a_node_was_away_is_removed(
    tmp_path: Path,
) -> None:
    """From the disk and from the log, once a state was committed in its new life."""
    several = Several(tmp_path)
    several.write(0, b"k")
    several.kill(2)
    several.settle(2.0)
    kept = [copy for copy in several.shard.copies if copy.alloc_id != ALLOCS[2]]
    several.change(copies=tuple(kept), in_sync=tuple(ALLOCS[:2]))
    several.start(2, 2)
    several.settle(0.5)
    assert (tmp_path / "2" / "shards" / "0" / ALLOCS[2]).exists()
    several.change()
    several.settle(0.5)
    assert not (tmp_path / "2" / "shards" / "0" / ALLOCS[2]).exists()
    assert several.nodes[2].log.allocs == []
    several.close()


def test_a_history_that_was_decided_is_taken_up(tmp_path: Path) -> None:
    """The copy that the new history begins with goes on; the others are lost."""
    several = Several(tmp_path)
    several.write(0, b"k")
    forced = Shard(
        SHARD,
        several.shard.shard_version + 1,
        several.shard.primary_term + 1,
        replace(several.shard.primary, alloc_id=ALLOCS[1], node=NODES[1]),  # type: ignore[type-var]
        (ALLOCS[1],),
        several.shard.copies,
        "another",
        3,
        1,
    )
    state = several.coordinator.state
    several.coordinator.commit(replace(state, shards={SHARD: forced}))
    several.settle(2.0)
    several.write(1, b"l")
    assert several.get(1, b"k") == b"v"
    assert several.copy(1).holding.facts.history == "another"
    lost = [each for each in several.coordinator.commands if isinstance(each, CopyLost)]
    assert {each.alloc_id for each in lost} == {ALLOCS[0], ALLOCS[2]}
    several.close()


def test_a_throttle_lets_so_much_pass(tmp_path: Path) -> None:
    """Over all who ask, and after a pause no more than before."""
    several = Several(tmp_path, copies=1)
    throttle = transfer.Throttle(several.clock, 1000)
    passed: list[float] = []
    for _ in range(4):
        done = Deferred.fromCoroutine(throttle.take(500))
        done.addCallback(lambda _: passed.append(several.clock.seconds()))
    begun = several.clock.seconds()
    for _ in range(40):
        several.clock.advance(0.05)
    assert [round(at - begun, 1) for at in passed] == [0.0, 0.5, 1.0, 1.5]
    several.close()


def test_as_many_go_at_a_time_as_are_allowed() -> None:
    """More at once, or fewer; in the order in which they came."""
    turns = transfer.Turns(2)
    waiting = [Deferred.fromCoroutine(turns.take()) for _ in range(6)]

    def gone() -> int:
        """Count those whose turn it was."""
        return sum(each.called for each in waiting)

    assert gone() == 2
    turns.bound(3)
    assert gone() == 3
    turns.bound(1)
    turns.give_back()
    turns.give_back()
    assert (gone(), turns.under_way) == (3, 1)
    waiting[3].addErrback(lambda failure: failure.trap(CancelledError))
    waiting[3].cancel()
    turns.give_back()
    assert gone() == 5
    assert (waiting[4].called, waiting[5].called) == (True, False)


def test_an_open_copy_is_found_by_its_readers(tmp_path: Path) -> None:
    """Who waits for a record is told once it is applied here."""
    several = Several(tmp_path)
    copy: OpenCopy = several.copy(2)
    reached = copy.applied.until(copy.position + 1)
    assert not reached.called
    several.write(0, b"k")
    assert reached.called
    several.close()

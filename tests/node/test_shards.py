"""Copies follow the committed state, and keep what they acknowledged."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from tests.node.lone_node import ALLOC, ME, SHARD, LoneNode, result, state_of
from torua.core.allocation import MarkStarted
from torua.core.ids import Address, AllocId, ShardId
from torua.core.kv import Condition, Delete, IdempotencyKey, Outcome, Put
from torua.core.state import ClusterState, Copy, CopyState, NodeEntry
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    ToruaError,
    UnavailableError,
)
from torua.node.copies import REOPEN_AFTER_S
from torua.node.holding import FLUSH_S
from torua.node.rounds import TOGETHER_MAX, Asked, Outcomes, Write
from torua.storage.shelf import Shelf

STARTED = CopyState.STARTED


def seen_started(node: LoneNode) -> bool:
    """Tell whether the state shows the copy as started."""
    return node.coordinator.state.shards[SHARD].copies[0].state is STARTED


def test_a_new_copy_is_made_led_and_reported(tmp_path: Path) -> None:
    """Once its no-op is durable; then it serves."""
    node = LoneNode(tmp_path, state_of())
    with pytest.raises(UnavailableError, match="not yet led"):
        node.get(b"k")
    node.settle()
    assert node.shards.serving(SHARD)
    assert node.coordinator.commands == [MarkStarted(SHARD, ALLOC, 1, 1)]
    assert seen_started(node)
    assert node.write(Put(b"k", b"v"))[0].version == 2
    assert node.get(b"k") == b"v"
    node.pass_time(2 * FLUSH_S)
    (position,) = node.shards.positions()
    assert (position.role, position.state) == ("primary", "started")
    assert (position.position, position.keys, position.bytes) == (2, 1, 2)
    assert node.shards.failures() == {}
    assert node.registry.get_sample_value("torua_shards_failed") == 0
    assert node.registry.get_sample_value("torua_shards_copies") == 1
    node.close()


def test_a_write_is_acknowledged_after_its_sync(tmp_path: Path) -> None:
    """And batches are shared: what comes while the disk is busy goes together."""
    node = LoneNode(tmp_path, state_of()).settle()
    writes = [node.begin(Put(b"%d" % n, b"")) for n in range(2)]
    node.clock.advance(0)
    writes += [node.begin(Put(b"%d" % n, b"")) for n in range(2, 5)]
    node.clock.advance(0)
    assert not any(each.called for each in writes)
    before = len(node.syncs)
    node.log_worker.step()
    assert [each.called for each in writes] == [True, True, False, False, False]
    node.clock.advance(0)
    node.log_worker.step()
    assert all(each.called for each in writes)
    assert len(node.syncs) == before + 2
    size = node.registry.get_sample_value("torua_log_bytes")
    assert size is not None and size > 0
    assert (
        node.registry.get_sample_value("torua_shards_applied_seq", {"shard": "0"})
        == len(writes) + 1
    )
    node.close()


def written(node: LoneNode, asked: Sequence[Asked]) -> list[Outcome | ToruaError]:
    """Have a node do writes that came together; return what each was told, once.

    Args:
        node: which.
        asked: what to do.
    """
    told: dict[int, Outcome | ToruaError] = {}

    def tell(places: Sequence[int], found: Outcomes | ToruaError) -> None:
        """Note what became of some.

        Args:
            places: which.
            found: an outcome each, or why there are none.
        """
        assert told.keys().isdisjoint(places)
        each = [found] * len(places) if isinstance(found, ToruaError) else found
        told.update(zip(places, each, strict=True))

    node.shards.write_many(asked, 5.0, tell)
    node.clock.advance(0)
    node.settle()
    return [told[place] for place in range(len(asked))]


def test_writes_of_many_callers_share_a_record(tmp_path: Path) -> None:
    """Each is judged and told by itself; who made a promise has a record of his own."""
    node = LoneNode(tmp_path, state_of()).settle()
    before = node.shards.positions()[0].position
    absent = (Condition(None, match=False),)
    writes: list[Write] = [
        Put(b"a", b"1"),
        Put(b"a", b"2", conditions=absent),
        Delete(b"x"),
    ]
    asked: list[Asked] = [(SHARD, Put(b"p", b""), IdempotencyKey("i", b"f"))]
    asked += [(SHARD, Put(b"%d" % n, b"v"), None) for n in range(9)]
    asked += [(SHARD, write, None) for write in writes]
    found = written(node, asked)
    told = [each for each in found if isinstance(each, Outcome)]
    assert len(told) == len(asked)
    assert [told[n].version for n in range(11)] == [before + 1] + [before + 2] * 10
    assert (told[11].error, told[11].version) == ("precondition-failed", before + 2)
    assert told[12] == Outcome()
    assert node.get(b"a") == b"1"
    assert node.shards.positions()[0].position == before + 2
    node.close()


def test_a_hot_key_is_written_in_order_by_who_comes_together(tmp_path: Path) -> None:
    """One record each, for a key has one version in a record."""
    node = LoneNode(tmp_path, state_of()).settle()
    before = node.shards.positions()[0].position
    hot = [(SHARD, Put(b"hot", b"%d" % n), None) for n in range(TOGETHER_MAX)]
    told = written(node, hot)
    assert told == [Outcome(before + 1 + n) for n in range(TOGETHER_MAX)]
    assert node.get(b"hot") == b"%d" % (TOGETHER_MAX - 1)
    node.close()


def test_writes_that_are_not_begun_are_all_told_why(tmp_path: Path) -> None:
    """By shard: others are."""
    node = LoneNode(tmp_path, state_of()).settle()
    asked: list[Asked] = [(ShardId(n % 2), Put(b"%d" % n, b""), None) for n in range(4)]
    told = written(node, asked)
    assert [isinstance(each, UnavailableError) for each in told] == [False, True] * 2
    node.close()


def test_a_shard_of_a_flooded_disk_takes_no_writes(tmp_path: Path) -> None:
    """It is read; and written to again once there is room."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    state = node.coordinator.state
    entry = NodeEntry(ME, "n1", 1, Address("127.0.0.1", 1), "", disk_full=True)
    node.coordinator.commit(replace(state, nodes=state.nodes | {ME: entry}))
    with pytest.raises(DiskFullError, match="the disk of n1 is above the flood"):
        node.write(Put(b"k", b"w"))
    assert node.shards.readable(SHARD) is not None
    room = replace(entry, disk_full=False)
    node.coordinator.commit(replace(state, nodes=state.nodes | {ME: room}))
    node.write(Put(b"k", b"w"))
    node.close()


def test_a_started_copy_is_reported_until_the_state_shows_it(tmp_path: Path) -> None:
    """The coordinator may be away; until then no write counts as kept by enough."""
    node = LoneNode(tmp_path, state_of())
    node.coordinator.reachable = False
    node.settle()
    with pytest.raises(UnavailableError, match="too few copies"):
        node.write(Put(b"k", b"v"))
    node.pass_time(3.0)
    asked = len(node.coordinator.commands)
    assert 3 <= asked <= 8
    node.coordinator.reachable = True
    node.pass_time(5.0)
    assert len(node.coordinator.commands) == asked + 1
    assert seen_started(node)
    node.close()


def test_another_life_leads_when_the_state_names_it(tmp_path: Path) -> None:
    """Until then it is open and refuses; every acknowledged key is there."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    node.pass_time(2 * FLUSH_S)
    state = node.coordinator.state
    node.close()
    again = LoneNode(tmp_path, state, boot_epoch=2).settle()
    with pytest.raises(UnavailableError):
        again.get(b"k")
    assert again.shards.positions()[0].position == 2
    again.coordinator.commit(state_of(STARTED, term=2, boot_epoch=2))
    again.settle()
    assert again.get(b"k") == b"v"
    assert again.write(Put(b"k", b"w"))[0].version == 4
    again.close()


def test_a_new_term_is_taken_up_from_what_the_last_one_left(tmp_path: Path) -> None:
    """What was in flight is of unknown outcome, and here it was done."""
    node = LoneNode(tmp_path, state_of()).settle()
    write = node.begin(Put(b"k", b"v"))
    node.coordinator.commit(state_of(STARTED, term=2))
    node.settle()
    with pytest.raises(OutcomeUnknownError, match="another primary"):
        result(write)
    assert node.get(b"k") == b"v"
    assert node.log.last(ALLOC) == 3
    node.close()


def test_a_primary_that_the_state_no_longer_names_stops_serving(
    tmp_path: Path,
) -> None:
    """It keeps its copy open, and its data."""
    node = LoneNode(tmp_path, state_of()).settle()
    state = node.coordinator.state
    red = replace(state.shards[SHARD], primary=None, shard_version=99)
    node.coordinator.commit(replace(state, shards={SHARD: red}))
    node.settle()
    with pytest.raises(UnavailableError):
        node.write(Put(b"k", b"v"))
    assert node.shards.positions()[0].role == "replica"
    node.close()


def test_a_copy_that_nobody_knows_any_more_is_erased(tmp_path: Path) -> None:
    """Only where this life saw it assigned; an empty state erases nothing."""
    node = LoneNode(tmp_path, state_of()).settle()
    place = tmp_path / "shards" / "0" / ALLOC
    state = node.coordinator.state
    node.coordinator.commit(ClusterState())
    node.settle()
    assert place.exists()
    other = AllocId("b" * 32)
    shard = replace(
        state.shards[SHARD],
        copies=(Copy(other, ME, CopyState.INIT),),
        primary=None,
        in_sync=(),
    )
    node.coordinator.commit(replace(state, shards={SHARD: shard}))
    node.settle()
    assert not place.exists()
    assert node.log.last(ALLOC) == 0
    assert (tmp_path / "shards" / "0" / other).exists()
    node.close()


def test_a_started_copy_that_is_missing_is_never_made_anew(tmp_path: Path) -> None:
    """Its shard is red with the reason; the node goes on."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    node.close()
    shutil.rmtree(tmp_path / "shards")
    again = LoneNode(tmp_path, state_of(STARTED)).settle()
    assert "missing" in again.shards.failures()[SHARD]
    assert again.registry.get_sample_value("torua_shards_failed") == 1
    assert again.registry.get_sample_value("torua_shards_copies") == 0
    with pytest.raises(UnavailableError, match="missing"):
        again.get(b"k")
    assert again.shards.positions()[0].state == "failed"
    assert not (tmp_path / "shards").exists()
    again.close()


def test_a_copy_whose_log_is_missing_is_not_served(tmp_path: Path) -> None:
    """The map may lack what was acknowledged last."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    node.close()
    shutil.rmtree(tmp_path / "log")
    again = LoneNode(tmp_path, state_of(STARTED)).settle()
    assert "log" in again.shards.failures()[SHARD]
    again.close()


def test_a_map_ahead_of_its_log_is_not_served(tmp_path: Path) -> None:
    """Records that were acknowledged are gone from the log."""
    node = LoneNode(tmp_path, state_of()).settle()
    shutil.copytree(tmp_path / "log", tmp_path / "old")
    node.write(Put(b"k", b"v"))
    node.pass_time(2 * FLUSH_S)
    node.close()
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "old").rename(tmp_path / "log")
    again = LoneNode(tmp_path, state_of(STARTED)).settle()
    assert "lost records" in again.shards.failures()[SHARD]
    assert again.shards.stop().called
    again.close()


def test_every_acknowledged_write_is_in_any_copy_of_the_directory(
    tmp_path: Path,
) -> None:
    """Taken between any two steps, as a crash leaves it; retries run once."""
    node = LoneNode(tmp_path / "live", state_of()).settle()
    acknowledged: dict[bytes, bytes] = {}
    images: list[tuple[Path, dict[bytes, bytes]]] = []

    def snap() -> None:
        """Copy the directory, and note what must be in it."""
        image = tmp_path / f"image{len(images)}"
        shutil.copytree(tmp_path / "live", image)
        images.append((image, dict(acknowledged)))

    for n in range(8):
        key, value = b"k%d" % (n % 3), b"%d" % n
        done = node.begin(Put(key, value), Put(b"n%d" % n, value), key=f"i{n}")
        snap()
        while node.log_worker.step() or node.worker.step():
            node.clock.advance(0)
            if done.called:
                acknowledged |= {key: value, b"n%d" % n: value}
            snap()
        node.pass_time(6.0 if n == 4 else 0.0)
        snap()
    node.close()
    for life, (image, expected) in enumerate(images, 2):
        again = LoneNode(image, state_of(STARTED, life, life), life).settle()
        assert again.shards.failures() == {}
        for key, value in expected.items():
            found = again.get(key)
            assert found is not None and int(found) >= int(value)
        again.write(Put(b"k0", b"0"), Put(b"n0", b"0"), key="i0")
        if b"n3" in expected:
            assert again.get(b"k0") != b"0"
        again.close()


def test_a_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """Then it closes all copies durably, and takes nothing more."""
    node = LoneNode(tmp_path, state_of()).settle()
    write = node.begin(Put(b"k", b"v"))
    stopped = node.shards.stop()
    with pytest.raises(UnavailableError, match="stopping"):
        result(node.begin(Put(b"l", b"")))
    assert not stopped.called
    node.pass_time(0.5)
    assert result(write)[0].version == 2
    assert stopped.called
    node.close()
    again = LoneNode(tmp_path, state_of(STARTED, 2, 2), 2).settle()
    assert again.get(b"k") == b"v"
    again.close()


def test_a_stop_waits_for_a_bounded_time(tmp_path: Path) -> None:
    """A disk that hangs does not hold the process for ever."""
    node = LoneNode(tmp_path, state_of()).settle()
    write = node.begin(Put(b"k", b"v"))
    stopped = node.shards.stop()
    for _ in range(101):
        node.clock.advance(0.1)
    while node.worker.step():
        pass
    assert stopped.called
    with pytest.raises(Exception, match="closed"):
        result(write)
    node.close()


def test_listing_goes_on_where_a_page_ends(tmp_path: Path) -> None:
    """In byte order; the last page says that it is the last."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(*(Put(b"a%d" % n, b"v") for n in range(5)), Put(b"b", b""))
    node.write(Delete(b"a1"))

    def page(after: bytes, limit: int) -> tuple[list[bytes], bytes | None]:
        """List keys that begin with a.

        Args:
            after: the key to go on after.
            limit: at most so many.
        """
        node_page = node.shards.scan(SHARD, b"a", after, limit, True)
        found = result(Deferred.fromCoroutine(node_page))
        return [each.key for each in found.items], found.next

    assert page(b"", 2) == ([b"a0", b"a2"], b"a2")
    assert page(b"a2", 2) == ([b"a3", b"a4"], None)
    assert page(b"a4", 2) == ([], None)
    node.close()


def test_expired_keys_go_by_the_log(tmp_path: Path) -> None:
    """They are read until the delete is committed, and are gone within a second."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v", ttl_s=2.0))
    node.clock.advance(1.9)
    assert node.get(b"k") == b"v"
    node.pass_time(1.0)
    assert node.get(b"k") is None
    assert node.log.last(ALLOC) == 3
    node.close()


def test_conditions_meet_what_is_in_flight(tmp_path: Path) -> None:
    """Of two that create a key one wins."""
    node = LoneNode(tmp_path, state_of()).settle()
    absent = (Condition(None, match=False),)
    both = [node.begin(Put(b"k", v, conditions=absent)) for v in (b"1", b"2")]
    node.settle()
    errors = [result(each)[0].error for each in both]
    assert errors == [None, "precondition-failed"]
    node.close()


def test_a_copy_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that may help; the reason stands until then, and is logged once."""
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            """Have no room."""
            raise DiskFullError("no room")

        patch.setattr(Shelf, "open", refuse)
        node = LoneNode(tmp_path, state_of()).settle()
        node.pass_time(REOPEN_AFTER_S * 2.5)
        assert node.shards.failures() == {SHARD: "shard 0: no room"}
    node.pass_time(REOPEN_AFTER_S)
    assert node.shards.failures() == {}
    assert node.shards.serving(SHARD)
    node.close()


def test_data_that_cannot_be_erased_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a line in the log; the copy is gone from what this node holds."""
    node = LoneNode(tmp_path, state_of()).settle()

    def refuse(*_: object) -> None:
        """Fail."""
        raise DiskFullError("read-only")

    monkeypatch.setattr(Shelf, "erase", refuse)
    shard = replace(node.coordinator.state.shards[SHARD], copies=(), primary=None)
    node.coordinator.commit(replace(node.coordinator.state, shards={SHARD: shard}))
    node.settle()
    assert node.shards.positions() == ()
    assert node.shards.failures() == {}
    node.close()


def test_a_copy_is_not_read_before_it_has_what_a_split_moved(tmp_path: Path) -> None:
    """Which is what the state says of the shard; then it is."""
    node = LoneNode(tmp_path, state_of()).settle()
    node.write(Put(b"k", b"v"))
    state = node.coordinator.state
    position = node.shards.positions()[0].position
    for begins, readable in ((position + 1, False), (position, True)):
        version = node.coordinator.state.shards[SHARD].shard_version + 1
        shard = replace(state.shards[SHARD], begins=begins, shard_version=version)
        node.coordinator.commit(replace(state, shards={SHARD: shard}))
        assert (node.shards.readable(SHARD) is not None) == readable
    node.close()

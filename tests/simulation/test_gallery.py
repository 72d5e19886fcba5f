"""The bug gallery of whole clusters: each switch breaks one rule, and is found.

A switch overrides a little of the product, or of what its shell must do.  `SWITCHES`
says in which scenario it is looked for, and within how many seeds it must be found.
Those of coordination and membership are in galleries of their own.
"""

from collections.abc import Callable

import pytest

from tests.simulation import gallery_allocation as allocation
from tests.simulation import gallery_replication as replication
from tests.simulation import gallery_splitting as splitting
from tests.simulation import gallery_storage as storage
from tests.simulation.scenarios import played

Switch = Callable[[pytest.MonkeyPatch], None]

SWITCHES: tuple[tuple[str, Switch, str, int], ...] = (
    ("skip the term fsync", storage.skip_the_term_fsync, "isolated-primary", 5),
    ("ack before the fsync", storage.ack_before_fsync, "calm", 5),
    (
        "ack at a majority of the tracked",
        replication.ack_at_a_majority,
        "silent-drop",
        5,
    ),
    (
        "ack before FailCopy is committed",
        replication.ack_before_fail_copy,
        "isolated-primary",
        20,
    ),
    ("no CAS on shard_version", allocation.no_cas, "control", 100),
    ("too few copies", replication.too_few_copies, "chaos", 20),
    ("groups in parts", replication.groups_in_parts, "groups", 5),
    ("no boot epoch", replication.no_boot_epoch, "chaos", 10),
    ("count acks of an older term", replication.acks_of_an_older_term, "late-acks", 60),
    ("truncate below gcp", replication.truncate_below_gcp, "isolated-primary", 10),
    ("apply above gcp on replicas", replication.apply_above_gcp, "silent-drop", 10),
    ("send all of the log", replication.send_all_of_the_log, "chaos", 20),
    ("early CAS refusal", replication.early_refusal, "failed-cas", 20),
    ("no barrier", replication.no_barrier, "deposed-leader", 20),
    ("nonce reuse", replication.nonce_reuse, "nonce-reuse", 60),
    ("applied_seq saved apart", storage.applied_seq_apart, "power-loss", 5),
    ("snapshot without answers", storage.snapshot_without_answers, "joins-moves", 10),
    ("empty disk keeps its id", storage.empty_disk_keeps_its_id, "empty-disk", 20),
    ("lost copy keeps its id", storage.lost_copy_keeps_its_id, "bit-flips", 10),
    ("truncate on mid-log corruption", storage.truncate_on_corruption, "bit-flips", 10),
    ("remove before add", allocation.remove_before_add, "joins-moves", 10),
    ("evacuate by removing first", allocation.evacuate_by_removing, "duties", 10),
    ("two copies on one node", allocation.two_copies_on_one_node, "numbers", 5),
    ("drop copies at once", allocation.drop_at_once, "numbers", 30),
    ("a deaf coordinator publishes", allocation.deaf_coordinator, "deaf-primary", 5),
    ("promote out of sync", allocation.promote_out_of_sync, "stale-copy", 20),
    ("swallow fsync EIO", storage.swallow_eio, "disks", 10),
    ("a parent goes on", splitting.parent_goes_on, "splits-turn", 20),
    ("a child has not all", splitting.done_without_all, "splits-calm", 10),
    ("versions fall", splitting.versions_fall, "splits-calm", 10),
    ("stale routing is served", splitting.stale_routing_is_served, "splits-turn", 70),
    ("answers left out of a split", splitting.answers_left_out, "splits-calm", 10),
    ("an end is the checkpoint", splitting.end_is_the_checkpoint, "splits-late", 30),
    ("an end told too early", splitting.end_told_too_early, "splits-deaf", 160),
    ("a child shows early", splitting.child_shows_early, "splits-behind", 10),
    ("expiry by local clock", storage.expiry_by_local_clock, "calm", 40),
)


def found_within(scenario: str, seeds: int) -> tuple[int, str] | None:
    """Play seeds until a rule is broken; return which seed, and how.

    Args:
        scenario: which.
        seeds: how many at most.
    """
    for seed in range(seeds):
        try:
            played(scenario, seed)
        except AssertionError as broken:
            return seed, str(broken)
    return None


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("switch", "scenario", "seeds"),
    [each[1:] for each in SWITCHES],
    ids=[each[0] for each in SWITCHES],
)
def test_a_switch_is_found(
    switch: Switch, scenario: str, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever breaks the rule is caught within so many seeds."""
    switch(monkeypatch)
    assert found_within(scenario, seeds) is not None

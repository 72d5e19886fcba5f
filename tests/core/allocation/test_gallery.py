"""The bug gallery of allocation: each switch breaks a rule, and is found by play."""

import pytest
from msgspec.structs import replace

from tests.core.allocation.play import Execute, Play, Reconcile
from torua.core.allocation import (
    Command,
    CopyLost,
    FailCopy,
    HandOver,
    MarkInSync,
    deciders,
    execute,
    failover,
    reconcile,
)
from torua.core.allocation.deciders import FITTING
from torua.core.allocation.editing import changed, find, life, with_shards
from torua.core.allocation.site import Site
from torua.core.state import ClusterState, Copy, CopyState, Shard

SEEDS = 60
STEPS = 300
ZONES = ("z1", "z2", "z3")


def remove_before_add(*known: object, **more: object) -> ClusterState:
    """Remove a copy as soon as it is on its way off.

    Nobody waits until another is in sync.
    """
    state = reconcile(*known, **more)  # type: ignore[arg-type]
    after = []
    for shard in state.shards.values():
        kept = tuple(c for c in shard.copies if c.state is not CopyState.RELOCATING)
        leads = shard.primary and not any(
            c.alloc_id == shard.primary.alloc_id for c in kept
        )
        if len(kept) < len(shard.copies) and not leads:
            in_sync = tuple(c.alloc_id for c in kept if c.alloc_id in shard.in_sync)
            after.append(changed(shard, copies=kept, in_sync=in_sync))
    return with_shards(state, after)


def no_version(state: ClusterState, command: Command) -> ClusterState:
    """Execute whatever the sender had seen.

    Args:
        state: the committed state.
        command: one that may be stale.
    """
    if isinstance(command, MarkInSync | FailCopy | HandOver):
        shard = state.shards[command.shard]
        command = replace(command, expect=shard.shard_version)
    return execute(state, command)


def no_epoch(state: ClusterState, command: Command) -> ClusterState:
    """Execute whatever life the sender speaks of.

    Args:
        state: the committed state.
        command: one that may be of an earlier life.
    """
    if isinstance(command, MarkInSync | CopyLost):
        copy = find(state.shards[command.shard], command.alloc_id)
        if copy is not None:
            command = replace(command, boot_epoch=life(state, copy.node))
    return execute(state, command)


def no_term(state: ClusterState, command: Command) -> ClusterState:
    """Hand over without a new term.

    Args:
        state: the committed state.
        command: any.
    """
    after = execute(state, command)
    if not isinstance(command, HandOver) or after is state:
        return after
    shard = after.shards[command.shard]
    kept = replace(shard, primary_term=state.shards[command.shard].primary_term)
    return with_shards(after, [kept])


def drop(decider: str, patch: pytest.MonkeyPatch) -> None:
    """Let one decider object to nothing.

    Args:
        decider: which.
        patch: undoes it afterwards.
    """
    kept = {name: each for name, each in FITTING.items() if name != decider}
    patch.setattr(deciders, "FITTING", kept)


def found(
    do: Execute = execute, settle: Reconcile = reconcile, zones: tuple[str, ...] = ()
) -> str:
    """Play until a rule is broken, and return what was; nothing where none was.

    Args:
        do: executes commands.
        settle: reconciles.
        zones: that are forced; the nodes are in them in turn.
    """
    for seed in range(SEEDS):
        try:
            nodes, shards, rf = 2 + seed % 4, 1 + seed % 7, 2 + seed % 2
            play = Play(seed, nodes, shards, rf, do=do, settle=settle, zones=zones)
            for _ in range(STEPS):
                play.step()
        except AssertionError as error:
            return str(error)
    return ""


@pytest.mark.parametrize(
    ("bug", "rule"), [(no_version, "R3"), (no_epoch, "R21"), (no_term, "R2")]
)
def test_a_command_executed_wrongly_is_found(bug: Execute, rule: str) -> None:
    """Each within a few dozen seeds."""
    assert rule in found(do=bug)


def test_a_copy_removed_before_another_is_in_sync_is_found() -> None:
    """The switch: remove before add."""
    assert "R16" in found(settle=remove_before_add)


def test_a_copy_promoted_out_of_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch: any copy that is up may lead."""

    def anybody(shard: Shard, site: Site) -> list[Copy]:
        """Return whoever is up.

        Args:
            shard: whose copies.
            site: who is up.
        """
        return [copy for copy in shard.copies if site.is_up(copy.node)]

    monkeypatch.setattr(failover, "candidates", anybody)
    assert "R7" in found()


def test_two_copies_on_one_node_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch: a node that has a copy is a place for another."""
    drop("same_node", monkeypatch)
    assert "two copies on one node" in found()


def test_a_crowded_forced_zone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch: a zone that has its share gets more, though zones are forced."""
    drop("zone", monkeypatch)
    assert "crowded" in found(zones=ZONES[:2])


@pytest.mark.parametrize("zones", [(), ZONES[:2], ZONES])
def test_the_product_is_not_accused(zones: tuple[str, ...]) -> None:
    """The same seeds, without a switch."""
    assert found(zones=zones) == ""

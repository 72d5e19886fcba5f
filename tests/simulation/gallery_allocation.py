"""Switches that break how the coordinator changes a shard."""

from collections.abc import Collection, Iterable
from random import Random

import pytest
from msgspec.structs import replace

from torua.core.allocation import (
    Delays,
    Outlook,
    commands,
    deciders,
    failover,
    rebuilding,
    reconcile,
    reconciling,
)
from torua.core.allocation.deciders import FITTING
from torua.core.allocation.draining import leaver
from torua.core.allocation.editing import changed, with_shards, without
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.coordination import leading
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import ClusterState, Copy, Shard

Patch = pytest.MonkeyPatch


def no_cas(patch: Patch) -> None:
    """Execute commands whatever ``shard_version`` they expect.

    Args:
        patch: undoes it afterwards.
    """

    def is_meant(shard: Shard, command: object) -> bool:
        """Look at nothing.

        Args:
            shard: to be changed.
            command: how.
        """
        return shard.primary is not None

    patch.setattr(commands, "_is_meant", is_meant)


def remove_before_add(patch: Patch) -> None:
    """Make room for a move by removing a copy first.

    Args:
        patch: undoes it afterwards.
    """

    def careless(  # noqa: PLR0913
        state: ClusterState,
        members: Iterable[Member],
        random: Random,
        *,
        lost: Collection[NodeId] = (),
        delays: Delays | None = None,
        outlook: Outlook | None = None,
        now: float = 0.0,
    ) -> ClusterState:
        """Remove a copy where some node has none.

        Args:
            state: passed on.
            members: passed on.
            random: passed on.
            lost: passed on.
            delays: passed on.
            outlook: passed on.
            now: passed on.
        """
        shards = dict(state.shards)
        held = {copy.node for shard in shards.values() for copy in shard.copies}
        for number, shard in state.shards.items():
            first = shard.primary.alloc_id if shard.primary else None
            others = [each for each in shard.in_sync if each != first]
            if set(state.nodes) - held and others and len(others) < shard.rf:
                shards[number] = replace(
                    shard,
                    shard_version=shard.shard_version + 1,
                    in_sync=tuple(a for a in shard.in_sync if a != others[0]),
                    copies=tuple(c for c in shard.copies if c.alloc_id != others[0]),
                )
        state = replace(state, shards=shards) if shards != state.shards else state
        return reconcile(
            state,
            members,
            random,
            lost=lost,
            delays=delays,
            outlook=outlook,
            now=now,
        )

    patch.setattr(leading, "reconcile", careless)


def evacuate_by_removing(patch: Patch) -> None:
    """Empty a node by removing its copies, and leave it to others to add some.

    Args:
        patch: undoes it afterwards.
    """

    def hasty(
        state: ClusterState, site: Site, traffic: Traffic, random: Random
    ) -> ClusterState:
        """Remove what should move.

        Args:
            state: the state.
            site: who is to have nothing.
            traffic: ignored.
            random: ignored.
        """
        after = []
        for shard in state.shards.values():
            copy = leaver(shard, site)
            if copy is not None and len(shard.copies) > 1:
                kept = tuple(each for each in shard.copies if each is not copy)
                in_sync = without(shard.in_sync, copy.alloc_id)
                after.append(changed(shard, copies=kept, in_sync=in_sync))
        return with_shards(state, after)

    patch.setattr(reconciling, "drain", hasty)


def drop_at_once(patch: Patch) -> None:
    """Where fewer copies are wanted, drop the first in sync, whatever the others are.

    Args:
        patch: undoes it afterwards.
    """
    careful = rebuilding._surplus

    def hasty(
        shard: Shard, site: Site, traffic: Traffic, staying: list[Copy]
    ) -> list[Copy]:
        """Count copies, not those in sync.

        Args:
            shard: whose.
            site: passed on.
            traffic: passed on.
            staying: those to count on.
        """
        lead = shard.primary.alloc_id if shard.primary else None
        others = [
            copy
            for copy in staying
            if copy.alloc_id in shard.in_sync and copy.alloc_id != lead
        ]
        spare = others[: len(staying) - shard.rf]
        more = careful(shard, site, traffic, staying)
        return spare + [copy for copy in more if copy not in spare]

    patch.setattr(rebuilding, "_surplus", hasty)


def two_copies_on_one_node(patch: Patch) -> None:
    """Take a node that has a copy of a shard for a place for another.

    Args:
        patch: undoes it afterwards.
    """
    kept = {name: each for name, each in FITTING.items() if name != "same_node"}
    patch.setattr(deciders, "FITTING", kept)


def promote_out_of_sync(patch: Patch) -> None:
    """Let any copy lead whose node lives.

    Args:
        patch: undoes it afterwards.
    """

    def candidates(shard: Shard, site: Site) -> list[Copy]:
        """Ask for nothing more.

        Args:
            shard: without a primary.
            site: who lives.
        """
        return [copy for copy in shard.copies[::-1] if site.is_up(copy.node)]

    patch.setattr(failover, "candidates", candidates)


def deaf_coordinator(patch: Patch) -> None:
    """Let a coordinator that nobody answers publish what it takes for true.

    Args:
        patch: undoes it afterwards.
    """
    patch.setattr(leading.Leading, "_is_attended", lambda _self, _now: True)

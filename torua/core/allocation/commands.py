"""What nodes and operators may ask the coordinator to change.

Each command says what its sender believed, and does nothing where that is no longer so:
a delayed or a doubled one is harmless (R21).  ``expect`` is the ``shard_version`` that
the sender had applied, ``term`` the primary term; a term belongs to one life of one
copy, so whoever names it names a life.  Who learns what became of a command learns it
from the committed state, not from its answer.

| command | sent by | when |
|---|---|---|
| `MarkStarted` | the primary's node | its first copy is open, nothing was in sync yet |
| `MarkInSync` | the primary | it tracks the copy, which has all up to the gcp |
| `FailCopy` | the primary | a copy that it tracks does not get on |
| `HandOver` | the primary | it has drained, and answers nothing in its term |
| `CopyLost` | the copy's own node | its data are gone or damaged |
| `Leave` | a node | on SIGTERM, before it stops |
| `ForceAllocate` | an operator | a shard is red for good |
| `SetDuty`, `MoveCopy`, `GiveLead`, `Forget` | an operator | see `operating` |
| `Configure` | an operator | a key of the configuration is to change |
| `DefineGraph`, `DropGraph` | a node | a client changes a schema |
| those of `torua.core.splitting.commands` | | a shard is split |
"""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from torua.core.allocation.configuring import Configure, configure
from torua.core.allocation.editing import (
    changed,
    find,
    life,
    marked,
    promoted,
    with_shards,
    without,
)
from torua.core.allocation.operating import OfOperators, operate
from torua.core.graph.commands import DefineGraph, DropGraph, change_graphs
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.splitting.commands import OfSplits, change_split
from torua.core.state import ClusterState, Copy, CopyState, Shard


class MarkStarted(Struct, frozen=True, tag="mark_started"):
    """The first copy of a shard is open; it and its life are as the state said.

    Attributes:
        shard: whose copy.
        alloc_id: which copy; the primary's own.
        boot_epoch: the life of its node that opened it.
        term: the primary term that its node read in the state.
    """

    shard: ShardId
    alloc_id: AllocId
    boot_epoch: int
    term: int


class MarkInSync(Struct, frozen=True, tag="mark_in_sync"):
    """A copy has all that is committed, and the primary waits for it from now on.

    Attributes:
        shard: whose copy.
        term: the primary's.
        alloc_id: which copy.
        boot_epoch: the life of its node that caught up.
        expect: the ``shard_version`` that the primary had applied.
    """

    shard: ShardId
    term: int
    alloc_id: AllocId
    boot_epoch: int
    expect: int


class FailCopy(Struct, frozen=True, tag="fail_copy"):
    """A copy that the primary tracks, in sync or not, does not get on.

    It stays assigned, out of sync, and may catch up under the same ``alloc_id``; the
    primary decides when to try.  ``shard_version`` rises in any case, so that a
    MarkInSync under way for the copy comes too late.

    Attributes:
        shard: whose copy.
        term: the primary's.
        alloc_id: which copy; never the primary's own.
        expect: the ``shard_version`` that the primary had applied.
    """

    shard: ShardId
    term: int
    alloc_id: AllocId
    expect: int


class HandOver(Struct, frozen=True, tag="hand_over"):
    """The primary has drained, and wants an in-sync copy to lead in the next term.

    Attributes:
        shard: whose primary.
        term: the one that ends.
        expect: the ``shard_version`` that the primary had applied.
        to: the copy that shall lead.
    """

    shard: ShardId
    term: int
    expect: int
    to: AllocId


class CopyLost(Struct, frozen=True, tag="copy_lost"):
    """A copy's data are gone or damaged; another copy, of another id, replaces it.

    The last in-sync copy is not given up so: the shard is marked damaged, and is red
    until its node comes back with good data, or an operator accepts the loss.

    Attributes:
        shard: whose copy.
        alloc_id: which copy.
        boot_epoch: the life of its node that found out.
    """

    shard: ShardId
    alloc_id: AllocId
    boot_epoch: int


class Leave(Struct, frozen=True, tag="leave"):
    """A node is about to stop: its primaries shall be handed over first.

    Its other copies leave the in-sync sets at once, where enough remain, so that no
    write waits for a node that is going; all its copies stay assigned to it.

    Attributes:
        node: which.
        boot_epoch: the life that ends.
    """

    node: NodeId
    boot_epoch: int


class ForceAllocate(Struct, frozen=True, tag="force_allocate"):
    """Go on with whatever one node has of a shard, under a new history.

    Attributes:
        shard: which; only where no in-sync copy can come back.
        expect: the ``shard_version`` that the operator saw.
        node: whose copy shall lead.
        alloc_id: its copy, stale as it may be; or a new id, for an empty one.
        history_uuid: names the new history; a new one.
        accept_data_loss: nothing happens without.
    """

    shard: ShardId
    expect: int
    node: NodeId
    alloc_id: AllocId
    history_uuid: str
    accept_data_loss: bool = False


OnShard = MarkStarted | MarkInSync | FailCopy | HandOver | CopyLost | ForceAllocate
"""What concerns one shard."""

OfAll = Configure | DefineGraph | DropGraph | OfSplits
"""What concerns the cluster as a whole, or several shards."""

Command = OnShard | Leave | OfOperators | OfAll
"""What nodes may ask the coordinator to change."""


def execute(state: ClusterState, command: Command) -> ClusterState:
    """Do what was asked for, if it is still meant; else return ``state`` itself.

    Args:
        state: the committed state.
        command: one that rests on another life, term or version does nothing.
    """
    if isinstance(command, Leave):
        return _leave(state, command)
    if isinstance(command, OfAll):
        return _change_all(state, command)
    if isinstance(command, OfOperators):
        return operate(state, command)
    shard = state.shards.get(command.shard)
    if shard is None:
        return state
    after = _change(state, shard, command)
    return state if after is None else with_shards(state, [after])


def _change_all(state: ClusterState, command: OfAll) -> ClusterState:
    """Do what concerns more than one shard."""
    if isinstance(command, Configure):
        return configure(state, command)
    if isinstance(command, OfSplits):
        return change_split(state, command)
    return change_graphs(state, command)


def _change(
    state: ClusterState,
    shard: Shard,
    command: OnShard,
) -> Shard | None:
    """Return the shard as asked for; None where nothing is to change."""
    match command:
        case MarkStarted():
            return _mark_started(shard, command)
        case MarkInSync():
            return _mark_in_sync(state, shard, command)
        case FailCopy():
            return _fail_copy(shard, command)
        case HandOver():
            return _hand_over(state, shard, command)
        case CopyLost():
            return _copy_lost(state, shard, command)
        case ForceAllocate():
            return _force_allocate(state, shard, command)
        case _:
            assert_never(command)


def _mark_started(shard: Shard, command: MarkStarted) -> Shard | None:
    """Put the first copy in sync: from now on it has every acknowledged write."""
    primary = shard.primary
    if primary is None or shard.in_sync:
        return None
    meant = (command.alloc_id, command.boot_epoch, command.term)
    if meant != (primary.alloc_id, primary.boot_epoch, shard.primary_term):
        return None
    copies = marked(shard, command.alloc_id, CopyState.STARTED)
    return changed(shard, copies=copies, in_sync=(command.alloc_id,))


def _is_meant(shard: Shard, command: MarkInSync | FailCopy | HandOver) -> bool:
    """Tell whether the primary that asks leads, and saw the newest of its shard."""
    return (
        shard.primary is not None
        and command.term == shard.primary_term
        and command.expect == shard.shard_version
    )


def _mark_in_sync(
    state: ClusterState, shard: Shard, command: MarkInSync
) -> Shard | None:
    """Add a copy to the in-sync set, unless its node is on its way out."""
    copy = find(shard, command.alloc_id)
    entry = state.nodes.get(copy.node) if copy else None
    if not _is_meant(shard, command) or copy is None or entry is None:
        return None
    if entry.boot_epoch != command.boot_epoch or entry.leaving:
        return None
    if not shard.in_sync or command.alloc_id in shard.in_sync:
        return None
    copies = marked(shard, command.alloc_id, CopyState.STARTED)
    return changed(shard, copies=copies, in_sync=(*shard.in_sync, command.alloc_id))


def _fail_copy(shard: Shard, command: FailCopy) -> Shard | None:
    """Take a copy out of the in-sync set; it is not the primary's, which remains."""
    if not _is_meant(shard, command) or find(shard, command.alloc_id) is None:
        return None
    if shard.primary and shard.primary.alloc_id == command.alloc_id:
        return None
    return _out_of_sync(shard, command.alloc_id, CopyState.INIT)


def _out_of_sync(shard: Shard, alloc_id: AllocId, state: CopyState) -> Shard:
    """Take a copy out of the in-sync set, and leave it assigned."""
    in_sync = without(shard.in_sync, alloc_id)
    assert in_sync or not shard.in_sync, f"shard {shard.shard} would have no copy"
    successor = None if shard.successor == alloc_id else shard.successor
    copies = marked(shard, alloc_id, state)
    return changed(shard, copies=copies, in_sync=in_sync, successor=successor)


def _hand_over(state: ClusterState, shard: Shard, command: HandOver) -> Shard | None:
    """Let an in-sync copy lead; one that leaves is then in nobody's way.

    The primary itself may ask for a new term: one that it led before it was closed and
    opened again is spent.
    """
    copy, primary = find(shard, command.to), shard.primary
    if not _is_meant(shard, command) or copy is None or primary is None:
        return None
    if command.to not in shard.in_sync:
        return None
    entry, mine = state.nodes.get(copy.node), state.nodes.get(primary.node)
    if entry is None or entry.leaving:
        return None
    after = promoted(state, shard, copy)
    moves = command.to != primary.alloc_id
    if not moves or mine is None or not mine.leaving:
        return after
    return _gone(state, after, primary.alloc_id)


def _gone(state: ClusterState, shard: Shard, alloc_id: AllocId) -> Shard:
    """Take a copy that leaves out of the in-sync set, where enough remain without.

    Copies on nodes that are lost do not count: the shard may need this one again.
    """
    if alloc_id not in shard.in_sync:
        return shard
    lost = {node for node, entry in state.nodes.items() if entry.lost}
    left = [
        copy
        for copy in shard.copies
        if copy.alloc_id in without(shard.in_sync, alloc_id) and copy.node not in lost
    ]
    if len(left) < max(1, shard.min_copies):
        return shard
    return _out_of_sync(shard, alloc_id, CopyState.RELOCATING)


def _copy_lost(state: ClusterState, shard: Shard, command: CopyLost) -> Shard | None:
    """Let go of a copy; one that is the last that the shard goes by is only marked."""
    copy = find(shard, command.alloc_id)
    if copy is None or command.boot_epoch != life(state, copy.node):
        return None
    if shard.in_sync == (command.alloc_id,):
        known = shard.damaged == command.boot_epoch
        return None if known else changed(shard, damaged=command.boot_epoch)
    leads = shard.primary is not None and shard.primary.alloc_id == command.alloc_id
    after = _out_of_sync(shard, command.alloc_id, CopyState.INIT)
    copies = tuple(each for each in after.copies if each.alloc_id != command.alloc_id)
    primary = None if leads else shard.primary
    return replace(after, copies=copies, primary=primary)


def _force_allocate(
    state: ClusterState, shard: Shard, command: ForceAllocate
) -> Shard | None:
    """Begin a new history with one copy; the others are to follow it."""
    entry = state.nodes.get(command.node)
    meant = command.accept_data_loss and command.expect == shard.shard_version
    if not meant or entry is None or command.history_uuid == shard.history_uuid:
        return None
    held = find(shard, command.alloc_id)
    if held is not None and held.node != command.node:
        return None
    lead = held or Copy(command.alloc_id, command.node, CopyState.INIT)
    others = [
        replace(copy, state=CopyState.INIT)
        for copy in shard.copies
        if copy.node != command.node
    ]
    first = replace(lead, state=CopyState.STARTED) if held else lead
    after = replace(
        shard,
        copies=(first, *others),
        in_sync=(lead.alloc_id,) if held else (),
        history_uuid=command.history_uuid,
        damaged=0,
        begins=0,
        born=min(shard.born, shard.base),
    )
    return promoted(state, after, lead)


def _leave(state: ClusterState, command: Leave) -> ClusterState:
    """Note that a node goes, and let no write wait for it where that may be."""
    entry = state.nodes.get(command.node)
    if entry is None or entry.leaving or entry.boot_epoch != command.boot_epoch:
        return state
    nodes = state.nodes | {command.node: replace(entry, leaving=True)}
    after = []
    for shard in state.shards.values():
        for copy in shard.copies:
            leads = shard.primary and shard.primary.alloc_id == copy.alloc_id
            if copy.node == command.node and not leads:
                after.append(_gone(state, shard, copy.alloc_id))
    changes = [each for each in after if each is not state.shards[each.shard]]
    return with_shards(replace(state, nodes=nodes), changes)

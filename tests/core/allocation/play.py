"""A cluster with data, small enough to play thousands of: allocation against faults.

Nodes crash, start anew, join, leave and are lost; primaries write, apply states late,
and ask for what primaries ask; what they ask is delayed, doubled, reordered and lost.
After each change of the state the rules are asserted.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

from msgspec import Struct

from tests.core.allocation.parts import blank, is_crowded, member, node, primary_life
from torua.core.allocation import (
    Command,
    CopyLost,
    Delays,
    FailCopy,
    HandOver,
    Leave,
    MarkInSync,
    MarkStarted,
    execute,
    reconcile,
)
from torua.core.allocation.delays import JOINS_S
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.members import Status
from torua.core.state import ClusterState, CopyState, Shard

Execute = Callable[[ClusterState, Command], ClusterState]
Reconcile = Callable[..., ClusterState]


class Lead(Struct):
    """What a primary knows in one term."""

    node: int
    alloc_id: AllocId
    epoch: int
    applied: Shard
    tracked: set[AllocId]
    expects: dict[AllocId, int]
    drained: bool = False


class Play:
    """One cluster, from one seed.

    Invariants: `state` is committed; every change of it was checked.

    Attributes:
        moves: how many copies were ever added after the first assignment.
    """

    def __init__(  # noqa: PLR0913
        self,
        seed: int,
        nodes: int,
        shards: int,
        rf: int,
        *,
        do: Execute = execute,
        settle: Reconcile = reconcile,
        zones: tuple[str, ...] = (),
    ) -> None:
        """Form a cluster.

        Args:
            seed: of all that happens.
            nodes: how many it begins with.
            shards: how many it has.
            rf: copies of each.
            do: executes commands; or breaks a rule.
            settle: reconciles; or breaks a rule.
            zones: that are forced, the nodes being in them in turn; none if not given.
        """
        self.random = Random(seed)
        self.do, self.settle = do, settle
        self.zones = zones
        self.epochs = dict.fromkeys(range(1, nodes + 1), 1)
        self.up = set(self.epochs)
        self.lost: set[int] = set()
        self.delays = Delays()
        self.now = 0.0
        self.mail: list[Command] = []
        self.logs: dict[AllocId, list[int]] = {}
        self.terms: dict[AllocId, int] = {}
        self.acked: dict[ShardId, list[int]] = {}
        self.leads: dict[tuple[ShardId, int], Lead] = {}
        self.reigns: dict[tuple[ShardId, int], tuple[AllocId, int]] = {}
        self.written = 0
        self.moves = 0
        self.state = blank(shards, rf, nodes, zones=zones)
        self.commit()
        self.moves = 0

    # What happens

    def step(self) -> None:
        """Let one thing happen."""
        self.now += self.random.choice((0.1, 1.0, 5.0))
        deed = self.random.choices(
            (self.commit, self.lead, self.crash, self.start, self.notice, self.odd),
            (6, 12, 1, 2, 2, 1),
        )[0]
        deed()

    def commit(self) -> None:
        """Let the coordinator act on some of what it is asked for."""
        for command in list(self.mail):
            if self.random.random() < 0.6:
                if self.random.random() < 0.8:
                    self.mail.remove(command)
                self.change(self.do(self.state, command), command)
        self.reconcile()

    def reconcile(self) -> None:
        """Let the coordinator compare the state with the world.

        What it is told of lives is true, of who is lost what `notice` found.
        """
        known = [
            member(
                number,
                self.epochs[number],
                Status.ALIVE if number in self.up else Status.SUSPECT,
                self.zones[number % len(self.zones)] if self.zones else "",
            )
            for number in sorted(self.epochs)
        ]
        lost = {node(number) for number in self.lost}
        after = self.settle(
            self.state,
            known,
            self.random,
            lost=lost,
            delays=self.delays,
            now=self.now,
        )
        self.change(after, None)
        self.check_traffic()

    def lead(self) -> None:
        """Let a primary that lives do something."""
        for shard in self.state.shards.values():
            if self.random.random() < 0.5:
                self.apply(shard)
        for key in sorted(self.leads):
            lead = self.leads[key]
            if self.random.random() < 0.5:
                deed = self.random.choices(
                    (self.write, self.grow, self.fail, self.give), (4, 2, 1, 1)
                )[0]
                deed(lead)

    def crash(self) -> None:
        """End a node's life."""
        if self.up:
            number = self.random.choice(sorted(self.up))
            self.up.discard(number)
            for key in [k for k, lead in self.leads.items() if lead.node == number]:
                del self.leads[key]

    def start(self) -> None:
        """Begin another life of a node that is down."""
        down = sorted(set(self.epochs) - self.up)
        if down:
            number = self.random.choice(down)
            self.epochs[number] += 1
            self.up.add(number)

    def notice(self) -> None:
        """Let the coordinator find out who answers; now and then it is wrong."""
        self.lost = set(self.epochs) - self.up
        if self.random.random() < 0.1:
            self.lost.add(self.random.choice(sorted(self.epochs)))

    def odd(self) -> None:
        """Let a node join, one leave, or lose a copy's data."""
        kind = self.random.randrange(4)
        number = self.random.choice(sorted(self.epochs))
        if kind == 0 and len(self.epochs) < 7:
            self.epochs[len(self.epochs) + 1] = 1
            self.up.add(len(self.epochs))
        elif kind == 1:
            self.mail.append(Leave(node(number), self.epochs[number]))
        elif number in self.up:
            self.lose_data(number)

    def lose_data(self, number: int) -> None:
        """Have a node find a copy that does not lead, and is not needed, damaged."""
        for shard in self.state.shards.values():
            leads = shard.primary is not None and shard.primary.node == node(number)
            for copy in shard.copies:
                safe = copy.alloc_id not in shard.in_sync
                if copy.node == node(number) and safe and not leads:
                    lost = CopyLost(shard.shard, copy.alloc_id, self.epochs[number])
                    self.mail.append(lost)
                    return

    # What a primary does

    def apply(self, shard: Shard) -> None:
        """Let a primary apply the newest state of its shard.

        Now and then it does not hear of it; the primary of a new term begins one.
        """
        for key in [key for key in self.leads if key[0] == shard.shard]:
            lead = self.leads[key]
            if self.random.random() < 0.7:
                if key[1] != shard.primary_term:
                    del self.leads[key]
                else:
                    self.refresh(lead, shard)
        primary = shard.primary
        if primary is None:
            return
        number = int(primary.node, 16)
        key = (shard.shard, shard.primary_term)
        alive = number in self.up and self.epochs[number] == primary.boot_epoch
        if alive and key not in self.leads:
            if not shard.in_sync:
                self.mail.append(MarkStarted(key[0], *primary_life(shard), key[1]))
                return
            self.leads[key] = Lead(
                number,
                primary.alloc_id,
                primary.boot_epoch,
                shard,
                {*shard.in_sync, primary.alloc_id},
                {},
            )

    def refresh(self, lead: Lead, shard: Shard) -> None:
        """Apply a newer state of the same term, and drop whom it says.

        Args:
            lead: the primary.
            shard: what it applies.
        """
        lead.applied = shard
        lead.drained = False
        for alloc in sorted(lead.tracked):
            dropped = alloc not in shard.in_sync
            if dropped and shard.shard_version > lead.expects.get(alloc, -1):
                lead.tracked.discard(alloc)

    def where(self, shard: Shard, alloc_id: AllocId) -> int | None:
        """Return the node of a copy, if it lives.

        Args:
            shard: whose.
            alloc_id: which.
        """
        for copy in shard.copies:
            number = int(copy.node, 16)
            if copy.alloc_id == alloc_id and number in self.up:
                return number
        return None

    def send(self, lead: Lead, alloc_id: AllocId) -> bool:
        """Bring a copy up to the primary's log; False where it refuses or is down.

        Args:
            lead: the primary.
            alloc_id: which copy.
        """
        term = lead.applied.primary_term
        if alloc_id != lead.alloc_id:
            here = self.where(lead.applied, alloc_id)
            if here is None or self.terms.get(alloc_id, 0) > term:
                return False
            self.logs[alloc_id] = list(self.logs.get(lead.alloc_id, []))
        self.terms[alloc_id] = term
        return True

    def write(self, lead: Lead) -> None:
        """Write once, and acknowledge where all that are waited for have it."""
        shard = lead.applied
        counted = lead.tracked & set(shard.in_sync)
        if lead.drained or len(counted) < shard.min_copies:
            return
        if self.terms.get(lead.alloc_id, 0) > shard.primary_term:
            return
        self.written += 1
        self.logs.setdefault(lead.alloc_id, []).append(self.written)
        if all([self.send(lead, alloc) for alloc in sorted(lead.tracked)]):
            self.acked.setdefault(shard.shard, []).append(self.written)

    def grow(self, lead: Lead) -> None:
        """Bring copies up that are out of sync; track them, and then say so.

        Only copies in state INIT are to grow.
        """
        shard = lead.applied
        for copy in shard.copies:
            out = copy.alloc_id not in shard.in_sync
            if out and copy.state is CopyState.INIT and self.send(lead, copy.alloc_id):
                lead.tracked.add(copy.alloc_id)
                lead.expects[copy.alloc_id] = shard.shard_version
                epoch = self.epochs[int(copy.node, 16)]
                self.mail.append(
                    MarkInSync(
                        shard.shard,
                        shard.primary_term,
                        copy.alloc_id,
                        epoch,
                        shard.shard_version,
                    )
                )

    def fail(self, lead: Lead) -> None:
        """Ask to drop whom it waits for in vain, and now and then another."""
        shard = lead.applied
        for alloc in sorted(lead.tracked - {lead.alloc_id}):
            if self.where(shard, alloc) is None or self.random.random() < 0.05:
                self.mail.append(
                    FailCopy(
                        shard.shard, shard.primary_term, alloc, shard.shard_version
                    )
                )

    def give(self, lead: Lead) -> None:
        """Hand over, where the state says so: nothing is written from then on."""
        shard = lead.applied
        if shard.successor is not None and shard.successor in lead.tracked:
            lead.drained = True
            self.mail.append(
                HandOver(
                    shard.shard,
                    shard.primary_term,
                    shard.shard_version,
                    shard.successor,
                )
            )

    # What must hold

    def change(self, after: ClusterState, command: Command | None) -> None:
        """Commit a state, and check what was done.

        Args:
            after: the state.
            command: what asked for it; None where nobody did.
        """
        before, self.state = self.state, after
        for number, shard in after.shards.items():
            old = before.shards.get(number)
            if shard is not old:
                self.check_shape(shard)
            if old is not None and old is not shard:
                self.check_step(old, shard)
                if command is None:
                    self.check_move(old, shard)
                    self.moves += added(shard, old)
        if isinstance(command, MarkInSync) and after is not before:
            where = next(
                copy.node
                for copy in after.shards[command.shard].copies
                if copy.alloc_id == command.alloc_id
            )
            assert after.nodes[where].boot_epoch == command.boot_epoch, "R21"

    def check_shape(self, shard: Shard) -> None:
        """Check one shard by itself, and against its primary.

        R2, R3 and R7 are in the state at every moment.
        """
        nodes = [copy.node for copy in shard.copies]
        assert len(set(nodes)) == len(nodes), "two copies on one node"
        ids = {copy.alloc_id for copy in shard.copies}
        assert set(shard.in_sync) <= ids
        assert len(set(shard.in_sync)) == len(shard.in_sync)
        lead = self.leads.get((shard.shard, shard.primary_term))
        if lead is not None:
            assert set(shard.in_sync) <= lead.tracked, "R3"
        if shard.primary is not None:
            assert shard.primary.alloc_id in ids
            assert shard.primary.alloc_id in shard.in_sync or not shard.in_sync, "R7"
            reign = (shard.primary.alloc_id, shard.primary.boot_epoch)
            key = (shard.shard, shard.primary_term)
            assert self.reigns.setdefault(key, reign) == reign, "R2"
        assert shard.successor is None or shard.successor in shard.in_sync

    def check_step(self, old: Shard, new: Shard) -> None:
        """Check what became of one shard.

        Args:
            old: what it was.
            new: what it is.
        """
        assert new.shard_version > old.shard_version
        assert new.primary_term >= old.primary_term
        assert new.in_sync or not old.in_sync, "the in-sync set is empty"
        if new.primary != old.primary and new.primary is not None:
            assert new.primary_term > old.primary_term, "R2"
            assert new.primary.alloc_id in old.in_sync or not old.in_sync, "R7"
            log = self.logs.get(new.primary.alloc_id, [])
            acked = self.acked.get(new.shard, [])
            assert set(acked) <= set(log), "R1: an acknowledged write is lost"

    def check_move(self, old: Shard, new: Shard) -> None:
        """Check that the coordinator by itself takes nothing that is needed.

        Args:
            old: what the shard was.
            new: what it is.
        """
        gone = set(old.in_sync) - set(new.in_sync)
        assert not gone or len(new.in_sync) >= new.rf >= new.min_copies, "R16"
        removed = len(old.copies) > len(new.copies)
        kept = {copy.node for copy in new.copies}
        assert not removed or len(kept) >= min(new.rf, len(old.copies)), "R16"
        assert set(new.in_sync) <= set(old.in_sync)
        if added(new, old):
            crowded = is_crowded(self.state, new, new.copies[-1].node)
            assert not crowded, "a forced zone is crowded"

    def check_traffic(self) -> None:
        """Check that no node gives more copies away at once than it may."""
        outward: Counter[NodeId] = Counter(
            copy.node
            for shard in self.state.shards.values()
            for copy in shard.copies
            if copy.state is CopyState.RELOCATING and copy.alloc_id in shard.in_sync
        )
        assert max(outward.values(), default=0) <= 2, outward

    # Calm

    def calm(self, rounds: int = 400) -> int:
        """End all trouble, and return how many rounds it took until nothing changes.

        Args:
            rounds: more are too many.
        """
        for number in sorted(set(self.epochs) - self.up):
            self.epochs[number] += 1
            self.up.add(number)
        for number in self.epochs:
            entry = self.state.nodes.get(node(number))
            if entry is not None and entry.leaving:
                self.epochs[number] += 1
                self.leads = {
                    k: lead for k, lead in self.leads.items() if lead.node != number
                }
        self.mail, self.lost = [], set()
        for count in range(rounds):
            self.now += JOINS_S + 1.0
            before = self.state
            self.obey()
            self.reconcile()
            if self.state is before:
                return count
        raise AssertionError("no end of changes")

    def obey(self) -> None:
        """Have every primary do at once all that the state wants of it.

        Catch copies up, and where nothing else is to be done, hand over.
        """
        for shard in self.state.shards.values():
            key = (shard.shard, shard.primary_term)
            for old in [k for k in self.leads if k[0] == shard.shard and k != key]:
                del self.leads[old]
            self.apply(shard)
            lead = self.leads.get(key)
            if lead is not None:
                self.refresh(lead, shard)
                self.grow(lead)
                if not self.mail:
                    self.give(lead)
            mail, self.mail = self.mail, []
            for command in mail:
                self.change(self.do(self.state, command), command)


def added(new: Shard, old: Shard) -> int:
    """Count the copies that were added.

    Args:
        new: what the shard is.
        old: what it was.
    """
    known = {copy.alloc_id for copy in old.copies}
    return sum(copy.alloc_id not in known for copy in new.copies)


def counts(state: ClusterState) -> tuple[dict[NodeId, int], dict[NodeId, int]]:
    """Count the copies and the primaries of every node."""
    copies = dict.fromkeys(state.nodes, 0)
    primaries = dict.fromkeys(state.nodes, 0)
    for shard in state.shards.values():
        for copy in shard.copies:
            copies[copy.node] += 1
        if shard.primary is not None:
            primaries[shard.primary.node] += 1
    return copies, primaries

"""What a simulated node does for splits: the real machines, and what they ask for.

It is what `torua.node.splits` does, with pages of a few rows.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from tests.simulation.cluster_copy import OpenCopy
from tests.simulation.world import Timer
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Entry
from torua.core.records import NOTE_KEY, Moved, MovedAnswer
from torua.core.splitting import messages as s
from torua.core.splitting.door import end_of_log
from torua.core.splitting.moving import moves, piece
from torua.core.splitting.notes import Progress, read_note
from torua.core.splitting.splitter import Splitter
from torua.core.splitting.trimmer import Trimmer
from torua.core.state import Phase, Split

if TYPE_CHECKING:
    from tests.simulation.cluster_node import DataNode

PAGE_ROWS = 3
RECORDS = 8
LOOK_S = 0.1


class Question(Struct, frozen=True):
    """What one node asks another for a split; ``work`` names the asker there."""

    work: int
    asked: s.Pull | s.AskEnd


class Answer(Struct, frozen=True):
    """What comes back."""

    work: int
    answer: s.Input


class Work:
    """One machine at work.

    Invariants: it works in one term of one shard's primary.
    """

    def __init__(self, name: tuple[str, bool, int], number: int, shard: ShardId):
        """Prepare.

        Args:
            name: the split, whether it trims, and the term.
            number: names it to other nodes.
            shard: whose primary works.
        """
        self.name = name
        self.number = number
        self.shard = shard
        self.machine: Splitter | Trimmer
        self.timer: Timer | None = None
        self.inbox: list[s.Input] = []
        self.busy = False


class Works:
    """The work of one node.

    Invariants: as `torua.node.splits.Splits`.
    """

    def __init__(self, node: "DataNode") -> None:
        """Have none."""
        self.node = node
        self.world = node.world
        self._works: dict[int, Work] = {}
        self._looking: Timer | None = None

    def end(self) -> None:
        """Stop, with the node."""
        for work in list(self._works.values()):
            self._drop(work)
        if self._looking is not None:
            self._looking.cancel()
        self._looking = None

    def follow(self) -> None:
        """Do what the state that is applied now asks for."""
        if self.node.machine is None:
            return
        self._look()
        for work in list(self._works.values()):
            self._tell(work, s.Follow(self.node.state))

    def take(self, source: NodeId, message: Question | Answer) -> None:
        """Take what another node says.

        Args:
            source: which.
            message: what.
        """
        if isinstance(message, Answer):
            work = self._works.get(message.work)
            if work is not None:
                self._tell(work, message.answer)
            return
        reply = partial(self._reply, source, message.work)
        self._tell_of(message.asked, reply)

    def _reply(self, target: NodeId, work: int, answer: s.Input) -> None:
        """Answer another node."""
        self.node.post(target, Answer(work, answer))

    def _look(self) -> None:
        """Compare the work with what there is to be done."""
        state = self.node.state
        wanted: dict[tuple[str, bool, int], tuple[Split, OpenCopy]] = {}
        for split in state.splits.values():
            trims = split.phase is Phase.TRIMMING
            copy = self._leader(split.parent if trims else split.child)
            if copy is not None:
                name = (split.child_history, trims, copy.machine.term)
                wanted[name] = (split, copy)
        for work in list(self._works.values()):
            if work.name not in wanted:
                self._drop(work)
        known = {work.name for work in self._works.values()}
        for name, (split, copy) in wanted.items():
            if name not in known:
                self._begin(name, split, copy)
        if self._looking is None and state.splits:
            self._looking = self.world.at(LOOK_S, self.node.entry(self._look_again))

    def _look_again(self) -> None:
        """Look whether other shards are served here."""
        self._looking = None
        if self.node.machine is not None:
            self._look()

    def _leader(self, shard: ShardId) -> OpenCopy | None:
        """Return the copy that serves a shard here."""
        for copy in self.node.copies.values():
            if copy.shard.shard == shard and copy.machine.serves:
                return copy
        return None

    def _begin(self, name: tuple[str, bool, int], split: Split, copy: OpenCopy) -> None:
        """Set a machine to work."""
        work = Work(name, self.node.cluster.number(), copy.shard.shard)
        if name[1]:
            work.machine = Trimmer(split.parent, name[2])
        else:
            entry = copy.view.get(NOTE_KEY)
            note = read_note(entry.value) if entry and entry.value else None
            progress = note if isinstance(note, Progress) else None
            seq = entry.version if entry and progress else 0
            work.machine = Splitter(split.child, name[2], progress, seq)
        self._works[work.number] = work
        self._tell(work, s.Follow(self.node.state))

    def _drop(self, work: Work) -> None:
        """Work at it no more."""
        del self._works[work.number]
        if work.timer is not None:
            work.timer.cancel()

    def _tell(self, work: Work, message: s.Input) -> None:
        """Give a machine an input, now or as soon as it is free."""
        work.inbox.append(message)
        if work.busy:
            return
        work.busy = True
        while work.inbox and work.number in self._works:
            given = work.inbox.pop(0)
            for output in work.machine.receive(given, self.node.now):
                self._perform(work, output)
        work.busy = False
        self._rearm(work)

    def _wake(self, work: Work) -> None:
        """Let a machine act on the time."""
        if work.number not in self._works:
            return
        outputs = work.machine.wake(self.node.now)
        due = work.machine.next_deadline()
        assert due is None or due > self.node.now, "it would be woken for ever"
        for output in outputs:
            self._perform(work, output)
        self._rearm(work)

    def _rearm(self, work: Work) -> None:
        """Wake a machine when it has work."""
        if work.timer is not None:
            work.timer.cancel()
        due = work.machine.next_deadline()
        if due is not None and work.number in self._works:
            delay = max(0.0, due - self.node.now)
            work.timer = self.world.at(delay, self.node.entry(self._wake, work))

    def _perform(self, work: Work, output: s.Output) -> None:
        """Do what a machine asks for."""
        if self.node.mishap():
            return
        match output:
            case s.Propose(command):
                self.world.note(self.node.id, "proposes", command)
                self.node.submit(command)
            case s.Keep(number, term, moved):
                self._keep(work, number, term, moved)
            case s.List():
                self._list(work, output)
            case s.Pull() | s.AskEnd():
                self._ask(work, output)

    def _keep(self, work: Work, number: int, term: int, moved: Moved) -> None:
        """Have a record kept."""

        def then(seq: int | None) -> None:
            """Tell the machine."""
            answer = s.Missed(number) if seq is None else s.Kept(number, seq)
            self.world.at(0.0, self.node.entry(self._late, work, answer))

        copy = self._leader(work.shard)
        then(None) if copy is None else copy.move(moved, term, then)

    def _late(self, work: Work, answer: s.Input) -> None:
        """Tell a machine, if it is still at work."""
        if work.number in self._works:
            self._tell(work, answer)

    def _list(self, work: Work, output: s.List) -> None:
        """List keys that moved away."""
        copy = self._leader(work.shard)
        answer: s.Input = s.Missed(output.number)
        if copy is not None:
            keys = sorted(k for k in copy.view.entries if k > output.after)[:PAGE_ROWS]
            moved = tuple(key for key in keys if moves(output.spans, key))
            answer = s.Listed(output.number, moved, keys[-1] if keys else None)
        self.world.at(0.001, self.node.entry(self._late, work, answer))

    def _ask(self, work: Work, output: s.Pull | s.AskEnd) -> None:
        """Ask some node that has a copy; for the end, the primary's."""
        shard = self.node.state.shards[output.parent]
        nodes = [copy.node for copy in shard.copies]
        if isinstance(output, s.AskEnd) or self.world.random.random() < 0.6:
            nodes = [shard.primary.node] if shard.primary else []
        if not nodes:
            self.world.at(
                0.01, self.node.entry(self._late, work, s.Missed(output.number))
            )
            return
        self.node.post(self.world.random.choice(nodes), Question(work.number, output))

    # What is told of parents

    def _tell_of(
        self, asked: s.Pull | s.AskEnd, reply: Callable[[s.Input], object]
    ) -> None:
        """Answer a question about a copy here."""
        if isinstance(asked, s.AskEnd):
            self._end(asked, reply)
            return
        for copy in self.node.copies.values():
            here = (copy.shard.shard, copy.shard.history_uuid)
            if here == (asked.parent, asked.history) and copy.whole:
                reply(self._piece(copy, asked))
                return
        reply(s.Missed(asked.number))

    def _piece(self, copy: OpenCopy, pull: s.Pull) -> s.Input:
        """Tell what comes next."""
        known, at = pull.progress, copy.view.applied_seq
        if known is None:
            return s.Told(pull.number, Progress(at), Moved(), at)
        if at < known.at:
            return s.Missed(pull.number)
        if known.at < copy.disk.log.base:
            return s.Missed(pull.number, gone=True)
        log = copy.disk.log.since(known.at, RECORDS)
        records = [record for record in log if record.seq <= at]
        page: list[Entry] | list[MovedAnswer] = []
        if known.keys is not None:
            entries = copy.view.entries
            after = known.keys
            page = [entries[k] for k in sorted(k for k in entries if k > after)]
        elif known.answers is not None:
            answers, last = copy.view.answers, known.answers
            page = [MovedAnswer(answers[k], 0) for k in sorted(answers) if k > last]
        return piece(pull, records, page[:PAGE_ROWS], at)

    def _end(self, asked: s.AskEnd, reply: Callable[[s.Input], object]) -> None:
        """Tell where a parent's log ends, once all up to there is committed."""
        copy = self._leader(asked.parent)
        leading = copy.machine.leading if copy is not None else None
        seq = end_of_log(self.node.state, asked, leading)
        if copy is None or seq is None:
            reply(s.Missed(asked.number))
        else:
            self._until(copy, s.EndsAt(asked.number, seq), 90, reply)

    def _until(
        self,
        copy: OpenCopy,
        answer: s.EndsAt,
        left: int,
        reply: Callable[[s.Input], object],
    ) -> None:
        """Answer once a copy has applied it all."""
        if copy.closed or not left:
            reply(s.Missed(answer.number))
        elif copy.view.applied_seq >= answer.seq:
            reply(answer)
        else:
            again = self.node.entry(self._until, copy, answer, left - 1, reply)
            self.world.at(0.01, again)

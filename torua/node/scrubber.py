"""Looks for copies that differ, and for data that rot, before anybody reads them.

Each copy remembers the digests of its last states.  Now and then a primary sends its
own to the other copies, which compare those of the same records: equal logs give equal
maps, so a difference means that one of them is wrong; the one that is not primary
fails, and is made anew.  And now and then one copy of the node is read, row by row.
"""

from itertools import cycle
from typing import Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.frames import Lane
from torua.codec.plain import plain, shape
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import Shard
from torua.errors import CorruptionError
from torua.net.handlers import Inbound
from torua.node.copy import OpenCopy
from torua.node.post import Notices
from torua.node.threads import Worker

KIND = "scrub"

COMPARE_PERIOD_S = 10.0
"""A message of some hundred bytes a copy."""

READ_PERIOD_S = 600.0
"""One copy of the node is read whole so often; its checkpoints wait meanwhile."""

SAMPLES_MAX = 32
"""So many of the last states are compared: some were the end of a batch on both."""

log = Logger()


class Samples(Struct, frozen=True):
    """Digests of a primary's last states.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        alloc_id: the copy that is to compare.
        digests: seqs, and the digest of the map right after each.
    """

    shard: ShardId
    history: str
    alloc_id: AllocId
    digests: tuple[tuple[int, bytes], ...]


class Copies(Protocol):
    """The copies of this node."""

    def held(self) -> list[tuple[Shard, OpenCopy]]:
        """Return all that are open, with what the applied state says of the shard."""


class Scrubber:
    """Compares and reads the copies of this node, at its leisure.

    Invariants: a copy fails for nothing but a difference at the same record of the same
    history, or a row that is not what was written.

    Threading: the reactor's thread; rows are read on the worker's.
    """

    def __init__(
        self,
        clock: IReactorTime,
        copies: Copies,
        peers: Notices,
        worker: Worker,
        registry: CollectorRegistry,
    ) -> None:
        """Begin.

        Args:
            clock: the reactor.
            copies: of this node.
            peers: connections to the others.
            worker: where maps are checkpointed.
            registry: of the node's metrics.
        """
        self._copies = copies
        self._peers = peers
        self._worker = worker
        self._sent: dict[AllocId, int] = {}
        self._turn = cycle(range(1 << 16))
        self._compared = Counter(
            "torua_scrub_compared",
            "States of copies that were compared with their primary's",
            registry=registry,
        )
        self._differences = Counter(
            "torua_scrub_differences",
            "Copies that were found to differ, or to be damaged",
            registry=registry,
        )
        peers.handle(KIND, self._on_samples)
        self._loops = [LoopingCall(self._compare), LoopingCall(self._read)]
        for loop, period_s in zip(
            self._loops, (COMPARE_PERIOD_S, READ_PERIOD_S), strict=True
        ):
            loop.clock = clock
            loop.start(period_s, now=False)

    def stop(self) -> None:
        """Look no more.  Safe to call twice."""
        for loop in self._loops:
            if loop.running:
                loop.stop()

    def _compare(self) -> None:
        """Send the digests of what is led here, where anything was written since."""
        for shard, copy in self._copies.held():
            digests = tuple(copy.holding.view.digests)[-SAMPLES_MAX:]
            if not copy.serving or not digests:
                continue
            if self._sent.get(copy.alloc_id) == digests[-1][0]:
                continue
            self._sent[copy.alloc_id] = digests[-1][0]
            for other in shard.copies:
                if other.alloc_id in shard.in_sync and other.alloc_id != copy.alloc_id:
                    to = (shard.shard, shard.history_uuid, other.alloc_id)
                    self._send(other.node, Samples(*to, digests))

    def _send(self, node: NodeId, samples: Samples) -> None:
        """Send samples to a node."""
        self._peers.send(node, KIND, plain(samples), lane=Lane.RECOVERY)

    async def _on_samples(self, inbound: Inbound) -> None:
        """Compare a primary's digests with those of the copy here."""
        samples = shape(inbound.body, Samples)
        for shard, copy in self._copies.held():
            same = (samples.alloc_id, samples.history)
            if (copy.alloc_id, shard.history_uuid) == same and not copy.leads:
                self._judge(copy, samples)

    def _judge(self, copy: OpenCopy, samples: Samples) -> None:
        """Fail a copy whose digest differs at any record that both remember."""
        mine = dict(copy.holding.view.digests)
        for seq, digest in samples.digests:
            if seq not in mine:
                continue
            self._compared.inc()
            if mine[seq] != digest:
                self._condemn(copy, f"it differs from the primary at record {seq}")
                return

    def _read(self) -> None:
        """Read one copy of the node whole; the next one next time."""
        held = self._copies.held()
        if held:
            _, copy = held[next(self._turn) % len(held)]
            reading = self._worker.run(lambda: self._scrub(copy))
            reading.addErrback(self._unreadable, copy)

    def _scrub(self, copy: OpenCopy) -> None:
        """Read it, on the worker, unless it was closed meanwhile."""
        if copy.readable:
            copy.holding.view.scrub()

    def _unreadable(self, failure: Failure, copy: OpenCopy) -> None:
        """Fail a copy that is damaged."""
        if failure.check(CorruptionError):
            self._condemn(copy, failure.getErrorMessage())
        else:
            log.warn(
                "shard {shard} could not be scrubbed: {detail}",
                shard=copy.shard,
                detail=failure.getErrorMessage(),
            )

    def _condemn(self, copy: OpenCopy, detail: str) -> None:
        """Have a copy made anew."""
        self._differences.inc()
        log.critical(
            "shard {shard}: this node's copy is wrong: {detail}",
            shard=copy.shard,
            detail=detail,
        )
        copy.fail(detail)

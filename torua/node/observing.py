"""Tells the coordinator of this node's disk and of the work of its copies.

Each node reports every few seconds, to whoever coordinates then; that one keeps the
last report of each in memory, and acts on it when it next looks at the cluster.  Other
nodes ask it for what it knows when an operator asks them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.plain import plain, shape
from torua.core.ids import NodeId
from torua.core.kv import Call
from torua.core.reporting import CopyReport, NodeReport, Sight
from torua.core.state import Shard
from torua.errors import ToruaError
from torua.net.peers import Inbound, Lane
from torua.node.copy import OpenCopy
from torua.node.errands import Peers
from torua.node.threads import Worker

KIND = "node.report"
"""The kind of notice by which nodes tell of themselves."""

SIGHT_KIND = "node.sight"
"""The kind of request by which the coordinator is asked what it was told."""

REPORT_S = 5.0
"""How often: averages fade over half a minute, and disks do not fill faster."""

FIRST_S = 1.0
"""When the first is made: soon, so that a full disk is known before it gets copies."""

ASK_TIMEOUT_S = 1.0
"""How long an answer to an operator waits for what the coordinator knows."""

log = Logger()


class Coordination(Protocol):
    """Who coordinates."""

    @property
    def coordinator(self) -> NodeId | None:
        """Return who coordinates; None where nobody is known."""

    def report(self, node: NodeId, report: NodeReport) -> None:
        """Take a node's report, where this node coordinates.

        Args:
            node: whose.
            report: what it says.
        """

    def sight(self) -> Sight:
        """Return what is known of all nodes, where this node coordinates."""


class Holdings(Protocol):
    """The copies of this node."""

    def held(self) -> Sequence[tuple[Shard, OpenCopy]]:
        """Return all copies that are open, with what the state says of the shard."""


class Notices(Peers, Protocol):
    """The way to the other nodes."""

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """Send a notice, as well as it goes.

        Args:
            node_id: to whom.
            kind: of message.
            body: plain values.
            lane: how urgent it is.
        """


class Observer:
    """Reports this node, and takes the reports of others.

    Invariants: while it runs one report is being made, or one timer armed.

    Threading: the reactor's thread; the disk is asked on a `Worker`.
    """

    def __init__(  # noqa: PLR0913
        self,
        life: tuple[NodeId, int],
        holdings: Holdings,
        coordination: Coordination,
        peers: Notices,
        clock: IReactorTime,
        *,
        worker: Worker,
        usage: Callable[[Path], tuple[int, int]],
        data_dir: Path,
        registry: CollectorRegistry,
    ) -> None:
        """Take reports from now on; `start` makes some.

        Args:
            life: this node, and its boot epoch.
            holdings: its copies.
            coordination: who coordinates.
            peers: the way to the other nodes.
            clock: the reactor.
            worker: asks the disk.
            usage: tells how many bytes of a disk are in use, and how many there are.
            data_dir: on that disk.
            registry: for the metrics ``torua_node_disk_*``.
        """
        self._me, self._boot_epoch = life
        self._holdings = holdings
        self._coordination = coordination
        self._peers = peers
        self._clock = clock
        self._worker = worker
        self._usage = partial(usage, data_dir)
        self._timer: IDelayedCall | None = None
        self._last = clock.seconds()
        self._used = Gauge(
            "torua_node_disk_used_bytes",
            "Bytes in use on the disk of the data dir, by whatever",
            registry=registry,
        )
        self._total = Gauge(
            "torua_node_disk_total_bytes",
            "Size of the disk of the data dir",
            registry=registry,
        )
        peers.handle(KIND, self._on_report)
        peers.handle(SIGHT_KIND, self._on_ask)

    def start(self) -> None:
        """Report from now on."""
        self._timer = self._clock.callLater(FIRST_S, self._tick)

    def stop(self) -> None:
        """Report no more.  Safe to call twice."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def sight(self, call: Call) -> Sight:
        """Return what the coordinator was told; nothing where it does not say.

        Args:
            call: who asks.
        """
        coordinator = self._coordination.coordinator
        if coordinator is None:
            return Sight()
        if coordinator == self._me:
            return self._coordination.sight()
        try:
            answer = await self._peers.request(
                coordinator,
                SIGHT_KIND,
                None,
                lane=Lane.CONTROL,
                timeout_s=min(ASK_TIMEOUT_S, call.timeout_s),
                request_id=call.request_id,
            )
        except ToruaError:
            return Sight()
        return shape(answer, Sight)

    def _tick(self) -> None:
        """Make a report, and arm for the next."""
        reporting = Deferred.fromCoroutine(self._report())
        reporting.addErrback(_unreported)
        reporting.addCallback(self._again)

    def _again(self, _: object) -> None:
        """Arm for the next report, unless this one was the last."""
        if self._timer is not None:
            self._timer = self._clock.callLater(REPORT_S, self._tick)

    async def _report(self) -> None:
        """Tell the coordinator, if there is one."""
        used, total = await self._worker.run(self._usage)
        self._used.set(used)
        self._total.set(total)
        report = NodeReport(self._boot_epoch, used, total, self._copies())
        coordinator = self._coordination.coordinator
        if coordinator == self._me:
            self._coordination.report(self._me, report)
        elif coordinator is not None:
            self._peers.send(coordinator, KIND, plain(report))

    def _copies(self) -> tuple[CopyReport, ...]:
        """Describe the work of all copies since the last time."""
        now = self._clock.seconds()
        passed, self._last = max(1e-3, now - self._last), now
        found = []
        for _, copy in self._holdings.held():
            copy.tally.fade(passed)
            rates = copy.tally.rates
            found.append(
                CopyReport(
                    copy.shard,
                    copy.alloc_id,
                    copy.holding.view.size_bytes,
                    rates.reads,
                    rates.writes,
                    rates.bytes,
                    rates.latency_s,
                )
            )
        return tuple(found)

    async def _on_report(self, inbound: Inbound) -> None:
        """Take another node's report; ProtocolError where it is none."""
        report = shape(inbound.body, NodeReport)
        if report.boot_epoch == inbound.boot_epoch:
            self._coordination.report(inbound.node_id, report)

    async def _on_ask(self, inbound: Inbound) -> object:
        """Tell another node what this one was told."""
        return plain(self._coordination.sight())


def _unreported(failure: Failure) -> None:
    """Note that a report could not be made; the next is made anyway."""
    detail = failure.getErrorMessage()
    log.warn("the disk does not say how full it is: {detail}", detail=detail)

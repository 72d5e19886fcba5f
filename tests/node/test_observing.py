"""Nodes report to the coordinator, and it tells what it was told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Wire, alloc
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.reporting import NodeReport, Sight
from torua.core.state import Shard
from torua.node.copy import OpenCopy
from torua.node.observing import FIRST_S, REPORT_S, Observer
from torua.node.tally import Tally

CALL = Call("r")


class Coordination:
    """One node's view of who coordinates, and what it was told.

    Invariants: ``reports`` has the last of each node.
    """

    def __init__(self) -> None:
        """Have node one coordinate."""
        self.coordinator: NodeId | None = ONE
        self.reports: dict[str, NodeReport] = {}

    def report(self, node: NodeId, report: NodeReport) -> None:
        """Keep it.

        Args:
            node: whose.
            report: what it says.
        """
        self.reports[node] = report

    def sight(self) -> Sight:
        """Return what was told."""
        return Sight(self.reports)


class AtOnce:
    """A worker that does everything at once.

    Invariants: none of its own.
    """

    def run(self, job: Any) -> "Deferred[Any]":
        """Do it."""
        done: Deferred[Any] = Deferred()
        try:
            done.callback(job())
        except OSError:
            done.errback()
        return done


class ObserverTests(SynchronousTestCase):
    """Two nodes, of which the first coordinates."""

    def setUp(self) -> None:
        """Make both observers."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.told = {ONE: Coordination(), TWO: Coordination()}
        self.disk = (30, 100)
        self.broken = False
        self.tally = Tally()
        self.observers = {
            node: Observer(
                (node, 1),
                self,
                self.told[node],
                self.wire.end(node),
                self.clock,
                worker=AtOnce(),
                usage=self.usage,
                data_dir=Path("/data"),
                registry=CollectorRegistry(),
            )
            for node in (ONE, TWO)
        }
        for each in self.observers.values():
            each.start()

    def usage(self, path: Path) -> tuple[int, int]:
        """Tell how full the disk is."""
        if self.broken:
            raise OSError("no disk")
        return self.disk

    def held(self) -> list[tuple[Shard, OpenCopy]]:
        """Return one copy."""
        view = SimpleNamespace(size_bytes=7)
        copy = SimpleNamespace(
            shard=ShardId(0),
            alloc_id=alloc(0),
            tally=self.tally,
            holding=SimpleNamespace(view=view),
        )
        return [(cast(Shard, None), cast(OpenCopy, copy))]

    def sight(self, node: NodeId) -> Sight:
        """Ask a node what the coordinator knows."""
        asked = Deferred.fromCoroutine(self.observers[node].sight(CALL))
        self.clock.advance(0.1)
        return self.successResultOf(asked)

    def test_all_nodes_report_to_the_coordinator_and_any_tells(self) -> None:
        """The disk, and of each copy what it keeps; again and again."""
        self.clock.advance(FIRST_S)
        self.clock.advance(0.1)
        seen = self.sight(TWO)
        self.assertEqual(set(seen.reports), {ONE, TWO})
        report = seen.reports[TWO]
        self.assertEqual((report.disk_used, report.disk_total), (30, 100))
        self.assertEqual([copy.bytes for copy in report.copies], [7])
        self.disk = (40, 100)
        self.clock.advance(REPORT_S)
        self.clock.advance(0.1)
        self.assertEqual(self.sight(ONE).reports[TWO].disk_used, 40)

    def test_without_a_coordinator_nothing_is_known(self) -> None:
        """Nor where it does not answer."""
        self.told[TWO].coordinator = None
        self.assertEqual(self.sight(TWO), Sight())
        self.told[TWO].coordinator = ONE
        del self.wire.ends[ONE]
        self.assertEqual(self.sight(TWO), Sight())

    def test_a_disk_that_does_not_tell_is_asked_again(self) -> None:
        """One report is missing, the next is not."""
        self.broken = True
        self.clock.advance(FIRST_S)
        self.assertEqual(self.told[ONE].reports, {})
        self.broken = False
        self.clock.advance(REPORT_S)
        self.assertIn(ONE, self.told[ONE].reports)

    def test_who_stops_reports_no_more(self) -> None:
        """Nothing is left on the clock."""
        for each in self.observers.values():
            each.stop()
            each.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

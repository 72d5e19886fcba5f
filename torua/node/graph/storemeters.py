"""What the storage worker tells of itself, as metrics."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from torua.codec import views
from torua.core.ids import AllocId


class StoreMeters:
    """What the worker tells of itself.

    Invariants: gauges have no label of a view that is closed.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare them on ``registry``."""
        labels = ("alloc_id", "graph_id")
        self.lag = Gauge(
            "torua_graph_apply_lag_records",
            "Records that a map was ahead of its graph, when it was last looked at",
            labels,
            registry=registry,
        )
        self.pool = Gauge(
            "torua_graph_pool_used_ratio",
            "How much of the engine's pool is in use",
            labels,
            registry=registry,
        )
        self.rows = Counter(
            "torua_graph_applied_rows",
            "Rows that graphs took up from maps",
            registry=registry,
        )
        self.rebuilds = Counter(
            "torua_graph_rebuilds",
            "Times that a graph was built from its map",
            registry=registry,
        )
        self.checkpoints = Counter(
            "torua_graph_checkpoints",
            "Checkpoints of graph engines",
            registry=registry,
        )
        self.checkpoint_s = Counter(
            "torua_graph_checkpoint_seconds",
            "Time that these took",
            registry=registry,
        )
        self.restarts = Counter(
            "torua_graph_worker_restarts",
            "Times that the storage worker died",
            registry=registry,
        )

    def take(self, report: views.Report) -> None:
        """Take what a view did."""
        labels = (str(report.alloc), str(report.graph_id))
        self.lag.labels(*labels).set(report.lag)
        self.pool.labels(*labels).set(report.pool_share)
        self.rows.inc(report.rows)
        self.rebuilds.inc(report.rebuilds)
        self.checkpoints.inc(report.checkpoints)
        self.checkpoint_s.inc(report.checkpoint_s)

    def forget(self, alloc: AllocId, graphs: Mapping[int, int]) -> None:
        """Drop the gauges of a copy.

        Args:
            alloc: which copy.
            graphs: by the ids of those that were reported.
        """
        for graph_id in graphs:
            for gauge in (self.lag, self.pool):
                gauge.remove(str(alloc), str(graph_id))

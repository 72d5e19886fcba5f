"""What is counted of queries."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from torua.node.graph.budget import Budget

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class QueryMeters:
    """The metrics of this node's statements.

    Invariants: each statement is counted once, when it ends.
    """

    def __init__(self, registry: CollectorRegistry, budget: Budget) -> None:
        """Declare them.

        Args:
            registry: of the node's metrics.
            budget: tells what queries hold.
        """
        self._ended = Counter(
            "torua_queries_ended",
            "Statements that ended, by strategy and outcome (ok, or an error's code)",
            ["strategy", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "torua_queries_seconds",
            "How long statements took that were answered",
            ["strategy"],
            buckets=SECONDS,
            registry=registry,
        )
        self._bytes = Counter(
            "torua_queries_gathered_bytes",
            "Bytes that statements gathered from shards",
            ["strategy"],
            registry=registry,
        )
        self._again = Counter(
            "torua_queries_begun_again",
            "Attempts at statements after the first, by the error that ended the last",
            ["reason"],
            registry=registry,
        )
        held = Gauge(
            "torua_queries_held_bytes",
            "Bytes gathered that are held for statements now",
            registry=registry,
        )
        held.set_function(lambda: budget.held)
        self.running = Gauge(
            "torua_queries_running", "Statements begun and not ended", registry=registry
        )

    def answered(self, strategy: str, seconds: float) -> None:
        """Count a statement that was answered.

        Args:
            strategy: how.
            seconds: how long it took.
        """
        self._ended.labels(strategy, "ok").inc()
        self._seconds.labels(strategy).observe(seconds)

    def failed(self, strategy: str, code: str) -> None:
        """Count a statement that was not.

        Args:
            strategy: how it was to be, as far as known.
            code: of the error.
        """
        self._ended.labels(strategy, code).inc()

    def gathered(self, strategy: str, count: int) -> None:
        """Count bytes that came.

        Args:
            strategy: for which.
            count: how many.
        """
        self._bytes.labels(strategy).inc(count)

    def again(self, reason: str) -> None:
        """Count an attempt that was in vain."""
        self._again.labels(reason).inc()

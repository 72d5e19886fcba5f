"""What the connections between nodes tell the operator: metrics, and log lines."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.codec.frames import Lane

COMPLAINT_INTERVAL_S = 60.0
"""The same complaint about the same host is logged once in so long, always counted."""

COMPLAINTS_MAX = 1024
"""Hosts and reasons remembered; beyond it we may repeat ourselves early."""


class Meters(Collector):
    """The metrics of this room, made once, and cheap to move.

    What moves with every message is a plain number, which the metrics learn of when
    they are looked at.

    Invariants: every label value is one of ours, none comes from the wire.

    Attributes:
        received: bytes, since the metrics were last looked at; the others likewise.
        sent: bytes.
        frames_in: by lane.
        frames_out: by lane.
        answered: requests.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare them."""
        registry.register(self)
        self.received = self.sent = self.answered = 0
        self.frames_in, self.frames_out = [0] * len(Lane), [0] * len(Lane)
        self.connections = Gauge(
            "torua_net_connections", "Established peer connections", registry=registry
        )
        self.queue_bytes = Gauge(
            "torua_net_queue_bytes", "Bytes waiting to be sent", registry=registry
        )
        received = "Bytes received from peers"
        self._received = Counter(
            "torua_net_received_bytes", received, registry=registry
        )
        sent = "Bytes handed to the sockets of peers"
        self._sent = Counter("torua_net_sent_bytes", sent, registry=registry)
        self._frames = Counter(
            "torua_net_frames",
            "Frames by direction and lane",
            ["direction", "lane"],
            registry=registry,
        )
        self.drops = Counter(
            "torua_net_drops",
            "Connections and messages dropped, by reason",
            ["reason"],
            registry=registry,
        )
        self.requests = Counter(
            "torua_net_requests",
            "Requests sent, by outcome: ok, or the code of the error",
            ["outcome"],
            registry=registry,
        )
        self.collect()

    def collect(self) -> list[Metric]:
        """Move the plain numbers to the metrics, which are collected after this."""
        self._received.inc(self.received)
        self._sent.inc(self.sent)
        self.requests.labels("ok").inc(self.answered)
        self.received = self.sent = self.answered = 0
        for way, counts in (("in", self.frames_in), ("out", self.frames_out)):
            for lane in Lane:
                self._frames.labels(way, lane.name.lower()).inc(counts[lane])
                counts[lane] = 0
        return []

    def describe(self) -> list[Metric]:
        """Declare no metric of its own."""
        return []

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what was dropped.

        Args:
            reason: a word of ours.
            count: how many; 0 counts nothing.
        """
        if count:
            self.drops.labels(reason).inc(count)


class Complaints:
    """Says once what keeps going wrong, and counts it every time.

    Invariants: at most one line a `COMPLAINT_INTERVAL_S` for one reason and subject,
    while no more than `COMPLAINTS_MAX` of them are about.
    """

    def __init__(self, clock: IReactorTime, meters: Meters, log: Logger) -> None:
        """Prepare to complain.

        Args:
            clock: tells how long ago a line was logged.
            meters: counts the drops.
            log: where the lines go.
        """
        self._clock = clock
        self._meters = meters
        self._log = log
        self._said: dict[tuple[str, str], float] = {}

    def about(self, subject: str, reason: str, detail: str) -> None:
        """Count a drop, and log it unless that was just said.

        Args:
            subject: whom it is about: a host, or a node.
            reason: a word of ours.
            detail: a sentence for the operator.
        """
        self._meters.drop(reason)
        now = self._clock.seconds()
        said = self._said.get((reason, subject))
        if said is not None and now - said < COMPLAINT_INTERVAL_S:
            return
        if len(self._said) >= COMPLAINTS_MAX:
            self._said.clear()
        self._said[reason, subject] = now
        self._log.warn(
            "peer connection with {subject} dropped ({reason}): {detail}",
            subject=subject,
            reason=reason,
            detail=detail,
        )

"""Who was heard of, and when: the heartbeats' arithmetic, by one clock only.

An answer to a check counts from when the check was *asked*, which the nonce tells; so
an answer that was long under way proves nothing about now.

A coordinator loses a node that misses `MISSES` rounds of checks, or one round where it
was in doubt before: since its connection broke, or, for a new coordinator, since no
voter has heard of it lately.  A round is missed when the next one begins, so that a
pause of this node itself loses nobody.

A node that was heard of, whose connection broke and which refuses another one is
gone: its machine says that the process is no more.  It is lost as soon as it had time
to connect by itself, from wherever it may be by now.
"""

from collections import deque
from collections.abc import Mapping

from torua.core.ids import NodeId

ROUNDS_KEPT = 64
"""Answers to older rounds than these tell nothing that matters."""

MISSES = 3
"""How many rounds a node may miss before it is lost."""

STALE_ROUNDS = 10
"""Who was not heard of for so many rounds was not listened to: that tells nothing."""


class Pulse:
    """What this node heard of others.

    Invariants: times only rise; no time but of those that are gone lies in the future;
    who is gone is in doubt; only the last round that was begun is open.
    """

    def __init__(self, nonce: int) -> None:
        """Have heard of nobody.

        Args:
            nonce: where to count from; random, so that a late answer to an earlier life
                is none to this one.
        """
        self._nonce = nonce
        self._asked: dict[int, float] = {}
        self._answered: dict[NodeId, float] = {}
        self._heard: dict[NodeId, float] = {}
        self._rounds: deque[float] = deque(maxlen=MISSES + 1)
        self._doubted: dict[NodeId, float] = {}
        self._gone: dict[NodeId, float] = {}

    def ask(self, now: float) -> int:
        """Begin a round of checks; return its nonce."""
        self._nonce += 1
        self._asked[self._nonce] = now
        self._asked.pop(self._nonce - ROUNDS_KEPT, None)
        return self._nonce

    def answer(self, node: NodeId, nonce: int) -> bool:
        """Count an answer; False where this life never asked so.

        Args:
            node: who answered.
            nonce: what it echoed.
        """
        asked = self._asked.get(nonce)
        if asked is None:
            return False
        self._answered[node] = max(asked, self._answered.get(node, asked))
        return True

    def answering(self, since: float) -> set[NodeId]:
        """Return who answered a check that was asked at ``since`` or later."""
        return {node for node, asked in self._answered.items() if asked >= since}

    def hear(self, node: NodeId, when: float, slack_s: float = 0.0) -> None:
        """Take note of a sign of life; one that is newer than a doubt ends it.

        Args:
            node: whose.
            when: at what time, in this node's clock.
            slack_s: by how much it may seem too late; none for what was heard here.
        """
        self._heard[node] = max(when, self._heard.get(node, when))
        if when - slack_s > self._doubted.get(node, when):
            del self._doubted[node]
            self._gone.pop(node, None)

    def learn(self, ages: Mapping[NodeId, float], now: float, slack_s: float) -> None:
        """Take note of what another node heard of others, as its `ages` tell.

        What it heard just before it lost them too may seem to be from after this node
        did, for its word was under way.

        Args:
            ages: how many seconds ago it heard of each.
            now: this node's clock.
            slack_s: how long its word may have been under way.
        """
        for node, age in sorted(ages.items()):
            self.hear(node, now - max(0.0, age), slack_s)

    def silence(self, node: NodeId, now: float) -> float:
        """Tell for how many seconds a node has not been heard of; infinite if never.

        Args:
            node: which.
            now: this node's clock.
        """
        return now - self._heard.get(node, float("-inf"))

    def lead(self, now: float, interval: float) -> None:
        """Begin to lose nodes; what others heard of them until now counts.

        Args:
            now: this node's clock.
            interval: how long a round takes, in seconds.
        """
        self._rounds.clear()
        for node, when in self._heard.items():
            if MISSES * interval <= now - when <= STALE_ROUNDS * interval:
                self._doubted.setdefault(node, now)

    def begin_round(self, now: float) -> int:
        """Ask all, as a coordinator; the round before is over.  Return the nonce."""
        self._rounds.append(now)
        return self.ask(now)

    def broke(self, node: NodeId, now: float) -> None:
        """Doubt a node from now on, for the connection with it broke.

        Another that could not be made is no reason to doubt it only since then.

        Args:
            node: which.
            now: this node's clock.
        """
        self._doubted.setdefault(node, now)

    def refused(self, node: NodeId, now: float, grace_s: float) -> float | None:
        """Take a node for gone before long, for it refuses connections.

        One that was never heard of may not have begun to listen yet.

        Args:
            node: which; it is in doubt.
            now: this node's clock.
            grace_s: how long after the doubt began it may yet be heard of.

        Returns:
            From when on it is lost; None where that is known, or it is not.
        """
        if node in self._gone or node not in self._heard:
            return None
        self._gone[node] = max(now, self._doubted[node] + grace_s)
        return self._gone[node]

    def is_gone(self, node: NodeId, now: float) -> bool:
        """Tell whether a node refuses connections, and was not heard of in time since.

        Args:
            node: which.
            now: this node's clock.
        """
        return self._gone.get(node, float("inf")) <= now

    def is_lost(self, node: NodeId, now: float) -> bool:
        """Tell whether a node is gone, or missed too many of a coordinator's rounds.

        Args:
            node: which.
            now: this node's clock.
        """
        if self.is_gone(node, now):
            return True
        answered = self._answered.get(node)
        over = list(self._rounds)[:-1]
        missed = [asked for asked in over if answered is None or asked > answered]
        doubted = self._doubted.get(node)
        if doubted is not None and any(asked >= doubted for asked in missed):
            return True
        return len(missed) >= MISSES

    def heard(self, since: float) -> set[NodeId]:
        """Return who gave a sign of life at ``since`` or later."""
        return {node for node, when in self._heard.items() if when >= since}

    def ages(self, now: float) -> dict[NodeId, float]:
        """Return how many seconds ago each node was heard of."""
        return {node: now - when for node, when in sorted(self._heard.items())}

"""Who was heard of, and when: the heartbeats' arithmetic, by one clock only.

An answer to a check counts from when the check was *asked*, which the nonce tells; so
an answer that was long under way proves nothing about now.
"""

from torua.core.ids import NodeId

ROUNDS_KEPT = 64
"""Answers to older rounds than these tell nothing that matters."""


class Pulse:
    """What this node heard of others.

    Invariants: times only rise; no time lies in the future.
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

    def hear(self, node: NodeId, when: float) -> None:
        """Take note of a sign of life.

        Args:
            node: whose.
            when: at what time, in this node's clock.
        """
        self._heard[node] = max(when, self._heard.get(node, when))

    def heard(self, since: float) -> set[NodeId]:
        """Return who gave a sign of life at ``since`` or later."""
        return {node for node, when in self._heard.items() if when >= since}

    def ages(self, now: float) -> dict[NodeId, float]:
        """Return how many seconds ago each node was heard of."""
        return {node: now - when for node, when in sorted(self._heard.items())}

"""Tests for `torua.node.requests`: a number is of one request only."""

from twisted.internet.task import Clock

from torua.core.ids import ShardId
from torua.core.replication.messages import Reply
from torua.node.requests import Requests


def test_a_late_proof_of_a_copy_that_was_closed_proves_nothing_of_the_next() -> None:
    """Its nonce was sent before the next one's value was taken (R22)."""
    before, now = (Requests(Clock(), ShardId(1)) for _ in range(2))
    late, _ = before.proof(1.0)
    before.end("the copy is closed")
    request, waiting = now.proof(1.0)
    assert request != late
    now.answer(Reply(late, ()))
    assert not waiting.called
    now.answer(Reply(request, ()))
    assert waiting.called

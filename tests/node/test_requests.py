"""Tests for `torua.node.requests`: a number is of one request only."""

from twisted.internet.task import Clock

from torua.core.ids import ShardId
from torua.core.replication.messages import Reply
from torua.errors import OutcomeUnknownError
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


def test_who_cannot_be_told_keeps_no_other_from_being_told() -> None:
    """The machine goes on to the next output, whatever became of the last."""
    requests, told = Requests(Clock(), ShardId(1)), list[object]()

    def breaks(found: object) -> None:
        """Fail at being told."""
        raise KeyError(str(found))

    first, second = requests.write(1.0, breaks), requests.write(1.0, told.append)
    requests.answer(Reply(first, ()))
    requests.answer(Reply(second, ()))
    assert told == [()]


def test_all_who_wait_are_told_of_an_end_once() -> None:
    """What comes after it is too late, the time-out too."""
    clock = Clock()
    requests, told = Requests(clock, ShardId(1)), list[object]()
    number = requests.write(1.0, told.append)
    requests.end("the copy is closed")
    requests.answer(Reply(number, ()))
    clock.advance(2.0)
    (error,) = told
    assert isinstance(error, OutcomeUnknownError)

"""Batches that come again after their shard was split (R11)."""

from collections.abc import Sequence

import pytest

from tests.core.replication.desk import DictMap, MsgpackAnswers
from torua.core.ids import AllocId, ShardId
from torua.core.kv import IdempotencyKey, Operation, Put, portion_key
from torua.core.records import Answered
from torua.core.replication.batch import split
from torua.core.replication.judge import Judge
from torua.core.replication.messages import Reign, Write
from torua.core.replication.tip import Position, Tip

PUTS = tuple(Put(b"k%d" % number, b"v") for number in range(6))


class Desk:
    """A judge with an empty tip, and what was answered elsewhere.

    Invariants: what it judged is in ``tip``.
    """

    def __init__(self, answers: Sequence[Answered] = ()) -> None:
        """Begin.

        Args:
            answers: what the shard knows that it came from.
        """
        view = DictMap()
        view.answers = {each.key: each for each in answers}
        self.tip = Tip(view, Position())
        reign = Reign(ShardId(0), AllocId("a"), 1, 0, 0)
        self.judge = Judge(reign, self.tip, view, MsgpackAnswers())

    def ask(
        self, places: Sequence[int], number: int = 0, *, named: bool = True
    ) -> list[int | None]:
        """Ask for some of the puts; return the versions that are told.

        Args:
            places: which of them.
            number: of the portion that they are.
            named: whether their places are told.
        """
        tags = tuple(places) if named else ()
        key = IdempotencyKey(portion_key("POST /bulk k", number), b"f", tags)
        operations: tuple[Operation, ...] = tuple(PUTS[place] for place in places)
        write = Write(1, operations, 5, key)
        parts = split(operations, True)
        outcomes = self.judge.judge(write, parts, parted=True).outcomes
        return [outcome.version for outcome in outcomes]

    def answered(self) -> list[Answered]:
        """Return what its records settle."""
        return [each.answered for each in self.tip.since(1) if each.answered]


@pytest.mark.parametrize("named", [True, False])
def test_a_part_of_a_batch_finds_what_it_was_answered(named: bool) -> None:
    """Nothing is done twice, and each operation gets its own answer."""
    before = Desk()
    assert before.ask([0, 1, 2], named=named) == [1, 1, 1]
    after = Desk(before.answered())
    assert after.ask([1, 2], named=named) == [1, 1]
    assert len(after.tip) == 0


def test_what_was_not_done_is_done_now() -> None:
    """It stands under a name of its own, and is found again."""
    before = Desk()
    before.ask([0, 1])
    after = Desk(before.answered())
    assert after.ask([1, 4]) == [1, 1]
    assert len(after.tip) == 1
    again = Desk([*before.answered(), *after.answered()])
    assert again.ask([1, 4]) == [1, 1]
    assert len(again.tip) == 0


def test_what_was_in_another_portion_is_found() -> None:
    """A shard that has fewer of the operations has them in other portions."""
    before = Desk()
    before.ask([0, 1], 0)
    before.ask([2, 3], 1)
    after = Desk(before.answered())
    assert after.ask([1, 3], 0) == [1, 2]
    assert len(after.tip) == 0

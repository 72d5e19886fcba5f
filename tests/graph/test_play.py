"""Plays show what differs, and nothing else."""

from collections import Counter
from random import Random

import pytest

from tests.graph import world
from tests.graph.answers import Answer, difference, plain
from tests.graph.dice import Dice, shrink
from tests.graph.oracle import Oracle
from tests.graph.play import compared, play, smaller, steps_of
from tests.graph.reading import read
from tests.graph.shuffled import Shuffled
from tests.graph.statements import Statement
from tests.graph.theatre import perform

READ = Statement("MATCH (n) RETURN n", {})


class Forgetful(Shuffled):
    """It leaves out a row of each answer that has several.

    Invariants: as `Shuffled`'s.
    """

    def run(self, statement: Statement) -> Answer:
        """Run a statement, and forget."""
        answer = super().run(statement)
        rows = answer.rows[1:] if len(answer.rows) > 1 else answer.rows
        return Answer(answer.columns, rows, answer.error)


def test_statements_do_not_depend_on_the_order_of_rows() -> None:
    """Two engines filled in different orders agree on every statement of a play."""
    season = perform([1, 2], 25, Shuffled)
    assert season.found == []
    assert season.crashes == []
    assert season.statements == 50


def test_a_row_too_few_is_found_and_made_smaller() -> None:
    """What a play finds is one short statement in the end."""
    found = play(3, 40, Forgetful).found
    assert found is not None
    small = smaller(found, Forgetful)
    assert len(small.steps) == 1
    assert "only one engine" in small.told
    assert len(small.steps[0].statement().text) < 80, str(small)


def test_the_same_choices_make_the_same_statement() -> None:
    """What was drawn can be drawn again."""
    for step in steps_of(5, 20):
        assert step.statement() == step.statement()


def test_no_choices_at_all_make_the_simplest_statement() -> None:
    """Every choice falls back to the first option."""
    statement = read(Dice([]))
    assert statement.text.startswith("MATCH (n1:Person)")


def test_shrinking_keeps_what_fails() -> None:
    """It ends with the one choice that matters, as low as it may be."""
    assert shrink([5, 9, 30, 2], lambda some: max(some, default=0) > 7, 500) == [8]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (((1,), (2,)), ((2,), (1,))),
        (((1.0,),), ((1,),)),
        (((0.1 + 0.2,),), ((0.3,),)),
    ],
)
def test_answers_that_are_equal(
    left: tuple[tuple[object]], right: tuple[tuple[object]]
) -> None:
    """Neither order nor the spelling of a number makes a difference.

    Args:
        left: rows.
        right: the same.
    """
    pair = [
        Answer(("c",), tuple(tuple(map(plain, row)) for row in rows))
        for rows in (left, right)
    ]
    assert difference(READ, *pair) == ""


@pytest.mark.parametrize(
    "other",
    [
        Answer(("c",), ((1,),)),
        Answer(("d",), ((1,), (2,))),
        Answer(("c",), ((1,), (1,))),
        Answer(error="no"),
    ],
)
def test_answers_that_differ(other: Answer) -> None:
    """A row less, another name, another multiplicity, an error."""
    assert difference(READ, Answer(("c",), ((1,), (2,))), other) != ""


def test_order_counts_where_it_is_defined() -> None:
    """Rows under ORDER BY are one list."""
    ordered = Statement("…", ordered=True)
    one, two = Answer(("c",), ((1,), (2,))), Answer(("c",), ((2,), (1,)))
    assert "order" in difference(ordered, one, two)


def test_an_error_on_both_sides_is_no_difference() -> None:
    """Messages differ; that there is one does not."""
    assert difference(READ, Answer(error="a"), Answer(error="b")) == ""


def test_a_write_is_compared_by_what_is_there_afterwards() -> None:
    """A write that only one side did is told by its row."""

    class Idle(Shuffled):
        """It does nothing at all.

        Invariants: as `Shuffled`'s.
        """

        def run(self, statement: Statement) -> Answer:
            """Do nothing."""
            return Answer()

    content = world.content(Random(1))
    oracle, idle = Oracle(world.shape()), Idle(world.shape(), content)
    oracle.load(dict(content.nodes), dict(content.rels))
    statement = Statement("CREATE (:Thing {id: 99})", write=True)
    assert "99" in compared(statement, oracle, idle, Counter())
    oracle.close()
    idle.close()

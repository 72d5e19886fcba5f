"""Plays: statements one after the other, on one engine and on shards, compared.

A play is made of a seed: what the tables hold in the beginning, and statements.  A
statement depends on its own choices only, so a play that fails is made smaller by
leaving statements out, and then by making the last one smaller.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Protocol

from msgspec import Struct, structs

from tests.graph import world
from tests.graph.answers import Answer, difference
from tests.graph.dice import Dice, shrink
from tests.graph.oracle import Oracle, Shape, State, changed_in
from tests.graph.reading import read
from tests.graph.shards import OneShard
from tests.graph.shuffled import Shuffled
from tests.graph.statements import Statement
from tests.graph.world import Content
from tests.graph.writing import write
from torua.core.ids import ShardId

WRITES_PERCENT = 40
ORDERS = 4
SHRINKING = 60
"""So many attempts at most: each builds both sides anew."""


class Subject(Protocol):
    """What is compared with one engine."""

    def run(self, statement: Statement) -> Answer:
        """Run a statement; an error is an answer, too."""

    def state(self) -> State:
        """Return all that it holds, as `Oracle.state` does."""

    def verify(self) -> list[ShardId]:
        """List the shards whose engine is not what the map says."""

    def close(self) -> None:
        """Let go of what it holds."""


Subjects = Callable[[Shape, Content], Subject]
"""How to make one, filled."""

Telling = Callable[[str, Statement], None]

ONE_ENGINE = "one engine"
"""Who runs a statement first."""


class Step(Struct, frozen=True):
    """One statement of a play, as the choices that make it."""

    choices: tuple[int, ...]
    write: bool

    def statement(self) -> Statement:
        """Make it."""
        dice = Dice(self.choices)
        return write(dice) if self.write else read(dice)


class Found(Struct, frozen=True):
    """A difference, and the steps that lead to it."""

    seed: int
    steps: tuple[Step, ...]
    told: str

    def __str__(self) -> str:
        """Spell a report."""
        lines = [f"seed {self.seed}, after {len(self.steps) - 1} statements:"]
        for step in self.steps:
            statement = step.statement()
            lines.append(f"  {statement.text}")
            if statement.parameters:
                lines.append(f"    with {statement.parameters}")
        return "\n".join([*lines, self.told])


class Played(Struct):
    """What happened in a play.

    Invariants: ``counts`` sums up to all statements that were compared.

    Attributes:
        counts: of the statements, by kind.
        found: the first difference.
        undefined: reads that one engine answers otherwise when its tables are filled in
            another order: its own bugs.
    """

    counts: Counter[str]
    found: Found | None = None
    undefined: list[str] = []


def steps_of(seed: int, count: int) -> list[Step]:
    """Draw the steps of a play.

    Args:
        seed: of the play.
        count: how many.
    """
    chance = Random(f"steps of {seed}")
    steps = []
    for _ in range(count):
        writes = chance.random() * 100 < WRITES_PERCENT
        dice = Dice(chance)
        (write if writes else read)(dice)
        steps.append(Step(tuple(dice.drawn), writes))
    return steps


def play(
    seed: int,
    count: int,
    subjects: Subjects,
    told: Telling = lambda who, statement: None,
) -> Played:
    """Play so many statements, up to the first difference.

    Args:
        seed: of the play.
        count: how many.
        subjects: makes what is compared.
        told: is told who runs which statement, before it does.
    """
    steps = steps_of(seed, count)
    played = Played(Counter())
    for place, text in _differences(seed, steps, subjects, played.counts, told):
        here = tuple(steps[: place + 1])
        if not is_undefined(seed, here):
            return structs.replace(played, found=Found(seed, here, text))
        played.undefined.append(steps[place].statement().text)
    return played


def is_undefined(seed: int, steps: Sequence[Step]) -> bool:
    """Tell whether engines that hold the same do not agree on the last step.

    Args:
        seed: of the play.
        steps: the last one is a read, or the answer is no.
    """
    *before, last = steps
    if last.write:
        return False
    content, shape = world.content(Random(f"content of {seed}")), world.shape()
    statement, answers = last.statement(), []
    for order in range(ORDERS):
        engine = Shuffled(shape, content, order)
        for step in before:
            if step.write:
                engine.run(step.statement())
        answers.append(engine.run(statement))
        engine.close()
    return any(difference(statement, answers[0], each) for each in answers[1:])


def smaller(
    found: Found,
    subjects: Subjects,
    told: Telling = lambda who, statement: None,
) -> Found:
    """Return a play with fewer statements, and a smaller last one, that fails still.

    Args:
        found: it fails.
        subjects: makes what is compared.
        told: see `play`.
    """
    best = found

    def fails(steps: Sequence[Step]) -> bool:
        """Tell whether the last of some steps differs still; then keep them."""
        nonlocal best
        for place, text in _differences(found.seed, steps, subjects, Counter(), told):
            if place == len(steps) - 1:
                best = Found(found.seed, tuple(steps), text)
                return True
            return False
        return False

    last = found.steps[-1]
    if not fails([last]):
        size = len(best.steps) - 1
        while size:
            for start in range(0, len(best.steps) - 1, size):
                fails((*best.steps[:start], *best.steps[start + size : -1], last))
            size //= 2
    before = best.steps[:-1]

    def still(choices: Sequence[int]) -> bool:
        """Tell whether other choices for the last step differ."""
        return fails((*before, Step(tuple(choices), last.write)))

    shrink(last.choices, still, SHRINKING)
    return best


def _differences(
    seed: int,
    steps: Sequence[Step],
    subjects: Subjects,
    counts: Counter[str],
    told: Telling = lambda who, statement: None,
) -> Iterator[tuple[int, str]]:
    """Yield the place of each step that differs, and how."""
    content = world.content(Random(f"content of {seed}"))
    shape = world.shape()
    oracle = Oracle(shape, main=subjects is not OneShard)
    oracle.load(dict(content.nodes), dict(content.rels))
    subject = subjects(shape, content)
    try:
        for place, step in enumerate(steps):
            statement = step.statement()
            text = compared(statement, oracle, subject, counts, told)
            if not text and place == len(steps) - 1 and (wrong := subject.verify()):
                text = f"engines differ from their maps: shards {wrong}"
            if text:
                yield place, text
    finally:
        oracle.close()
        subject.close()


def compared(
    statement: Statement,
    oracle: Oracle,
    subject: Subject,
    counts: Counter[str],
    told: Telling = lambda who, statement: None,
) -> str:
    """Run a statement on both sides; tell how they differ, empty if they do not.

    Args:
        statement: to run.
        oracle: one engine.
        subject: the other side.
        counts: gets what was compared, by strategy.
        told: see `play`.
    """
    told(ONE_ENGINE, statement)
    expected = oracle.run(statement)
    told("shards", statement)
    found = subject.run(statement)
    kind = "write" if statement.write else "read"
    counts[f"{kind} error" if expected.error else f"{kind} {found.strategy}"] += 1
    text = difference(statement, expected, found)
    if statement.write and not text:
        text = changed_in(oracle.state(), subject.state())
    return f"{text}\n  by {found.strategy or 'one engine'}" if text else ""

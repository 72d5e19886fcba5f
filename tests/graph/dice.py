"""Choices that are written down, so that what they made can be made again, smaller.

A statement is a function of the choices that its grammar asked for.  To make a failing
statement smaller is to make its list of choices shorter or lower, as hypothesis does:
every choice falls back to the first option, and the grammars put the simplest first.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws for a grammar.

    Invariants: ``drawn`` holds all that was drawn, each as the number of the option.
    """

    def __init__(self, source: Random | Sequence[int]) -> None:
        """Draw from a source of chance, or as was written down, then always 0."""
        self._random = source if isinstance(source, Random) else None
        self._given = [] if isinstance(source, Random) else list(source)
        self.drawn: list[int] = []

    def below(self, count: int) -> int:
        """Draw a number from 0 to ``count`` less one."""
        if self._random is not None:
            number = self._random.randrange(count)
        else:
            place = len(self.drawn)
            given = self._given[place] if place < len(self._given) else 0
            number = min(given, count - 1)
        self.drawn.append(number)
        return number

    def of(self, options: Sequence[T]) -> T:
        """Draw one option; the first is the simplest."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """Tell yes in so many cases of a hundred; no is the simpler one."""
        return self.below(100) >= 100 - percent

    def some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """Draw several different options, in the order given.

        Args:
            options: to draw from.
            least: so many at least.
            most: so many at most, or as many as there are.
        """
        most = min(most, len(options))
        count = least + self.below(most - least + 1) if most > least else most
        left = list(range(len(options)))
        picked = sorted(left.pop(self.below(len(left))) for _ in range(count))
        return [options[place] for place in picked]


def shrink(
    choices: Sequence[int], fails: Callable[[Sequence[int]], bool], attempts: int
) -> list[int]:
    """Return a shorter or lower list of choices that fails still.

    Args:
        choices: they fail.
        fails: tells whether others do.
        attempts: how many to try at most.
    """
    best = list(choices)
    better = True
    while better and attempts > 0:
        better = False
        for candidate in _smaller(best):
            attempts -= 1
            if attempts < 0:
                break
            if fails(candidate):
                best, better = list(candidate), True
                break
    return best


def _smaller(choices: list[int]) -> Iterator[list[int]]:
    """Yield lists that are shorter, then such that are lower."""
    size = len(choices)
    while size:
        for start in range(0, len(choices), size):
            yield choices[:start] + choices[start + size :]
        size //= 2
    for size in (16, 8, 4, 2, 1):
        for start in range(0, len(choices), size):
            if any(choices[start : start + size]):
                zeros = [0] * len(choices[start : start + size])
                yield choices[:start] + zeros + choices[start + size :]
    for place, choice in enumerate(choices):
        for lower in {choice // 2, choice - 1} - {choice, -1, 0}:
            yield [*choices[:place], lower, *choices[place + 1 :]]

"""Plays in a process of their own: an engine that crashes must not take us along.

A crash while one engine alone runs a statement is the engine's, not ours: it ends the
play, is counted, and is no difference.
"""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from msgspec import Struct

from tests.graph.play import ONE_ENGINE, Subjects, play, smaller
from tests.graph.statements import Statement

START_S = 120.0
"""How long nothing may come: a statement has its own time-out far below."""


class Season(Struct):
    """What came of many plays.

    Invariants: ``plays`` counts those that ended, however they did.

    Attributes:
        counts: statements compared, by kind.
        found: reports of differences.
        crashes: statements that one engine alone crashed at.
        undefined: see `Played`.
    """

    counts: Counter[str]
    found: list[str]
    crashes: list[str]
    undefined: list[str]
    plays: int = 0

    @property
    def statements(self) -> int:
        """How many statements were compared."""
        return sum(self.counts.values())


def perform(
    seeds: Sequence[int],
    count: int,
    subjects: Subjects,
    say: Callable[[str], None] = lambda text: None,
) -> Season:
    """Play one play a seed.

    Args:
        seeds: of the plays.
        count: how many statements each has.
        subjects: makes what is compared; importable by name.
        say: is told what was found, when it was.
    """
    season = Season(Counter(), [], [], [])
    left = list(seeds)
    context = multiprocessing.get_context("spawn")
    while left:
        ours, theirs = context.Pipe()
        process = context.Process(target=_stage, args=(left, count, subjects, theirs))
        process.start()
        theirs.close()
        _watch(ours, season, left, say)
        process.join()
    return season


def _watch(
    ours: Connection, season: Season, left: list[int], say: Callable[[str], None]
) -> None:
    """Follow one process to its end, or to its crash."""
    last = ("", "")
    while left:
        try:
            if not ours.poll(START_S):
                raise EOFError
            event, what, more = ours.recv()
        except EOFError:
            report = f"seed {left.pop(0)}: crashed or hung at {last}"
            season.plays += 1
            (season.crashes if last[0] == ONE_ENGINE else season.found).append(report)
            say(report)
            return
        if event != "played":
            last = (event, what)
            continue
        left.pop(0)
        season.plays += 1
        counts, undefined = more
        season.counts += counts
        season.undefined += undefined
        if what:
            season.found.append(what)
            say(what)


def _stage(
    seeds: Sequence[int], count: int, subjects: Subjects, pipe: Connection
) -> None:
    """Play, and tell what happens."""

    def tell(who: str, statement: Statement) -> None:
        """Tell who runs what.

        Args:
            who: one engine, or shards.
            statement: that is run next.
        """
        pipe.send((who, statement.text, None))

    for seed in seeds:
        played = play(seed, count, subjects, tell)
        found = smaller(played.found, subjects, tell) if played.found else None
        told = (played.counts, played.undefined)
        pipe.send(("played", str(found) if found else "", told))

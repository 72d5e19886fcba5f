"""Plays seeds of scenarios: ``python -m tests.simulation --seeds 300``.

A seed that breaks a rule is told with the end of its trace, and how to play it again.
"""

import argparse
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from time import perf_counter

from msgspec import Struct

from tests.simulation.scenarios import SCENARIOS, cluster_of, play

TRACE_LINES = 40


class Result(Struct, frozen=True):
    """What became of one seed.

    Attributes:
        name: of the scenario.
        seed: which.
        events: how many there were.
        seconds: how much time passed in it.
        took_s: how long that took.
        requests: how many requests of clients were answered.
        digest: of its trace.
        broken: the rule and the facts; empty where all is well.
        trace: its end, where it broke a rule.
    """

    name: str
    seed: int
    events: int
    seconds: float
    took_s: float
    requests: int
    digest: str
    broken: str = ""
    trace: tuple[str, ...] = ()


def run(task: tuple[str, int]) -> Result:
    """Play one seed.

    Args:
        task: the scenario and the seed.
    """
    name, seed = task
    start = perf_counter()
    cluster = cluster_of(name, seed)
    broken = ""
    trace: tuple[str, ...] = ()
    try:
        play(name, cluster)
    except Exception as error:
        broken = f"{type(error).__name__}: {error}"
        trace = tuple(cluster.world.recent)[-TRACE_LINES:]
    return Result(
        name,
        seed,
        cluster.world.events,
        cluster.world.now,
        perf_counter() - start,
        sum(client.done for client in cluster.clients),
        cluster.world.digest(),
        broken,
        trace,
    )


def results(tasks: list[tuple[str, int]], jobs: int) -> Iterator[Result]:
    """Play seeds, and yield what became of them.

    Args:
        tasks: scenarios and seeds.
        jobs: how many processes play.
    """
    if jobs == 1 or len(tasks) == 1:
        yield from map(run, tasks)
        return
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, tasks, chunksize=4)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tox -e sim --", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds")
    parser.add_argument("--seed", type=int, help="one seed only, with its trace")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    names = ["all", *SCENARIOS]
    parser.add_argument("--scenario", choices=names, default="all")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes")
    return parser.parse_args(arguments)


def tell(result: Result) -> None:
    """Print what broke in a seed, and how to play it again."""
    print(f"\n{result.name}, seed {result.seed}: {result.broken}")
    print("\n".join(f"    {line[:300]}" for line in result.trace))
    print(f"  again: tox -e sim -- --scenario {result.name} --seed {result.seed}")


def main(arguments: list[str]) -> int:
    """Play what was asked for, and return the exit code.

    Args:
        arguments: of the command line.
    """
    options = parsed(arguments)
    names = list(SCENARIOS) if options.scenario == "all" else [options.scenario]
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        tasks = [(name, options.seed) for name in names]
    elif options.scenario == "all":
        tasks = [(names[seed % len(names)], seed) for seed in seeds]
    else:
        tasks = [(options.scenario, seed) for seed in seeds]
    start = perf_counter()
    done = []
    try:
        for result in results(tasks, options.jobs):
            done.append(result)
            if result.broken:
                tell(result)
    except KeyboardInterrupt:
        print("interrupted")
    summarize(done, perf_counter() - start)
    return int(any(result.broken for result in done))


def summarize(done: list[Result], took_s: float) -> None:
    """Print how many there were, and how fast.

    Args:
        done: all results.
        took_s: by the clock on the wall.
    """
    if not done:
        return
    events = sum(result.events for result in done)
    seconds = sum(result.seconds for result in done)
    busy_s = sum(result.took_s for result in done)
    requests = sum(result.requests for result in done)
    broken = sum(bool(result.broken) for result in done)
    print(
        f"{len(done)} seeds, {broken} broken; {events} events, {requests} requests "
        f"answered, {seconds:.0f} simulated seconds in {took_s:.1f} s; "
        f"{events / busy_s:.0f} events/s and {seconds / busy_s:.0f} simulated "
        f"seconds/s a process"
    )
    if len(done) == 1:
        print(f"trace {done[0].digest}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Plays for longer: ``python -m tests.graph --statements 2000 --seed 1``."""

import argparse
import sys
import time

from tests.graph.play import Subjects
from tests.graph.shards import FourShards, OneShard
from tests.graph.shuffled import Shuffled
from tests.graph.theatre import perform

SUBJECTS: dict[str, Subjects] = {
    "shards": FourShards,
    "single": OneShard,
    "engine": Shuffled,
}


def main() -> int:
    """Play, and print what was found.

    What it returns is the process's: 1 where something differs.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.graph", description=__doc__)
    parser.add_argument("--statements", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="of the first play")
    parser.add_argument("--length", type=int, default=50, help="statements of a play")
    parser.add_argument("--subject", choices=SUBJECTS, default="shards")
    options = parser.parse_args()
    plays = -(-options.statements // options.length)
    began = time.monotonic()
    season = perform(
        range(options.seed, options.seed + plays),
        options.length,
        SUBJECTS[options.subject],
        lambda text: print(text, flush=True),
    )
    for kind, count in sorted(season.counts.items()):
        print(f"{count:6} {kind}")
    for text in season.undefined:
        print(f"undefined: {text}")
    print(
        f"{season.statements} statements in {season.plays} plays,"
        f" {time.monotonic() - began:.0f} s: {len(season.found)} differences,"
        f" {len(season.crashes)} crashes of one engine"
    )
    return len(season.found)


if __name__ == "__main__":
    sys.exit(min(main(), 1))

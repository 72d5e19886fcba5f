"""Measure a cluster on this machine: ``python benchmarks/suite.py``.

It runs the parts one after the other, each with clusters of its own, and writes what
it measured as a section of ``docs/benchmarks.md``; sections of parts that did not run
stay as they are, and so does that of one that fails, which is told at the end.  All of
it takes some ten minutes, ``--quick`` some four; ``--only bulk,kill`` runs some
parts.  The machine should have nothing else to do.
"""

import argparse
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import etcd
import footprint
import pace
import psutil
import slow
import throughput
from rig import Effort, note

Part = Callable[[Effort], str]

PARTS: dict[str, tuple[str, Part]] = {
    "etcd": ("Side by side with etcd", etcd.side_by_side),
    "copies": ("Single requests", throughput.copies),
    "nodes": ("One, three and five nodes", throughput.nodes),
    "bulk": ("Bulk requests", throughput.bulk),
    "sizes": ("By the size of values", throughput.sizes),
    "latency": ("Latency by offered load", pace.latency),
    "kill": ("While a node is killed and comes back", pace.kill),
    "slow": ("A slow copy, and a dead node", slow.slow),
    "overload": ("Ten times too much", pace.overload),
    "beside": ("Small reads in bad company", pace.beside),
    "memory": ("Memory and starting", footprint.memory),
    "recovery": ("Recovery by what was written", footprint.recovery),
}

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = """# Benchmarks

Written by `python benchmarks/suite.py`; each section tells when and where it was
measured. Nodes and the generator of the load share the machine. *A processor's second*
divides by the processor time of all nodes together, without the generator's; latencies
are those of requests that succeeded.
"""


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a first look, 4 minutes")
    parser.add_argument("--only", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--into", type=Path, default=DOCS / "benchmarks.md")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    charts = given.into.parent / given.into.stem
    effort = Effort(
        seconds=1.5 if given.quick else 5.0,
        rounds=2 if given.quick else 3,
        keys=10_000,
        quick=given.quick,
        charts=charts,
    )
    failed = [name for name in names if not run(name, effort, given.into)]
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def run(name: str, effort: Effort, page: Path) -> bool:
    """Measure one part, and write its section; False where it failed.

    The parts behind it are measured all the same, and the page keeps what it had.

    Args:
        name: of the part.
        effort: how much of it.
        page: where to write.
    """
    title, part = PARTS[name]
    note(title)
    head = f"## {title}\n\n{circumstances(effort.quick, name)}"
    try:
        section = f"{head}\n\n{part(effort)}\n"
    except Exception:
        traceback.print_exc()
        return False
    print(f"\n{section}", flush=True)
    write(page, title, section)
    return True


def circumstances(quick: bool, name: str) -> str:
    """Tell how, when and where a part is measured."""
    command = f"`python benchmarks/suite.py{' --quick' * quick} --only {name}`"
    when = time.strftime("%Y-%m-%d %H:%M")
    busy = os.getloadavg()[0]
    return (
        f"{command}, {when}, Python {platform.python_version()},"
        f" {psutil.cpu_count()} processors ({processor()}), load before: {busy:.1f}."
    )


def processor() -> str:
    """Name the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(page: Path, title: str, section: str) -> None:
    """Put a section into the page, in the place of the one of that title.

    Args:
        page: made where there is none.
        title: of the section.
        section: all of it.
    """
    found = dict(sections(page.read_text())) if page.exists() else {}
    found[title] = section
    order = [title for title, _ in PARTS.values()]
    known = [found[each] for each in order if each in found]
    page.write_text("\n".join([INTRODUCTION, *known]))


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Take a page apart into titles and sections."""
    for part in text.split("\n## ")[1:]:
        yield part.partition("\n")[0], f"## {part.rstrip()}\n"


if __name__ == "__main__":
    main()

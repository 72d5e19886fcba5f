"""Make the small social network that ships with the package, out of the whole one.

    python benchmarks/sample.py DIRECTORY-OF-THE-WHOLE torua/cli/samples/social

It takes the persons that can be reached first from one of them, with all that they are
connected to, so that every relationship has both of its ends.
"""

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

PERSONS = 180
FIRST = "933"
FORUMS_EACH = 4
TAGS_EACH = 8

Rows = list[list[str]]


def main(source: Path, target: Path) -> None:
    """Make it.

    Args:
        source: the whole network.
        target: where the small one goes.
    """
    files = {path.stem: read(path) for path in sorted(source.glob("*.csv"))}
    keep = reach(files)
    for name, rows in files.items():
        parts = name.split("_")
        ends = (parts[0], parts[2]) if len(parts) > 1 else (parts[0],)
        kept = [
            row
            for row in rows[1:]
            if all(row[i] in keep[end] for i, end in enumerate(ends))
        ]
        limit = {"Forum_hasTag_Tag": TAGS_EACH, "Person_hasInterest_Tag": TAGS_EACH}
        write(target / f"{name}.csv", [rows[0], *first(kept, limit.get(name, 1 << 30))])


def reach(files: dict[str, Rows]) -> dict[str, set[str]]:
    """Choose the nodes of each table.

    Args:
        files: all rows by the names of their files.
    """
    keep: dict[str, set[str]] = {"Person": persons(files)}
    keep["Forum"] = of(files, "Forum_hasModerator_Person", 0, keep["Person"], 1)
    keep["Organisation"] = set()
    for name in ("Person_studyAt_Organisation", "Person_workAt_Organisation"):
        keep["Organisation"] |= of(files, name, 1, keep["Person"], 0)
    keep["Place"] = of(files, "Person_isLocatedIn_Place", 1, keep["Person"], 0)
    keep["Place"] |= of(
        files, "Organisation_isLocatedIn_Place", 1, keep["Organisation"], 0
    )
    grow(keep["Place"], files["Place_isPartOf_Place"])
    tags = [
        *first(some(files, "Person_hasInterest_Tag", keep["Person"]), TAGS_EACH),
        *first(some(files, "Forum_hasTag_Tag", keep["Forum"]), TAGS_EACH),
    ]
    keep["Tag"] = {row[1] for row in tags}
    keep["TagClass"] = of(files, "Tag_hasType_TagClass", 1, keep["Tag"], 0)
    grow(keep["TagClass"], files["TagClass_isSubclassOf_TagClass"])
    return keep


def persons(files: dict[str, Rows]) -> set[str]:
    """Choose the persons that are reached first."""
    friends: dict[str, list[str]] = {}
    for name, rows in files.items():
        if name.startswith("Person_knows_Person"):
            for row in rows[1:]:
                friends.setdefault(row[0], []).append(row[1])
                friends.setdefault(row[1], []).append(row[0])
    found, place = [FIRST], 0
    while place < len(found) and len(found) < PERSONS:
        for friend in friends.get(found[place], []):
            if friend not in found and len(found) < PERSONS:
                found.append(friend)
        place += 1
    return set(found)


def of(
    files: dict[str, Rows], name: str, wanted: int, known: set[str], by: int
) -> set[str]:
    """Return one end of the relationships whose other end is known.

    Args:
        files: all rows.
        name: whose relationships.
        wanted: which end: 0 or 1.
        known: keys of the other.
        by: which end that is.
    """
    rows = [row for row in files[name][1:] if row[by] in known]
    if name == "Forum_hasModerator_Person":
        rows = first(rows, FORUMS_EACH, by=lambda row: row[1])
    return {row[wanted] for row in rows}


def some(files: dict[str, Rows], name: str, known: set[str]) -> Rows:
    """Return the relationships that go from known nodes.

    Args:
        files: all rows.
        name: whose relationships.
        known: keys.
    """
    return [row for row in files[name][1:] if row[0] in known]


def first(
    rows: Iterable[list[str]],
    limit: int,
    by: Callable[[list[str]], str] = lambda row: row[0],
) -> Rows:
    """Return the first rows of each node.

    Args:
        rows: in order.
        limit: so many of each.
        by: tells of which node a row is.
    """
    counts: dict[str, int] = {}
    kept = []
    for row in rows:
        counts[by(row)] = counts.get(by(row), 0) + 1
        if counts[by(row)] <= limit:
            kept.append(row)
    return kept


def grow(keep: set[str], rows: Rows) -> None:
    """Add what nodes are part of, up to the top."""
    above = {row[0]: row[1] for row in rows[1:]}
    for key in sorted(keep):
        while key in above:
            key = above[key]  # noqa: PLW2901
            keep.add(key)


def read(path: Path) -> Rows:
    """Read a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))


def write(path: Path, rows: Rows) -> None:
    """Write a file.

    Args:
        path: where.
        rows: the header first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("|".join(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

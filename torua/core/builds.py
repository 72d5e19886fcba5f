"""Which releases may be in one cluster: what each speaks, and what each can store.

A build speaks a range of protocols and knows a range of *feature levels*: whatever
changes what nodes send or keep, and cannot be understood by the build before, is done
from a level on only.  The cluster state has one level for all.  It is raised when all
nodes that belong know a higher one, and never falls.
"""

from collections.abc import Iterable

from msgspec import Struct

Range = tuple[int, int]
"""The least and the greatest, both included."""


class Build(Struct, frozen=True):
    """What a node's program can do.

    Attributes:
        protocol: the versions of the peer protocol that it speaks.
        features: the feature levels that it knows.
    """

    protocol: Range = (1, 1)
    features: Range = (1, 1)


BUILD = Build()
"""This release."""


def mismatch(mine: Build, theirs: Build) -> str:
    """Say why two builds can't be in one cluster; nothing where they can.

    Args:
        mine: of the node that speaks.
        theirs: of the other one.
    """
    for what, ours, others in (
        ("peer protocols", mine.protocol, theirs.protocol),
        ("feature levels", mine.features, theirs.features),
    ):
        if ours[0] > others[1] or others[0] > ours[1]:
            return f"it knows {what} {_spelled(others)}, this node {_spelled(ours)}"
    return ""


def gap(build: Build, level: int) -> str:
    """Say why a build can't work at a cluster's feature level; nothing where it can.

    Args:
        build: of some node.
        level: the committed one; 0 where none is known.
    """
    least, most = build.features
    if not level or least <= level <= most:
        return ""
    known = _spelled(build.features)
    return f"it knows feature levels {known}, and the cluster is at {level}"


def next_level(level: int, builds: Iterable[Build]) -> int:
    """Return the level that all know, or the present one where that is no higher.

    Args:
        level: the committed one.
        builds: of every node that belongs, the lost among them.
    """
    return max(level, min((each.features[1] for each in builds), default=0))


def _spelled(versions: Range) -> str:
    """Spell a range."""
    least, most = versions
    return str(least) if least == most else f"{least} to {most}"

"""How a long request is taken apart, so that short ones come in between.

A node does one thing at a time.  What takes ten thousand steps in one go has everybody
wait for all of them, at each node that it passes; in portions, each waits for some.
"""

from collections.abc import Iterable, Iterator

OPERATIONS_MAX = 256
"""So many operations take a node some milliseconds: less than its way to a disk and to
another node, so that little is lost by taking several such ways, …"""

BYTES_MAX = 256 << 10
"""… unless they are large."""

ROOM = 2 * OPERATIONS_MAX
"""So many operations of long requests are under way from one node to another: while
some wait for the disk others are worked on, and a node that is gone holds up its own
ones only.  Small portions are many at once, so that they share a way to the disk."""


def weight_of(operations: int, size: int) -> int:
    """Tell how much of the `ROOM` a portion takes.

    Args:
        operations: how many it holds.
        size: of all of them, in bytes.
    """
    by_size = -(-size * OPERATIONS_MAX // BYTES_MAX)
    return min(ROOM, max(1, operations, by_size))


def portions(sizes: Iterable[int]) -> Iterator[range]:
    """Divide a row of operations into portions, in order; each has one at least.

    Args:
        sizes: of the operations, in bytes.

    Returns:
        The places of each portion's operations in the row.
    """
    first = held = count = 0
    for place, size in enumerate(sizes):
        if place > first and (
            place - first >= OPERATIONS_MAX or held + size > BYTES_MAX
        ):
            yield range(first, place)
            first, held = place, 0
        held += size
        count = place + 1
    if count:
        yield range(first, count)

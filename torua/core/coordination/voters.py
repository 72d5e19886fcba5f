"""Who has a vote: pure functions over sets of voters, kept as sorted tuples.

A set is odd in number.  One step changes it by two voters at most, and leaves a live
majority that is one in both the old and the new set (but for the step from one to
three, where the one must agree).  A register commits a step with majorities of both.
"""

from collections.abc import Collection, Iterable

from torua.core.ids import NodeId

VOTERS_GROW_MAX = 7
"""More votes cost more and survive hardly more: three of seven may already be lost."""


def has_majority(voters: Collection[NodeId], nodes: Collection[NodeId]) -> bool:
    """Tell whether more than half of ``voters`` are among ``nodes``.

    Args:
        voters: not empty where anything shall be decided; nobody is no majority.
        nodes: who agrees, voters or not.
    """
    return 2 * sum(voter in nodes for voter in voters) > len(voters)


def agree(
    voters: Collection[NodeId],
    committed_voters: Collection[NodeId],
    nodes: Collection[NodeId],
) -> bool:
    """Tell whether ``nodes`` may decide: majorities of both sets.

    A first set, which no committed one came before, needs all its voters: two such sets
    that have a node in common could each find a majority without the other's.

    Args:
        voters: the set of the last accepted value, or the first one to be.
        committed_voters: the committed set; empty before the first.
        nodes: who agrees, voters or not.
    """
    if not committed_voters:
        return bool(voters) and all(voter in nodes for voter in voters)
    return has_majority(voters, nodes) and has_majority(committed_voters, nodes)


def first_voters(candidates: Iterable[NodeId], expected: int) -> tuple[NodeId, ...]:
    """Choose the first set: the lowest ids, the largest odd number of them.

    Args:
        candidates: live members that may vote.
        expected: how many nodes the cluster waits for; no more voters than that.
    """
    able = sorted(candidates)
    return tuple(able[: _odd(min(len(able), expected))])


def next_voters(
    voters: tuple[NodeId, ...], live: Collection[NodeId]
) -> tuple[NodeId, ...]:
    """Return the set that one step leads to; ``voters`` where there is none to take.

    Args:
        voters: the committed set.
        live: nodes that may vote, and that were heard of a moment ago.
    """
    if not has_majority(voters, live):
        return voters
    floor = min(3, len(voters))
    wanted = max(floor, min(_odd(len(live)), max(VOTERS_GROW_MAX, len(voters))))
    least, most = max(floor, len(voters) - 2), len(voters) + 2
    for size in range(min(most, max(least, wanted)), 0, -2):
        chosen = _prefer(voters, live, size)
        if size >= floor and _is_step(voters, chosen, live):
            return chosen
    return voters


def _prefer(
    voters: tuple[NodeId, ...], live: Collection[NodeId], size: int
) -> tuple[NodeId, ...]:
    """Choose: voters that live, then others that live, then voters that do not."""
    kept = sorted(voter for voter in voters if voter in live)
    fresh = sorted(node for node in live if node not in voters)
    dead = sorted(voter for voter in voters if voter not in live)
    return tuple(sorted((kept + fresh + dead)[:size]))


def _is_step(
    voters: tuple[NodeId, ...], chosen: tuple[NodeId, ...], live: Collection[NodeId]
) -> bool:
    """Tell whether a live majority of the one set is one of the other, too."""
    common = [voter for voter in voters if voter in chosen and voter in live]
    grows_from_one = len(voters) == 1 and common == list(voters)
    in_both = has_majority(voters, common) and has_majority(chosen, common)
    return has_majority(chosen, live) and (in_both or grows_from_one)


def _odd(number: int) -> int:
    """Return the largest odd number up to ``number``; 0 for none."""
    return number - 1 + number % 2 if number else 0

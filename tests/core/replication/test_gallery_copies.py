"""The bug gallery of several copies: each switch breaks a rule, and is found.

Nonces used again are in `test_barrier`, reads without one in `test_table`.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.core.replication.table import Table
from torua.core.records import Record
from torua.core.replication.follower import Follower, Tracking
from torua.core.replication.group import Group
from torua.core.replication.messages import Output, Reply
from torua.core.replication.primary import Primary
from torua.core.replication.replica import Replica
from torua.core.replication.requests import Waiting
from torua.core.replication.wire import Acked, Message
from torua.core.replication.wire import Append as Sent

SEEDS = 600
STEPS = 2000


def _a_majority_suffices(group: Group) -> int:
    """Commit what most of the tracked hold."""
    held = sorted([group.own, *(each.match for each in group.tracked)])
    return max(held[(len(held) - 1) // 2], group._source.tip.committed)


def _failing_is_failed(group: Group) -> int:
    """Wait no more for a copy once the coordinator is asked to fail it."""
    waited = [e.match for e in group.tracked if group._asks[e.alloc_id].failing is None]
    return max(min([group.own, *waited]), group._source.tip.committed)


def _any_term_counts(group: Group, message: Message, now: float) -> Iterator[Output]:
    """Take acknowledgments of earlier terms."""
    if isinstance(message, Acked):
        yield from group._acked(message, now)
    elif message.term == group._source.term:
        yield from HEARD(group, message, now)


def _stale_tail_goes(replica: Replica, records: tuple[Record, ...]) -> int | None:
    """Truncate whatever stands where records come to stand."""
    return next((each.seq for each in records if each.seq <= replica.end), None)


def _applies_what_it_holds(replica: Replica, held: int) -> int:
    """Take what is durable here for committed."""
    return max(replica.gcp, held)


def _refuses_early(primary: Primary, waiting: Waiting, now: float) -> Iterator[Output]:
    """Answer what changed nothing at once."""
    if waiting.effectless:
        yield Reply(waiting.requests[0], tuple(waiting.outcomes))
    else:
        yield from ADMIT(primary, waiting, now)


def _length_is_match(replica: Replica, message: Sent) -> int:
    """Take all of the log for what the primary has."""
    return replica.end


def _marks_untracked(group: Group, follower: Follower, now: float) -> Output:
    """Ask for a copy to be called in sync, and track it when it is."""
    follower.tracking = Tracking.TRACKED
    asked = group._mark(follower, now)
    follower.tracking = Tracking.UNTRACKED
    return asked


def _drops_at_once(group: Group, follower: Follower, detail: str, now: float) -> Output:
    """Drop a copy that no state calls in sync yet, though one may any moment."""
    asked = FAIL(group, follower, detail, now)
    if follower.alloc_id not in group.shard.in_sync:
        group._drop(follower, now)
    return asked


def _grows_early(group: Group, follower: Follower, now: float) -> Iterator[Output]:
    """Let copies grow while the checkpoint may still be an old one."""
    group._growing = True
    yield from GROW(group, follower, now)


def _gives_seqs_again(primary: Primary) -> Iterator[Output]:
    """Forget what a full disk did not take, though it was streamed."""
    primary.group.streamed = 0
    tracked = Group.alone
    Group.alone = property(lambda group: True)  # type: ignore[method-assign, assignment]
    try:
        yield from tuple(FULL(primary))
    finally:
        Group.alone = tracked  # type: ignore[method-assign]


def _acknowledges_unstored(replica: Replica) -> Iterator[Output]:
    """Say that it holds what is on its way to the disk."""
    stored, replica.stored = replica.stored, replica.end
    yield from tuple(COMMIT(replica))
    replica.stored = stored


HEARD = Group._heard
ADMIT = Primary._admit
FAIL = Group._fail
GROW = Group._grow
FULL = Primary._full
COMMIT = Replica._commit

GALLERY: list[tuple[type, str, object]] = [
    (Group, "committable", _a_majority_suffices),
    (Group, "committable", _failing_is_failed),
    (Group, "_heard", _any_term_counts),
    (Replica, "_conflict", _stale_tail_goes),
    (Replica, "_committed", _applies_what_it_holds),
    (Primary, "_admit", _refuses_early),
    (Replica, "_matching", _length_is_match),
    (Group, "_track", _marks_untracked),
    (Group, "_fail", _drops_at_once),
    (Group, "_grow", _grows_early),
    (Primary, "_full", _gives_seqs_again),
    (Replica, "_commit", _acknowledges_unstored),
    (Group, "sufficient", property(lambda group: True)),
]


def finds() -> int | None:
    """Return the first seed whose trial fails; None where none does."""
    for seed in range(SEEDS):
        try:
            Table(seed, 2 + seed % 2).run(STEPS)
        except (AssertionError, KeyError, IndexError):
            return seed
    return None


@pytest.mark.parametrize(
    ("kind", "name", "broken"),
    GALLERY,
    ids=[getattr(broken, "__name__", name) for _, name, broken in GALLERY],
)
def test_the_trials_find(
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
    name: str,
    broken: Callable[..., object],
) -> None:
    """A machine that breaks the rule does not pass."""
    monkeypatch.setattr(kind, name, broken)
    assert finds() is not None

"""One shard of two and three copies under all that a bad night brings."""

import pytest

from tests.core.replication.ledger import Claim
from tests.core.replication.table import Table
from torua.core.kv import Get, Outcome
from torua.core.replication.messages import Configure, Confirm
from torua.core.replication.requests import Waiting

SEEDS = 120
STEPS = 1500


@pytest.mark.parametrize("copies", [2, 3])
def test_nothing_that_was_acknowledged_is_lost(copies: int) -> None:
    """R1, R3 to R8, R11, R12, R22, and all copies come to rest in sync."""
    for seed in range(SEEDS):
        Table(seed, copies).run(STEPS)


def deposed_leader_answers() -> bool:
    """Tell whether a primary that knows of no other answers a read.

    It is parted from the copy that leads since, but not from its client.
    """
    table = Table(0, 2)
    table.rest()
    old = next(each for each in table.stations if each.copy.serves)
    new = next(each for each in table.stations if each is not old)
    table.cut_off[old.alloc] = None
    table.office.name(new)
    for _ in range(100):
        new.tell(Configure(table.office.shard, table.ns), table.now)
        for action in (table.deliver, table.work, table.execute, table.tick):
            action()
    assert new.copy.serves and old.copy.serves, "one more than there should be"
    table.ledger.claim(1, Claim((Get(b"a"),), read=Outcome()))
    old.tell(Confirm(1), table.now)
    return 1 in old.replies


def test_a_deposed_leader_answers_no_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """R22: without the barrier it would."""
    assert not deposed_leader_answers()
    monkeypatch.setattr(Waiting, "effectless", property(lambda waiting: False))
    assert deposed_leader_answers()

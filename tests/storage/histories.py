"""Records as a primary would make them, and what a map must then hold."""

from random import Random

from torua.core.ids import ShardId
from torua.core.records import Answered, Effect, KvDelete, KvPut, Record

BEGIN_NS = 1_700_000_000 * 10**9
HOUR_NS = 3600 * 10**9
KEYS = [b"", b"a", b"a/b", b"a/\xff", b"a0", b"b", b"\xff", b"\xff\xff"]


def history(dice: Random, count: int, hours: float = 0.5) -> list[Record]:
    """Make records 1 to ``count``.

    Args:
        dice: decides what they do.
        count: how many.
        hours: how much time passes between two, on average.
    """
    records = []
    time_ns = BEGIN_NS
    for seq in range(1, count + 1):
        time_ns += 1 + int(dice.random() * 2 * hours * HOUR_NS)
        keys = dice.sample(KEYS, dice.randint(0, 3))
        effects = tuple(effect(dice, key) for key in keys)
        answered = None
        if dice.random() < 0.4:
            answered = Answered(f"key {dice.randint(0, 9)}", dice.randbytes(2), b"ok")
        records.append(Record(ShardId(0), seq, 1, time_ns, effects, answered))
    return records


def effect(dice: Random, key: bytes) -> Effect:
    """Make a put, with or without an expiry, or a delete.

    Args:
        dice: decides which.
        key: of what.
    """
    if dice.random() < 0.3:
        return KvDelete(key)
    value = dice.randbytes(dice.choice([0, 5, 300, 6000]))
    expires_ns = dice.choice([None, BEGIN_NS + dice.randint(0, HOUR_NS)])
    return KvPut(key, value, dice.choice(["text/plain", "text/ü"]), expires_ns)


def model(records: list[Record]) -> dict[bytes, tuple[int, KvPut]]:
    """Return what every key holds after records: its version and what put it."""
    entries: dict[bytes, tuple[int, KvPut]] = {}
    for record in records:
        for change in record.effects:
            entries.pop(change.key, None)
            if isinstance(change, KvPut):
                entries[change.key] = (record.seq, change)
    return entries

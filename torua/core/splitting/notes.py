"""What a shard's copies keep of a split, in the map, under `NOTE_KEY`."""

import msgspec
from msgspec import Struct


class Progress(Struct, frozen=True, tag="p"):
    """How much of its parent a child has.

    Attributes:
        at: all records of the parent up to here.
        keys: all keys up to this one, as they were at some place up to there; None
            where it has all.
        answers: likewise, of idempotency keys.
        copied: how many entries were copied, for people.
    """

    at: int
    keys: bytes | None = b""
    answers: str | None = ""
    copied: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether only later records are missing."""
        return self.keys is None and self.answers is None


class Trimmed(Struct, frozen=True, tag="t"):
    """What moved away is not here any more.

    Attributes:
        slots_version: of the first state that says so; who knows only an earlier one
            must not read here.
    """

    slots_version: int


Note = Progress | Trimmed


def spell_note(note: Note) -> bytes:
    """Spell a note."""
    return msgspec.msgpack.encode(note)


def read_note(data: bytes) -> Note:
    """Read what `spell_note` spelled."""
    note: Note = msgspec.msgpack.decode(data, type=Note)
    return note

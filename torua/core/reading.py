"""How fresh a read must be, and the tokens by which a session remembers what it saw.

A token names a place in a shard's log: whoever has applied the log up to there shows
all that the session wrote and read (rule R10).  It is opaque to clients, but nothing
rests on that: a token that was made up asks for a wait, or is of another history.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from torua.core.ids import ShardId
from torua.errors import MalformedError

TOKENS_MAX = 64
"""A session that touched more shards is better served by the primaries."""

TOKEN_CHARS_MAX = 256
"""A shard, a UUID and a seq take less than half of this."""

_TOKEN = re.compile(r"([0-9]{1,9})\.([A-Za-z0-9-]{1,64})\.([0-9]{1,18})")


class Level(StrEnum):
    """How fresh a read must be.

    LINEARIZABLE shows every write acknowledged before it began; SESSION what the
    session's tokens name; BOUNDED every write acknowledged so long ago; ANY what any
    copy has committed.
    """

    LINEARIZABLE = "linearizable"
    SESSION = "session"
    BOUNDED = "bounded"
    ANY = "any"


class Position(Struct, frozen=True, array_like=True):
    """A place in the log of a shard; those of different histories do not compare."""

    history: str
    seq: int


class Token(Struct, frozen=True, array_like=True):
    """What a session saw of a shard: all up to ``position``."""

    shard: ShardId
    position: Position


class Reading(Struct, frozen=True, array_like=True):
    """What a caller asks of a read.

    Attributes:
        level: how fresh.
        seen: what a SESSION saw, of any shards.
        max_staleness_s: how long ago BOUNDED may be, in seconds.
    """

    level: Level = Level.LINEARIZABLE
    seen: tuple[Token, ...] = ()
    max_staleness_s: float = 0.0

    def of(self, shard: ShardId) -> "Reading":
        """Return what it asks of one shard."""
        if not self.seen:
            return self
        seen = tuple(token for token in self.seen if token.shard == shard)
        return Reading(self.level, seen, self.max_staleness_s)


LINEARIZABLE = Reading()


def spell_tokens(tokens: Iterable[Token]) -> str:
    """Spell tokens as a header has them; nothing where they are too many."""
    spelled = [_spell(token) for token in tokens]
    return ",".join(spelled) if len(spelled) <= TOKENS_MAX else ""


def read_tokens(text: str) -> tuple[Token, ...]:
    """Read tokens with commas between them; the last of each shard and history stays.

    Raises:
        MalformedError: one of them is none of ours, or they are too many.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > TOKENS_MAX:
        raise MalformedError(f"Torua-Token: up to {TOKENS_MAX} tokens")
    found: dict[tuple[ShardId, str], Token] = {}
    for token in map(_read, parts):
        place = (token.shard, token.position.history)
        seen = found.get(place, token)
        found[place] = max(seen, token, key=lambda each: each.position.seq)
    return tuple(found.values())


def _spell(token: Token) -> str:
    """Spell one token."""
    place = token.position
    text = f"{token.shard}.{place.history}.{place.seq}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(text: str) -> Token:
    """Read one token."""
    found = _TOKEN.fullmatch(unwrap(text, TOKEN_CHARS_MAX) or "")
    if found is None:
        raise MalformedError("Torua-Token: a token is none of ours")
    return Token(ShardId(int(found[1])), Position(found[2], int(found[3])))


def unwrap(text: str, chars_max: int) -> str | None:
    """Read base64url without padding as ASCII; None where it is not that.

    Args:
        text: from anybody.
        chars_max: a longer one is refused unread.
    """
    if len(text) > chars_max or not text.isascii():
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        return urlsafe_b64decode(padded.encode()).decode("ascii")
    except (Error, UnicodeDecodeError):
        return None

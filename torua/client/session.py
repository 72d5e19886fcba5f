"""What a session saw, by the tokens that answers bring, and how fresh reads must be."""

from collections.abc import Mapping
from threading import Lock
from typing import Literal

from torua.core.ids import ShardId
from torua.core.reading import TOKENS_MAX, Token, read_tokens, spell_tokens
from torua.errors import MalformedError

Consistency = Literal["linearizable", "session", "bounded", "any"]
"""How fresh a read must be; docs/http.md says what each one shows."""


class Session:
    """Remembers, for each shard, the newest place that answers named; thread-safe.

    Invariants: of two places in one history of a shard the later one stays; where the
    tokens can't be passed on (too many, or of another kind) reads are linearizable,
    which shows all that they could have named.
    """

    def __init__(self, level: Consistency | None) -> None:
        """Begin with nothing seen.

        Args:
            level: of reads that name none; None leaves it to the nodes.
        """
        self._level = level
        self._seen: dict[ShardId, Token] = {}
        self._blind = False
        self._lock = Lock()

    @property
    def token(self) -> str:
        """All that was seen, to hand it on; empty where nothing was."""
        with self._lock:
            return spell_tokens(self._seen.values())

    def saw(self, text: str | None) -> None:
        """Take in what an answer brought; None where it brought nothing."""
        if not text:
            return
        try:
            tokens = read_tokens(text)
        except MalformedError:
            self._blind = True
            return
        with self._lock:
            for token in tokens:
                self._take(token)

    def asks(
        self, level: Consistency | None, max_staleness_s: float | None
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Spell how fresh a read must be: query parameters, and headers.

        Args:
            level: of this read; None for the session's own.
            max_staleness_s: with ``bounded``, how many seconds ago.

        Raises:
            ValueError: the two do not fit.
        """
        level = level or self._level
        if (level == "bounded") != (max_staleness_s is not None):
            raise ValueError("max_staleness_s goes with consistency='bounded'")
        if max_staleness_s is not None:
            staleness = str(round(max_staleness_s * 1000))
            return {"consistency": "bounded", "max_staleness": staleness}, {}
        if level == "session":
            return self._session()
        return ({"consistency": level} if level else {}), {}

    def _session(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Ask for all that was seen."""
        with self._lock:
            if self._blind or len(self._seen) > TOKENS_MAX:
                return {"consistency": "linearizable"}, {}
            header = spell_tokens(self._seen.values())
        return {"consistency": "session"}, {"Torua-Token": header} if header else {}

    def _take(self, token: Token) -> None:
        """Keep a token, unless a later one of the same history is there."""
        seen = self._seen.get(token.shard)
        if (
            seen is None
            or seen.position.history != token.position.history
            or seen.position.seq < token.position.seq
        ):
            self._seen[token.shard] = token

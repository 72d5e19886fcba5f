"""What clients ask of keys and values, and what comes back.  Little behaviour."""

from msgspec import Struct

from torua.core.reading import LINEARIZABLE, Reading

KEY_BYTES_MAX = 1024
"""A key is looked up, compared and logged whole; longer ones belong in values."""

VALUE_BYTES_MAX = 16 << 20
"""A value is held in memory by every node that it passes."""

BULK_OPERATIONS_MAX = 10_000
"""One bulk request holds the log of a shard for milliseconds, not seconds."""

BULK_BYTES_MAX = 32 << 20
"""A bulk request is held in memory by the node that takes it."""

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class Condition(Struct, frozen=True, array_like=True):
    """What must hold of a key for a write to happen (RFC 9110, section 13.1).

    Attributes:
        versions: the versions that are meant; None means any that exists (``*``).
        match: True for If-Match, the key has one of them; False for If-None-Match,
            it has none of them.
    """

    versions: tuple[int, ...] | None
    match: bool

    def holds(self, version: int | None) -> bool:
        """Tell whether it holds of a key at ``version`` (None: the key is absent)."""
        if version is None:
            return not self.match
        meant = self.versions is None or version in self.versions
        return meant is self.match


class Put(Struct, frozen=True, array_like=True, tag="put"):
    """Set a key.  ``ttl_s`` is how many seconds it shall live; None for ever."""

    key: bytes
    value: bytes
    content_type: str = DEFAULT_CONTENT_TYPE
    ttl_s: float | None = None
    conditions: tuple[Condition, ...] = ()


class Delete(Struct, frozen=True, array_like=True, tag="delete"):
    """Remove a key; no error where it does not exist."""

    key: bytes
    conditions: tuple[Condition, ...] = ()


class Get(Struct, frozen=True, array_like=True, tag="get"):
    """Read a key; ``value`` False asks for everything but the value."""

    key: bytes
    value: bool = True


class Check(Struct, frozen=True, array_like=True):
    """What must hold of a key for a `Group` to happen.

    Attributes:
        key: which; it need not be written.
        conditions: all of them must hold.
        begins: what its value must begin with; then it must exist.
        most: how many keys that begin with it there may be once the group is done.
    """

    key: bytes
    conditions: tuple[Condition, ...] = ()
    begins: bytes | None = None
    most: int | None = None


class Group(Struct, frozen=True, array_like=True, tag="group"):
    """Writes of one shard that happen all at once, in one record, or not at all.

    Attributes:
        checks: what must hold of any keys.
        writes: of keys that differ, in order; their own conditions must hold as well.
    """

    checks: tuple[Check, ...]
    writes: tuple[Put | Delete, ...]


Single = Put | Delete | Get
"""What is asked of one key."""

Operation = Single | Group


def keys_of(operation: Operation) -> tuple[bytes, ...]:
    """List the keys that an operation looks at or writes."""
    if isinstance(operation, Group):
        return tuple(each.key for each in (*operation.checks, *operation.writes))
    return (operation.key,)


class Entry(Struct, frozen=True, array_like=True):
    """A key as it stands.  ``value`` is None where it was not asked for."""

    key: bytes
    version: int
    size: int
    content_type: str = DEFAULT_CONTENT_TYPE
    value: bytes | None = None
    expires_ns: int | None = None


class Outcome(Struct, frozen=True, array_like=True):
    """What became of one operation.

    Attributes:
        version: the key's version after it; None where the key is now absent.  Of a
            `Group`, the seq of its record; None where nothing was to change.
        entry: what a `Get` found.
        error: the `torua.errors` code of why it was not done; None where it was.
        detail: a sentence about the error.
        which: of a `Group`, which of its checks and writes, in this order, was refused;
            ``version`` is then that of its key.
    """

    version: int | None = None
    entry: Entry | None = None
    error: str | None = None
    detail: str = ""
    which: int | None = None


class IdempotencyKey(Struct, frozen=True, array_like=True):
    """A caller's promise that equal keys mean the same request.

    Attributes:
        key: scope and caller's key together.
        fingerprint: a digest of the request's body and conditions.
        tags: where each of the operations stands in the request; none where there is
            one, or where their keys tell.
    """

    key: str
    fingerprint: bytes
    tags: tuple[int, ...] = ()


def portion_key(key: str, number: int) -> str:
    """Name what is remembered of one portion of a long request.

    Args:
        key: of the whole request; it has no line feed.
        number: of the portion, from 0.
    """
    return f"{key}\n{number}" if number else key


def portion_of(key: str) -> tuple[str, int]:
    """Read a name that `portion_key` made."""
    whole, _, number = key.partition("\n")
    return whole, int(number or 0)


class Page(Struct, frozen=True):
    """A part of a listing, in byte order; ``next`` continues it, None at the end."""

    items: tuple[Entry, ...]
    next: bytes | None = None


class Call(Struct, frozen=True):
    """The circumstances of one request.

    Attributes:
        request_id: stands in the log lines of every node that works on it.
        timeout_s: how long the caller waits from now on, in seconds.
        idempotency: the caller's promise, if it made one.
        traceparent: W3C trace context, passed on as it came.
        reading: how fresh a read must be.
        slots_version: of the slot table by which all its shards are chosen; None where
            each is chosen when it is asked.
    """

    request_id: str
    timeout_s: float = 30.0
    idempotency: IdempotencyKey | None = None
    traceparent: str = ""
    reading: Reading = LINEARIZABLE
    slots_version: int | None = None


class Served(Struct, frozen=True):
    """Where a request was served: for ``Torua-Shard`` and ``Torua-Served-By``.

    Attributes:
        shard: the shard, by number.
        node: the name of the node.
        token: opaque; what a session read passes back (``Torua-Token``).
    """

    shard: int
    node: str
    token: str = ""

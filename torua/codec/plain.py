"""CBOR for every struct of the core: strict on the way in, deterministic out."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from io import BytesIO
from types import UnionType
from typing import Any, TypeVar, cast

import cbor2
import msgspec

from torua.errors import ProtocolError

T = TypeVar("T")

DEPTH_MAX = 48
"""No message of ours nests deeper (schemas of nested types do most); a deeper one is an
attack on the stack."""


def plain(value: object) -> object:
    """Turn structs into maps, lists and scalars, as CBOR and peers take them."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def shape(value: object, kind: type[T] | UnionType) -> T:
    """Check plain values, and make of them what they spell.

    Args:
        value: maps, lists and scalars, from anybody.
        kind: a struct or any other annotation that msgspec knows.

    Raises:
        ProtocolError: ``value`` is not a spelling of ``kind``.
    """
    try:
        if isinstance(kind, msgspec.StructMeta):
            return msgspec.convert(value, type=kind)
        made: T = msgspec.convert((value,), type=_boxed(cast(Hashable, kind))).value
        return made
    except (msgspec.ValidationError, OverflowError) as error:
        raise _wrong(error) from error


def shaper(kind: object) -> Callable[[object], Any]:
    """Make of `shape` a function of one kind, which need not be looked up each time.

    Args:
        kind: as `shape` takes it.
    """
    boxed = _boxed(kind)

    def shaped(value: object) -> Any:
        """Check a plain value, and make of it what it spells."""
        try:
            return msgspec.convert((value,), type=boxed).value
        except (msgspec.ValidationError, OverflowError) as error:
            raise _wrong(error) from error

    return shaped


def _wrong(error: Exception) -> ProtocolError:
    """Say what is wrong, as if there were no box around it."""
    return ProtocolError(str(error).replace("`$[0]", "`$"))


def encode(value: object, default: Callable[[Any, Any], None] | None = None) -> bytes:
    """Spell a plain value as CBOR.

    Args:
        value: maps, lists and scalars.
        default: spells anything else, given the encoder and the thing; None refuses it.
    """
    return cbor2.dumps(value, default=default)


def decode(
    data: bytes, tag_hook: Callable[[Any, bool], object] | None = None
) -> object:
    """Read exactly one CBOR value.

    Args:
        data: from anybody.
        tag_hook: gives what a tag stands for; None leaves tags as they are, and no
            struct has one.

    Raises:
        ProtocolError: it is anything else.
    """
    stream = BytesIO(data)
    try:
        value: object = _reader(stream, tag_hook).decode()
    except Exception as error:
        raise ProtocolError(f"not CBOR: {error}") from error
    if stream.tell() != len(data):
        raise ProtocolError("bytes after the end")
    return value


def spell(value: object) -> bytes:
    """Spell a struct as CBOR."""
    return encode(plain(value))


def read(data: bytes, kind: type[T]) -> T:
    """Read one struct; the reverse of `spell`.

    Args:
        data: CBOR, from anybody.
        kind: what it shall be.

    Raises:
        ProtocolError: it is not CBOR, or not of that kind.
    """
    return shape(decode(data), kind)


@lru_cache(maxsize=256)
def _boxed(kind: Hashable) -> Any:
    """Make a struct of one such field: what msgspec learns of a struct it keeps.

    Of a union it learns nothing for good: it is gone through at each conversion, which
    takes some fifty times as long.
    """
    return msgspec.defstruct("Boxed", [("value", kind)], array_like=True)


def _refuse(_: object, __: bool) -> object:
    """Refuse what is said once and meant in many places."""
    raise ProtocolError("values are not shared")


_SHARING = dict.fromkeys((25, 28, 29), _refuse)
"""Tags by which a value is meant elsewhere again: a few bytes could spell more than any
memory holds, or a list that is in itself."""


def _reader(
    stream: BytesIO, tag_hook: Callable[[Any, bool], object] | None
) -> cbor2.CBORDecoder:
    """Make the strictest reader there is for one value."""
    return cbor2.CBORDecoder(
        stream,
        tag_hook=tag_hook,
        semantic_decoders=_SHARING,
        max_depth=DEPTH_MAX,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )

"""CBOR for every struct of the core: strict on the way in, deterministic out."""

from io import BytesIO
from types import UnionType
from typing import TypeVar

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
        made: T = msgspec.convert(value, type=kind)
        return made
    except (msgspec.ValidationError, OverflowError) as error:
        raise ProtocolError(str(error)) from error


def encode(value: object) -> bytes:
    """Spell a plain value as CBOR."""
    return cbor2.dumps(value)


def decode(data: bytes) -> object:
    """Read exactly one CBOR value; ProtocolError where there is anything else."""
    stream = BytesIO(data)
    try:
        value: object = _reader(stream).decode()
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


def _reader(stream: BytesIO) -> cbor2.CBORDecoder:
    """Make the strictest reader there is for one value."""
    return cbor2.CBORDecoder(
        stream,
        max_depth=DEPTH_MAX,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )

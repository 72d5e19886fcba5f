"""What peers say to each other once they are connected, as CBOR arrays.

Large strings of bytes in a body may stand apart: see `torua.codec.apart`.
"""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import astuple

from torua.codec.apart import read_apart, spell_apart
from torua.codec.plain import shaper
from torua.codec.rope import Bytes

KIND_CHARACTERS_MAX = 64
"""A kind names a handler; ours are words."""

NOTE_CHARACTERS_MAX = 256
"""Request ids and trace contexts stand in log lines, whole."""

Number = Annotated[int, Meta(ge=0)]
Kind = Annotated[str, Meta(max_length=KIND_CHARACTERS_MAX)]
Note = Annotated[str, Meta(max_length=NOTE_CHARACTERS_MAX)]


class Request(Struct, frozen=True, array_like=True, tag=0):
    """Please do this, and answer under ``number``."""

    number: Number
    kind: Kind
    request_id: Note
    traceparent: Note
    body: object


class Reply(Struct, frozen=True, array_like=True, tag=1):
    """It is done, and this came of it."""

    number: Number
    body: object


class Failure(Struct, frozen=True, array_like=True, tag=2):
    """It was not done as asked; `torua.errors.from_wire` makes an error of it."""

    number: Number
    code: str
    detail: str
    members: dict[str, object]


class Notice(Struct, frozen=True, array_like=True, tag=3):
    """This is so; no answer is expected."""

    kind: Kind
    body: object


Envelope = Request | Reply | Failure | Notice

_shaped: Callable[[object], Envelope] = shaper(Envelope)


def spell_envelope(envelope: Envelope) -> Bytes:
    """Spell an envelope; its body is plain already, and is not looked at twice."""
    return spell_apart([envelope.__struct_config__.tag, *astuple(envelope)])


def read_envelope(data: Bytes) -> Envelope:
    """Read an envelope from anybody; ProtocolError where it is none."""
    return _shaped(read_apart(data))

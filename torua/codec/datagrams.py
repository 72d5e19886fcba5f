"""The spelling of membership's packets: one datagram, or one side of a TCP exchange.

::

    "TG"  version  kind  length  label  sender  epoch  target  epoch  seq  | body
     2       1       1      1      n      16      8      16      8     8   |

The header is clear, so that what is foreign or not for us costs next to nothing.  The
body is CBOR, arrays only; with a cluster secret it is sealed (`torua.codec.seal`), and
then the header is authenticated with it.

A `ProtocolError` from here has a member ``reason``, one of `REASONS`, to count by.
"""

from enum import IntEnum
from struct import Struct as Layout
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta as Bound

from torua.codec.plain import read, spell
from torua.codec.seal import SEAL_BYTES, Seal
from torua.core.builds import Build
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership.messages import (
    Ack,
    Message,
    Nack,
    Packet,
    Ping,
    PingReq,
    Rumour,
    Sync,
)
from torua.core.membership.outbox import Sizes
from torua.errors import ProtocolError

DATAGRAM_BYTES_MAX = 1400
"""Fits into one Ethernet frame with room for tunnels; fragments are often lost."""

EXCHANGE_BYTES_MAX = 4 << 20
"""What `torua.net.exchange` carries; 500 members are a tenth of it."""

LABEL_BYTES_MAX = 64
"""The cluster's name stands in every datagram, beside rumours that need the room."""

MAGIC, VERSION = b"TG", 1

REASONS = (
    "malformed",
    "oversize",
    "foreign-label",
    "version",
    "unsealed",
    "sealed",
    "forged",
    "replayed",
)
"""Why a packet cannot be read."""

_PREFIX = Layout(">2sBBB")
_IDS = Layout(">16sQ16sQQ")
_NOBODY = bytes(16)
_SEALED = 0x80
_MESSAGE_BYTES_MAX = 330
"""The largest message, a `PingReq` with a long host, and what is around rumours."""

T = TypeVar("T")


class Kind(IntEnum):
    """By which way a packet goes; what was caught on one is of no use on another."""

    DATAGRAM = 0
    QUESTION = 1
    ANSWER = 2


Id = Annotated[bytes, Bound(min_length=16, max_length=16)]
Number = Annotated[int, Bound(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, Bound(max_length=64, pattern=r"^[A-Za-z0-9_.-]+\Z")]
Word = Annotated[str, Bound(max_length=64, pattern=r"^[ -~]*\Z")]
Host = Annotated[str, Bound(max_length=253, pattern=r"^[!-~]+\Z")]
Port = Annotated[int, Bound(ge=0, le=65535)]
Count = Annotated[int, Bound(ge=0, le=65535)]


class _Meta(msgspec.Struct, frozen=True, array_like=True):
    """`Meta` as an array."""

    http: Annotated[str, Bound(max_length=270, pattern=r"^[!-~]*\Z")]
    roles: Annotated[list[Word], Bound(max_length=8)]
    zone: Word
    version: Word
    protocol: tuple[Count, Count]
    features: tuple[Count, Count]
    health_score: Annotated[int, Bound(ge=0, le=8)]
    max_shards: Number | None
    cluster_uuid: Word


class _Rumour(msgspec.Struct, frozen=True, array_like=True):
    """`Rumour` as an array."""

    node_id: Id
    name: Name
    host: Host
    port: Port
    boot_epoch: Number
    incarnation: Number
    status: Status
    meta: _Meta
    by: Id
    age_s: Annotated[float, Bound(ge=0.0, le=1e9)]


class _Ping(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`Ping` as an array."""

    nonce: Number


class _Ack(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`Ack` as an array."""

    nonce: Number


class _PingReq(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`PingReq` as an array."""

    nonce: Number
    target: Id
    target_epoch: Number
    host: Host
    port: Port


class _Nack(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """`Nack` as an array."""

    nonce: Number


class _Sync(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """`Sync` as an array."""


_Message = _Ping | _Ack | _PingReq | _Nack | _Sync


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """What follows the header."""

    message: _Message | None
    rumours: list[_Rumour]


class PacketCodec:
    """Spells and reads the packets of one node of one cluster.

    Invariants: what it spells is no larger than its limits; what is replayed in the
    same kind is read once only, where there is a secret.
    """

    def __init__(self, label: str, seal: Seal | None) -> None:
        """Take the cluster's name, and its secret if it has one.

        Args:
            label: of at most `LABEL_BYTES_MAX` bytes; others' packets are foreign.
            seal: made of the secret; without one packets are open and can be forged.
        """
        self._label = label.encode()
        assert 0 < len(self._label) <= LABEL_BYTES_MAX
        self._seal = seal

    @property
    def sizes(self) -> Sizes:
        """Tell the core what fits."""
        header = _PREFIX.size + len(self._label) + _IDS.size
        sealed = SEAL_BYTES if self._seal else 0
        room = DATAGRAM_BYTES_MAX - header - sealed - _MESSAGE_BYTES_MAX
        return Sizes(room, rumour_bytes)

    def spell(self, packet: Packet, kind: Kind) -> bytes:
        """Spell a packet.

        Args:
            packet: for `Kind.DATAGRAM`, with no more rumours than `sizes` has room for.
            kind: by which way it goes.
        """
        sealed = _SEALED if self._seal else 0
        prefix = _PREFIX.pack(MAGIC, VERSION, kind | sealed, len(self._label))
        ids = _IDS.pack(
            bytes.fromhex(packet.sender),
            packet.sender_epoch,
            bytes.fromhex(packet.target) or _NOBODY,
            packet.target_epoch,
            packet.seq,
        )
        header = prefix + self._label + ids
        body = spell(_body(packet))
        if self._seal is not None:
            body = self._seal.close(packet.sender, packet.sender_epoch, header, body)
        return header + body

    def read(self, data: bytes, kind: Kind) -> Packet:
        """Read a packet from anybody.

        Args:
            data: one datagram, or one side of an exchange.
            kind: by which way it came.

        Raises:
            ProtocolError: it is none, or none for us; it says why.
        """
        start = self._prefix(data, kind)
        end = start + _IDS.size
        if len(data) < end:
            raise _objection("malformed")
        sender, sender_epoch, target, target_epoch, seq = _IDS.unpack(data[start:end])
        if sender == _NOBODY or max(sender_epoch, target_epoch, seq) >= 1 << 63:
            raise _objection("malformed")
        life, body = (sender.hex(), sender_epoch), data[end:]
        if self._seal is not None:
            body = self._seal.open(*life, data[:end], body)
            if kind is not Kind.ANSWER:
                self._seal.admit(*life, kind, seq)
        wire = _checked(body)
        return Packet(
            NodeId(sender.hex()),
            sender_epoch,
            NodeId("" if target == _NOBODY else target.hex()),
            target_epoch,
            seq,
            None if wire.message is None else _message(wire.message),
            tuple(map(_rumour, wire.rumours)),
        )

    def read_answer(self, data: bytes, question: Packet) -> Packet:
        """Read the answer to a question of ours.

        Args:
            data: what came back, from anybody.
            question: what was asked.

        Raises:
            ProtocolError: it is no packet, or not the answer to this question.
        """
        packet = self.read(data, Kind.ANSWER)
        meant = (packet.target, packet.target_epoch, packet.seq)
        if meant != (question.sender, question.sender_epoch, question.seq):
            raise _objection("replayed")
        return packet

    def _prefix(self, data: bytes, kind: Kind) -> int:
        """Check what comes first; return where the ids begin."""
        limit = DATAGRAM_BYTES_MAX if kind is Kind.DATAGRAM else EXCHANGE_BYTES_MAX
        if len(data) > limit:
            raise _objection("oversize")
        if len(data) < _PREFIX.size:
            raise _objection("malformed")
        magic, version, flags, length = _PREFIX.unpack(data[: _PREFIX.size])
        end: int = _PREFIX.size + length
        reason = ""
        if magic != MAGIC:
            reason = "malformed"
        elif version != VERSION:
            reason = "version"
        elif data[_PREFIX.size : end] != self._label:
            reason = "foreign-label"
        reason = reason or self._flags(flags, kind)
        if reason:
            raise _objection(reason)
        return end

    def _flags(self, flags: int, kind: Kind) -> str:
        """Object to the wrong way, or to a secret where there should be none."""
        if flags & ~_SEALED != kind:
            return "malformed"
        if self._seal is not None and not flags & _SEALED:
            return "unsealed"
        return "sealed" if self._seal is None and flags & _SEALED else ""


def rumour_bytes(rumour: Rumour) -> int:
    """Tell how many bytes of a body a rumour takes."""
    return len(spell(_wire_rumour(rumour)))


def _objection(reason: str) -> ProtocolError:
    """Say in a word why a packet is not read."""
    return ProtocolError(f"a packet is {reason}", reason=reason)


def _checked(data: bytes) -> _Body:
    """Read a body; what is wrong with it is told in a word."""
    try:
        return read(data, _Body)
    except ProtocolError as error:
        raise ProtocolError(error.detail, reason="malformed") from error


def _body(packet: Packet) -> _Body:
    """Turn a packet's content into arrays."""
    message = None if packet.message is None else _wire_message(packet.message)
    return _Body(message, list(map(_wire_rumour, packet.rumours)))


def _wire_message(message: Message) -> _Message:
    """Turn a message into an array."""
    match message:
        case Ping(nonce):
            return _Ping(nonce)
        case Ack(nonce):
            return _Ack(nonce)
        case Nack(nonce):
            return _Nack(nonce)
        case PingReq(nonce, target, epoch, address):
            return _PingReq(nonce, bytes.fromhex(target), epoch, *address)
        case Sync():
            return _Sync()


def _message(wire: _Message) -> Message:
    """Make a message of an array."""
    match wire:
        case _Ping(nonce):
            return Ping(nonce)
        case _Ack(nonce):
            return Ack(nonce)
        case _Nack(nonce):
            return Nack(nonce)
        case _PingReq(nonce, target, epoch, host, port):
            return PingReq(nonce, NodeId(target.hex()), epoch, Address(host, port))
        case _Sync():
            return Sync()


def _wire_rumour(rumour: Rumour) -> _Rumour:
    """Turn a rumour into an array."""
    member, meta = rumour.member, rumour.member.meta
    return _Rumour(
        bytes.fromhex(member.node_id),
        member.name,
        *member.address,
        member.boot_epoch,
        member.incarnation,
        member.status,
        _Meta(
            meta.http,
            list(meta.roles),
            meta.zone,
            meta.version,
            meta.build.protocol,
            meta.build.features,
            meta.health_score,
            meta.max_shards,
            meta.cluster_uuid,
        ),
        bytes.fromhex(rumour.by),
        rumour.age_s,
    )


def _rumour(wire: _Rumour) -> Rumour:
    """Make a rumour of an array."""
    meta = Meta(
        wire.meta.http,
        tuple(wire.meta.roles),
        wire.meta.zone,
        wire.meta.version,
        Build(wire.meta.protocol, wire.meta.features),
        wire.meta.health_score,
        wire.meta.max_shards,
        wire.meta.cluster_uuid,
    )
    member = Member(
        NodeId(wire.node_id.hex()),
        wire.name,
        Address(wire.host, wire.port),
        wire.boot_epoch,
        wire.incarnation,
        wire.status,
        meta,
    )
    return Rumour(member, NodeId(wire.by.hex()), wire.age_s)

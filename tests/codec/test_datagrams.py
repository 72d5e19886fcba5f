"""Tests for `torua.codec.datagrams`, among them that garbage harms nobody."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from torua.codec.datagrams import (
    DATAGRAM_BYTES_MAX,
    EXCHANGE_BYTES_MAX,
    LABEL_BYTES_MAX,
    REASONS,
    Kind,
    PacketCodec,
    rumour_bytes,
)
from torua.codec.plain import encode
from torua.codec.seal import Seal
from torua.core.builds import Build
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.timing import LOCAL
from torua.errors import ProtocolError

A, B = NodeId("aa" * 16), NodeId("bb" * 16)
number = st.integers(0, (1 << 63) - 1)
ids = st.binary(min_size=16, max_size=16).filter(any).map(lambda b: NodeId(b.hex()))
hosts = st.text("abcdefghij.:", min_size=1, max_size=253)
addresses = st.builds(Address, hosts, st.integers(0, 65535))
words = st.text("abc xyz-", max_size=64)
ranges = st.tuples(st.integers(0, 65535), st.integers(0, 65535))
metas = st.builds(
    Meta,
    http=hosts,
    roles=st.lists(words, max_size=8).map(tuple),
    zone=words,
    version=words,
    build=st.builds(Build, protocol=ranges, features=ranges),
    health_score=st.integers(0, 8),
    max_shards=st.none() | number,
    cluster_uuid=words,
)
members = st.builds(
    Member,
    node_id=ids,
    name=st.text("abcXYZ019_.-", min_size=1, max_size=64),
    address=addresses,
    boot_epoch=number,
    incarnation=number,
    status=st.sampled_from(Status),
    meta=metas,
)
rumours = st.builds(m.Rumour, members, ids, st.floats(0, 1e9))
messages = st.none() | st.one_of(
    st.builds(m.Ping, number),
    st.builds(m.Ack, number),
    st.builds(m.Nack, number),
    st.builds(m.Sync),
    st.builds(m.PingReq, number, ids, number, addresses),
)
packets = st.builds(
    m.Packet,
    ids,
    number,
    ids | st.just(NodeId("")),
    number,
    number,
    messages,
    st.lists(rumours, max_size=3).map(tuple),
)
PACKET = m.Packet(A, 3, B, 4, 5, m.Ping(6))


def refusal(codec: PacketCodec, data: bytes, kind: Kind = Kind.DATAGRAM) -> object:
    """Tell why bytes are not read.

    Args:
        codec: who reads them.
        data: the bytes.
        kind: by which way they came.
    """
    with pytest.raises(ProtocolError) as caught:
        codec.read(data, kind)
    reason = caught.value.members["reason"]
    assert reason in REASONS
    return reason


@given(packets, st.sampled_from([None, b"secret"]))
def test_every_packet_survives_its_spelling(
    packet: m.Packet, secret: bytes | None
) -> None:
    """What is read is what was spelled, open or sealed."""
    seal = Seal(secret) if secret else None
    data = PacketCodec("torua", seal).spell(packet, Kind.QUESTION)
    reader = PacketCodec("torua", Seal(secret) if secret else None)
    assert reader.read(data, Kind.QUESTION) == packet


@given(packets)
def test_a_datagram_filled_by_the_sizes_fits(packet: m.Packet) -> None:
    """Beside any message, under the longest label, with a seal."""
    codec = PacketCodec("l" * LABEL_BYTES_MAX, Seal(b"s"))
    room, filled = codec.sizes.room, list[m.Rumour]()
    for rumour in packet.rumours * 9:
        if rumour_bytes(rumour) <= room:
            filled.append(rumour)
            room -= rumour_bytes(rumour)
    data = codec.spell(replace(packet, rumours=tuple(filled)), Kind.DATAGRAM)
    assert len(data) <= DATAGRAM_BYTES_MAX


def test_what_is_not_for_this_cluster_is_refused_by_reason() -> None:
    """Each has a word of its own, to count by."""
    open_, closed = PacketCodec("torua", None), PacketCodec("torua", Seal(b"s"))
    data = open_.spell(PACKET, Kind.DATAGRAM)
    assert refusal(PacketCodec("other", None), data) == "foreign-label"
    assert refusal(closed, data) == "unsealed"
    assert refusal(open_, closed.spell(PACKET, Kind.DATAGRAM)) == "sealed"
    wrong = PacketCodec("torua", Seal(b"t")).spell(PACKET, Kind.DATAGRAM)
    assert refusal(closed, wrong) == "forged"
    assert refusal(open_, data[:2] + b"\x09" + data[3:]) == "version"
    assert refusal(open_, data + b"x") == "malformed"
    assert refusal(open_, data[:40]) == "malformed"
    assert refusal(open_, b"") == "malformed"
    assert refusal(open_, data, Kind.QUESTION) == "malformed"
    assert refusal(open_, bytes(DATAGRAM_BYTES_MAX + 1)) == "oversize"
    assert refusal(open_, bytes(EXCHANGE_BYTES_MAX + 1), Kind.ANSWER) == "oversize"


def test_ids_and_numbers_out_of_range_are_malformed() -> None:
    """A sender must be somebody, and no number may outgrow 63 bits."""
    codec = PacketCodec("x", None)
    for wrong in (replace(PACKET, sender="00" * 16), replace(PACKET, seq=1 << 63)):
        assert refusal(codec, codec.spell(wrong, Kind.DATAGRAM)) == "malformed"


@pytest.mark.parametrize("age", [float("nan"), float("inf"), -1.0, 1e10])
def test_an_absurd_age_is_malformed(age: float) -> None:
    """No arithmetic of the core ever sees it."""
    me = Member(A, "a", Address("h", 1), 1, 0, Status.DEAD, Meta())
    codec = PacketCodec("x", None)
    data = codec.spell(replace(PACKET, rumours=(m.Rumour(me, A, age),)), Kind.DATAGRAM)
    assert refusal(codec, data) == "malformed"


def test_a_replayed_packet_is_refused() -> None:
    """With a secret, each is read once only, by the way that it was sent."""
    writer, reader = (PacketCodec("x", Seal(b"s")) for _ in range(2))
    data = writer.spell(PACKET, Kind.DATAGRAM)
    reader.read(data, Kind.DATAGRAM)
    assert refusal(reader, data) == "replayed"


def test_an_answer_must_be_to_the_question() -> None:
    """One to another question, or to another life, does not count."""
    codec = PacketCodec("x", Seal(b"s"))
    good = m.Packet(B, 4, A, 3, 5, m.Ack(6))
    data = codec.spell(good, Kind.ANSWER)
    assert codec.read_answer(data, PACKET) == good
    for wrong in (replace(PACKET, seq=4), replace(PACKET, sender_epoch=2)):
        with pytest.raises(ProtocolError):
            codec.read_answer(data, wrong)


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


class Victim:
    """A node that takes whatever comes.

    Invariants: nothing but `ProtocolError` leaves its codec, nothing its core.
    """

    def __init__(self) -> None:
        """Make a node in its life 4 that knows another."""
        self.codec = PacketCodec("torua", None)
        self.me = Member(B, "b", Address("h", 1), 4, 0, Status.ALIVE, Meta())
        sizes = self.codec.sizes
        self.core = Membership(self.me, LOCAL, sizes, Random(0))
        self.core.receive(m.Start((Address("s", 1),)), 0.0)
        self.now = 0.0

    def take(self, data: bytes) -> None:
        """Take bytes as a datagram and as both sides of an exchange.

        Whatever the machine is led to say must be possible to spell.
        """
        self.now += 0.01
        for kind in Kind:
            try:
                packet = self.codec.read(data, kind)
            except ProtocolError as error:
                assert error.members["reason"] in REASONS
                continue
            inputs: dict[Kind, m.Input] = {
                Kind.DATAGRAM: m.Received(packet, Address("x", 1)),
                Kind.QUESTION: m.Asked(1, packet),
                Kind.ANSWER: m.Answered(1, packet),
            }
            self.spell(self.core.receive(inputs[kind], self.now))
            self.spell(self.core.wake(self.now))
            due = self.core.next_deadline()
            assert due is None or due > self.now

    def spell(self, outputs: list[m.Output]) -> None:
        """Whatever it was led to say can be said."""
        for output in outputs:
            if isinstance(output, m.Send):
                data = self.codec.spell(output.packet, Kind.DATAGRAM)
                assert len(data) <= DATAGRAM_BYTES_MAX
            elif isinstance(output, m.Answer) and output.packet is not None:
                self.codec.spell(output.packet, Kind.ANSWER)


@settings(max_examples=200, deadline=None)
@given(st.lists(packets, max_size=4), st.integers(), st.data())
def test_no_packet_raises_out_of_the_core(
    heard: list[m.Packet], seed: int, data: st.DataObject
) -> None:
    """Valid packets of any content, about this node and others, and damaged ones."""
    victim, dice = Victim(), Random(seed)
    for packet in heard:
        near = replace(packet, target=B, target_epoch=4)
        about_me = m.Rumour(replace(victim.me, incarnation=dice.getrandbits(56)), A)
        for each in (packet, near, replace(near, rumours=(*near.rumours, about_me))):
            for kind in Kind:
                spelled = bytearray(victim.codec.spell(each, kind))
                victim.take(bytes(spelled))
                spelled[dice.randrange(len(spelled))] ^= 1 << dice.randrange(8)
                victim.take(bytes(spelled))
                victim.take(bytes(spelled[: dice.randrange(len(spelled))]))


@settings(max_examples=200, deadline=None)
@given(bodies, st.binary(max_size=80))
def test_no_body_raises_out_of_the_codec(body: object, garbage: bytes) -> None:
    """Any CBOR and any bytes behind a sound header."""
    victim = Victim()
    header = victim.codec.spell(PACKET, Kind.DATAGRAM)[:-5]
    for tail in (encode(body), encode([None, [body]]), encode([body, []]), garbage):
        victim.take(header + tail)
        victim.take(tail)

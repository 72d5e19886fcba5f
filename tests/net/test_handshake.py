"""Tests for `torua.net.handshake`: who belongs together, and what proves it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.plain import encode
from torua.core.builds import Build
from torua.core.ids import NodeId
from torua.errors import ProtocolError
from torua.net.handshake import (
    NONCE_BYTES,
    Handshake,
    Identity,
    RefusedError,
    Step,
    Terms,
)

ONE, TWO = NodeId("1" * 32), NodeId("2" * 32)

PLAIN = st.recursive(
    st.none() | st.integers() | st.binary() | st.text() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def sides(
    dialler: bytes | None, acceptor: bytes | None, nonce: int = 0
) -> tuple[Handshake, Handshake]:
    """Make both sides of a handshake.

    Args:
        dialler: its secret.
        acceptor: its secret.
        nonce: of both; another one is another handshake.
    """
    mine = Terms(Identity(ONE, "one", 1), "town", "", dialler)
    theirs = Terms(Identity(TWO, "two", 1), "town", "", acceptor)
    bare = bytes([nonce]) * NONCE_BYTES
    return Handshake(mine, TWO, bare), Handshake(theirs, None, bare)


def greet(dialler: Handshake, acceptor: Handshake) -> None:
    """Have both sides say Hello to each other.

    Args:
        dialler: speaks first.
        acceptor: answers.
    """
    acceptor.receive_hello(dialler.hello())
    dialler.receive_hello(acceptor.hello())


def test_both_come_to_the_same_keys() -> None:
    """What one side seals the other opens, each direction with its own key."""
    dialler, acceptor = sides(b"s", b"s")
    greet(dialler, acceptor)
    acceptor.receive_proof(dialler.proof())
    dialler.receive_proof(acceptor.proof())
    assert (dialler.step, acceptor.step) == (Step.DONE, Step.DONE)
    for sender, receiver in ((dialler, acceptor), (acceptor, dialler)):
        seal, opener = sender.seal(mine=True), receiver.seal(mine=False)
        assert seal is not None
        assert opener is not None
        assert opener.open(b"h", b"".join(seal.close(b"h", b"payload"))) == b"payload"


@pytest.mark.parametrize(("mine", "theirs"), [(b"s", b"t"), (b"s", None), (None, b"s")])
def test_another_secret_is_refused(mine: bytes | None, theirs: bytes | None) -> None:
    """So is one where the other side has none."""
    dialler, acceptor = sides(mine, theirs)
    with pytest.raises(RefusedError) as refused:
        greet(dialler, acceptor)
        acceptor.receive_proof(dialler.proof())
    assert refused.value.refusal.reason == "secret"
    assert refused.value.ours


def test_a_proof_serves_once_and_one_side_only() -> None:
    """Neither sent back to its maker nor kept from another handshake does it count."""
    old, listener = sides(b"s", b"s", nonce=1)
    greet(old, listener)
    dialler, acceptor = sides(b"s", b"s", nonce=2)
    greet(dialler, acceptor)
    for proof in (old.proof(), acceptor.proof()):
        with pytest.raises(RefusedError):
            acceptor.receive_proof(proof)


@pytest.mark.parametrize(
    ("mine", "theirs", "levels", "why"),
    [
        (Build(), Build((2, 2)), (0, 0), "peer protocols 1"),
        (Build(), Build((1, 1), (2, 2)), (0, 0), "feature levels 1"),
        (Build((1, 1), (1, 2)), Build(), (2, 0), "the cluster is at 2"),
        (Build(), Build((1, 1), (1, 2)), (0, 2), "the cluster is at 2"),
    ],
)
def test_another_build_is_refused_where_it_does_not_fit(
    mine: Build, theirs: Build, levels: tuple[int, int], why: str
) -> None:
    """No range in common, or a cluster's level that one side does not know."""
    one = Terms(Identity(ONE, "one", 1), "town", "", None, mine, levels[0])
    two = Terms(Identity(TWO, "two", 1), "town", "", None, theirs, levels[1])
    nonce = bytes(NONCE_BYTES)
    dialler, acceptor = Handshake(one, TWO, nonce), Handshake(two, None, nonce)
    with pytest.raises(RefusedError) as refused:
        greet(dialler, acceptor)
    assert refused.value.refusal.reason == "build"
    assert why in refused.value.refusal.detail


@given(st.binary() | PLAIN.map(encode), st.booleans())
def test_garbage_is_a_protocol_error(data: bytes, greeted: bool) -> None:
    """In either step nothing else is raised, whatever comes."""
    dialler, acceptor = sides(None, None)
    if greeted:
        greet(dialler, acceptor)
    with suppress(ProtocolError, RefusedError):
        (acceptor.receive_proof if greeted else acceptor.receive_hello)(data)

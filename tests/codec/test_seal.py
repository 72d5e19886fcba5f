"""Tests for `torua.codec.seal`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.seal import LIVES_MAX, SEAL_BYTES, WINDOW, ReplayWindow, Seal
from torua.errors import ProtocolError

A = "aa" * 16


def reason(error: ProtocolError) -> object:
    """Tell what is counted of an error."""
    return error.members["reason"]


def test_what_is_sealed_can_be_opened_by_who_knows_the_secret() -> None:
    """And is longer by what `SEAL_BYTES` says."""
    sealed = Seal(b"secret").close(A, 1, b"header", b"body")
    assert len(sealed) == len(b"body") + SEAL_BYTES
    assert Seal(b"secret").open(A, 1, b"header", sealed) == b"body"


@pytest.mark.parametrize(
    ("secret", "sender", "epoch", "header"),
    [
        (b"other", A, 1, b"header"),
        (b"secret", "bb" * 16, 1, b"header"),
        (b"secret", A, 2, b"header"),
        (b"secret", A, 1, b"reader"),
    ],
)
def test_what_another_sealed_or_changed_is_forged(
    secret: bytes, sender: str, epoch: int, header: bytes
) -> None:
    """Secret, sender, life and header all count."""
    sealed = Seal(b"secret").close(A, 1, b"header", b"body")
    with pytest.raises(ProtocolError) as caught:
        Seal(secret).open(sender, epoch, header, sealed)
    assert reason(caught.value) == "forged"


@given(st.binary(max_size=40))
def test_garbage_is_forged(garbage: bytes) -> None:
    """Also where it is too short to hold a nonce."""
    with pytest.raises(ProtocolError):
        Seal(b"secret").open(A, 1, b"", garbage)


def test_equal_bodies_are_sealed_differently() -> None:
    """A nonce is not used again."""
    seal = Seal(b"secret")
    assert seal.close(A, 1, b"", b"body") != seal.close(A, 1, b"", b"body")


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_a_window_admits_each_number_once_unless_it_is_old(seqs: list[int]) -> None:
    """It agrees with a set of all that was seen, as far back as it goes."""
    window, seen = ReplayWindow(), set[int]()
    for seq in seqs:
        fresh = seq not in seen and (not seen or seq > max(seen) - WINDOW)
        assert window.admit(seq) is fresh
        seen.add(seq)


def test_a_packet_is_admitted_once_a_life_and_kind() -> None:
    """The same number in another life or by another way is another packet."""
    seal = Seal(b"secret")
    for life in ((A, 1, 0), (A, 2, 0), (A, 1, 1)):
        seal.admit(*life, 7)
        with pytest.raises(ProtocolError) as caught:
            seal.admit(*life, 7)
        assert reason(caught.value) == "replayed"


def test_what_is_remembered_of_lives_is_bounded() -> None:
    """However many lives a flood makes up."""
    seal = Seal(b"secret")
    for epoch in range(LIVES_MAX + 10):
        seal.close(A, epoch, b"", b"")
        seal.admit(A, epoch, 0, 1)
        seal.admit(A, epoch, 1, 1)
    assert len(seal._ciphers) == LIVES_MAX
    assert len(seal._windows) == 2 * LIVES_MAX

"""A rope is the string of bytes that its pieces make, without making it."""

from hypothesis import given
from hypothesis import strategies as st

from torua.codec.rope import Rope, pieces_of

PIECES = st.lists(st.binary(max_size=5), max_size=5)
PLACES = st.one_of(st.none(), st.integers(-30, 30))


@given(pieces=PIECES, begin=PLACES, end=PLACES)
def test_a_part_is_that_of_the_whole(
    pieces: list[bytes], begin: int | None, end: int | None
) -> None:
    """Whatever pieces it reaches over."""
    rope, whole = Rope(pieces), b"".join(pieces)
    assert len(rope) == len(whole)
    assert rope[begin:end] == whole[begin:end]


@given(ropes=st.lists(PIECES, max_size=4))
def test_ropes_make_a_rope(ropes: list[list[bytes]]) -> None:
    """Of all their pieces, in order, none of them empty."""
    whole = Rope(map(Rope, ropes))
    flat = [piece for pieces in ropes for piece in pieces if piece]
    assert whole.pieces == flat
    assert all(mine is its for mine, its in zip(whole.pieces, flat, strict=True))


def test_one_whole_piece_is_not_copied() -> None:
    """It is what it was made with, which may be large."""
    piece = b"large" * 9
    assert Rope((b"head", piece, b"tail"))[4:49] is piece


def test_a_string_is_its_own_piece() -> None:
    """But for an empty one, which has none."""
    assert (pieces_of(b"x"), pieces_of(b"")) == ([b"x"], [])

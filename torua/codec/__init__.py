"""SPELLS. Values as bytes, and bytes as values: CBOR, bounded and checked.

What is spelled are the frozen structs of `torua.core` and plain values.  What is read
comes from anybody at all, so reading checks size, depth, type and trailing bytes, and
raises only `ProtocolError`.

Threading: none of it locks; all of it is pure.
"""

from torua.codec.plain import decode, encode, read, spell

__all__ = ["decode", "encode", "read", "spell"]

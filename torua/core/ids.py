"""The names by which the parts of a cluster are known.  No behaviour lives here."""

from typing import NamedTuple, NewType

NodeId = NewType("NodeId", str)
"""A node for as long as its data dir lives: a UUID in 32 hexadecimal digits."""

ShardId = NewType("ShardId", int)
"""A shard: 0 to the number of shards less one."""

AllocId = NewType("AllocId", str)
"""One copy of one shard, from its creation to its end: a UUID in 32 hex digits."""


class Address(NamedTuple):
    """Where a socket listens: both the UDP and the TCP one of a node."""

    host: str
    port: int

    def __str__(self) -> str:
        """Spell it as ``host:port``, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``host:port``; ValueError where it is not that."""
        host, colon, port = text.rpartition(":")
        digits = port.isascii() and port.isdigit()
        if not colon or not host or not digits or int(port) >= 1 << 16:
            raise ValueError("not HOST:PORT")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

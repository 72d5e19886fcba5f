"""ASSEMBLES. The one place where the parts of a node are made and meet.

`makeService` is what ``twist torua-node`` calls; `torua.service.node` makes the parts
of every node, `torua.service.graphs` those that graphs need.  Nothing is decided here,
and no other room knows this one.

Threading: the reactor's thread.
"""

from torua.service.node import Node, makeService
from torua.service.options import Options

__all__ = ("Node", "Options", "makeService")

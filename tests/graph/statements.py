"""Statements as the grammar makes them, and how their answers may be compared."""

from msgspec import Struct


class Statement(Struct, frozen=True):
    """One statement.

    Attributes:
        text: Cypher.
        parameters: a value for each ``$name`` in it.
        write: whether it may change something.
        ordered: an ORDER BY over all columns: the rows come in one order.
        cut: LIMIT without ORDER BY: only how many rows come is defined.
    """

    text: str
    parameters: dict[str, object] = {}
    write: bool = False
    ordered: bool = False
    cut: bool = False


BAG = "bag"
"""What names of columns begin with whose lists have no defined order (collect)."""

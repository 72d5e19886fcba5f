"""Types and cells: what they are, how they are spelled, checked and shown."""

from torua.core.graph.cells import check, show
from torua.core.graph.kinds import INTEGERS, TICKS, Cell, Field, Kind, Type
from torua.core.graph.spelling import NAME, parse_type, spell_type

__all__ = (
    "INTEGERS",
    "NAME",
    "TICKS",
    "Cell",
    "Field",
    "Kind",
    "Type",
    "check",
    "parse_type",
    "show",
    "spell_type",
)

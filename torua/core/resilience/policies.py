"""Which parts of the resilience a node uses."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct, structs


class Policies(Struct, frozen=True):
    """Each part by its name; True where it is used."""

    retry_budget: Annotated[
        bool,
        Meta(description="what is tried again is kept to a share of what is asked"),
    ] = True
    breakers: Annotated[
        bool, Meta(description="a node that does not answer is left alone for a while")
    ] = True
    selection: Annotated[
        bool, Meta(description="reads at any copy go where they are answered soonest")
    ] = True
    admission: Annotated[
        bool, Meta(description="requests are refused while a node has too much to do")
    ] = True
    watchdog: Annotated[bool, Meta(description="stalls of the reactor are noted")] = (
        True
    )
    cache: Annotated[
        bool, Meta(description="keys that were read of late are kept in memory")
    ] = True

    def without(self, names: Iterable[str]) -> "Policies":
        """Return these with some parts off.

        Args:
            names: of `NAMES`.
        """
        changes = {name.replace("-", "_"): False for name in names}
        return structs.replace(self, **changes)

    def both(self, other: "Policies") -> "Policies":
        """Return these with those parts off that are off in ``other``.

        Args:
            other: what may be used at all.
        """
        return self.without(other.off)

    @property
    def off(self) -> tuple[str, ...]:
        """Name the parts that are not used."""
        return tuple(
            name for name in NAMES if not getattr(self, name.replace("-", "_"))
        )


NAMES = tuple(name.replace("_", "-") for name in Policies.__struct_fields__)
"""How people name the parts."""

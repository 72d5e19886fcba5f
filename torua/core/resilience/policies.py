"""Which parts of the resilience a node uses."""

from collections.abc import Iterable

from msgspec import Struct, structs


class Policies(Struct, frozen=True):
    """Each part by its name; True where it is used.

    Attributes:
        retry_budget: whether what is tried again is kept to a share of what is asked.
        breakers: whether a node that does not answer is left alone for a while.
        selection: whether reads at any copy go where they are answered soonest.
        admission: whether requests are refused while the node has too much to do.
        watchdog: whether stalls of the reactor are noted.
    """

    retry_budget: bool = True
    breakers: bool = True
    selection: bool = True
    admission: bool = True
    watchdog: bool = True

    def without(self, names: Iterable[str]) -> "Policies":
        """Return these with some parts off.

        Args:
            names: of `NAMES`.
        """
        changes = {name.replace("-", "_"): False for name in names}
        return structs.replace(self, **changes)


NAMES = tuple(name.replace("_", "-") for name in Policies.__struct_fields__)
"""How people name the parts."""

"""Plans of statements, each made once."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from torua.core.cypher.plan import Plan
from torua.core.graph.schema import Graph

PLANS_MAX = 512
"""Programs use some tens of statements; a plan takes a few KiB."""

TEXT_CHARS_MAX = 8192
"""Longer statements hold their values within, and do not come again."""

Planner = Callable[[str, Mapping[str, object], Graph], Plan]
"""Makes a plan: see `torua.core.cypher.planner`."""

_Key = tuple[int, int, str, tuple[str, ...]]


class Plans:
    """Remembers the plans that were used last.

    Invariants: at most `PLANS_MAX`; a plan is used with the schema that it was made
    with, and no other.
    """

    def __init__(self, planner: Planner) -> None:
        """Begin with none.

        Args:
            planner: makes them.
        """
        self._planner = planner
        self._known: OrderedDict[_Key, Plan] = OrderedDict()

    def plan(self, text: str, parameters: Mapping[str, object], graph: Graph) -> Plan:
        """Return the plan of a statement.

        Args:
            text: the statement.
            parameters: their names matter.
            graph: the schema.

        Raises:
            ToruaError: as the planner refuses it.
        """
        key = (graph.graph_id, graph.version, text, tuple(sorted(parameters)))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        plan = self._planner(text, parameters, graph)
        if len(text) <= TEXT_CHARS_MAX:
            self._known[key] = plan
            if len(self._known) > PLANS_MAX:
                self._known.popitem(last=False)
        return plan

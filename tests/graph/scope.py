"""What a grammar knows while it writes a statement: variables, parameters, the dice."""

from msgspec import Struct

from tests.graph.dice import Dice
from tests.graph.world import REL_TABLES, TABLES


class Variable(Struct, frozen=True):
    """A variable that is bound.

    Attributes:
        name: as the statement spells it.
        kind: ``node``, ``rel``, ``trail`` (of variable length), ``path`` or ``value``.
        tables: labels or types that it may have.
        type: of a value.
    """

    name: str
    kind: str
    tables: tuple[str, ...] = ()
    type: str = ""

    def properties(self) -> list[tuple[str, str]]:
        """List what it may have, as (access, type); all labels' together."""
        found: dict[str, str] = {}
        for table in self.tables:
            columns = (
                TABLES[table].columns
                if self.kind == "node"
                else REL_TABLES[table].columns
            )
            found.update(columns)
        return [(f"{self.name}.{name}", type_) for name, type_ in found.items()]


class Scope:
    """Names in use in one statement.

    Invariants: no name is given twice, not even after ``WITH`` dropped it.

    Attributes:
        dice: decides.
        variables: that are bound here.
        parameters: values by name.
        acyclic: no pattern may end where it began: in subqueries the engine errs then.
    """

    def __init__(self, dice: Dice) -> None:
        """Begin a statement."""
        self.dice = dice
        self.variables: list[Variable] = []
        self.parameters: dict[str, object] = {}
        self._names = 0
        self.acyclic = False

    def name(self, letter: str) -> str:
        """Return a name that is not in use."""
        self._names += 1
        return f"{letter}{self._names}"

    def bind(self, letter: str, kind: str, *tables: str, type_: str = "") -> Variable:
        """Bind a new variable.

        Args:
            letter: its name begins with.
            kind: see `Variable`.
            tables: see `Variable`.
            type_: of a value.
        """
        variable = Variable(self.name(letter), kind, tables, type_)
        self.variables.append(variable)
        return variable

    def parameter(self, value: object) -> str:
        """Return how to spell a new parameter with a value."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def of(self, *kinds: str) -> list[Variable]:
        """List variables of some kinds."""
        return [each for each in self.variables if each.kind in kinds]

    def readable(self, type_: str) -> list[str]:
        """List what has a type without computing: properties and values."""
        found = [
            access
            for each in self.of("node", "rel")
            for access, its in each.properties()
            if its == type_
        ]
        return found + [each.name for each in self.of("value") if each.type == type_]

"""Statements of many clauses that hang on nodes given by key, drawn at random.

They are what the argument of `torua.core.cypher.frontier` is about: optional clauses,
subqueries, rings, variables that are bound again, conditions on what was bound before.
"""

from random import Random

from tests.graph.statements import Statement

PAIRS = {
    "knows": (("Person", "Person"),),
    "livesIn": (("Person", "City"),),
    "likes": (
        ("Person", "Thing"),
        ("Person", "City"),
        ("City", "Thing"),
        ("Thing", "Thing"),
    ),
    "partOf": (("Thing", "Thing"),),
}
KEYS = {
    "Person": ("id", ["0", "1", "3", "7", "$k"]),
    "City": ("name", ["'Rome'", "'Oslo'", "'a/b'"]),
    "Thing": ("id", ["-4", "-1", "2", "$k"]),
}
SEEN = {"Person": ("id", "age", "name"), "City": ("name", "size"), "Thing": ("id",)}


class Walks:
    """Draws one statement.

    Invariants: `bound` has the variables in scope with the one table each is of.
    """

    def __init__(self, dice: Random) -> None:
        """Begin with nothing bound."""
        self.dice = dice
        self.bound: dict[str, str] = {}
        self.made = 0

    def statement(self) -> Statement:
        """Draw it.

        The first clause has an anchor; of the others only some.
        """
        parts = [self._clause(first=True)]
        for _ in range(self.dice.randint(0, 2)):
            if self.dice.random() < 0.25:
                parts.append(self._with())
            parts.append(self._clause(first=False))
        shown = [self._shown(name) for name in self.bound]
        text = f"{' '.join(parts)} RETURN DISTINCT {', '.join(shown)}"
        return Statement(text, {"k": 5} if "$k" in text else {})

    def _shown(self, name: str) -> str:
        """Show a property of a variable."""
        return f"{name}.{self.dice.choice(SEEN[self.bound[name]])}"

    def _with(self) -> str:
        """Hand some variables on."""
        kept = [name for name in self.bound if self.dice.random() < 0.7]
        kept = kept or list(self.bound)[:1]
        self.bound = {name: self.bound[name] for name in kept}
        return f"WITH DISTINCT {', '.join(kept)}"

    def _clause(self, *, first: bool) -> str:
        """Draw a MATCH."""
        optional = "" if first or self.dice.random() < 0.5 else "OPTIONAL "
        text = f"{optional}MATCH {self._path(anchored=first)}"
        if self.dice.random() < 0.3:
            text += f", {self._path(anchored=self.dice.random() < 0.5)}"
        conditions = [self._condition() for _ in range(self.dice.choice([0, 0, 1, 2]))]
        return text + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

    def _condition(self) -> str:
        """Draw a condition on a variable."""
        name = self.dice.choice(list(self.bound))
        key, values = KEYS[self.bound[name]]
        value = self.dice.choice(values)
        scope, self.bound = self.bound, dict(self.bound)
        inner = self._path(anchored=False, start=name)
        self.bound = scope
        return self.dice.choice(
            [
                f"{name}.{key} = {value}",
                f"{name}.{key} <> {value}",
                f"{name}.{key} IN [{values[0]}, {values[1]}]",
                f"EXISTS {{ MATCH {inner} }}",
                f"NOT EXISTS {{ MATCH {inner} WHERE {name}.{key} = {value} }}",
                f"COUNT {{ MATCH {inner} }} > 1",
                f"({name}.{key} = {value} OR {name}.{key} = {values[0]})",
            ]
        )

    def _path(self, *, anchored: bool, start: str = "") -> str:
        """Draw a path, from a bound node, an anchor, or anywhere."""
        text, table = self._start(anchored, start)
        for _ in range(self.dice.choice([0, 1, 1, 2])):
            step, table = self._step(table)
            text += step
        return text

    def _start(self, anchored: bool, start: str) -> tuple[str, str]:
        """Draw where a path begins."""
        if start or (self.bound and not anchored and self.dice.random() < 0.8):
            name = start or self.dice.choice(list(self.bound))
            return f"({name})", self.bound[name]
        table = self.dice.choice(["Person", "Person", "City", "Thing"])
        key, values = KEYS[table]
        name = self._new(table)
        inside = f" {{{key}: {self.dice.choice(values)}}}" if anchored else ""
        return f"({name}:{table}{inside})", table

    def _step(self, table: str) -> tuple[str, str]:
        """Draw a relationship and the node at its other end."""
        ways = [
            (name, pair, out)
            for name, pairs in PAIRS.items()
            for pair in pairs
            for out in (True, False)
            if pair[0 if out else 1] == table
        ]
        name, pair, out = self.dice.choice(ways)
        other = pair[1] if out else pair[0]
        long = self.dice.choice(["", "", "", "*1..2", "*0..1", "*2..2"])
        types = "" if self.dice.random() < 0.1 else f":{name}"
        rel = f"[{types}{long}]"
        arrow = f"-{rel}->" if out else f"<-{rel}-"
        if self.dice.random() < 0.25:
            arrow = f"-{rel}-"
        same = [each for each, known in self.bound.items() if known == other]
        if same and self.dice.random() < 0.2:
            return f"{arrow}({self.dice.choice(same)})", other
        return f"{arrow}({self._new(other)}:{other})", other

    def _new(self, table: str) -> str:
        """Bind another variable."""
        self.made += 1
        name = f"v{self.made}"
        self.bound[name] = table
        return name

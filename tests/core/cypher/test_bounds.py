"""Planning takes time in proportion to the text, whatever the text is."""

import sys
from collections.abc import Callable

import pytest

from tests.core.cypher.graphs import GRAPH
from torua.core.cypher.planner import plan
from torua.core.cypher.tokens import DEPTH_MAX
from torua.errors import ToruaError

DEEP = DEPTH_MAX - 1
MAKERS: dict[str, Callable[[int], str]] = {
    "additions": lambda n: "RETURN " + "+".join(["1"] * 4 * n),
    "conjuncts": lambda n: (
        f"MATCH (n:Person) WHERE {' AND '.join(['n.age > 1'] * n)} RETURN n.name"
    ),
    "no path": lambda n: "RETURN " + "-".join(["(a)-[a]"] * n) + "-(1)",
    "minus": lambda n: "RETURN " + "--".join(["(1)"] * n),
    "less than": lambda n: "RETURN " + "<".join(["(a)"] * n),
    "chain": lambda n: "MATCH " + "-[:Knows]->".join(["()"] * n) + " RETURN 1",
    "nodes": lambda n: "MATCH " + ",".join(["(:Person)"] * n) + " RETURN 1",
    "creates": lambda n: (
        "CREATE " + ",".join(f"(a{i}:City {{name: 'x'}})" for i in range(n))
    ),
    "mentions": lambda n: "MATCH (n) RETURN " + ",".join(["count(n)"] * n),
    "subqueries": lambda n: (
        "MATCH (n:Person) RETURN " + ",".join(["EXISTS {MATCH (n)--()}"] * (n // 2))
    ),
    "brackets": lambda n: (
        "RETURN " + ",".join(["(" * DEEP + "a" + ")" * DEEP] * (n // 50))
    ),
    "deep subqueries": lambda n: (
        "MATCH (n:Person) RETURN "
        + ",".join(
            ["EXISTS {MATCH (n) WHERE " * DEEP + "true" + "}" * DEEP] * (n // 100)
        )
    ),
    "unions": lambda n: " UNION ".join(["MATCH (n) RETURN n.age"] * (n // 3)),
}


def steps(text: str) -> int:
    """Count the calls that planning a text makes.

    Unlike time, it does not depend on what else the machine does.
    """
    count = 0

    def _counted(_frame: object, event: str, _argument: object) -> None:
        """Count one event."""
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(_counted)
    try:
        plan(text, {}, GRAPH)
    except ToruaError:
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", MAKERS)
def test_twice_the_text_takes_about_twice_the_time(shape: str) -> None:
    """A statement made to be slow is not."""
    small, large = steps(MAKERS[shape](200)), steps(MAKERS[shape](800))
    assert large < small * 6

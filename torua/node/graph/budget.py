"""How many bytes queries may gather: each one, and all of a node together."""

from torua.errors import OverloadedError, QueryTooLargeError

QUERY_BYTES_MAX = 64 << 20
"""What one query may gather: a query worker holds it several times over."""

NODE_QUERIES = 4
"""All queries of a node may hold so many times that; more have to come again."""

HINT = (
    "ask for less: name nodes by their keys, filter by properties, return single "
    "properties instead of whole nodes, or aggregate"
)


class Budget:
    """The bytes that the queries of this node hold.

    Invariants: what is held is the sum of all claims that are not ended, and within
    the bound.

    Attributes:
        query_max: for each query.
        node_max: for all of them together.
        held: by all of them.
    """

    def __init__(
        self, query_max: int = QUERY_BYTES_MAX, node_max: int | None = None
    ) -> None:
        """Begin with nothing held.

        Args:
            query_max: for each query.
            node_max: for all of them together; None for some queries' worth.
        """
        self.query_max = query_max
        self.node_max = node_max or NODE_QUERIES * query_max
        self.held = 0

    def claim(self) -> "Claim":
        """Begin a query that holds nothing yet."""
        return Claim(self)

    def take(self, count: int) -> None:
        """Hold so many bytes more; OverloadedError where there is no room."""
        if self.held + count > self.node_max:
            raise OverloadedError("the queries of this node gather too much at once")
        self.held += count

    def give(self, count: int) -> None:
        """Hold so many bytes less."""
        self.held -= count
        assert self.held >= 0


class Claim:
    """What one query holds.

    Invariants: never more than a query may; nothing once it was ended.
    """

    def __init__(self, budget: Budget) -> None:
        """Begin with nothing."""
        self._budget = budget
        self.held = 0

    def expect(self, count: int) -> None:
        """Raise QueryTooLargeError where so many bytes, by estimate, are too many."""
        if count > self._budget.query_max:
            raise self._too_large(count, "about ")

    def take(self, count: int) -> None:
        """Hold so many bytes more.

        Raises:
            QueryTooLargeError: the query gathers more than one may.
            OverloadedError: all queries together do.
        """
        if self.held + count > self._budget.query_max:
            raise self._too_large(self.held + count, "more than ")
        self._budget.take(count)
        self.held += count

    def end(self) -> None:
        """Hold nothing any more; may be called twice."""
        self._budget.give(self.held)
        self.held = 0

    def _too_large(self, count: int, how: str) -> QueryTooLargeError:
        """Make the error of a query that gathers so many bytes."""
        limit = self._budget.query_max
        return QueryTooLargeError(
            f"the query would gather {how}{count} bytes, and may {limit}; {HINT}",
            estimate=count,
            limit=limit,
        )

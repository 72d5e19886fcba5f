"""What of an import is in, row by row and batch by batch."""

from collections.abc import Sequence

from torua.core.graph.importing import Bad, Batch, Report
from torua.errors import UnprocessableError


class Ledger:
    """The account of one import.

    Invariants: sections follow each other, and are begun in order; a batch belongs to
    one section; `complete` never falls.
    """

    def __init__(self, errors_max: int) -> None:
        """Begin before the first row.

        Args:
            errors_max: so many rows may be left out.
        """
        self._errors_max = errors_max
        self._sections: dict[int, tuple[int, list[Batch]]] = {}
        self._ended: dict[int, int] = {}
        self.errors: list[Bad] = []
        self.rows = 0
        self.unchanged = 0
        self.skipped = 0
        self.batches = 0
        self.complete = 0

    def begin(self, first: int, last: int) -> None:
        """Begin a section.

        Args:
            first: the number of its first row.
            last: the number of its last row.
        """
        assert first > self.complete, "a section is begun once"
        self._sections[first] = (last, [])

    def wrote(self, first: int, batch: Batch) -> None:
        """Note that a batch is in.

        Args:
            first: the first row of its section.
            batch: which.
        """
        self._sections[first][1].append(batch)
        self.batches += 1
        self.rows += batch.rows

    def bad(self, rows: Sequence[Bad]) -> None:
        """Note rows that are left out.

        Raises:
            UnprocessableError: they are too many; then none of them is left out, and
                what they stand among must not go in.
        """
        self.errors += rows
        if len(self.errors) > self._errors_max:
            first = min(self.errors, key=lambda each: each.line)
            more = "" if self._errors_max == 0 else f"{len(self.errors)} bad rows; "
            raise UnprocessableError(f"{more}line {first.line}: {first.detail}")

    def end(self, first: int) -> None:
        """Note that all of a section is dealt with, and which rows that completes."""
        self._ended[first] = self._sections[first][0]
        while self.complete + 1 in self._ended:
            begun = self.complete + 1
            self.complete = self._ended.pop(begun)
            del self._sections[begun]

    def report(self, task: str, import_id: str, table: str) -> Report:
        """Tell of all of it.

        Args:
            task: its id.
            import_id: what it is sent again under.
            table: where the rows go.
        """
        beyond = [each for _, batches in self._sections.values() for each in batches]
        return Report(
            task=task,
            import_id=import_id,
            table=table,
            rows=self.rows,
            unchanged=self.unchanged,
            skipped=self.skipped,
            batches=self.batches,
            complete=self.complete,
            beyond=tuple(sorted(beyond, key=lambda each: each.first_line)),
            errors=tuple(sorted(self.errors, key=lambda each: each.line)),
        )

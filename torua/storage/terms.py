"""Which term each record of a copy's log was made in.

Terms change rarely and never fall, so a log of any length is a few runs.
"""

from bisect import bisect_right


class Terms:
    """The terms of the records behind ``base``, and of the one at ``base`` itself.

    Invariants: ``base <= last``; the runs begin at rising seqs, the first at ``base``,
    and their terms never fall.

    Performance: a look-up is a binary search over as many runs as there were terms.

    Attributes:
        base: the record before the first that is there; 0 for none.
        last: the newest record; ``base`` where there is none.
    """

    def __init__(self, base: int = 0, term: int = 0) -> None:
        """Begin without a record.

        Args:
            base: the seq before the first record.
            term: of the record at ``base``; 0 where that is none.
        """
        self.base = self.last = base
        self._seqs = [base]
        self._terms = [term]

    @property
    def newest(self) -> int:
        """The term of the record at ``last``; 0 where that is none."""
        return self._terms[-1]

    def copy(self) -> "Terms":
        """Return another that changes apart from this one."""
        other = Terms()
        other.base, other.last = self.base, self.last
        other._seqs, other._terms = self._seqs.copy(), self._terms.copy()
        return other

    def at(self, seq: int) -> int | None:
        """Tell the term of a record; None where that is not known.

        Args:
            seq: known from ``base`` to ``last``.
        """
        if not self.base <= seq <= self.last:
            return None
        return self._terms[bisect_right(self._seqs, seq) - 1]

    def append(self, seq: int, term: int, count: int = 1) -> None:
        """Note the next record, or some of one term.

        Args:
            seq: of the first: ``last`` and one.
            term: at least that of the record before.
            count: how many records.
        """
        assert seq == self.last + 1, f"{seq} after {self.last}"
        assert term >= self._terms[-1], f"term {term} after {self._terms[-1]}"
        if term != self._terms[-1]:
            self._seqs.append(seq)
            self._terms.append(term)
        self.last = seq + count - 1

    def truncate(self, after: int) -> None:
        """Forget the records behind ``after``, which is known."""
        assert self.base <= after <= self.last, f"{after} is not known"
        while self._seqs[-1] > after:
            del self._seqs[-1], self._terms[-1]
        self.last = after

    def cut(self, through: int) -> None:
        """Forget the records before ``through``, which is known: the base from now."""
        assert self.base <= through <= self.last, f"{through} is not known"
        gone = bisect_right(self._seqs, through) - 1
        del self._seqs[:gone], self._terms[:gone]
        self._seqs[0] = self.base = through

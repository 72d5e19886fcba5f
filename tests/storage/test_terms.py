"""Terms of records, as runs."""

from hypothesis import given
from hypothesis import strategies as st

from torua.storage.terms import Terms


@given(st.data())
def test_runs_say_what_a_list_says(data: st.DataObject) -> None:
    """Whatever is appended, voided and cut, each record's term is what it was."""
    base = data.draw(st.integers(0, 9))
    terms, naive = Terms(base, 1), {base: 1}
    for step in data.draw(st.lists(st.sampled_from("aaatc"), max_size=40)):
        last = max(naive)
        if step == "a":
            term = naive[last] + data.draw(st.integers(0, 1))
            count = data.draw(st.integers(1, 3))
            terms.append(last + 1, term, count)
            naive |= dict.fromkeys(range(last + 1, last + 1 + count), term)
            continue
        seq = data.draw(st.integers(min(naive), last))
        if step == "t":
            terms.truncate(seq)
            naive = {each: term for each, term in naive.items() if each <= seq}
        else:
            terms.cut(seq)
            naive = {each: term for each, term in naive.items() if each >= seq}
    around = range(min(naive) - 1, max(naive) + 2)
    assert [terms.at(seq) for seq in around] == [naive.get(seq) for seq in around]
    assert (terms.base, terms.last) == (min(naive), max(naive))
    assert terms.newest == naive[max(naive)]


def test_a_copy_changes_apart() -> None:
    """One is handed to another thread."""
    terms = Terms()
    other = terms.copy()
    terms.append(1, 5)
    assert (other.last, terms.last, other.at(0), terms.at(1)) == (0, 1, 0, 5)

"""CSV and lines of JSON, out of bytes that come piece by piece."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec import delimited
from torua.codec.delimited import CsvRows, JsonRows, Read, Rows

FIELDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), max_size=8
)


def read(rows: Rows, *pieces: bytes) -> list[Read]:
    """Read all pieces, and the end.

    Args:
        rows: the reader.
        pieces: of the file.
    """
    return [*(each for piece in pieces for each in rows.feed(piece)), *rows.end()]


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a file at some places.

    Args:
        data: the file.
        cuts: anywhere.
    """
    places = sorted({min(cut, len(data)) for cut in cuts})
    starts = [0, *places]
    return [data[a:b] for a, b in zip(starts, [*places, len(data)], strict=True)]


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=3), max_size=8),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_csv_is_read_as_it_was_written_however_it_comes(
    table: list[list[str]], cuts: list[int]
) -> None:
    """Delimiters, quotes and line ends within fields are kept, in any pieces."""
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerows(table)
    data = out.getvalue().encode()
    found = read(CsvRows(",", '"', ""), *pieces_of(data, cuts))
    assert [each.fields for each in found] == table
    assert not any(each.trouble for each in found)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=2), min_size=1, max_size=8),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_a_row_s_line_is_where_it_begins(
    table: list[list[str]], cuts: list[int]
) -> None:
    """A row with line ends in it counts as several lines."""
    lines, number = [], 1
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in table:
        writer.writerow(row)
        lines.append(number)
        number = out.getvalue().count("\n") + 1
    found = read(CsvRows(",", '"', ""), *pieces_of(out.getvalue().encode(), cuts))
    assert [each.line for each in found] == lines


def test_spellings_of_csv_can_be_chosen() -> None:
    """Delimiter, quote and escape; a quote that is none is text."""
    assert read(CsvRows("|", "'", ""), b"a|'b|c'\n")[0].fields == ["a", "b|c"]
    assert read(CsvRows(",", '"', "\\"), b'a,"b\\"c"\n')[0].fields == ["a", 'b"c']
    assert read(CsvRows("|", "", ""), b'5" disk|"x\n')[0].fields == ['5" disk', '"x']


def test_the_mark_at_the_beginning_and_line_ends_of_windows_are_no_text() -> None:
    """A byte order mark is dropped, however it comes; so are carriage returns."""
    data = b"\xef\xbb\xbfid,n\r\n1,x\r\n\r\n2,y"
    for at in range(5):
        found = read(CsvRows(",", '"', ""), data[:at], data[at:])
        assert [each.fields for each in found] == [["id", "n"], ["1", "x"], ["2", "y"]]
        assert [each.line for each in found] == [1, 2, 4]


def test_what_is_no_csv_is_told_with_its_line_and_reading_goes_on() -> None:
    """A quote in the middle of a quoted field; bytes that are no UTF-8."""
    data = b'1,a\n2,"b"c\n3,c\n4,\xff\n5,e\n'
    for at in range(len(data)):
        found = read(CsvRows(",", '"', ""), data[:at], data[at:])
        assert [each.line for each in found] == [1, 2, 3, 4, 5]
        assert [bool(each.trouble) for each in found] == [
            False,
            True,
            False,
            True,
            False,
        ]


def test_a_quote_that_is_never_closed_is_told_of_where_it_opens() -> None:
    """At the end of the file, with the line of its row."""
    found = read(CsvRows(",", '"', ""), b'1,a\n2,"b\n3,c\n')
    assert found[0].fields == ["1", "a"]
    assert (found[1].line, found[1].trouble) == (2, "not CSV: unexpected end of data")


def test_a_row_without_an_end_is_not_held_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a row may have is an error at once."""
    monkeypatch.setattr(delimited, "ROW_BYTES_MAX", 100)
    rows = CsvRows(",", '"', "")
    found = [each for _ in range(50) for each in rows.feed(b'"abcdefgh\n')]
    assert found
    assert found[0].trouble


@given(
    st.lists(st.dictionaries(FIELDS, st.integers() | FIELDS | st.none(), max_size=3)),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_lines_of_json_are_read_however_they_come(
    table: list[dict[str, object]], cuts: list[int]
) -> None:
    """Each line is an object; numbers are kept whatever their size."""
    import json  # noqa: PLC0415

    data = "\n".join(json.dumps(row) for row in table).encode()
    found = read(JsonRows(), *pieces_of(data, cuts))
    assert [each.fields for each in found] == table
    assert [each.line for each in found] == list(range(1, len(table) + 1))


def test_lines_that_are_no_objects_are_told_of() -> None:
    """Empty lines count, and are no rows."""
    found = read(JsonRows(), b'{"a":1}\r\n\n[1]\n{"a"\n{"a":2}')
    assert [each.line for each in found] == [1, 3, 4, 5]
    assert [bool(each.trouble) for each in found] == [False, True, True, False]

"""What an import is asked for, and what became of it, as values."""

from msgspec import Struct

ERRORS_MAX = 10_000
"""An import that leaves more rows out than this is of the wrong file."""

CSV = "csv"
NDJSON = "ndjson"
PARQUET = "parquet"

FAIL = "fail"
SKIP = "skip"
REPLACE = "replace"


class Wanted(Struct, frozen=True):
    """One import.

    Attributes:
        graph: by name.
        table: the table that the rows go to, by name.
        form: `CSV`, `NDJSON` or `PARQUET`.
        delimiter: of CSV: one character between fields.
        quote: of CSV: one character around fields; empty for none.
        escape: of CSV: one character before a character that is meant as it is; empty
            where quotes within fields are doubled.
        header: of CSV: whether the first row has the names.
        null: of CSV: what stands for NULL.
        columns: names of the fields, instead of the header's; empty for none.
        from_table: where relationships go from; empty where there is no choice.
        to_table: where they go to; likewise.
        on_duplicate: what a node is that exists already: `FAIL` an error, `SKIP` left
            as it is, `REPLACE` given all properties anew.
        max_errors: how many bad rows are left out before the import stops.
        skip: how many rows at the beginning are in already.
        import_id: equal ones promise equal files, so that what is in already is not
            done again; empty for none.
        bytes_total: how large the file is, for the progress; 0 where nobody knows.
    """

    graph: str
    table: str
    form: str = CSV
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    null: str = ""
    columns: tuple[str, ...] = ()
    from_table: str = ""
    to_table: str = ""
    on_duplicate: str = FAIL
    max_errors: int = 0
    skip: int = 0
    import_id: str = ""
    bytes_total: int = 0


class Bad(Struct, frozen=True):
    """A row that is not in.

    Attributes:
        line: where it begins in the file; its number, from 1, in a Parquet file.
        detail: a sentence about what is wrong with it.
    """

    line: int
    detail: str


class Batch(Struct, frozen=True):
    """Rows of one shard that went in together."""

    shard: int
    first_line: int
    last_line: int
    rows: int


class Report(Struct, frozen=True):
    """What became of an import.

    Attributes:
        task: its id among the tasks.
        import_id: what to name it by when the file is sent again.
        table: where the rows went.
        rows: how many rows were written.
        unchanged: how many were in already, as they are in the file.
        skipped: how many nodes were there already and were left as they are.
        batches: how many batches were written, each all or nothing.
        complete: all of so many rows from the file's beginning are dealt with.
        beyond: batches behind these rows that are in, of an import that stopped.
        errors: the rows that were left out, in the order of their lines.
        stopped: why it ended before the file did; empty where it did not.
        code: the error code of that; empty likewise.
        seconds: how long it took.
    """

    task: str
    import_id: str
    table: str
    rows: int = 0
    unchanged: int = 0
    skipped: int = 0
    batches: int = 0
    complete: int = 0
    beyond: tuple[Batch, ...] = ()
    errors: tuple[Bad, ...] = ()
    stopped: str = ""
    code: str = ""
    seconds: float = 0.0

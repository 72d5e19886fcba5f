"""Definitions are read as Kuzu reads them, and make of a schema what they say."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.graph.values import types
from torua.core.graph.ddl import Ddl, define, parse_ddl
from torua.core.graph.definitions import (
    AddColumn,
    AddPair,
    ColumnDefinition,
    CreateNodeTable,
    CreateRelTable,
    DropColumn,
    DropPair,
    DropTable,
    RenameColumn,
    RenameTable,
)
from torua.core.graph.schema import (
    MAIN_GRAPH,
    Graph,
    NodeTable,
    Placement,
    column,
    find_column,
    find_table,
    next_column,
    node_table,
    node_table_by_id,
    rel_table,
    table_by_id,
    tables,
)
from torua.core.graph.types import Kind, Type, parse_type, spell_type
from torua.errors import MalformedError, NotFoundError, ToruaError, UnprocessableError

INT64 = Type(Kind.INT64)
ID = ColumnDefinition("id", INT64)
SINGLE = Graph(7, "s", Placement.SINGLE)
names = st.sampled_from(["A", "b", "C", "d", "Knows", "likes", "KeyValue"])
columns = st.sampled_from(["id", "x", "Y", "z", "_id", "tv_x"])
definitions = st.builds(ColumnDefinition, columns, types)
pairs = st.tuples(names, names)
flags = st.booleans()
ddls = st.one_of(
    st.builds(
        CreateNodeTable,
        names,
        st.lists(definitions, max_size=2).map(lambda more: (ID, *more)),
        columns,
        flags,
    ),
    st.builds(
        CreateRelTable,
        names,
        st.lists(pairs, min_size=1, max_size=3).map(tuple),
        st.lists(definitions, max_size=2).map(tuple),
        st.sampled_from(["MANY_MANY", "MANY_ONE", "ONE_ONE", "ONE_MANY"]),
        flags,
    ),
    st.builds(DropTable, names, flags),
    st.builds(RenameTable, names, names),
    st.builds(AddColumn, names, definitions, flags),
    st.builds(DropColumn, names, columns, flags),
    st.builds(RenameColumn, names, columns, columns),
    st.builds(AddPair, names, names, names, flags),
    st.builds(DropPair, names, names, names, flags),
)


def spelled(ddl: Ddl) -> str:  # noqa: C901, PLR0911
    """Spell a definition.

    Args:
        ddl: any.
    """
    match ddl:
        case CreateNodeTable():
            inner = [*_columns(ddl.columns), f"PRIMARY KEY (`{ddl.primary_key}`)"]
            not_there = _if("NOT EXISTS", ddl.if_not_exists)
            return f"CREATE NODE TABLE {not_there}{ddl.name}({', '.join(inner)})"
        case CreateRelTable():
            inner = [f"FROM {source} TO {target}" for source, target in ddl.pairs]
            inner += [*_columns(ddl.columns), ddl.multiplicity]
            not_there = _if("NOT EXISTS", ddl.if_not_exists)
            return f"CREATE REL TABLE {not_there}{ddl.name}({', '.join(inner)});"
        case DropTable():
            return f"drop table {_if('EXISTS', ddl.if_exists)}{ddl.name}"
        case RenameTable():
            return f"ALTER TABLE {ddl.name} RENAME TO `{ddl.to}`"
        case AddColumn():
            (text,) = _columns((ddl.column,))
            not_there = _if("NOT EXISTS", ddl.if_not_exists)
            return f"ALTER TABLE {ddl.table} ADD {not_there}{text}"
        case DropColumn():
            there = _if("EXISTS", ddl.if_exists)
            return f"ALTER TABLE {ddl.table} DROP {there}{ddl.name}"
        case RenameColumn():
            return f"ALTER TABLE {ddl.table} RENAME {ddl.name} TO {ddl.to}"
        case AddPair():
            not_there = _if("NOT EXISTS", ddl.if_not_exists)
            pair = f"FROM {ddl.source} TO {ddl.target}"
            return f"ALTER TABLE {ddl.table} ADD {not_there}{pair}"
        case DropPair():
            there = _if("EXISTS", ddl.if_exists)
            pair = f"FROM {ddl.source} TO {ddl.target}"
            return f"ALTER TABLE {ddl.table} DROP {there}{pair}"


def _if(what: str, said: bool) -> str:
    """Spell a condition."""
    return f"IF {what} " if said else ""


def _columns(found: tuple[ColumnDefinition, ...]) -> list[str]:
    """Spell properties."""
    return [f"`{each.name}` {spell_type(each.type)}" for each in found]


def defined(graph: Graph, *texts: str) -> Graph:
    """Return a graph after some definitions.

    Args:
        graph: before.
        texts: one after the other.
    """
    for text in texts:
        ddl = parse_ddl(text)
        assert ddl is not None, text
        graph = define(graph, ddl)
    return graph


PEOPLE = defined(
    MAIN_GRAPH,
    "CREATE NODE TABLE Person(id INT64 PRIMARY KEY, name STRING DEFAULT 'x')",
    "CREATE NODE TABLE City(id INT64 PRIMARY KEY)",
    "CREATE REL TABLE Knows(FROM Person TO Person, FROM Person TO City, since DATE)",
)


@given(ddls)
def test_a_definition_is_read_as_it_was_spelled(ddl: Ddl) -> None:
    """Every form."""
    assert parse_ddl(spelled(ddl)) == ddl


@settings(max_examples=200)
@given(st.lists(ddls, max_size=25), st.sampled_from(Placement))
def test_a_schema_stays_sound(found: list[Ddl], placement: Placement) -> None:
    """Whatever is defined: names and ids are unique, and no id comes back."""
    graph = replace(MAIN_GRAPH, placement=placement)
    given_ids: dict[int, str] = {}
    given_columns: dict[tuple[int, int], object] = {}
    for ddl in found:
        before = graph
        try:
            graph = define(before, ddl)
        except UnprocessableError:
            continue
        assert graph.version == before.version + (graph is not before)
        assert graph is before or graph != before
        check_sound(graph)
        for table in tables(graph):
            assert given_ids.setdefault(table.table_id, type(table).__name__)
            for each in table.columns:
                known = given_columns.setdefault(
                    (table.table_id, each.column_id), each.type
                )
                assert known == each.type, "an id that was another's"
        dropped = [t for t in tables(before) if table_by_id(graph, t.table_id) is None]
        assert all(graph.next_id > table.table_id for table in dropped)


def check_sound(graph: Graph) -> None:
    """Assert what is true of every schema.

    Args:
        graph: any, with `KeyValue` in it.
    """
    found = [table.name.lower() for table in tables(graph)]
    assert len(found) == len(frozenset(found))
    ids = [table.table_id for table in tables(graph)]
    assert len(ids) == len(frozenset(ids))
    assert max(ids) < graph.next_id
    for table in tables(graph):
        columns = [each.name.lower() for each in table.columns]
        assert len(columns) == len(frozenset(columns))
        assert next_column(table) not in [each.column_id for each in table.columns]
        if isinstance(table, NodeTable):
            assert find_column(table, table.primary_key) is not None
        else:
            for pair in table.pairs:
                assert all(node_table_by_id(graph, each) for each in pair)
            assert frozenset(table.pairs).isdisjoint(table.dropped)
    assert find_table(graph, "KeyValue") == MAIN_GRAPH.nodes[0]


def test_names_are_found_in_any_case() -> None:
    """And what is not there is said to be missing."""
    assert node_table(PEOPLE, "PERSON").name == "Person"
    assert rel_table(PEOPLE, "knows").pairs == ((16, 16), (16, 17))
    assert column(node_table(PEOPLE, "Person"), "NAME").default == "x"
    for look in (node_table, rel_table):
        with pytest.raises(NotFoundError):
            look(PEOPLE, "nobody")
    with pytest.raises(NotFoundError):
        node_table(PEOPLE, "Knows")
    with pytest.raises(NotFoundError):
        column(node_table(PEOPLE, "City"), "name")


def test_a_column_that_was_dropped_does_not_come_back() -> None:
    """One of the same name is another, so old values are not its own."""
    before = column(node_table(PEOPLE, "Person"), "name").column_id
    graph = defined(
        PEOPLE, "ALTER TABLE Person DROP name", "ALTER TABLE Person ADD name INT64"
    )
    assert column(node_table(graph, "Person"), "name").column_id > before


def test_a_pair_that_was_dropped_does_not_come_back() -> None:
    """For its relationships may still be there."""
    graph = defined(PEOPLE, "ALTER TABLE Knows DROP FROM Person TO City")
    with pytest.raises(UnprocessableError, match="once"):
        defined(graph, "ALTER TABLE Knows ADD FROM Person TO City")
    with pytest.raises(UnprocessableError, match="nowhere"):
        defined(graph, "ALTER TABLE Knows DROP FROM Person TO Person")


def test_renaming_changes_no_id() -> None:
    """Rows know nothing of it, not even of the primary key's name."""
    graph = defined(
        PEOPLE,
        "ALTER TABLE Person RENAME TO Human",
        "ALTER TABLE Human RENAME id TO number",
    )
    human = node_table(graph, "Human")
    assert (human.table_id, human.primary_key) == (16, "number")
    assert column(human, "number").column_id == 0


@pytest.mark.parametrize(
    "text",
    [
        "CREATE NODE TABLE tv(id INT64 PRIMARY KEY, tv_x INT64)",
        "CREATE NODE TABLE tv_t(id INT64 PRIMARY KEY)",
        "CREATE NODE TABLE T(_ID INT64 PRIMARY KEY)",
        "CREATE NODE TABLE `a b`(id INT64 PRIMARY KEY)",
        f"CREATE NODE TABLE {'x' * 129}(id INT64 PRIMARY KEY)",
        "CREATE NODE TABLE T(id BOOL PRIMARY KEY)",
        "CREATE NODE TABLE T(id SERIAL PRIMARY KEY)",
        "CREATE NODE TABLE T(id INT64 DEFAULT 3 PRIMARY KEY)",
        "CREATE NODE TABLE T(id INT64)",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x INT64 DEFAULT 1.5)",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x UUID DEFAULT gen_random_uuid())",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x INT64 DEFAULT $p)",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x INT64 NOT NULL)",
        "CREATE NODE TABLE T AS MATCH (n) RETURN n.*",
        "CREATE REL TABLE R(FROM Person TO City, ONE_ONE)",
        "CREATE REL TABLE R(FROM Person TO City, ONE_MANY)",
        "CREATE REL TABLE R(FROM Person TO KeyValue)",
        "CREATE REL TABLE R(FROM Person TO City) WITH (storage_direction='fwd')",
        "ALTER TABLE KeyValue ADD x INT64",
        "ALTER TABLE Person ADD x SERIAL",
        "ALTER TABLE Person DROP id",
        "ALTER TABLE Person ADD FROM Person TO City",
        "DROP TABLE KeyValue",
        "DROP TABLE Person",
        "CREATE SEQUENCE s",
        "DROP MACRO m",
        "COMMENT ON TABLE Person IS 'x'",
    ],
)
def test_what_can_not_be_is_refused(text: str) -> None:
    """With a reason that is more than a syntax error."""
    with pytest.raises(UnprocessableError):
        defined(PEOPLE, text)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE NODE TABLE",
        "CREATE NODE TABLE T",
        "CREATE NODE TABLE T()",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x INT64 DEFAULT ,)",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY) more",
        "CREATE NODE TABLE T(id INT64 PRIMARY KEY, x INT64 DEFAULT)",
        "CREATE REL TABLE R()",
        "CREATE REL TABLE R(FROM A)",
        "CREATE REL TABLE R(FROM A TO B, MANY_ONE, x INT64)",
        "ALTER TABLE T",
        "ALTER TABLE T ADD",
        "ALTER TABLE T RENAME a b",
        "DROP T",
    ],
)
def test_what_is_no_statement_is_malformed(text: str) -> None:
    """It says where, and what was expected."""
    with pytest.raises(MalformedError, match=r"expected"):
        parse_ddl(text)


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (n) RETURN n",
        "CREATE (n:Person {id: 1})",
        "CREATE p = (:A)-[:B]->(:C)",
        "RETURN 1",
        "",
        "CREATE",
    ],
)
def test_what_defines_nothing_is_left_to_others(text: str) -> None:
    """Even where it begins alike."""
    assert parse_ddl(text) is None


def test_single_graphs_have_what_one_place_can_count() -> None:
    """ONE_ONE and ONE_MANY, but not SERIAL: each copy has an engine of its own."""
    with pytest.raises(UnprocessableError, match="SERIAL"):
        defined(SINGLE, "CREATE NODE TABLE A(id SERIAL PRIMARY KEY)")
    graph = defined(
        SINGLE,
        "CREATE NODE TABLE A(id INT64 PRIMARY KEY)",
        "CREATE REL TABLE R(FROM A TO A, ONE_ONE)",
        "CREATE REL TABLE S(FROM A TO A, one_many)",
    )
    assert [each.multiplicity for each in graph.rels] == ["ONE_ONE", "ONE_MANY"]


@pytest.mark.parametrize(
    ("text", "default", "cell"),
    [
        ("STRING", "'it\\'s'", "it's"),
        ("DATE", "date('1970-01-03')", 2),
        ("TIMESTAMP", "timestamp('1970-01-01 00:00:01')", 1_000_000),
        ("INTERVAL", "interval('3 days')", [0, 3, 0]),
        ("BLOB", "BLOB('\\\\xAAz')", b"\xaaz"),
        ("INT64", "-5", -5),
        ("DOUBLE", "+1.5e3", 1500.0),
        ("BOOL", "TRUE", True),
        ("INT64", "null", None),
        ("INT64[]", "[1, -2]", [1, -2]),
        ("INT64[]", "[]", []),
        ("STRUCT(a INT64, b STRING)", "{a: 1, b: 'x'}", {"a": 1, "b": "x"}),
        ("MAP(STRING, INT64)", "map(['a'], [1])", [["a", 1]]),
    ],
)
def test_defaults_are_literals(text: str, default: str, cell: object) -> None:
    """Of every sort of type."""
    kind = spell_type(parse_type(text))
    ddl = parse_ddl(f"ALTER TABLE T ADD IF NOT EXISTS x {kind} DEFAULT {default}")
    assert isinstance(ddl, AddColumn)
    assert ddl.column.default == cell


@given(st.text(st.sampled_from("CREATE NODE TABLE(,) id INT64 'x' FROM `")), ddls)
def test_any_text_is_read_or_refused(text: str, ddl: Ddl) -> None:
    """Never an accident, also where a statement was cut or mixed up."""
    whole = spelled(ddl)
    for each in (text, whole[: len(text)], whole + text, *_shuffled(whole)):
        try:
            parse_ddl(each)
        except ToruaError as error:
            assert error.detail


def _shuffled(text: str) -> Iterator[str]:
    """Swap words."""
    words = text.split()
    for index in range(len(words) - 1):
        words[index], words[index + 1] = words[index + 1], words[index]
        yield " ".join(words)

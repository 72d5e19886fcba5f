"""Definitions are taken and refused as the engine takes and refuses them."""

import pytest

from torua.core.graph.ddl import define, parse_ddl
from torua.core.graph.schema import Graph, Placement, tables
from torua.core.graph.types import spell_type
from torua.errors import ToruaError

ladybug = pytest.importorskip("ladybug")

STATEMENTS = """
CREATE NODE TABLE A(id INT64, PRIMARY KEY(id)); ;;
CREATE NODE TABLE B(id INT64 PRIMARY KEY, n STRING DEFAULT 'x', z INT64
    DEFAULT -5, d DATE DEFAULT date('2020-01-01'), l INT64[] DEFAULT [1,2],
    s STRUCT(a INT64, b STRING) DEFAULT {a: 1, b: 'x'}, b BOOL DEFAULT true,
    m MAP(STRING, INT64) DEFAULT map(['a'],[1])) ;;
CREATE NODE TABLE IF NOT EXISTS A(id STRING PRIMARY KEY) ;;
CREATE NODE TABLE a(x STRING PRIMARY KEY) ;;
CREATE NODE TABLE C(id INT64) ;;
CREATE NODE TABLE C(id INT64 PRIMARY KEY, PRIMARY KEY(id)) ;;
CREATE NODE TABLE CC(id INT64, x INT64, PRIMARY KEY(id), y INT64) ;;
CREATE NODE TABLE CC(id INT64, PRIMARY KEY(nope)) ;;
CREATE NODE TABLE CC(id INT64 PRIMARY KEY, x INT64 PRIMARY KEY) ;;
CREATE NODE TABLE CC() ;;
CREATE REL TABLE R(FROM A TO B) ;;
CREATE REL TABLE R2(FROM A TO B, FROM B TO A, since DATE, MANY_ONE) ;;
CREATE REL TABLE R3(FROM A TO B, MANY_ONE, since DATE) ;;
CREATE REL TABLE R3b(since DATE, FROM A TO B) ;;
CREATE REL TABLE GROUP R4(FROM A TO B, FROM B TO B, x INT64) ;;
CREATE REL TABLE R5(FROM A|B TO B|A, x INT64) ;;
CREATE REL TABLE R5(FROM A TO NOPE) ;;
CREATE REL TABLE R5(FROM A TO B, FROM A TO B) ;;
CREATE REL TABLE R5() ;;
CREATE REL TABLE R6(FROM A TO B, x INT64, ONE_ONE) ;;
CREATE REL TABLE R7(FROM A TO B, one_many) ;;
CREATE REL TABLE IF NOT EXISTS R(FROM A TO A) ;;
CREATE REL TABLE R9(FROM A TO B, from INT64) ;;
ALTER TABLE A ADD age INT64 ;;
ALTER TABLE A ADD age INT64 ;;
ALTER TABLE A ADD IF NOT EXISTS age INT64 ;;
ALTER TABLE A ADD COLUMN foo INT64 DEFAULT 5 ;;
ALTER TABLE A DROP nope ;;
ALTER TABLE A DROP IF EXISTS nope ;;
ALTER TABLE A DROP COLUMN foo ;;
ALTER TABLE A DROP id ;;
ALTER TABLE A RENAME age TO years ;;
ALTER TABLE A RENAME COLUMN age TO years ;;
ALTER TABLE A RENAME id TO ID2 ;;
ALTER TABLE A RENAME years TO ID2 ;;
ALTER TABLE A RENAME TO AA ;;
ALTER TABLE AA RENAME TO B ;;
ALTER TABLE AA RENAME TO aa ;;
ALTER TABLE R ADD FROM B TO B ;;
ALTER TABLE R ADD FROM B TO B ;;
ALTER TABLE R ADD IF NOT EXISTS FROM B TO B ;;
ALTER TABLE R DROP FROM B TO B ;;
ALTER TABLE R DROP FROM B TO B ;;
ALTER TABLE R DROP IF EXISTS FROM B TO B ;;
ALTER TABLE R ADD w DOUBLE ;;
ALTER TABLE R DROP w ;;
DROP TABLE AA ;;
DROP TABLE nope ;;
DROP TABLE IF EXISTS nope ;;
DROP TABLE R ;;
DROP TABLE IF EXISTS R2 ;;
create node table F ( id int64 , primary key ( id ) ) ; ;;
CREATE NODE TABLE `FROM`(id INT64 PRIMARY KEY) ;;
CREATE NODE TABLE _x(id INT64 PRIMARY KEY) ;;
CREATE NODE TABLE E(id INT64 PRIMARY KEY) ;;
CREATE NODE TABLE Id3(id INT64 PRIMARY KEY, x INT64 DEFAULT 'abc') ;;
CREATE NODE TABLE Id4(id INT64 PRIMARY KEY, x INT64 NOT NULL) ;;
CREATE NODE TABLE TV(id INT64 PRIMARY KEY, OFFSET INT64) ;;
CREATE NODE TABLE TV2(id INT64 PRIMARY KEY, _label INT64) ;;
CREATE NODE TABLE TV3(_ID INT64 PRIMARY KEY) ;;
CREATE NODE TABLE IF NOT EXISTS R5(id INT64 PRIMARY KEY) ;;
CREATE NODE TABLE T1(a DECIMAL(5, 2) PRIMARY KEY, b STRUCT(x INT64, y
    INT64[3])[], c MAP(STRING, INT64), d UNION(a INT64, b STRING)) ;;
CREATE NODE TABLE T2(a SERIAL[] PRIMARY KEY) ;;
CREATE NODE TABLE T4(a INT64 PRIMARY KEY, b INT64 DEFAULT 1 b) ;;
ALTER TABLE T1 RENAME b b ;;
DROP TABLE ;;
DROP NODE TABLE B ;;
ALTER TABLE F ADD s STRING DEFAULT "q" ;;
ALTER TABLE F ADD ;;
ALTER TABLE nope ADD x INT64 ;;
DROP TABLE B ;;
"""
"""One after the other, each as the others left it; ``;;`` ends one."""


def test_the_engine_and_we_say_the_same() -> None:
    """Which are done, and what tables and columns there are in the end."""
    graph = Graph(1, "g", Placement.SINGLE)
    connection = ladybug.Connection(ladybug.Database(":memory:"))
    for text in filter(str.strip, STATEMENTS.split(";;")):
        before = graph
        try:
            ddl = parse_ddl(text)
            assert ddl is not None
            graph = define(graph, ddl)
            ours = True
        except ToruaError:
            ours = False
        try:
            connection.execute(text)
            theirs = True
        except RuntimeError:
            theirs = False
        assert ours == theirs, text
        assert ours or graph is before
    for table in tables(graph):
        found = connection.execute(f"CALL table_info('{table.name}') RETURN name, type")
        assert [tuple(row) for row in found.get_all()] == [
            (column.name, spell_type(column.type)) for column in table.columns
        ]

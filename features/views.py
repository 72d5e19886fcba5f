"""What must hold of graphs at rest: each engine shows what its copy's map says.

Maps are read beside their nodes, row by row; engines are asked by Cypher, each node for
the copies that it has.
"""

import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from cluster import Cluster, Node, eventually
from graphs import cypher

sys.path.append(str(Path(__file__).parents[1]))

from tests.graph.maps import Seen
from tests.graph.oracle import spelled
from torua.codec.rows import read_schema
from torua.core.graph.keys import EdgeKey, NodeKey, SchemaKey, read_key
from torua.core.graph.schema import KEY_VALUE, Graph, NodeTable, RelTable
from torua.core.kv import Entry

ROWS = (
    "SELECT key, version, length(value), content_type, value FROM entries"
    " WHERE key >= x'ff' ORDER BY key"
)
WITHIN_S = 30.0


def check_views(cluster: Cluster) -> str:
    """Compare what every node shows with what maps hold; return what was compared.

    Args:
        cluster: nobody writes to it, and its copies are equal.
    """
    entries: dict[bytes, Entry] = {}
    for node in cluster.running():
        for entry in entries_of(node):
            entries[entry.key] = entry
    expected, graph = state_of(entries.values())
    for node in cluster.running():
        compare(node, graph, expected)
    rows = sum(map(len, expected.values()))
    return f"{rows} rows of {len(expected)} tables are as the maps say, at all nodes"


def compare(node: Node, graph: Graph, expected: dict[str, list[str]]) -> None:
    """Wait until a node shows what its maps hold; raise where it never does."""
    found: dict[str, list[str]] = {}

    def same() -> bool:
        found.clear()
        found.update(shown_by(node, graph))
        return found == expected

    try:
        eventually(same, WITHIN_S, f"{node.name} shows what the maps hold", 0.5)
    except AssertionError as error:
        raise AssertionError(told(node, expected, found)) from error


def told(node: Node, expected: dict, found: dict) -> str:
    """Tell in some lines how a node's tables differ from the maps."""
    lines = [f"{node.name} does not show what the maps hold"]
    for table, wanted in expected.items():
        left, right = Counter(wanted), Counter(found.get(table, []))
        lines += [f"  {table} missing: {row}" for row in list(left - right)[:3]]
        lines += [f"  {table} too many: {row}" for row in list(right - left)[:3]]
    return "\n".join(lines)


def entries_of(node: Node) -> list[Entry]:
    """Read the rows of graphs in all maps of a node."""
    found = []
    for copy in node.json(f"/nodes/{node.name}/info")["copies"]:
        place = node.data_dir / "shards" / str(copy["shard"]) / copy["alloc_id"]
        uri = f"file:{place / 'map.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as database:
            found += [Entry(*row) for row in database.execute(ROWS)]
    return found


def state_of(entries: list[Entry]) -> tuple[dict[str, list[str]], Graph]:
    """Return what tables hold by their entries, and the schema, which is among them."""
    known = [(read_key(entry.key), entry) for entry in entries]
    graph = max(
        (
            read_schema(entry.value)
            for key, entry in known
            if isinstance(key, SchemaKey)
        ),
        key=lambda graph: graph.version,
    )
    seen = Seen(graph)
    for key, entry in known:
        if isinstance(key, NodeKey):
            seen.node(key, entry)
    for key, entry in known:
        if isinstance(key, EdgeKey):
            seen.edge(key, entry)
    del seen.found[KEY_VALUE]
    return {name: sorted(rows) for name, rows in seen.found.items()}, graph


def shown_by(node: Node, graph: Graph) -> dict[str, list[str]]:
    """Return what tables hold by a node's own engines."""
    names = {table.table_id: table for table in graph.nodes}
    found = {
        table.name: rows_of(node, f"MATCH (n:{table.name})", table, [])
        for table in graph.nodes
        if table.name != KEY_VALUE
    }
    for rel in graph.rels:
        for start, end in rel.pairs:
            ends = names[start], names[end]
            match = f"MATCH (a:{ends[0].name})-[n:{rel.name}]->(b:{ends[1].name})"
            keys = [f"a.{ends[0].primary_key}", f"b.{ends[1].primary_key}"]
            place = f"{ends[0].name}-{rel.name}-{ends[1].name}"
            found[place] = rows_of(node, match, rel, keys)
    return found


def rows_of(
    node: Node, match: str, table: NodeTable | RelTable, keys: list[str]
) -> list[str]:
    """Return the rows of a table, spelled as a map's are."""
    items = ", ".join([*keys, *(f"n.{column.name}" for column in table.columns)])
    reply = cypher(node, f"{match} RETURN {items}", consistency="any")
    assert reply.status == 200, reply.detail
    return sorted(map(spelled, reply.rows))

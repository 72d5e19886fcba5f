"""What must hold of a cluster at rest: every copy of a shard is the same."""

import sqlite3
from contextlib import closing
from hashlib import blake2b

from cluster import Cluster, Node, eventually

CONTENT = (
    "SELECT * FROM facts",
    "SELECT * FROM entries ORDER BY key",
    "SELECT * FROM idempotency ORDER BY key",
)
"""All that a map holds: how far it is, keys with their values, answers kept."""


def check_copies(cluster: Cluster, copies: int, within_s: float = 30.0) -> str:
    """Wait until all copies of all shards are as far, then compare what they hold.

    Each copy's database is read beside its node, row by row.

    Args:
        cluster: nobody writes to it; all its nodes run.
        copies: how many each shard must have.
        within_s: how long they may take.

    Returns:
        What was compared.
    """

    def at_rest() -> bool:
        return all(
            len(shard["copies"]) == copies
            and len({each["position"] for each in shard["copies"]}) == 1
            and all(each["in_sync"] for each in shard["copies"])
            for shard in cluster.any().json("/shards")
        )

    eventually(at_rest, within_s, f"{copies} copies in sync at one position", 0.2)
    held: dict[int, dict[str, str]] = {}

    def equal() -> bool:
        held.clear()
        for node in cluster.running():
            for shard, digest in content_of(node).items():
                held.setdefault(shard, {})[node.name] = digest
        return all(len(set(each.values())) == 1 for each in held.values())

    try:
        eventually(equal, within_s, "copies are equal", 0.5)
    except AssertionError as error:
        raise AssertionError(f"copies differ: {held}") from error
    assert all(len(each) == copies for each in held.values()), held
    return f"{len(held)} shards have {copies} equal copies each"


def content_of(node: Node) -> dict[int, str]:
    """Return a digest of all that each of a node's copies holds, by shard."""
    found = {}
    for copy in node.json(f"/nodes/{node.name}/info")["copies"]:
        shard, alloc_id = copy["shard"], copy["alloc_id"]
        path = node.data_dir / "shards" / str(shard) / alloc_id / "map.db"
        total = blake2b(digest_size=8)
        uri = f"file:{path}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as database:
            position = database.execute("SELECT applied_seq FROM facts").fetchone()
            for query in CONTENT:
                for row in database.execute(query):
                    total.update(repr(row).encode())
        found[shard] = f"{total.hexdigest()} at {position}"
    return found

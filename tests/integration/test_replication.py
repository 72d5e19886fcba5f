"""Three whole nodes in one reactor that keep three copies of every shard."""

import shutil
from functools import partial
from typing import ClassVar
from unittest.mock import patch

import pytest
from twisted.internet.defer import Deferred

from tests.integration.whole_nodes import NAMES, ClusterCase
from torua.node.copy import OpenCopy
from torua.storage.log import Log

pytestmark = pytest.mark.integration


class ReplicationCase(ClusterCase):
    """Three nodes that hold three copies of two shards.

    Invariants: those of `ClusterCase`.
    """

    options: ClassVar[dict[str, str]] = {"replicas": "3", "shards": "2"}

    def copies(self, name: str) -> list[OpenCopy]:
        """Return the open copies of a node."""
        return [copy for _, copy in self.nodes[name]._shards.held()]

    def digests(self, name: str) -> dict[int, bytes]:
        """Return the digests of a node's copies, by shard."""
        return {copy.shard: copy.holding.view.digest() for copy in self.copies(name)}

    async def equal(self) -> bool:
        """Tell whether all nodes hold all shards, in sync, with the same content."""
        states = [node._coordinator.state for node in self.nodes.values()]
        full = all(
            len(shard.in_sync) == 3
            for state in states
            for shard in state.shards.values()
        )
        digests = [self.digests(name) for name in NAMES]
        whole = len(digests[0]) == 2
        return full and whole and all(each == digests[0] for each in digests)

    async def put(self, name: str, first: int, last: int, size: int = 10) -> None:
        """Write keys through a node; each is acknowledged in the end.

        Args:
            name: the node.
            first: the number of the first key.
            last: of the last.
            size: of each value, in bytes.
        """
        for number in range(first, last + 1):
            path = f"/kv/key-{number}"
            await self.until(partial(self.puts, name, path, b"%d" % number * size))

    async def puts(self, name: str, path: str, value: bytes) -> bool:
        """Tell whether a write is acknowledged.

        Args:
            name: the node.
            path: of the key.
            value: what is written.
        """
        return (await self.ask(name, "PUT", path, value))[0] == 204

    async def stopped(self, name: str) -> None:
        """Stop a node, and let it be forgotten as a seed."""
        await self.nodes.pop(name).stopService()

    def snapshots(self) -> float:
        """Count the snapshots that nodes sent."""
        labels = {"way": "out", "outcome": "ok"}
        name = "torua_snapshots_ended_total"
        found = [
            node._registry.get_sample_value(name, labels)
            for node in self.nodes.values()
        ]
        return sum(each or 0.0 for each in found)


class CatchUpTests(ReplicationCase):
    """A node that was away gets what it missed."""

    def test_a_node_that_was_away_catches_up_from_the_log(self) -> "Deferred[None]":
        """It was stopped, the others went on, and no snapshot was needed."""

        async def test() -> None:
            """Do it."""
            await self.put("n1", 1, 20)
            await self.until(self.equal)
            await self.stopped("n3")
            await self.put("n1", 10, 40)
            self.start("n3")
            await self.until(self.equal)
            for number in (1, 15, 40):
                found = await self.ask("n3", "GET", f"/kv/key-{number}")
                self.assertEqual(found, (200, b"%d" % number * 10))
            self.assertEqual(self.snapshots(), 0)

        return self.sync(test())


class SnapshotTests(ReplicationCase):
    """A node whose copies are gone gets new ones, where the logs do not go back."""

    def setUp(self) -> "Deferred[None]":  # type: ignore[override]
        """Start nodes whose logs keep what their maps need, and no more."""
        opening = patch.object(Log.open.__func__, "__defaults__", (3000, 0))  # type: ignore[attr-defined]
        unconfigured = patch(
            "torua.service.node.retaining", lambda log: lambda now: None
        )
        for each in (opening, unconfigured):
            each.start()
            self.addCleanup(each.stop)
        return super().setUp()

    def test_a_damaged_log_is_never_served(self) -> "Deferred[None]":
        """It is set aside, and all copies of the node are made anew from the others."""

        async def test() -> None:
            """Do it."""
            await self.put("n1", 1, 20, 300)
            await self.until(self.equal)
            await self.stopped("n3")
            path = min((self.directory / "n3" / "log").iterdir())
            content = path.read_bytes()
            path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
            self.start("n3")
            await self.until(self.equal)
            (aside,) = self.directory.glob("n3/log.damaged-*")
            self.assertEqual(len((aside / path.name).read_bytes()), len(content))

        return self.sync(test())

    def test_copies_that_are_gone_are_made_anew(self) -> "Deferred[None]":
        """Under other ids, for what was there is lost."""

        async def test() -> None:
            """Do it.

            The logs no longer go back to where a new copy must begin.
            """
            await self.put("n1", 1, 60, 300)
            for name in NAMES:
                for copy in self.copies(name):
                    copy.holding._begin_checkpoint()
            await self.put("n1", 50, 80, 300)
            await self.until(self.equal)
            before = {copy.alloc_id for copy in self.copies("n2")}
            await self.stopped("n2")
            shutil.rmtree(self.directory / "n2" / "shards")
            self.start("n2")
            await self.until(self.equal)
            after = {copy.alloc_id for copy in self.copies("n2")}
            self.assertFalse(before & after)
            self.assertGreaterEqual(self.snapshots(), 1)
            found = await self.ask("n2", "GET", "/kv/key-7")
            self.assertEqual(found, (200, b"7" * 300))

        return self.sync(test())

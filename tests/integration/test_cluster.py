"""Three whole nodes in one reactor, over real UDP, TCP and HTTP on loopback.

What is injected here is what a network does: connections that are cut, peers that fall
silent, datagrams that are lost.  Processes that are killed are behave's.
"""

from functools import partial
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.whole_nodes import NAMES, ClusterCase

pytestmark = pytest.mark.integration


class ClusterTests(ClusterCase):
    """What clients and operators see of a cluster whose network misbehaves."""

    options: ClassVar[dict[str, str]] = {"replicas": "1"}

    def test_any_node_serves_any_key(self) -> "Deferred[None]":
        """What is put through one node is got, listed and deleted through others."""

        async def test() -> None:
            """Do it."""
            keys = [f"/kv/key-{number}" for number in range(30)]
            for index, key in enumerate(keys):
                name = NAMES[index % 3]
                self.assertEqual((await self.ask(name, "PUT", key, b"v"))[0], 204)
            for key in keys:
                for name in NAMES:
                    self.assertEqual(await self.ask(name, "GET", key), (200, b"v"))
            listing = await self.told("n3", "/kv?limit=100")
            self.assertEqual(len(listing["items"]), 30)
            for key in keys:
                self.assertEqual((await self.ask("n2", "DELETE", key))[0], 204)
            self.assertEqual((await self.told("n1", "/kv"))["items"], [])

        return self.sync(test())

    def test_shards_are_shared_evenly_and_described_alike(self) -> "Deferred[None]":
        """Four shards on three nodes are 1/1/2, whoever is asked."""

        async def test() -> None:
            """Do it."""
            for name in NAMES:
                nodes = await self.told(name, "/nodes")
                counts = sorted(node["shard_count"] for node in nodes)
                self.assertEqual(counts, [1, 1, 2])
                await self.until(partial(self.is_green, name))
            infos = [await self.told(name, "/cluster/info") for name in NAMES]
            self.assertEqual(len({info["cluster_id"] for info in infos}), 1)
            self.assertEqual(len({info["coordinator"] for info in infos}), 1)

        return self.sync(test())

    def test_cut_connections_are_dialled_again(self) -> "Deferred[None]":
        """After every peer connection was cut, requests pass again, without help."""

        async def test() -> None:
            """Do it."""
            await self.put_all()
            for node in self.nodes.values():
                for connection in list(node._peers._peer_of):
                    transport: Any = connection.transport
                    transport.abortConnection()
            await self.until(self.all_readable)

        return self.sync(test())

    def test_lost_datagrams_alone_kill_nobody(self) -> "Deferred[None]":
        """With all UDP lost, TCP shows that everybody lives, and requests pass."""

        async def test() -> None:
            """Do it."""
            await self.put_all()
            for node in self.nodes.values():
                gossip = node._membership.gossip
                self.patch(gossip, "datagramReceived", lambda data, addr: None)
            await deferLater(self.reactor, 3.0)
            for name in NAMES:
                nodes = await self.told(name, "/nodes")
                statuses = {node["status"] for node in nodes}
                self.assertLessEqual(statuses, {"healthy", "suspect"})
            await self.until(self.all_readable)

        return self.sync(test())

    def test_a_node_that_stops_is_left_and_comes_back_itself(self) -> "Deferred[None]":
        """Stopped, its shards wait; started again, it is the same, with its data."""
        return self.sync(self.stop_and_start())

    async def stop_and_start(self) -> None:
        """Stop one of three nodes, and start it again in its data dir.

        It is gone for the others at once, for it said goodbye.
        """
        await self.put_all()
        before = await self.told("n1", "/nodes/n2/info")
        await self.nodes["n2"].stopService()

        async def gone() -> bool:
            """Tell whether the others know."""
            nodes = await self.told("n1", "/nodes")
            return [n["status"] for n in nodes if n["name"] == "n2"] == ["left"]

        await self.until(gone)
        self.assertEqual((await self.told("n1", "/health"))["status"], "red")
        self.start("n2")
        await self.until(self.all_readable)
        after = await self.told("n1", "/nodes/n2/info")
        self.assertEqual(before["node_id"], after["node_id"])
        self.assertEqual(len(before["copies"]), len(after["copies"]))

    def test_a_node_calls_nobody_dead_whom_it_has_not_met(self) -> "Deferred[None]":
        """Just started it waits for others; no shard is red for it before it knows."""

        async def test() -> None:
            """Stop all, and start one."""
            await self.put_all()
            for name in NAMES:
                await self.nodes[name].stopService()
            self.start("n2")
            for number in range(20):
                path = f"/kv/{number}?timeout_ms=100"
                _, body = await self.ask("n2", "GET", path)
                self.assertNotIn(b" is red", body)

        return self.sync(test())

    async def is_green(self, name: str) -> bool:
        """Tell whether a node finds nothing amiss."""
        health = await self.told(name, "/health")
        return bool(health["status"] == "green")

    async def put_all(self) -> None:
        """Put a key into every shard, and more."""
        puts = [self.ask("n1", "PUT", f"/kv/{n}", b"%d" % n) for n in range(20)]
        answers = await gatherResults([Deferred.fromCoroutine(put) for put in puts])
        self.assertEqual({status for status, _ in answers}, {204})

    async def all_readable(self) -> bool:
        """Tell whether every key of `put_all` is read through every node."""
        for name in NAMES:
            for number in range(20):
                answer = await self.ask(name, "GET", f"/kv/{number}")
                if answer != (200, b"%d" % number):
                    return False
        return True

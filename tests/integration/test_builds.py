"""Nodes of several releases in one cluster, over real UDP, TCP and HTTP."""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.whole_nodes import NAMES, ClusterCase
from torua.core.builds import Build

OLD, BOTH, NEW = Build(features=(1, 1)), Build(features=(1, 2)), Build(features=(2, 3))


class BuildsCase(ClusterCase):
    """A rolling upgrade, and nodes that are refused.

    Invariants: those of its base.
    """

    async def level(self, wanted: int) -> bool:
        """Tell whether every node that runs says that the cluster is at a level."""
        running = [name for name, node in self.nodes.items() if node.running]
        told: list[Any] = [await self.told(name, "/cluster/info") for name in running]
        return {each["feature_level"] for each in told} == {wanted}

    async def again(self, name: str, build: Build) -> None:
        """Stop a node, and start it in its data dir again.

        Args:
            name: which.
            build: of which release it is from now on.
        """
        await self.nodes[name].stopService()
        self.start(name, build)
        await self.until(partial(self.says, name, "/ready", 200))

    def test_the_level_rises_when_the_last_node_was_upgraded(self) -> "Deferred[None]":
        """Then a node of the old release does not start on its data any more."""

        async def test() -> None:
            """Restart one node after the other with a release that knows more."""
            for name in NAMES:
                self.assertTrue(await self.level(1))
                await self.again(name, BOTH)
            await self.until(partial(self.level, 2))
            await self.nodes["n3"].stopService()
            with self.assertRaises(SystemExit) as refused:
                self.start("n3", OLD)
            self.assertIn("it knows feature levels 1", str(refused.exception.code))
            self.assertIn("the cluster is at 2", str(refused.exception.code))

        return self.sync(test())

    def test_a_release_that_does_not_fit_is_refused(self) -> "Deferred[None]":
        """The cluster neither takes it in nor shows it, and it never gets ready."""

        async def test() -> None:
            """Start a fourth node, of a release two steps ahead."""
            self.start("n4", NEW)
            unready = partial(self.says, "n4", "/ready", 503)
            for _ in range(50):
                self.assertTrue(await unready())
            names = [each["name"] for each in await self.told("n1", "/nodes")]
            self.assertEqual(names, list(NAMES))

        return self.sync(test())

"""Three whole nodes in one reactor, over real UDP, TCP and HTTP on loopback."""

import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from torua.config import read_config
from torua.core.builds import BUILD, Build
from torua.service import Node

NAMES = ("n1", "n2", "n3")
PATIENCE_S = 20.0
STEP_S = 0.02


class ClusterCase(TestCase):
    """Three nodes that serve, and what a test asks of them.

    Invariants: ``options`` are those that all nodes are started with.
    """

    timeout = 60
    options: ClassVar[dict[str, str]] = {}

    def setUp(self) -> "Deferred[None]":  # type: ignore[override]
        """Start three nodes that find each other, and wait until all serve."""
        self.reactor: Any = importlib.import_module("twisted.internet.reactor")
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.nodes: dict[str, Node] = {}
        return Deferred.fromCoroutine(self.start_all())

    async def start_all(self) -> None:
        """Start the nodes; the first is the seed of the others."""
        for name in NAMES:
            self.start(name)
        for name in NAMES:
            await self.until(partial(self.says, name, "/ready", 200))

    def start(self, name: str, build: Build = BUILD) -> None:
        """Start a node, on free ports, or again in its data dir.

        Whoever was started before it is its seed.

        Args:
            name: which.
            build: of which release it is.
        """
        seeds = ",".join(str(node.cluster) for node in self.nodes.values())
        given = {
            "name": name,
            "data-dir": str(self.directory / name),
            "http": "127.0.0.1:0",
            "cluster": "127.0.0.1:0",
            "bootstrap-expect": "3",
            "preset": "local",
            "join": seeds,
            **self.options,
        }
        node = Node(read_config(given, {}), self.reactor, build)
        self.nodes[name] = node
        node.startService()
        self.addCleanup(self.stop, node)

    def stop(self, node: Node) -> "Deferred[None] | None":
        """Stop a node, if it runs."""
        return node.stopService() if node.running else None

    async def until(
        self, condition: Callable[[], Coroutine[Deferred[Any], Any, bool]]
    ) -> None:
        """Wait, a bounded time, until a condition holds.

        Args:
            condition: asked again and again.
        """
        deadline = self.reactor.seconds() + PATIENCE_S
        while not await condition():
            assert self.reactor.seconds() < deadline, "waited in vain"
            await deferLater(self.reactor, STEP_S)

    async def ask(
        self, name: str, method: str, path: str, body: bytes = b""
    ) -> tuple[int, bytes]:
        """Send a request to a node, each on a connection of its own.

        Args:
            name: the node.
            method: of HTTP.
            path: with query.
            body: of the request.
        """
        url = f"http://{self.nodes[name].http}{path}"
        response = await treq.request(
            method, url, data=body or None, persistent=False, timeout=10
        )
        return response.code, await response.content()

    async def told(self, name: str, path: str) -> Any:
        """Return what a node answers as JSON.

        Args:
            name: the node.
            path: what is asked for.
        """
        return json.loads((await self.ask(name, "GET", path))[1])

    async def says(self, name: str, path: str, status: int) -> bool:
        """Tell whether a node answers with a status.

        Args:
            name: the node.
            path: what is asked for.
            status: what is hoped for.
        """
        return (await self.ask(name, "GET", path))[0] == status

    def sync(self, test: Coroutine[Deferred[Any], Any, None]) -> "Deferred[None]":
        """Have trial run a coroutine."""
        return Deferred.fromCoroutine(test)

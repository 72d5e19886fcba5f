"""Nodes that can be harmed: behind a proxy, on failing files, on a small disk."""

import json
import subprocess
from pathlib import Path

from cluster import START_S, Cluster, Node, clean_environment, eventually, node_command
from proxy import Proxy

INJECT = Path(__file__).parent / "inject"
"""Where Python finds the ``sitecustomize`` that makes the file layer fail."""


class FaultyNode(Node):
    """A node of a `FaultyCluster`.

    Invariants: its ports stay the same over all its lives.
    """

    def __init__(self, root: Path, name: str, proxy: Proxy | None) -> None:
        """Name it; nothing runs yet."""
        super().__init__(root, name)
        self._proxy = proxy
        self._ports = proxy.add(name) if proxy else None
        self.faults = root / f"{name}.faults"

    def spawn(self, *options: str) -> None:
        """Start the process; on the same ports as before if it ran before."""
        http = self.about["http"] if self.about else "127.0.0.1:0"
        cluster = self.about["cluster"] if self.about else "127.0.0.1:0"
        more: tuple[str, ...] = ()
        if self._ports is not None:
            public, hidden = self._ports
            cluster = f"127.0.0.1:{hidden}"
            more = ("--advertise", f"127.0.0.1:{public}")
        words = [
            *("--name", self.name, "--data-dir", str(self.data_dir)),
            *("--http", http, "--cluster", cluster, *more, *options),
        ]
        environment = clean_environment()
        paths = [str(INJECT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = ":".join(path for path in paths if path)
        environment["FAULTS_FILE"] = str(self.faults)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                node_command(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        if self._proxy is not None:
            self._proxy.runs(self.name, self.process.pid)

    def listens(self) -> bool:
        """Tell whether this very process listens."""
        try:
            about = json.loads((self.data_dir / "node.json").read_text())
        except (FileNotFoundError, ValueError):
            return False
        return about["pid"] == self.process.pid

    def harm(self, operation: str, error: str, below: str = "") -> None:
        """Have operations on files fail from now on.

        Args:
            operation: ``append``, ``sync`` or ``read``.
            error: the name of its errno, ``EIO`` or ``ENOSPC``.
            below: only where this stands in the path.
        """
        order = {"operation": operation, "error": error, "below": below}
        temporary = self.faults.with_suffix(".new")
        temporary.write_text(json.dumps(order))
        temporary.replace(self.faults)

    def mend(self) -> None:
        """Have operations on files work again."""
        self.faults.unlink(missing_ok=True)


class FaultyCluster(Cluster):
    """A `Cluster` of nodes that can be harmed.

    Invariants: with a proxy, nodes know each other by the proxy's ports only.
    """

    def __init__(self, *, proxied: bool = False) -> None:
        """Make the directory; nothing runs yet."""
        super().__init__()
        self.proxy = Proxy() if proxied else None
        self.replicas = 1

    def node(self, name: str) -> FaultyNode:
        """Return a node by name, a new one if need be."""
        if name not in self.nodes:
            self.nodes[name] = FaultyNode(self.root, name, self.proxy)
        return self.nodes[name]

    def found(self, count: int, replicas: int, *, preset: str = "local") -> None:
        """Start so many nodes with so many copies a shard; wait until all is green.

        Args:
            count: how many nodes.
            replicas: how many copies, the primary included.
            preset: timings of membership.
        """
        self.replicas = replicas
        self.form(count, "--preset", preset, "--replicas", str(replicas))

    def join(self, name: str) -> FaultyNode:
        """Start one more node, and wait until it listens."""
        seed = self.any().about["cluster"]
        node = self.node(name)
        node.spawn("--join", seed, *self.options)
        node.wait_until_listening()
        return node

    def shards(self) -> list[dict]:
        """Return what some node says of all shards."""
        return self.any().json("/shards")

    def primary(self, shard: int) -> FaultyNode:
        """Return the node that holds the primary of a shard."""

        def name() -> str | None:
            found = [each for each in self.shards() if each["shard"] == shard]
            return found[0]["primary"] if found else None

        eventually(name, START_S, f"shard {shard} has a primary")
        return self.nodes[name()]

    def close(self, *, keep: bool) -> None:
        """End all processes; remove the data unless it shall be kept."""
        super().close(keep=keep)
        if self.proxy is not None:
            self.proxy.close()

"""What HTTP alone takes of a processor: requests of single keys, answered at once.

``python benchmarks/edge.py`` runs a site whose keys and values are answered in the next
turn of the reactor, as most are where a proof or a commit is awaited, and beside it a
bare protocol that writes the same answer to whatever comes: the least that Twisted and
the kernel take.  Both are loaded in turns over as many connections, by wrk where it is
installed.
"""

import shutil
import subprocess
import sys
from itertools import product
from statistics import median
from typing import Any

import psutil
from etcd import with_ours, with_wrk
from prometheus_client import CollectorRegistry
from rig import cpu_s, table
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol

from torua.cli.load import Plan, requests_of
from torua.core.configuration import Configuration
from torua.core.ids import ShardId
from torua.core.kv import Call, Delete, Entry, Outcome, Put, Served
from torua.core.reading import Position, Token, spell_tokens
from torua.http.site import ApiSite, make_site
from torua.net.turns import plain_turns
from torua.service import memory

Server = subprocess.Popen[str]

BARE = "a bare protocol"
ROUNDS = 6
SECONDS = 2.0
VALUE = b"v" * 100
PLACE = Token(ShardId(1), Position("0" * 32, 7))
SERVED = Served(ShardId(1), "node-1", spell_tokens([PLACE]))

ANSWER = b"""HTTP/1.1 200 OK\r
Server: Torua\r
Date: Mon, 01 Jan 2024 00:00:00 GMT\r
X-Request-Id: 0123456789abcdef\r
Torua-Shard: 1\r
Torua-Served-By: node-1\r
ETag: "12"\r
Content-Type: application/octet-stream\r
Content-Length: 100\r
\r
"""


class Bare(Protocol):
    """Answers whatever comes.

    Invariants: it keeps nothing.
    """

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(ANSWER + VALUE)


class Ready:
    """Keys and values that are there in the next turn.

    Invariants: a turn is awaited while somebody waits for it.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """Let nobody wait yet."""
        self._clock = clock
        self._waiting: list[Deferred[None]] = []

    def _next_turn(self) -> "Deferred[None]":
        """Return what fires in the next turn."""
        waiting: Deferred[None] = Deferred()
        if not self._waiting:
            self._clock.callLater(0, self._fire)
        self._waiting.append(waiting)
        return waiting

    def _fire(self) -> None:
        """Let all go on."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key.

        Args:
            key: any.
            call: who asks.
        """
        await self._next_turn()
        return Entry(key, 12, len(VALUE), value=VALUE), SERVED

    async def write(
        self, operation: Put | Delete, call: Call
    ) -> tuple[Outcome, Served]:
        """Write a key, or seem to.

        Args:
            operation: any.
            call: who asks.
        """
        await self._next_turn()
        return Outcome(12), SERVED


def serve(name: str) -> None:
    """Serve until killed, and print where.

    Args:
        name: of the server.
    """
    factory = Factory.forProtocol(Bare) if name == BARE else site()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    memory.tune()
    print(port.getHost().port, flush=True)
    reactor.run()


def site() -> ApiSite:
    """Make a site of single keys and nothing else."""
    nothing: Any = None
    made = make_site(
        *(Ready(reactor), nothing, nothing, nothing, CollectorRegistry()),
        node_name="node-1",
        reactor=plain_turns(reactor),
        chatty=lambda: False,
    )
    made.use(Configuration())
    return made


def main() -> None:
    """Measure both in turns, and print medians."""
    servers = {}
    try:
        for name in (BARE, "a site"):
            # The words are our own.
            servers[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, __file__, name], stdout=subprocess.PIPE, text=True
            )
        urls = {name: url_of(server) for name, server in servers.items()}
        rows = [
            (work, name, *row)
            for work in ("get", "put")
            for name, row in measured(work, servers, urls).items()
        ]
        print(table(("request", "server", "µs", "a second"), rows))
    finally:
        for server in servers.values():
            server.kill()
            server.wait(15)


def url_of(server: Server) -> str:
    """Read where a server is."""
    assert server.stdout is not None
    return f"http://127.0.0.1:{server.stdout.readline().strip()}"


def measured(
    work: str, servers: dict[str, Server], urls: dict[str, str]
) -> dict[str, tuple[str, str]]:
    """Measure one kind of request; return processor time of each, and how many.

    Args:
        work: which kind.
        servers: which run.
        urls: where they are.
    """
    drive = with_wrk if shutil.which("wrk") else with_ours
    pool = requests_of(Plan(work))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for _, (name, server) in product(range(ROUNDS), servers.items()):
        process = [psutil.Process(server.pid)]
        before_s = cpu_s(process)
        per_s = drive((urls[name],), pool, SECONDS)
        took_s = cpu_s(process) - before_s
        found[name].append((took_s / (per_s * SECONDS) * 1e6, per_s))
    medians = {
        name: [median(each) for each in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    return {name: (f"{us:.1f}", f"{per:,.0f}") for name, (us, per) in medians.items()}


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(sys.argv[1])
    else:
        main()

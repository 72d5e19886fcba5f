"""Messages between two nodes over loopback: ``python benchmarks/peers.py``.

Two `torua.net.peers.Peers`, each in a process of its own: this one asks, a child
answers.  It prints requests a second at a given concurrency, their latency alone and
beside a stream of 16 MiB values, and the throughput of those values.
"""

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection as Pipe

from prometheus_client import CollectorRegistry
from twisted.internet import epollreactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint

from torua.core.ids import Address, NodeId
from torua.net.peers import Identity, Inbound, Lane, Peers

ASKER, ANSWERER = NodeId("1" * 32), NodeId("2" * 32)


def make(
    reactor: epollreactor.EPollReactor, node_id: NodeId, secret: bytes | None
) -> Peers:
    """Make one side.

    Args:
        reactor: of this process.
        node_id: of this side.
        secret: of both, or None.
    """
    me = Identity(node_id, node_id[:1], 1)
    return Peers(reactor, me, "bench", secret=secret, registry=CollectorRegistry())


def answer(pipe: Pipe, secret: bytes | None) -> None:
    """Answer for ever; the child process.

    Args:
        pipe: is told the port.
        secret: of both, or None.
    """
    reactor = epollreactor.EPollReactor()
    peers = make(reactor, ANSWERER, secret)

    async def echo(inbound: Inbound) -> object:
        """Answer with what came."""
        return inbound.body

    async def size(inbound: Inbound) -> object:
        """Answer with how much came."""
        assert isinstance(inbound.body, bytes)
        return len(inbound.body)

    peers.handle("echo", echo)
    peers.handle("size", size)
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    endpoint.listen(peers.factory()).addCallback(
        lambda port: pipe.send(port.getHost().port)
    )
    reactor.run()


def percentiles(taken: list[float]) -> str:
    """Spell the median and the 99th percentile in milliseconds."""
    taken.sort()
    p50, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    return f"p50 {p50 * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms"


async def measure(peers: Peers, options: argparse.Namespace) -> None:
    """Ask, and print how it went.

    Args:
        peers: the asking side, connected.
        options: count, concurrency and size.
    """
    body, value = bytes(options.size), bytes(16 << 20)

    async def ask(kind: str, what: bytes) -> float:
        """Ask once; tell how long it took."""
        begin = time.perf_counter()
        await peers.request(ANSWERER, kind, what, lane=Lane.WRITES, timeout_s=30)
        return time.perf_counter() - begin

    async def keep_asking(kind: str, what: bytes, count: int) -> list[float]:
        """Ask one after the other."""
        return [await ask(kind, what) for _ in range(count)]

    async def together(count: int) -> list[float]:
        """Ask small things, as many at once as wanted."""
        share = count // options.concurrency
        runs = [
            Deferred.fromCoroutine(keep_asking("echo", body, share))
            for _ in range(options.concurrency)
        ]
        return [each for run in await gatherResults(runs) for each in run]

    await together(options.count // 10)
    begin = time.perf_counter()
    taken = await together(options.count)
    rate = len(taken) / (time.perf_counter() - begin)
    where = f"{options.size} bytes each way, {options.concurrency} at once"
    print(f"{rate:,.0f} requests/s, {where}: {percentiles(taken)}")
    print("one at a time:", percentiles(await keep_asking("echo", body, 2000)))
    begin = time.perf_counter()
    large = Deferred.fromCoroutine(keep_asking("size", value, 20))
    beside = []
    while not large.called:
        beside.append(await ask("echo", body))
    rate = 20 * 16 / (time.perf_counter() - begin)
    print(f"values of 16 MiB: {rate:,.0f} MiB/s; beside them:", percentiles(beside))


def main() -> None:
    """Run both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--secret", action="store_true", help="prove and seal")
    options = parser.parse_args()
    secret = b"s" * 32 if options.secret else None
    mine, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=answer, args=(theirs, secret), daemon=True)
    child.start()
    reactor = epollreactor.EPollReactor()
    peers = make(reactor, ASKER, secret)
    peers.know(ANSWERER, Address("127.0.0.1", mine.recv()), 1)
    done = Deferred.fromCoroutine(measure(peers, options))
    done.addErrback(lambda failure: failure.printTraceback())
    done.addCallback(lambda _: peers.stop())
    done.addCallback(lambda _: reactor.stop())
    reactor.run()
    child.terminate()


if __name__ == "__main__":
    main()

"""A proxy between nodes, in a process of its own, that can break what it carries.

Every node listens on a hidden port and advertises the proxy's, so that all that nodes
say to each other, by TCP and by UDP, passes here.  Who speaks is known without looking
at a byte: a datagram by the port that it comes from, a connection by the process that
holds its other end.  So each ordered pair of nodes is a link of its own::

    dialler --> [public port of the other] --> hidden port of the other

A *blocked* link carries nothing, and keeps what TCP gave it until it is healed, as a
kernel would that sends again; its datagrams are lost.  Where either direction of a pair
is blocked, no new connection is made: it is accepted and left waiting.

`Proxy` is the handle for scenarios; ``python proxy.py`` is the process, which ends with
its standard input.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below those from which the kernel takes one for whoever dials."""

PORT_ATTEMPTS = 200
HIGH_WATER_BYTES = 1 << 20

Link = tuple[str, str]


def free_port() -> int:
    """Return a port that is free for TCP and for UDP just now."""
    for _ in range(PORT_ATTEMPTS):
        port = random.choice(PORTS)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((HOST, port))
                udp.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class Rule:
    """What is done to one link.

    Attributes:
        tcp: whether streams stand still.
        udp: whether datagrams are lost.
        delay_s: how much later everything arrives.
        loss: the share of datagrams that is lost.
        cut_after: the connection is reset after so many more bytes; None never.
    """

    def __init__(self) -> None:
        """Do nothing to it."""
        self.tcp = False
        self.udp = False
        self.delay_s = 0.0
        self.loss = 0.0
        self.cut_after: int | None = None


class Way:
    """One direction of one connection: chunks in order, each when it is due.

    Invariants: bytes leave in the order in which they came, after them the end.
    """

    def __init__(self, relay: "Relay", link: Link) -> None:
        """Carry nothing yet; `source` and `target` are set when they are there."""
        self._relay = relay
        self.link = link
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self._queue: deque[tuple[float, bytes | None, bool]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    def feed(self, data: bytes | None, *, reset: bool = False) -> None:
        """Take bytes, or None for the end, a reset or not."""
        due = self._relay.loop.time() + self._relay.rule(self.link).delay_s
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, data, reset))
        self._held_bytes += len(data or b"")
        self.flow()

    def flow(self) -> None:
        """Pass on what is due, and read on or not."""
        rule = self._relay.rule(self.link)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not rule.tcp and self.target is not None:
            self._pass_on(rule)
        stop = rule.tcp or self._full or self._held_bytes > HIGH_WATER_BYTES
        if self.source is not None and not self.source.is_closing():
            if stop and self.source.is_reading():
                self.source.pause_reading()
            elif not stop and not self.source.is_reading():
                self.source.resume_reading()

    def writable(self, yes: bool) -> None:
        """Hear whether the target takes bytes."""
        self._full = not yes
        self.flow()

    def _pass_on(self, rule: Rule) -> None:
        """Write what is due; come back for the rest."""
        now = self._relay.loop.time()
        while self._queue and self._queue[0][0] <= now:
            _, data, reset = self._queue.popleft()
            if data is None:
                (self.target.abort if reset else self.target.close)()
                return
            self._held_bytes -= len(data)
            if self.target.is_closing():
                continue
            if rule.cut_after is not None and len(data) >= rule.cut_after:
                self.target.write(data[: rule.cut_after])
                rule.cut_after = None
                self._relay.loop.call_soon(self._cut)
                return
            if rule.cut_after is not None:
                rule.cut_after -= len(data)
            self.target.write(data)
        if self._queue:
            self._timer = self._relay.loop.call_at(self._queue[0][0], self.flow)

    def _cut(self) -> None:
        """End both sides in the middle of a frame."""
        for each in (self.target, self.source):
            if each is not None:
                reset(each)


class End(asyncio.Protocol):
    """One socket of a relayed connection.

    Invariants: what it reads goes into ``outward``, what it writes comes of ``inward``.
    """

    def __init__(self, outward: Way, inward: Way) -> None:
        """Join two ways."""
        self._outward = outward
        self._inward = inward

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Let bytes pass."""
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outward.source = self._inward.target = transport
        self._outward.flow()
        self._inward.flow()

    def data_received(self, data: bytes) -> None:
        """Carry it."""
        self._outward.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Carry the end."""
        self._outward.source = None
        self._outward.feed(None, reset=error is not None)

    def pause_writing(self) -> None:
        """Read no more on the other side."""
        self._inward.writable(False)

    def resume_writing(self) -> None:
        """Read on."""
        self._inward.writable(True)


class Gossip(asyncio.DatagramProtocol):
    """The public UDP port of one node.

    Invariants: what leaves here comes from that node, or is for it.
    """

    def __init__(self, relay: "Relay", name: str) -> None:
        """Stand for the node ``name``."""
        self._relay = relay
        self._name = name
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        """Keep the socket."""
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Pass it to the node, as if it came from the sender's public port."""
        sender = self._relay.hidden.get(address[1])
        if sender is None:
            self.transport.sendto(data, (HOST, self._relay.hidden_of[self._name]))
            return
        rule = self._relay.rule((sender, self._name))
        if rule.udp or random.random() < rule.loss:
            return
        target = (HOST, self._relay.hidden_of[self._name])
        transport = self._relay.gossips[sender].transport
        if rule.delay_s:
            self._relay.loop.call_later(
                rule.delay_s, self._relay.datagram, (sender, self._name), data
            )
        else:
            transport.sendto(data, target)


class Relay:
    """All links of one cluster, in the process of the proxy.

    Invariants: a public port stands for one node for as long as the process runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry nothing yet."""
        self.loop = loop
        self.hidden: dict[int, str] = {}
        self.hidden_of: dict[str, int] = {}
        self.gossips: dict[str, Gossip] = {}
        self._pids: dict[str, int] = {}
        self._rules: dict[Link, Rule] = {}
        self._ways: set[Way] = set()
        self._waiting: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task] = set()

    def rule(self, link: Link) -> Rule:
        """Return what is done to a link."""
        return self._rules.setdefault(link, Rule())

    def datagram(self, link: Link, data: bytes) -> None:
        """Deliver a datagram that was delayed."""
        sender, target = link
        if not self.rule(link).udp:
            transport = self.gossips[sender].transport
            transport.sendto(data, (HOST, self.hidden_of[target]))

    async def do(self, order: dict) -> object:
        """Do as a scenario says; return its answer."""
        match order.pop("do"):
            case "add":
                return await self._add(order["name"])
            case "pid":
                self._pids[order["name"]] = order["pid"]
            case "rule":
                rule = self.rule((order.pop("source"), order.pop("target")))
                for field, value in order.items():
                    setattr(rule, field, value)
                self._flow()
            case "heal":
                self._rules.clear()
                self._flow()
        return None

    def _flow(self) -> None:
        """Let everything act by the new rules."""
        for way in list(self._ways):
            way.flow()
        for event in self._waiting:
            event.set()

    async def _add(self, name: str) -> list[int]:
        """Make a public port; return it, and the hidden one."""
        public, hidden = free_port(), free_port()
        gossip = self.gossips[name] = Gossip(self, name)
        self.hidden[hidden], self.hidden_of[name] = name, hidden
        await self.loop.create_datagram_endpoint(
            lambda: gossip, local_addr=(HOST, public)
        )
        listener = socket.create_server((HOST, public), backlog=128)
        listener.setblocking(False)
        task = self.loop.create_task(self._accept(listener, name))
        self._keep(task)
        return [public, hidden]

    def _keep(self, task: asyncio.Task) -> None:
        """Hold a task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket, name: str) -> None:
        """Take connections for one node."""
        while True:
            connection, address = await self.loop.sock_accept(listener)
            self._keep(
                self.loop.create_task(self._connect(connection, address[1], name))
            )

    async def _connect(self, inner: socket.socket, port: int, name: str) -> None:
        """Carry one connection for as long as it lives."""
        dialler = self._holder(port) or "stranger"
        there, back = (dialler, name), (name, dialler)
        event = asyncio.Event()
        self._waiting.add(event)
        while self.rule(there).tcp or self.rule(back).tcp:
            event.clear()
            await event.wait()
        self._waiting.discard(event)
        outward, inward = Way(self, there), Way(self, back)
        try:
            await self.loop.create_connection(
                lambda: End(inward, outward), HOST, self.hidden_of[name]
            )
        except OSError:
            linger(inner)
            inner.close()
            return
        self._ways |= {outward, inward}
        try:
            await self.loop.connect_accepted_socket(lambda: End(outward, inward), inner)
        except OSError:
            reset(outward.target)

    def _holder(self, port: int) -> str | None:
        """Tell which node holds a local TCP port."""
        inode = inode_of(port)
        if inode is None:
            return None
        wanted = f"socket:[{inode}]"
        for name, pid in self._pids.items():
            with suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with suppress(OSError):
                        if os.readlink(entry.path) == wanted:
                            return name
        return None


def inode_of(port: int) -> str | None:
    """Return the inode of the socket that dialled from a local port."""
    wanted = f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted) and fields[9] != "0":
            return fields[9]
    return None


def linger(connection: socket.socket) -> None:
    """Have the socket's end be a reset."""
    onoff_and_seconds = b"\x01\0\0\0\0\0\0\0"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, onoff_and_seconds)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a reset."""
    with suppress(OSError):
        linger(transport.get_extra_info("socket"))
    transport.abort()


async def relay() -> None:
    """Do what standard input says, line by line, until it ends."""
    loop = asyncio.get_running_loop()
    links = Relay(loop)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await links.do(json.loads(line))), flush=True)


class Proxy:
    """The handle of a proxy process.

    Invariants: each order is answered before the next is given.
    """

    def __init__(self) -> None:
        """Start the process."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = []

    def add(self, name: str) -> tuple[int, int]:
        """Return the public and the hidden port of a new node."""
        self.names.append(name)
        public, hidden = self._order(do="add", name=name)
        return public, hidden

    def runs(self, name: str, pid: int) -> None:
        """Say which process is that node now."""
        self._order(do="pid", name=name, pid=pid)

    def block(self, source: str, target: str) -> None:
        """Let nothing pass from one node to another; the other way stays open."""
        self._order(do="rule", source=source, target=target, tcp=True, udp=True)

    def isolate(self, *names: str) -> None:
        """Part some nodes from all others, both ways."""
        for name in names:
            for other in set(self.names) - set(names):
                self.block(name, other)
                self.block(other, name)

    def half_open(self, one: str, other: str) -> None:
        """Keep connections of two nodes open, and carry nothing; UDP passes."""
        for source, target in ((one, other), (other, one)):
            self._order(do="rule", source=source, target=target, tcp=True)

    def delay(self, source: str, target: str, delay_s: float) -> None:
        """Have everything from one node to another arrive later."""
        self._order(do="rule", source=source, target=target, delay_s=delay_s)

    def lose(self, source: str, target: str, share: float) -> None:
        """Lose a share of the datagrams from one node to another."""
        self._order(do="rule", source=source, target=target, loss=share)

    def cut(self, source: str, target: str, after_bytes: int) -> None:
        """Reset the connection after so many more bytes, within a frame or not."""
        self._order(do="rule", source=source, target=target, cut_after=after_bytes)

    def heal(self) -> None:
        """Carry everything again."""
        self._order(do="heal")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _order(self, **order: object) -> object:
        """Give an order, and wait until it is carried out."""
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the proxy ended"
        return json.loads(answer)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(relay())

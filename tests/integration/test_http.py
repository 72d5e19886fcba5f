"""HTTP over real sockets on loopback."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
import twisted.internet.reactor as running
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.http.fakes import FakeFeeds, FakeKeyValue, FakeOperations, FakeOverview
from torua.core.kv import VALUE_BYTES_MAX
from torua.http.site import make_site

pytestmark = pytest.mark.integration

REACTOR: Any = running
TIMEOUT_S = 20


class HttpTests(TestCase):
    """A site that listens, and clients that do not know Twisted.

    Invariants: nothing is left open after a test.
    """

    timeout = 60

    def setUp(self) -> None:
        """Listen."""
        self.key_value = FakeKeyValue()
        self.site = make_site(
            self.key_value,
            FakeOverview(),
            FakeFeeds(),
            FakeOperations(),
            CollectorRegistry(),
            node_name="n1",
            reactor=REACTOR,
        )
        self.port = REACTOR.listenTCP(0, self.site, interface="127.0.0.1")
        self.address = ("127.0.0.1", self.port.getHost().port)

    async def tearDown(self) -> None:  # type: ignore[override]
        """Close everything."""
        await self.port.stopListening()
        await self.site.drain()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Ask, blocking.

        Args:
            method: what to do.
            path: with what.
            body: bytes, or an iterator of them to be sent in chunks.
        """
        connection = HTTPConnection(*self.address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, encode_chunked=True)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    async def test_the_largest_value_comes_back(self) -> None:
        """16 MiB go in and out, byte for byte."""
        value = bytes(range(256)) * (VALUE_BYTES_MAX // 256)
        status, _ = await deferToThread(self.ask, "PUT", "/kv/k", value)
        self.assertEqual(status, 204)
        status, body = await deferToThread(self.ask, "GET", "/kv/k")
        self.assertEqual(status, 200)
        self.assertTrue(body == value)

    async def test_who_sends_too_much_without_asking_sees_413(self) -> None:
        """The connection lingers, so that the answer is not lost to a reset."""
        value = bytes(40 << 20)
        status, body = await deferToThread(self.ask, "PUT", "/kv/k", value)
        self.assertEqual(status, 413)
        self.assertIn(b"too-large", body)
        self.assertEqual(self.key_value.calls, [])

    async def test_who_sends_too_much_in_chunks_sees_413(self) -> None:
        """So it is where the length is not known before."""

        def pieces() -> Iterator[bytes]:
            """Send 40 MiB."""
            for _ in range(40):
                yield bytes(1 << 20)

        status, _ = await deferToThread(self.ask, "PUT", "/kv/k", pieces())
        self.assertEqual(status, 413)
        self.assertEqual(self.key_value.calls, [])

    async def test_a_client_that_goes_in_mid_body_does_no_harm(self) -> None:
        """Cut short by a reset, a request leaves nothing, and others are served."""

        def half() -> None:
            """Send half a request, and reset."""
            with socket.create_connection(self.address, TIMEOUT_S) as client:
                client.sendall(b"PUT /kv/k HTTP/1.1\r\nHost: x\r\n")
                client.sendall(b"Content-Length: 100000\r\n\r\n" + bytes(5000))
                reset = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

        await gatherResults([deferToThread(half) for _ in range(20)])
        self.assertEqual((await deferToThread(self.ask, "GET", "/health"))[0], 200)
        self.assertEqual(self.key_value.calls, [])

    async def test_a_hundred_clients_at_once_are_served(self) -> None:
        """Each on its own connection, all of them open at once."""
        connections = [
            HTTPConnection(*self.address, timeout=TIMEOUT_S) for _ in range(100)
        ]

        def all_at_once(method: str) -> list[bytes]:
            """Send all requests, then read all answers."""
            for number, connection in enumerate(connections):
                body = b"%d" % number if method == "PUT" else None
                connection.request(method, f"/kv/{number}", body)
            return [each.getresponse().read() for each in connections]

        for _ in range(3):
            await deferToThread(all_at_once, "PUT")
            bodies = await deferToThread(all_at_once, "GET")
            self.assertEqual(bodies, [b"%d" % number for number in range(100)])
        for connection in connections:
            connection.close()

    async def test_draining_finishes_what_is_in_flight(self) -> None:
        """A request in flight is answered, idle connections close, then it is done."""
        idle = socket.create_connection(self.address, TIMEOUT_S)
        busy = socket.create_connection(self.address, TIMEOUT_S)
        self.key_value.gate = gate = Deferred[None]()
        await deferToThread(busy.sendall, b"GET /kv/k HTTP/1.1\r\nHost: x\r\n\r\n")
        while not self.key_value.calls:
            await deferToThread(lambda: None)
        drained = self.site.drain()
        self.assertEqual(await deferToThread(idle.recv, 1), b"")
        self.assertNoResult(drained)
        gate.callback(None)
        await drained
        response = HTTPResponse(busy)
        await deferToThread(response.begin)
        self.assertEqual(response.status, 404)
        self.assertEqual(response.getheader("connection"), "close")
        idle.close()
        busy.close()

"""Tests of what `torua.net.peers` does with strangers, on loopback."""

from functools import partial
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from tests.integration.peer_nodes import (
    Node,
    PeerCase,
    are_up,
    ask,
    have_dropped,
)
from torua.codec.frames import FrameWriter, Lane
from torua.errors import (
    UnavailableError,
)
from torua.net import connection, exchange

pytestmark = pytest.mark.integration


class StrangerTests(PeerCase):
    """Those who do not belong here, or do not behave."""

    async def served_on(self, one: Node, two: Node) -> None:
        """See that a pair still works.

        Args:
            one: asks and is asked.
            two: the same.
        """
        self.assertEqual(await ask(one, two, 1), 1)
        self.assertEqual(await ask(two, one, 1), 1)

    async def test_garbage_is_closed_counted_and_logged_once(self) -> None:
        """HTTP, bytes at random, and a header of 100 MB after a right preamble."""
        one, two = await self.pair()
        header = (100 << 20).to_bytes(4, "big") + bytes(10)
        wrong = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 100_000,
            b"torua\x00P2",
            connection.PREAMBLE + header,
            exchange.PREAMBLE + header,
            connection.PREAMBLE + b"".join(FrameWriter().message(Lane.READS, 0, b"x")),
        ]
        for number, data in enumerate(wrong, 1):
            stranger = await self.stranger(one)
            stranger.transport.write(data)  # type: ignore[union-attr]
            await stranger.closed
            self.assertEqual(one.dropped("garbage"), number)
        await self.served_on(one, two)

    async def test_other_clusters_are_refused_by_name(self) -> None:
        """By another name, another uuid, a secret on one side, or another secret."""
        cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({"cluster": "b"}, {}, "cluster"),
            ({"uuid": "b"}, {"uuid": "a"}, "cluster"),
            ({"secret": b"b"}, {}, "secret"),
            ({"secret": b"b"}, {"secret": b"a"}, "secret"),
        ]
        for theirs, mine, reason in cases:
            one, two = await self.node(1, **mine), await self.node(2, **theirs)
            one.know(two)
            two.know(one)
            await self.until(partial(have_dropped, one, two, reason))
            self.assertNotIn(("up", two.node_id), one.events)
            self.assertNotIn(("up", one.node_id), two.events)
            self.assertNotEqual(one.reasons, [])
            one.peers.forget(two.node_id)
            two.peers.forget(one.node_id)

    async def test_a_uuid_learned_later_parts_the_clusters(self) -> None:
        """Who said that it belongs to another is sent away."""
        one, two = await self.node(1), await self.node(2, uuid="b")
        one.know(two)
        await self.until(lambda: one.is_up(two))
        one.peers.cluster_uuid = "a"
        await self.until(lambda: one.dropped("cluster") > 1)
        self.assertFalse(one.is_up(two))

    async def test_two_uuids_learned_while_connected_part_the_clusters(self) -> None:
        """Each tells the other as soon as it knows, and the second one sees."""
        one, two = await self.pair()
        one.peers.cluster_uuid = "a"
        await self.until(lambda: two.frames_in(Lane.CONTROL) > 2)
        self.assertTrue(are_up(one, two))
        two.peers.cluster_uuid = "b"
        await self.until(lambda: have_dropped(one, two, "cluster"))
        self.assertFalse(one.is_up(two))

    async def test_one_uuid_learned_while_connected_changes_nothing(self) -> None:
        """Whoever learns it first."""
        one, two = await self.pair()
        for node in (one, two):
            node.peers.cluster_uuid = "a"
        await self.served_on(one, two)
        self.assertEqual((len(one.events), len(two.events)), (1, 1))

    async def test_an_address_that_leads_elsewhere_is_noticed(self) -> None:
        """To another node, or back to this one."""
        one, two, three = [await self.node(number) for number in (1, 2, 3)]
        one.peers.know(two.node_id, three.address, 1)
        two.peers.know(three.node_id, two.address, 1)
        await self.until(lambda: one.dropped("target") > 0 and two.dropped("self") > 0)
        self.assertNotIn(("up", two.node_id), one.events)
        self.assertEqual(three.events, [])

    async def test_a_listener_that_says_nothing_is_given_up(self) -> None:
        """The dial ends after its time, and who waits is told that nothing was done."""
        self.patch(connection, "DIAL_HANDSHAKE_S", 0.1)
        one, two = await self.node(1), Node(self.reactor, 2)
        silent = await self.listener(Protocol)
        one.peers.know(two.node_id, silent, 1)
        await self.assertFailure(ask(one, two, 1), UnavailableError)
        self.assertEqual(one.dropped("slow"), 1)

    async def test_a_connection_cut_in_mid_frame_leaves_nothing(self) -> None:
        """At any byte of the handshake a stranger may vanish."""
        one, two = await self.pair()
        for length in (0, 3, 8, 9, 21, 22, 40):
            stranger = await self.stranger(one)
            frame = b"".join(FrameWriter().message(Lane.CONTROL, 0, b"h" * 30))
            data = connection.PREAMBLE + frame
            stranger.transport.write(data[:length])  # type: ignore[union-attr]
            stranger.transport.loseConnection()  # type: ignore[union-attr]
            await stranger.closed
        await self.until(lambda: len(one.peers._reception.doors) == 1)
        await self.served_on(one, two)

"""Membership over real UDP and TCP on loopback, where datagrams get lost."""

import importlib
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership.timing import LOCAL
from torua.net.peers import Identity, Peers
from torua.node.membership import MembershipService, Settings

pytestmark = pytest.mark.integration


class Node:
    """One member: its peers, its membership, its two sockets of one number.

    Invariants: a datagram that it sends is lost with the chance ``loss``.
    """

    def __init__(self, reactor: Any, number: int, epoch: int = 1) -> None:
        """Make it; it listens nowhere yet."""
        self.reactor = reactor
        self.number, self.epoch = number, epoch
        self.name = f"n{number}"
        self.loss = 0.0
        self.dice = Random(number)
        self.registry = CollectorRegistry()
        self.ports: list[Any] = []
        self.node_id = NodeId(f"{number:032x}")
        identity = Identity(self.node_id, self.name, epoch)
        self.peers = Peers(
            reactor, identity, "test", secret=b"s", registry=self.registry
        )

    async def listen(self, port: int = 0) -> None:
        """Bind TCP, then UDP to the same number, and make the member that is there.

        Args:
            port: the number; 0 for any.
        """
        endpoint = TCP4ServerEndpoint(self.reactor, port, interface="127.0.0.1")
        listening = await endpoint.listen(self.peers.factory())
        host = listening.getHost()
        self.address = Address(host.host, host.port)
        me = Member(
            self.node_id, self.name, self.address, self.epoch, 0, Status.ALIVE, Meta()
        )
        settings = Settings("test", b"s", LOCAL, Random(self.number))
        self.service = MembershipService(
            self.reactor, me, self.peers, settings, self.registry
        )
        gossip = self.service.gossip
        self._send, gossip.send = gossip.send, self._lossy  # type: ignore[method-assign]
        udp = self.reactor.listenUDP(host.port, gossip, interface="127.0.0.1")
        self.ports += [listening, udp]

    def _lossy(self, address: Address, data: bytes) -> None:
        """Send a datagram, or lose it."""
        if self.dice.random() >= self.loss:
            self._send(address, data)

    def sees(self, other: "Node", *statuses: Status) -> bool:
        """Tell whether it believes one of these of another.

        Args:
            other: of whom.
            statuses: any of them.
        """
        held = self.service.members.get(other.node_id)
        return held is not None and held.status in statuses

    async def stop(self) -> None:
        """Close everything, without a word."""
        ports, self.ports = self.ports, []
        self.service.stop()
        for port in ports:
            await port.stopListening()
        await self.peers.stop()


class GossipTests(TestCase):
    """Three members and what befalls them.

    Invariants: every node is stopped at the end.
    """

    timeout = 30

    def setUp(self) -> "Deferred[None]":  # type: ignore[override]
        """Start three, two of which look for the first."""
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        """Start them, and wait until they know each other."""
        self.reactor: Any = importlib.import_module("twisted.internet.reactor")
        self.nodes = [Node(self.reactor, number) for number in (1, 2, 3)]
        for node in self.nodes:
            self.stop_later(node)
            await node.listen()
        for node in self.nodes:
            node.service.start((self.nodes[0].address,))
        await self.until(self.whole)

    def stop_later(self, node: Node) -> None:
        """Have a node stopped at the end."""
        self.addCleanup(lambda: Deferred.fromCoroutine(node.stop()))

    async def until(self, holds: Callable[[], bool], within_s: float = 10.0) -> float:
        """Wait until something holds; return for how long.

        Args:
            holds: what to wait for.
            within_s: after so long it is an error.
        """
        start = self.reactor.seconds()
        while not holds():
            self.assertLess(self.reactor.seconds() - start, within_s)
            await deferLater(self.reactor, 0.01, int)
        return float(self.reactor.seconds() - start)

    def whole(self) -> bool:
        """Tell whether all see all alive."""
        pairs = [(one, other) for one in self.nodes for other in self.nodes]
        return all(one.sees(other, Status.ALIVE) for one, other in pairs)

    def all_see(self, who: Node, *statuses: Status) -> bool:
        """Tell whether all others believe one of these of a node.

        Args:
            who: of whom.
            statuses: any of them.
        """
        others = [node for node in self.nodes if node is not who]
        return all(node.sees(who, *statuses) for node in others)

    async def test_a_killed_node_is_dead_and_comes_back(self) -> None:
        """Suspect or dead soon, dead within the suspicion, alive in its next life."""
        victim = self.nodes[2]
        await victim.stop()
        gone = (Status.SUSPECT, Status.DEAD)
        await self.until(partial(self.all_see, victim, *gone), 3.0)
        await self.until(partial(self.all_see, victim, Status.DEAD), 3.0)
        back = self.nodes[2] = Node(self.reactor, 3, epoch=2)
        self.stop_later(back)
        await back.listen(victim.address.port)
        back.service.start((self.nodes[1].address,))
        await self.until(self.whole)
        self.assertEqual(self.nodes[0].service.members[back.node_id].boot_epoch, 2)

    async def test_lost_datagrams_kill_nobody(self) -> None:
        """A fifth of them lost, for twenty periods: TCP and helpers make up for it."""
        dead: list[Member] = []
        for node in self.nodes:
            node.loss = 0.2
            node.service.subscribe(
                lambda member: dead.append(member) if not member.is_live else None
            )
        await deferLater(self.reactor, 20 * LOCAL.period_s, int)
        self.assertEqual(dead, [])
        await self.until(self.whole)

    async def test_blocked_udp_is_noticed_and_kills_nobody(self) -> None:
        """One node's datagrams are all lost; over TCP it answers, and stays."""
        mute = self.nodes[1]
        mute.loss = 1.0
        name = "torua_membership_tcp_only_total"
        others = [self.nodes[0], self.nodes[2]]
        await self.until(
            lambda: all(node.registry.get_sample_value(name) for node in others)
        )
        self.assertTrue(self.all_see(mute, Status.ALIVE, Status.SUSPECT))

    async def test_a_node_that_leaves_has_left(self) -> None:
        """All hear it before it is gone."""
        leaver = self.nodes[0]
        await leaver.service.leave()
        await leaver.stop()
        await self.until(partial(self.all_see, leaver, Status.LEFT), 2.0)

    async def test_garbage_harms_nobody(self) -> None:
        """A thousand datagrams of noise are counted, and all stay well."""
        stray, dice = self.nodes[0], Random(1)
        for _ in range(1000):
            noise = dice.randbytes(dice.randrange(1, 1400))
            stray._send(self.nodes[1].address, noise)
        name, labels = "torua_membership_drops_total", {"reason": "malformed"}
        registry = self.nodes[1].registry
        await self.until(lambda: (registry.get_sample_value(name, labels) or 0) > 100)
        await self.until(self.whole)

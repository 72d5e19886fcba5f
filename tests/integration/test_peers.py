"""Tests of `torua.net.peers` over real sockets on loopback."""

from functools import partial

import pytest
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.internet.protocol import Protocol

from tests.integration.peer_nodes import (
    Node,
    PeerCase,
    are_up,
    ask,
)
from torua.codec.frames import Lane
from torua.errors import (
    ConflictError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.net import connection
from torua.net.outbox import QUEUE_BYTES_MAX
from torua.net.peer import REFUSED
from torua.net.peers import Inbound

pytestmark = pytest.mark.integration


class ConversationTests(PeerCase):
    """Nodes that belong together."""

    async def test_a_request_is_answered_either_way(self) -> None:
        """The connection that one dialled serves both."""
        one, two = await self.pair()
        body = {"k": b"\0\1", "n": [1, None, 2.5, "ü"]}
        self.assertEqual(await ask(one, two, body), body)
        self.assertEqual(await ask(two, one, body), body)

    async def test_a_secret_changes_nothing_for_those_who_have_it(self) -> None:
        """Proved and sealed, all goes as it does without."""
        one, two = await self.pair(secret=b"s" * 32)
        body = b"x" * 300_000
        self.assertEqual(await ask(one, two, body), body)
        self.assertEqual(await ask(two, one, body), body)

    async def test_what_a_handler_raises_the_asker_gets(self) -> None:
        """An expected error travels with its members; another is logged once."""
        one, two = await self.pair()

        async def conflict(_: Inbound) -> object:
            """Raise an expected error."""
            raise ConflictError("taken", retry_after=3)

        async def broken(_: Inbound) -> object:
            """Raise an error that nobody expects."""
            raise KeyError("oops")

        async def unspeakable(_: Inbound) -> object:
            """Return what CBOR cannot spell."""
            return object()

        two.peers.handle("conflict", conflict)
        two.peers.handle("broken", broken)
        two.peers.handle("unspeakable", unspeakable)
        error = await self.assertFailure(ask(one, two, 0, "conflict"), ConflictError)
        self.assertEqual((error.detail, error.members), ("taken", {"retry_after": 3}))
        error = await self.assertFailure(ask(one, two, 0, "broken"), ToruaError)
        self.assertEqual(error.code, "internal")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        error = await self.assertFailure(ask(one, two, 0, "unspeakable"), ToruaError)
        self.assertEqual(error.code, "internal")
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        await self.assertFailure(ask(one, two, 0, "unknown"), UnavailableError)

    async def test_a_handler_learns_who_asks_and_until_when(self) -> None:
        """Node, life, ids and the deadline by its own clock."""
        one, two = await self.pair()
        seen: list[Inbound] = []

        async def keep(inbound: Inbound) -> object:
            """Keep what comes."""
            seen.append(inbound)
            return None

        two.peers.handle("keep", keep)
        now = self.reactor.seconds()
        await one.peers.request(
            two.node_id,
            "keep",
            [1],
            lane=Lane.WRITES,
            timeout_s=7,
            request_id="r-1",
            traceparent="t-1",
        )
        inbound = seen[0]
        self.assertEqual(
            (inbound.node_id, inbound.boot_epoch, inbound.kind, inbound.body),
            (one.node_id, 1, "keep", [1]),
        )
        self.assertEqual((inbound.request_id, inbound.traceparent), ("r-1", "t-1"))
        self.assertTrue(now + 5 < inbound.deadline <= now + 7.5)

    async def test_notices_of_the_control_lane_keep_their_order(self) -> None:
        """Large ones too are not overtaken."""
        one, two = await self.pair()
        sizes = [10, 200_000, 5, 70_000, 1, 500_000, 2]
        for size in sizes:
            one.peers.send(two.node_id, "note", b"x" * size)
        await self.until(lambda: len(two.notices) == len(sizes))
        self.assertEqual([len(n.body) for n in two.notices], sizes)  # type: ignore[arg-type]

    async def test_three_nodes_make_three_connections(self) -> None:
        """Each pair has one, however many know each other, and all can talk."""
        nodes = [await self.node(number) for number in (1, 2, 3)]
        for one in nodes:
            for two in nodes:
                one.know(two)
        pairs = [(a, b) for a in nodes for b in nodes if a is not b]
        await self.until(lambda: all(a.is_up(b) for a, b in pairs))
        for one, two in pairs:
            self.assertEqual(await ask(one, two, 1), 1)
        for node in nodes:
            self.assertEqual(node.peers.meters.connections._value.get(), 2)

    async def test_a_time_out_and_a_cancelled_request_end_the_waiting(self) -> None:
        """What was sent is of unknown outcome; a late answer disturbs nobody."""
        one, two = await self.pair()
        answers: list[Deferred[object]] = []

        async def later(_: Inbound) -> object:
            """Answer when the test says so."""
            answers.append(Deferred())
            return await answers[-1]

        two.peers.handle("later", later)
        slow = ask(one, two, 0, "later", timeout_s=0.05)
        await self.assertFailure(slow, OutcomeUnknownError)
        given_up = ask(one, two, 0, "later")
        await self.until(lambda: len(answers) == 2)
        given_up.cancel()
        await self.assertFailure(given_up, CancelledError)
        for answer in answers:
            answer.callback(1)
        self.assertEqual(await ask(one, two, 2), 2)
        await self.until(lambda: one.dropped("late-answer") == 2)

    async def test_small_requests_are_not_held_up_by_a_large_one(self) -> None:
        """1,000 small ones on the same lane are answered before 16 MiB are."""
        one, two = await self.pair()
        value = b"v" * (16 << 20)
        large = ask(one, two, value, timeout_s=20)
        await gatherResults([ask(one, two, number) for number in range(1000)])
        self.assertFalse(large.called)
        self.assertEqual(await large, value)

    async def test_an_exchange_needs_no_acquaintance(self) -> None:
        """Bytes go to an address, and bytes come back; or the caller learns of none."""
        one, two = await self.node(1), await self.node(2, cluster="other", secret=b"s")
        two.peers.on_exchange = lambda body: body[::-1] if body else None
        question = bytes(range(256)) * 4096
        answer = await one.peers.exchange(two.address, question, 5)
        self.assertEqual(answer, question[::-1])
        none = Deferred.fromCoroutine(one.peers.exchange(two.address, b"", 5))
        await self.assertFailure(none, UnavailableError)
        silent = await self.listener(Protocol)
        late = Deferred.fromCoroutine(one.peers.exchange(silent, b"x", 0.05))
        await self.assertFailure(late, UnavailableError)

    async def test_a_failing_exchange_is_closed_and_logged(self) -> None:
        """An error of the answerer does not reach the asker."""
        one, two = await self.node(1), await self.node(2)

        def fail(_: bytes) -> bytes:
            """Break."""
            raise ValueError("no")

        two.peers.on_exchange = fail
        asked = Deferred.fromCoroutine(one.peers.exchange(two.address, b"x", 5))
        await self.assertFailure(asked, UnavailableError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class AcquaintanceTests(PeerCase):
    """How a pair comes to have one connection, and keeps it."""

    async def test_both_may_dial_at_once(self) -> None:
        """Time after time one connection stands, it stays, and no request is lost."""
        for _ in range(25):
            one, two = Node(self.reactor, 1), Node(self.reactor, 2)
            await one.listen()
            await two.listen()
            one.know(two)
            two.know(one)
            answers = await gatherResults([ask(one, two, 1), ask(two, one, 2)])
            self.assertEqual(answers, [1, 2])
            await self.until(partial(are_up, one, two))
            for node in (one, two):
                self.assertEqual([what for what, _ in node.events], ["up"])
                self.assertEqual(node.peers.meters.connections._value.get(), 1)
            await one.stop()
            await two.stop()

    async def test_a_later_life_replaces_an_earlier_one(self) -> None:
        """It is let in at once, and the earlier life is refused from then on."""
        one = await self.node(1)
        old, new = await self.node(2), await self.node(2, epoch=2)
        old.know(one)
        await self.until(lambda: one.is_up(old))
        new.know(one)
        await self.until(lambda: [w for w, _ in one.events] == ["up", "down", "up"])
        await self.until(lambda: one.dropped("epoch") > 0)
        self.assertEqual(await ask(new, one, 1), 1)
        self.assertEqual(await ask(one, new, 1), 1)
        self.assertEqual([w for w, _ in one.events], ["up", "down", "up"])

    async def test_an_earlier_life_is_refused_where_membership_knows_better(
        self,
    ) -> None:
        """Both by whom it dials and by who dials it."""
        one, two = await self.node(1), await self.node(2, epoch=5)
        one.peers.know(two.node_id, two.address, 6)
        two.know(one)
        await self.until(lambda: one.dropped("epoch") > 1 and two.dropped("epoch") > 0)
        self.assertNotIn(("up", two.node_id), one.events)
        self.assertNotIn(("up", one.node_id), two.events)

    async def test_a_node_that_is_away_is_dialled_until_it_is_back(self) -> None:
        """Refused dials are told; who waits is told too; then it is up again."""
        one, two = await self.pair()
        port = two.address.port
        await two.stop()
        await self.until(lambda: REFUSED in one.reasons)
        waiting = ask(one, two, 1)
        await self.assertFailure(waiting, UnavailableError)
        again = await self.node(2, epoch=2, port=port)
        await self.until(lambda: one.is_up(again))
        self.assertEqual(await ask(one, again, 1), 1)

    async def test_who_asks_again_at_once_waits_for_the_next_dial(self) -> None:
        """A request made because another failed is not swept away with that."""
        one, two = await self.pair()
        port = two.address.port
        await two.stop()
        await self.until(lambda: not one.is_up(two))

        async def insist() -> object:
            """Ask until there is an answer."""
            while True:
                try:
                    return await ask(one, two, 1, timeout_s=3)
                except UnavailableError as error:
                    self.assertNotIn("in time", error.detail)

        answer = Deferred.fromCoroutine(insist())
        await self.until(lambda: len(one.reasons) > 3)
        await self.node(2, epoch=2, port=port)
        self.assertEqual(await answer, 1)

    async def test_a_forgotten_node_is_left_alone(self) -> None:
        """The connection is closed, who waits is told, and nobody dials."""
        one, two = await self.pair()
        never: Deferred[object] = Deferred()

        async def hang(_: Inbound) -> object:
            """Never answer."""
            return await never

        two.peers.handle("hang", hang)
        waiting = ask(one, two, 0, "hang")
        await self.until(lambda: two.frames_in(Lane.READS) > 0)
        one.peers.forget(two.node_id)
        await self.assertFailure(waiting, OutcomeUnknownError)
        await self.assertFailure(ask(one, two, 0), UnavailableError)
        await self.until(lambda: two.events[-1][0] == "down")
        never.callback(None)

    async def test_a_cut_connection_is_told_apart_by_what_was_sent(self) -> None:
        """What went out whole is of unknown outcome, what did not is not done."""
        one, two = await self.pair()
        two.peers.handle("hang", lambda _: Deferred())
        sent = ask(one, two, 0, "hang")
        await self.until(lambda: two.frames_in(Lane.READS) > 0)
        large = ask(one, two, b"x" * (40 << 20), "hang")
        link = one.peers._peers[two.node_id].link
        assert link is not None
        await self.until(lambda: two.frames_in(Lane.READS) > 3)
        link.transport.abortConnection()  # type: ignore[union-attr]
        await self.assertFailure(sent, OutcomeUnknownError)
        await self.assertFailure(large, UnavailableError)
        await self.until(lambda: one.is_up(two) and two.is_up(one))
        self.assertEqual(await ask(one, two, 1), 1)

    async def test_stop_leaves_nothing_and_tells_who_waits(self) -> None:
        """Requests, exchanges and dials under way end."""
        one, two = await self.pair()
        silent = await self.listener(Protocol)
        two.peers.handle("hang", lambda _: Deferred())
        waiting = ask(one, two, 0, "hang")
        asking = Deferred.fromCoroutine(one.peers.exchange(silent, b"x", 5))
        one.peers.know(Node(self.reactor, 9).node_id, silent, 1)
        await self.until(lambda: two.frames_in(Lane.READS) > 0)
        ended = [
            self.assertFailure(waiting, OutcomeUnknownError),
            self.assertFailure(asking, UnavailableError),
        ]
        await one.stop()
        for end in ended:
            await end
        await self.assertFailure(ask(one, two, 0), UnavailableError)
        closed = Deferred.fromCoroutine(one.peers.exchange(silent, b"x", 5))
        await self.assertFailure(closed, UnavailableError)


class PressureTests(PeerCase):
    """Peers that do not read as fast as others write."""

    async def test_what_waits_for_a_peer_is_bounded(self) -> None:
        """Old notices yield, requests are refused; once it reads, all goes on."""
        one, two = await self.pair()
        there = two.peers._peers[one.node_id].link
        assert there is not None
        there.transport.pauseProducing()  # type: ignore[union-attr]
        for number in range(100):
            body = [number, bytes(1 << 20)]
            one.peers.send(two.node_id, "note", body, lane=Lane.RECOVERY)
        self.assertTrue(30 <= one.dropped("overloaded") <= 40)
        outbox = one.peers._peers[two.node_id].outbox
        self.assertLessEqual(outbox.size, QUEUE_BYTES_MAX)
        requests = [ask(one, two, bytes(1 << 20)) for _ in range(70)]
        refused = [r for r in requests if r.called]
        for request in refused:
            await self.assertFailure(request, OverloadedError)
        self.assertTrue(0 < len(refused) < 15)
        there.transport.resumeProducing()  # type: ignore[union-attr]
        await gatherResults([r for r in requests if r not in refused])
        self.assertEqual(await ask(one, two, 1), 1)
        self.assertEqual(outbox.size, 0)

    async def test_a_peer_that_does_not_take_its_replies_is_held(self) -> None:
        """It is not read for a while, then refused; once it reads it is served."""
        self.patch(connection, "HOLD_S", 0.05)
        one, two = await self.pair()
        here = one.peers._peers[two.node_id].link
        there = two.peers._peers[one.node_id].link
        assert here is not None
        assert there is not None
        value = bytes(10 << 20)

        async def large(_: Inbound) -> object:
            """Answer with much."""
            return value

        two.peers.handle("large", large)
        here.transport.pauseProducing()  # type: ignore[union-attr]
        requests = [ask(one, two, 0, "large") for _ in range(4)]
        await self.until(lambda: there.flow is connection.Flow.HELD)
        await self.until(lambda: there.flow is connection.Flow.SHEDDING)
        late = ask(one, two, 1)
        await self.until(lambda: two.frames_in(Lane.READS) == 5)
        here.transport.resumeProducing()  # type: ignore[union-attr]
        await self.assertFailure(late, OverloadedError)
        self.assertEqual(await gatherResults(requests), [value] * 4)
        self.assertIs(there.flow, connection.Flow.FLOWING)
        self.assertEqual(await ask(one, two, 1), 1)

    async def test_two_that_flood_each_other_do_not_stand_still(self) -> None:
        """Large requests and large answers both ways at once all come to an end."""
        self.patch(connection, "HOLD_S", 0.05)
        one, two = await self.pair()
        value = bytes(4 << 20)
        flood = [
            ask(*way, value, timeout_s=20) for way in ((one, two), (two, one)) * 12
        ]
        answers = await DeferredList(flood, consumeErrors=True)
        for answered, result in answers:
            if not answered:
                self.assertIsInstance(result.value, OverloadedError)
        self.assertEqual(await ask(one, two, 1), 1)
        self.assertEqual(await ask(two, one, 1), 1)

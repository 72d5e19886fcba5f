"""Tests for `torua.net.handlers`: what came of a request is what its sender hears."""

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.net.test_connection import link_of
from tests.net.wires import Town
from torua.codec.envelopes import Failure, Request, read_envelope
from torua.codec.frames import Lane
from torua.codec.rope import Bytes
from torua.errors import OutcomeUnknownError, OverloadedError
from torua.net.connection import Connection
from torua.net.handlers import Handlers


class CrowdedTests(SynchronousTestCase):
    """Where no more answers find room."""

    def test_what_was_done_and_cannot_be_told_is_unknown(self) -> None:
        """A write is not called refused; what does nothing is (R12)."""
        town = Town(1, 2)
        town.know(1, 2)
        town.run(0.2)
        link, said = link_of(town, 1, 2), list[Bytes]()

        def answer(_: Connection, lane: Lane, body: Bytes) -> bool:
            """Have room for the last word only.

            Args:
                _: by which it would go.
                lane: of the answer.
                body: what is sent.
            """
            said.append(body)
            return lane is Lane.CONTROL and len(said) % 2 == 0

        handlers = Handlers(town.peers[1].meters, answer, Logger())
        handlers.handle("do", lambda _: "done")
        for lane, error in (
            (Lane.WRITES, OutcomeUnknownError),
            (Lane.CONTROL, OutcomeUnknownError),
            (Lane.READS, OverloadedError),
        ):
            handlers.request(link, Request(7, "do", "", "", None), lane, 9.0)
            told = read_envelope(said[-1])
            assert isinstance(told, Failure)
            self.assertEqual((told.number, told.code), (7, error.code))

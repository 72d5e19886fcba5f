"""What a node takes of a snapshot, and what it refuses."""

from pathlib import Path

import pytest
from google_crc32c import value as crc32c
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from tests.node.lone_node import HandWorker, result
from tests.node.network import Network
from torua.codec.plain import encode, plain
from torua.core.configuration import Allocation
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.replication.messages import SnapshotReady
from torua.errors import ConflictError, CorruptionError, OverloadedError
from torua.node.transfer import IDLE_S, KIND, Begin, Chunk, End, Piece, Transfers
from torua.storage.files import DiskFiles
from torua.storage.rows import digest_of
from torua.storage.shelf import Shelf, SnapshotFacts

HERE, THERE = NodeId("1" * 32), NodeId("2" * 32)
SHARD = ShardId(0)
A, B, C = (AllocId(letter * 32) for letter in "abc")


class Receiver:
    """A node that takes snapshots, and is told pieces by hand.

    Invariants: ``ready`` is what its copies were told.
    """

    def __init__(self, directory: Path) -> None:
        """Begin without a session."""
        self.clock = Clock()
        self.worker = HandWorker()
        self.shelf = Shelf(directory, DiskFiles())
        self.wires = Network(self.clock).join(HERE)
        self.transfers = Transfers(
            self.clock,
            self.shelf,
            self.wires,
            worker=self.worker,
            registry=CollectorRegistry(),
        )
        self.transfers.wanted = lambda begin: True
        self.ready: list[SnapshotReady] = []
        self.transfers.on_ready = lambda shard, alloc, ready: self.ready.append(ready)

    def tell(self, piece: Piece) -> object:
        """Hand it a piece, and return its answer."""
        done = self.wires.take(THERE, KIND, encode(plain(piece)))
        self.work()
        return result(done)

    def work(self) -> None:
        """Let the worker do all there is."""
        while self.worker.step():
            pass


def taken(shelf: Shelf) -> tuple[SnapshotFacts, bytes]:
    """Take a snapshot of an empty copy."""
    view = shelf.open(SHARD, B)
    path = shelf.outgoing(SHARD, B, "1")
    held = view.snapshot(path)
    view.close()
    data = path.read_bytes()
    return SnapshotFacts(0, 0, 0, len(data), digest_of(held)), data


def piece(data: bytes, offset: int = 0, nonce: int = 1) -> Chunk:
    """Make a piece.

    Args:
        data: in it.
        offset: where it stands.
        nonce: of the session.
    """
    return Chunk(A, nonce, offset, crc32c(data), data)


def test_as_many_come_in_at_once_as_are_configured(tmp_path: Path) -> None:
    """What is under way goes on; more are told to come again."""
    receiver = Receiver(tmp_path)
    facts, _ = taken(receiver.shelf)
    receiver.transfers.use(Allocation(recoveries_per_node=1))
    assert receiver.tell(Begin(SHARD, A, 3, 1, facts)) == 0
    with pytest.raises(OverloadedError):
        receiver.tell(Begin(SHARD, C, 3, 1, facts))
    receiver.transfers.use(Allocation(recoveries_per_node=2))
    assert receiver.tell(Begin(SHARD, C, 3, 1, facts)) == 0


def test_pieces_are_taken_once_and_in_order(tmp_path: Path) -> None:
    """The answer tells where to go on, whatever was lost or doubled."""
    receiver = Receiver(tmp_path)
    facts, data = taken(receiver.shelf)
    begin = Begin(SHARD, A, 3, 1, facts)
    half = len(data) // 2
    assert receiver.tell(begin) == 0
    assert receiver.tell(piece(data[:half])) == half
    assert receiver.tell(piece(data[:half])) == half
    assert receiver.tell(begin) == half
    with pytest.raises(ConflictError):
        receiver.tell(End(A, 1))
    assert receiver.tell(piece(data[half:], half)) == len(data)
    assert receiver.tell(End(A, 1)) == len(data)
    assert receiver.ready == [SnapshotReady(3, 1, 0, 0, 0)]
    with pytest.raises(ConflictError):
        receiver.tell(End(A, 1))


def test_a_piece_that_is_not_what_was_sent_is_asked_for_again(tmp_path: Path) -> None:
    """Nothing of it is kept."""
    receiver = Receiver(tmp_path)
    facts, data = taken(receiver.shelf)
    receiver.tell(Begin(SHARD, A, 3, 1, facts))
    with pytest.raises(OverloadedError):
        receiver.tell(Chunk(A, 1, 0, 1, data))
    assert receiver.tell(piece(data)) == len(data)


def test_a_whole_that_is_not_what_was_announced_is_removed(tmp_path: Path) -> None:
    """The copy hears nothing of it."""
    receiver = Receiver(tmp_path)
    facts, data = taken(receiver.shelf)
    receiver.tell(Begin(SHARD, A, 3, 1, replace(facts, digest=b"x" * 16)))
    receiver.tell(piece(data))
    with pytest.raises(CorruptionError):
        receiver.tell(End(A, 1))
    receiver.work()
    assert receiver.ready == []
    assert not list((tmp_path / "0").glob(f"{A}*"))


def test_another_session_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Pieces of the first are refused from then on."""
    receiver = Receiver(tmp_path)
    facts, data = taken(receiver.shelf)
    receiver.tell(Begin(SHARD, A, 3, 1, facts))
    receiver.tell(Begin(SHARD, A, 4, 2, facts))
    with pytest.raises(ConflictError):
        receiver.tell(piece(data))
    assert receiver.tell(piece(data, nonce=2)) == len(data)


def test_two_come_in_at_a_time_and_none_stays_for_ever(tmp_path: Path) -> None:
    """Nor does one come that no copy here waits for."""
    receiver = Receiver(tmp_path)
    facts, _ = taken(receiver.shelf)
    for alloc in (A, B):
        receiver.tell(Begin(SHARD, alloc, 3, 1, facts))
    with pytest.raises(OverloadedError):
        receiver.tell(Begin(SHARD, C, 3, 1, facts))
    receiver.clock.advance(IDLE_S + 1)
    receiver.work()
    assert not list((tmp_path / "0").glob("*.part"))
    assert receiver.tell(Begin(SHARD, C, 3, 1, facts)) == 0
    receiver.transfers.wanted = lambda begin: False
    with pytest.raises(ConflictError):
        receiver.tell(Begin(SHARD, A, 3, 1, facts))
    receiver.transfers.stop()
    assert receiver.clock.getDelayedCalls() == []

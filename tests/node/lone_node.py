"""A node's copies over real files, with threads and a coordinator played by hand."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.node.network import Network
from torua.core.allocation import Command, execute
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.kv import Call, IdempotencyKey, Operation, Outcome
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    NodeEntry,
    Primary,
    Shard,
    SlotRange,
)
from torua.errors import UnavailableError
from torua.net.steps import Steps
from torua.node.commit import GroupCommit
from torua.node.shards import Shards
from torua.storage.files import DiskFiles, Files
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.shelf import Shelf

T = TypeVar("T")

ME = NodeId("1" * 32)
SHARD = ShardId(0)
ALLOC = AllocId("a" * 32)
CALL = Call("test")


class Readers:
    """Graph engines that read the maps that are open.

    Invariants: a map can be read while it is among those shown.
    """

    def __init__(self) -> None:
        """Begin with nothing shown."""
        self.shown: dict[AllocId, Map] = {}
        self.history: list[tuple[str, AllocId]] = []

    def opened(self, shard: ShardId, alloc: AllocId, view: Map) -> None:
        """Read it, and remember it.

        Args:
            shard: of which shard.
            alloc: which copy.
            view: its map.
        """
        view.get(b"-")
        assert alloc not in self.shown
        self.shown[alloc] = view
        self.history.append(("opened", alloc))

    async def closed(self, alloc: AllocId) -> None:
        """Read it a last time, and forget it."""
        view = self.shown.pop(alloc, None)
        if view is not None:
            view.get(b"-")
            self.history.append(("closed", alloc))


class HandWorker:
    """A worker whose jobs are done when the test says so.

    Invariants: jobs are done in order, each once.
    """

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self.jobs: deque[Callable[[], None]] = deque()

    def run(self, job: Callable[[], T]) -> "Deferred[T]":
        """Take a job.

        It is done in `step`, and its end fires the result there.
        """
        done: Deferred[T] = Deferred()

        def do() -> None:
            """Do it, and tell."""
            try:
                result = job()
            except Exception:
                done.errback(Failure())
            else:
                done.callback(result)

        self.jobs.append(do)
        return done

    def step(self) -> bool:
        """Do the next job; False where there is none."""
        if not self.jobs:
            return False
        self.jobs.popleft()()
        return True


class OneCoordinator:
    """A coordinator that commits at once, while it is reachable.

    Invariants: every subscriber has seen ``state``.
    """

    def __init__(self, state: ClusterState) -> None:
        """Begin with a committed state."""
        self.state = state
        self.reachable = True
        self.commands: list[Command] = []
        self._callbacks: list[Callable[[ClusterState], None]] = []

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back from now on."""
        self._callbacks.append(callback)

    def unsubscribe(self, shards: Shards) -> None:
        """Call a dead node back no more."""
        self._callbacks = [
            each
            for each in self._callbacks
            if getattr(each, "__self__", None) is not shards
        ]

    def commit(self, state: ClusterState) -> None:
        """Make a state the committed one."""
        self.state = state
        for callback in self._callbacks:
            callback(state)

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Execute a command.

        Args:
            command: what to change.
            timeout_s: ignored.
        """
        self.commands.append(command)
        if not self.reachable:
            raise UnavailableError("no coordinator")
        self.commit(execute(self.state, command))


def state_of(
    is_: CopyState = CopyState.INIT, term: int = 1, boot_epoch: int = 1
) -> ClusterState:
    """Make a state in which this node has the only copy of the only shard.

    Args:
        is_: what the copy is.
        term: the primary's.
        boot_epoch: the life of this node that is primary.
    """
    copy = Copy(ALLOC, ME, is_)
    in_sync = (ALLOC,) if is_ is CopyState.STARTED else ()
    primary = Primary(ALLOC, ME, boot_epoch)
    version = 10 * term + len(in_sync)
    shard = Shard(SHARD, version, term, primary, in_sync, (copy,), "h", 1, 1)
    return ClusterState(
        cluster_uuid="u",
        nodes={ME: NodeEntry(ME, "one", boot_epoch, Address("127.0.0.1", 1), "")},
        shards={SHARD: shard},
        slots=(SlotRange(0, 4095, SHARD),),
        routing_version=1,
    )


class Among(NamedTuple):
    """One of several nodes, and what they share."""

    node: NodeId
    clock: Clock
    coordinator: OneCoordinator
    network: Network


class LoneNode:
    """One life of a node with its copies.

    Invariants: nothing happens on its own; `settle` lets everything happen.
    """

    def __init__(
        self,
        data_dir: Path,
        state: ClusterState,
        boot_epoch: int = 1,
        files: Files | None = None,
        among: "Among | None" = None,
    ) -> None:
        """Start over what is in a data dir.

        Args:
            data_dir: what it keeps.
            state: the committed state that it knows.
            boot_epoch: which life this is.
            files: the file layer of the log.
            among: other nodes; None for none.
        """
        if among is None:
            clock = Clock()
            among = Among(ME, clock, OneCoordinator(state), Network(clock))
        self.clock, self.network = among.clock, among.network
        self.registry = CollectorRegistry()
        self.coordinator = among.coordinator
        self.log_worker, self.worker = HandWorker(), HandWorker()
        self.writer = HandWorker()
        self.readers = Readers()
        self.fatal: list[str] = []
        self.syncs: list[float] = []
        self.wall_ns = 1_000_000_000_000
        self.log = Log.open(data_dir / "log", files or DiskFiles())
        self.commit = GroupCommit(
            self.clock,
            self.log,
            self.log_worker,
            self.fatal.append,
            self.registry,
            on_sync=self.syncs.append,
        )
        self.shards = Shards(
            self.clock,
            (among.node, boot_epoch),
            Shelf(data_dir / "shards", DiskFiles()),
            self.commit,
            self.coordinator,
            peers=self.network.join(among.node),
            random=Random(boot_epoch),
            worker=self.worker,
            wall_ns=self.now_ns,
            registry=self.registry,
            steps=Steps(self.clock),
            writer=self.writer,
            graphs=self.readers,
        )

    def now_ns(self) -> int:
        """Tell the wall clock."""
        return self.wall_ns + int(self.clock.seconds() * 1e9)

    def settle(self) -> "LoneNode":
        """Let all jobs be done, and all that they lead to."""
        self.clock.advance(0)
        while self.log_worker.step() or self.worker.step() or self.writer.step():
            self.clock.advance(0)
        return self

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, with all that it leads to."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()

    def begin(
        self,
        *operations: Operation,
        key: str | None = None,
        timeout_s: float = 30.0,
        body: bytes = b"",
    ) -> "Deferred[tuple[Outcome, ...]]":
        """Begin a write.

        Args:
            operations: what to do.
            key: an idempotency key.
            timeout_s: how long to wait.
            body: what stands for the request's fingerprint.
        """
        promise = None if key is None else IdempotencyKey(key, body)
        call = Call("test", timeout_s, promise)
        return Deferred.fromCoroutine(self.shards.write(SHARD, operations, call))

    def write(self, *operations: Operation, key: str | None = None) -> list[Outcome]:
        """Do a write, to its end.

        Args:
            operations: what to do.
            key: an idempotency key.
        """
        done = self.begin(*operations, key=key)
        self.settle()
        outcomes = result(done)
        return list(outcomes)

    @property
    def needed(self) -> int:
        """The first record of the log that the map may still need."""
        return self.log._copies[ALLOC].needed

    def get(self, key: bytes) -> bytes | None:
        """Read a value."""
        done = Deferred.fromCoroutine(self.shards.get(SHARD, key, CALL))
        entry = result(done)
        return None if entry is None else entry.value

    def close(self) -> None:
        """Let go of all files, without a farewell."""
        self.log.close()


def result(done: "Deferred[T]") -> T:
    """Return what a Deferred came to, or raise it; it must have come to its end."""
    found: list[T | Failure] = []
    done.addBoth(found.append)
    assert found, "not done"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]

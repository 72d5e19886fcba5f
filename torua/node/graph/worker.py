"""One query worker: a process that does one job at a time, seen from the node.

STARTING ──ready──► IDLE ──do──► BUSY ──answer──► IDLE
└───────────────┴────────────┴── kill, crash, end ──► ENDED
"""

import os
import sys
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import torua
from torua.codec.jobs import Report, read_answer, spell_job
from torua.codec.messages import MessageReader
from torua.core.graph.jobs import Finished, Job
from torua.errors import ProtocolError, ToruaError, UnavailableError

MODULE = "torua.storage.query_worker"

OUT_OF_MEMORY = 77
"""The worker's exit code when it could not even answer."""

_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Other ways to get memory reserve gigabytes of addresses, which are limited."""

_CHUNK_BYTES = 1 << 20
_SAID_BYTES_MAX = 4096
"""The end of what a worker printed is kept for the log."""


class WorkerState(Enum):
    """Where a worker is in its life; see the module."""

    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    ENDING = auto()
    ENDED = auto()


class EndedError(Exception):
    """A worker ended.

    Invariants: `reason` is why we killed it, else None.
    """

    def __init__(
        self, reason: ToruaError | None, signal: int | None, code: int | None, said: str
    ) -> None:
        """Say how it ended.

        Args:
            reason: why we killed it; None where we did not.
            signal: that ended it.
            code: its exit code, if no signal did.
            said: the end of what it printed.
        """
        super().__init__(f"signal {signal}, code {code}: {said}")
        self.reason = reason
        self.signal = signal
        self.code = code
        self.said = said

    @property
    def crashed(self) -> bool:
        """Whether it is to blame itself: no SIGKILL from outside, and no wish of ours.

        It may also have been told to end, or found that its parent has.
        """
        wished = self.reason is not None or not (self.signal or self.code)
        return not wished and self.signal != SIGKILL

    @property
    def by_memory(self) -> bool:
        """Whether it had no memory left, and could not say so."""
        return self.code == OUT_OF_MEMORY or "bad_alloc" in self.said


class _Sending:
    """Writes the pieces of a message as fast as the process takes them.

    Invariants: no more than one chunk is copied at a time; small pieces share one, for
    each chunk wakes both processes.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        """Hold what is to be sent."""
        self._pieces = [memoryview(piece) for piece in pieces if piece]
        self._pieces.reverse()

    def next(self) -> bytes | None:
        """Return the next chunk; None after the last."""
        chunk: list[memoryview] = []
        left = _CHUNK_BYTES
        while self._pieces and left:
            piece = self._pieces.pop()
            if len(piece) > left:
                self._pieces.append(piece[left:])
            chunk.append(piece[:left])
            left -= len(chunk[-1])
        return b"".join(chunk) if chunk else None


class Worker(ProcessProtocol):
    """One process, from now until it ends.

    Invariants: `_answer` is there while BUSY, and only then; an ended worker is not
    started again.
    """

    transport: Any

    def __init__(self, changed: Callable[["Worker"], None]) -> None:
        """Prepare; `start` begins.

        Args:
            changed: called when it became IDLE or ENDED, after all else is done.
        """
        self.state = WorkerState.STARTING
        self.jobs = 0
        self.report = Report(rss=0)
        self._changed = changed
        self._reader = MessageReader()
        self._answer: Deferred[Finished | ToruaError] | None = None
        self._reason: ToruaError | None = None
        self._sending: _Sending | None = None
        self._said = b""
        self.ended: EndedError | None = None
        self.ready = False

    def start(
        self, reactor: IReactorProcess, allowance: Mapping[str, int | str]
    ) -> None:
        """Start the process.

        Args:
            reactor: starts it.
            allowance: engine and memory, as `torua.storage.query_worker` wants them.
        """
        argument = msgspec.json.encode({**allowance, "parent": os.getpid()}).decode()
        home = str(Path(torua.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
        env = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": path}
        arguments = [sys.executable, "-m", MODULE, argument]
        reactor.spawnProcess(self, sys.executable, arguments, env=env)

    @property
    def pid(self) -> int | None:
        """The process's id, while there is one."""
        transport: IProcessTransport | None = self.transport
        found: int | None = None if transport is None else transport.pid
        return found

    def do(self, job: Job, timeout_s: float) -> "Deferred[Finished | ToruaError]":
        """Do one job.

        Args:
            job: what to do.
            timeout_s: how long the engine may take.

        Returns:
            Its outcome, or a failure with `EndedError`.
        """
        assert self.state is WorkerState.IDLE, "one job at a time"
        self.state = WorkerState.BUSY
        self._answer = Deferred()
        self._sending = _Sending(spell_job(job, timeout_s))
        answer = self._answer
        self.transport.registerProducer(self, False)
        return answer

    def kill(self, reason: ToruaError | None = None) -> None:
        """End it now; what it does is lost.

        Args:
            reason: what whoever waits for its answer is told; None: nobody waits.
        """
        if self.state is WorkerState.ENDED or self._reason is not None:
            return
        self._reason = reason or UnavailableError("nobody waits for it")
        if self.pid is not None:
            self.transport.signalProcess("KILL")

    def retire(self) -> None:
        """Let it end by itself, for it does nothing now."""
        assert self.state is WorkerState.IDLE, "a busy one is killed"
        self.state = WorkerState.ENDING
        self.transport.closeStdin()

    def resumeProducing(self) -> None:
        """Write the next chunk of a job."""
        chunk = None if self._sending is None else self._sending.next()
        if chunk is None:
            self._sending = None
            self.transport.unregisterProducer()
        else:
            self.transport.write(chunk)

    def stopProducing(self) -> None:
        """Send no more: the process is gone."""
        self._sending = None

    def outReceived(self, data: bytes) -> None:
        """Take bytes of an answer."""
        try:
            for header, blobs in self._reader.feed(data):
                self._received(header, blobs)
        except ProtocolError as error:
            self.kill(error)

    def errReceived(self, data: bytes) -> None:
        """Keep the end of what is printed."""
        self._said = (self._said + data)[-_SAID_BYTES_MAX:]

    def processEnded(self, reason: Failure) -> None:
        """Tell whoever waits that there will be no answer."""
        signal = code = None
        if isinstance(reason.value, ProcessTerminated):
            signal, code = reason.value.signal, reason.value.exitCode
        said = self._said.decode(errors="replace").strip()
        self.ended = EndedError(self._reason, signal, code, said)
        self.state = WorkerState.ENDED
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.errback(Failure(self.ended))
        self._changed(self)

    def _received(self, header: object, blobs: list[bytes]) -> None:
        """Take a whole message."""
        if self.state is WorkerState.STARTING:
            self.state, self.ready = WorkerState.IDLE, True
        else:
            outcome, self.report = read_answer(header, blobs)
            answer, self._answer = self._answer, None
            if answer is None:
                raise ProtocolError("an answer that nobody waits for")
            self.jobs += 1
            last = self.report.last
            self.state = WorkerState.ENDING if last else WorkerState.IDLE
            answer.callback(outcome)
        self._changed(self)

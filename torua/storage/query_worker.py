"""The process in which users' statements are run: jobs in, answers out.

It is started by a node with its limits as one argument, reads jobs from its standard
input (`torua.codec.jobs`), and writes answers to its standard output.  It says once
that it is ready.  It ends with its input, with its parent, and whenever an answer
says that it can't be trusted with more.

Memory is limited from within by RLIMIT_AS, for the engine counts what it keeps but not
what it makes lists of.  The addresses that the engine reserves are known, and come on
top; what it reserves it fills only up to its pool.  So the most that the process can
have is what it had at first, its pool, and the rest of what it was given.
"""

import ctypes
import fcntl
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from torua.codec.jobs import Report, read_job, spell_failed, spell_finished
from torua.codec.messages import MessageReader, spell_message
from torua.errors import ToruaError
from torua.storage.kuzu import POOL_BYTES_MIN, Limits
from torua.storage.queries import Queries

_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_DB_BYTES = 1 << 33
"""Addresses for a database in memory: far more than any pool."""

_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031

_NICENESS = 5
"""The node's own work comes first; but a statement waits for a worker that starts."""

OUT_OF_MEMORY = 77
"""The process ends so where it could not even answer."""


class Allowance(Struct, frozen=True):
    """What a worker may have, as its argument says.

    Attributes:
        engine: the package of the graph engine.
        memory_bytes: for pages, and for everything else: half each.
        parent: the process that started it.
    """

    engine: str
    memory_bytes: int
    parent: int

    @property
    def pool_bytes(self) -> int:
        """How much of it is the engine's for pages."""
        return max(POOL_BYTES_MIN, self.memory_bytes // 2)


class Pipe:
    """Messages over two files.

    Invariants: one message is there at a time, for the next is sent once this one is
    answered.
    """

    def __init__(self, source: int, sink: BinaryIO) -> None:
        """Read from a file, and write to another.

        Args:
            source: to read from.
            sink: to write to.
        """
        self._source = source
        self._sink = sink
        self._reader = MessageReader()

    def read(self) -> tuple[object, list[bytes]] | None:
        """Wait for a message; None at the end of the file."""
        while True:
            data = os.read(self._source, _PIPE_BYTES)
            if not data:
                return None
            for message in self._reader.feed(data):
                return message

    def write(self, pieces: list[bytes]) -> None:
        """Write one message.

        Args:
            pieces: of it, in order.
        """
        for piece in pieces:
            self._sink.write(piece)
        self._sink.flush()


def main() -> None:
    """Serve one node until it ends.

    The argument is an `Allowance` as JSON.
    """
    allowance = msgspec.json.decode(sys.argv[1], type=Allowance)
    _die_with(allowance.parent)
    pipe = _pipe()
    queries = Queries(
        allowance.engine, Limits(allowance.pool_bytes, _DB_BYTES, threads=2)
    )
    os.nice(_NICENESS)
    _bound(allowance)
    # Answers are millions of objects without cycles; looking for cycles takes half of
    # the time that they take.
    gc.collect()
    gc.freeze()
    gc.disable()
    pipe.write(spell_message({"ready": os.getpid()}))
    try:
        while not queries.broken and _one(pipe, queries):
            queries.settle()
            gc.collect()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    # The engine is not closed: it may be in any state, and closing it can hang.
    os._exit(0)


def _one(pipe: Pipe, queries: Queries) -> bool:
    """Do one job; return whether there was one."""
    message = pipe.read()
    if message is None:
        return False
    try:
        finished = queries.run(*read_job(*message))
        pieces = spell_finished(finished, _report(queries))
    except ToruaError as error:
        pieces = spell_failed(error, _report(queries))
    pipe.write(pieces)
    return True


def _report(queries: Queries) -> Report:
    """Say how the worker is."""
    return Report(rss=_statm(1), last=queries.broken)


def _pipe() -> Pipe:
    """Take the standard files for messages; what libraries print goes to errors."""
    for end in (0, 1):
        with suppress(OSError):
            fcntl.fcntl(end, _F_SETPIPE_SZ, _PIPE_BYTES)
    pipe = Pipe(os.dup(0), os.fdopen(os.dup(1), "wb"))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return pipe


def _die_with(parent: int) -> None:
    """End when the node ends, even amid a statement."""
    libc: Any = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        sys.exit(0)


def _bound(allowance: Allowance) -> None:
    """Limit the addresses that can be had from now on."""
    rest = allowance.memory_bytes - allowance.memory_bytes // 2
    limit = _statm(0) + rest
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _statm(field: int) -> int:
    """Return how many bytes of addresses (0) or memory (1) there are."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[field]) * _PAGE_BYTES


if __name__ == "__main__":
    main()

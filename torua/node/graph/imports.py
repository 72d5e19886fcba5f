"""Imports files into tables, in bounded memory.

Bytes come in as fast as they are worked on: a worker's thread reads rows and spells
them, section after section; a few sections are written at a time
(`torua.node.graph.batches`), each in batches, one shard each.  When something is wrong,
no further section is begun, those that are under way come to their ends, and the report
names what is in.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import structs
from prometheus_client import CollectorRegistry, Counter
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.graph.importing import PARQUET, REPLACE, Report, Wanted
from torua.core.kv import Call
from torua.errors import OverloadedError, ToruaError
from torua.node.dispatch import States
from torua.node.graph.batches import Batches, Schemas, Store
from torua.node.graph.ledger import Ledger
from torua.node.graph.sheet import ParquetSheet, Section, Sheet
from torua.node.tasks import Task, Tasks
from torua.node.threads import Worker
from torua.storage.spool import Spool, clear_spools

IN_FLIGHT = 3
"""So many sections are written while the next is read."""

IMPORTS_MAX = 4
"""Each import at once holds some 50 MB, and all share one thread."""

log = Logger()


class Stream(Protocol):
    """A file that comes piece by piece."""

    async def next(self) -> bytes | None:
        """Return what has come, once something has; None at the end."""


class Imports:
    """Does the imports that this node is asked for.

    Invariants: at most `IMPORTS_MAX` at once, and `IN_FLIGHT` sections of each.

    Threading: the reactor's thread; rows are read on the worker's.
    """

    def __init__(  # noqa: PLR0913
        self,
        schemas: Schemas,
        states: States,
        store: Store,
        tasks: Tasks,
        clock: IReactorTime,
        *,
        worker: Worker,
        spools: Path,
        random: Random,
        fresh_id: Callable[[], str],
        registry: CollectorRegistry,
    ) -> None:
        """Put the parts together, and clear away what an earlier life left.

        Args:
            schemas: the graphs.
            states: the cluster state.
            store: the shards.
            tasks: where progress is told.
            clock: the reactor.
            worker: where rows are read.
            spools: a directory for files that can't be read as they come.
            random: draws pauses.
            fresh_id: makes ids of imports that have none.
            registry: where metrics are.
        """
        self._schemas = schemas
        self._states = states
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._worker = worker
        self._spools = spools
        self._random = random
        self._fresh_id = fresh_id
        self._running = 0
        clear_spools(spools)
        self._rows = Counter(
            "torua_node_import_rows", "Rows imported.", registry=registry
        )

    async def run(self, wanted: Wanted, stream: Stream, call: Call) -> Report:
        """Import one file.

        Args:
            wanted: where, and how it is to be read.
            stream: the file.
            call: who asks; its time is for each request to a shard, not for the whole.

        Returns:
            What became of it, also where it stopped early.

        Raises:
            NotFoundError: there is no such graph or table.
            UnprocessableError: keys and values are not imported.
            OverloadedError: too many imports run.
        """
        if self._running >= IMPORTS_MAX:
            raise OverloadedError(f"{IMPORTS_MAX} imports run on this node already")
        if not wanted.import_id:
            wanted = structs.replace(wanted, import_id=self._fresh_id())
        ledger = Ledger(wanted.max_errors)
        batches = Batches(
            wanted,
            ledger,
            schemas=self._schemas,
            states=self._states,
            store=self._store,
            worker=self._worker,
            clock=self._clock,
            random=self._random,
            call=call,
        )
        total = wanted.bytes_total or None
        task = self._tasks.begin("import", batches.table.name, "bytes", total)
        self._running += 1
        try:
            return await self._run(_Run(wanted, ledger, batches, task, self), stream)
        finally:
            self._running -= 1
            task.end("failed")

    async def _run(self, run: "_Run", stream: Stream) -> Report:
        """Do it, and tell of it."""
        began_s = self._clock.seconds()
        error = await run.all(stream)
        took_s = round(self._clock.seconds() - began_s, 3)
        report = structs.replace(run.report(), seconds=took_s)
        self._rows.inc(report.rows)
        if error is None:
            run.task.end("done")
        else:
            report = structs.replace(report, stopped=error.detail, code=error.code)
            run.task.error(error.detail)
        log.info(
            "import {task} into {table}: {rows} rows in {seconds} s{why}",
            task=report.task,
            table=report.table,
            rows=report.rows,
            seconds=took_s,
            why=f"; stopped: {report.stopped}" if error else "",
        )
        return report

    @property
    def worker(self) -> Worker:
        """Where rows are read."""
        return self._worker

    def spool(self) -> Spool:
        """Begin a temporary file."""
        return Spool(self._spools / self._fresh_id())


class _Run:
    """One import.

    Invariants: sections are begun in order, at most so many at once; none is begun
    after an error.
    """

    def __init__(
        self,
        wanted: Wanted,
        ledger: Ledger,
        batches: Batches,
        task: Task,
        imports: Imports,
    ) -> None:
        """Prepare.

        Args:
            wanted: what is to be done.
            ledger: keeps account.
            batches: writes sections.
            task: tells of the progress.
            imports: has a thread, and room for files.
        """
        self._wanted = wanted
        self._ledger = ledger
        self._batches = batches
        self._imports = imports
        self._in_flight: dict[int, Deferred[None]] = {}
        self._most = 1 if wanted.on_duplicate == REPLACE else IN_FLIGHT
        self._error: ToruaError | None = None
        self._broken: Failure | None = None
        self._freed: Deferred[None] | None = None
        self._bytes = 0
        self.task = task

    async def all(self, stream: Stream) -> ToruaError | None:
        """Import all that comes; return what stopped it, if something did."""
        try:
            if self._wanted.form == PARQUET:
                await self._spooled(stream)
            else:
                await self._streamed(stream)
        except ToruaError as error:
            self._error = self._error or error
        finally:
            await DeferredList(list(self._in_flight.values()))
        if self._broken is not None:
            self._broken.raiseException()
        return self._error

    def report(self) -> Report:
        """Tell what is in."""
        table = self._batches.table.name
        return self._ledger.report(self.task.id, self._wanted.import_id, table)

    async def _streamed(self, stream: Stream) -> None:
        """Read rows as they come."""
        work = self._imports.worker.run
        sheet = Sheet(self._batches.graph, self._batches.table, self._wanted)
        while self._error is None and self._broken is None:
            data = await stream.next()
            if data is None:
                await self._begin_all(await work(sheet.end))
                return
            await self._begin_all(await work(partial(sheet.feed, data)))
            self._bytes += len(data)
            self._tell()

    async def _spooled(self, stream: Stream) -> None:
        """Keep the file first: what it has stands at its end."""
        work = self._imports.worker.run
        spool = self._imports.spool()
        try:
            while (data := await stream.next()) is not None:
                await work(partial(spool.write, data))
                self._bytes += len(data)
                self._tell()
            spool.finish()
            await self._paged(spool.path)
        finally:
            spool.close()

    async def _paged(self, path: Path) -> None:
        """Read a file that is kept, piece by piece."""
        work = self._imports.worker.run
        graph, table = self._batches.graph, self._batches.table
        sheet = await work(lambda: ParquetSheet(path, graph, table, self._wanted))
        try:
            sections: Iterator[Section] = sheet.sections()
            while self._error is None and self._broken is None:
                section = await work(lambda: next(sections, None))
                if section is None:
                    return
                await self._begin_all([section])
        finally:
            sheet.close()

    async def _begin_all(self, sections: list[Section]) -> None:
        """Begin to write sections, as there is room."""
        for section in sections:
            while len(self._in_flight) >= self._most:
                self._freed = Deferred()
                await self._freed
            if self._error is not None or self._broken is not None:
                return
            self._ledger.begin(section.first, section.last)
            writing = Deferred.fromCoroutine(self._write(section))
            writing.addErrback(self._break)
            if not writing.called:
                self._in_flight[section.first] = writing

    async def _write(self, section: Section) -> None:
        """Write one; what is wrong stops the import."""
        try:
            await self._batches.write(section)
        except ToruaError as error:
            self._error = self._error or error
        finally:
            self._in_flight.pop(section.first, None)
            self._tell()
            freed, self._freed = self._freed, None
            if freed is not None:
                freed.callback(None)

    def _break(self, failure: Failure) -> None:
        """Keep a mistake of ours for whoever asked."""
        self._broken = failure

    def _tell(self) -> None:
        """Tell of the progress."""
        ledger = self._ledger
        self.task.progress(
            self._bytes,
            rows=ledger.rows,
            unchanged=ledger.unchanged,
            skipped=ledger.skipped,
            errors=len(ledger.errors),
            complete=ledger.complete,
        )

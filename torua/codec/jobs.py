"""Jobs and their answers as messages between a node and its query workers."""

from msgspec import Struct

from torua.codec.messages import spell_message
from torua.codec.plain import plain, shape
from torua.core.graph.jobs import Finished, Job
from torua.errors import ProtocolError, ToruaError, from_wire


def spell_job(job: Job, timeout_s: float) -> list[bytes]:
    """Spell a job, as pieces to be sent one after the other.

    Args:
        job: what to do; its parts are not copied.
        timeout_s: how long it may take.
    """
    blobs = [part for each in job.tables for part in each.parts]
    counts = [len(each.parts) for each in job.tables]
    header = plain(job)
    assert isinstance(header, dict), "a struct is a map"
    for table in header["tables"]:
        table["parts"] = []
    header["partials"] = []
    header = {"job": header, "counts": counts, "timeout_s": timeout_s}
    return spell_message(header, [*blobs, *job.partials])


def read_job(header: object, blobs: list[bytes]) -> tuple[Job, float]:
    """Read a job, and how long it may take.

    Args:
        header: of the message.
        blobs: of the message.

    Raises:
        ProtocolError: it is no job.
    """
    match header:
        case {"job": dict(job), "counts": [*counts], "timeout_s": float(timeout_s)}:
            left = iter(blobs)
            for table, count in zip(job["tables"], counts, strict=True):
                table["parts"] = [next(left) for _ in range(count)]
            job["partials"] = list(left)
            return shape(job, Job), timeout_s
    raise ProtocolError("not a job")


class Report(Struct, frozen=True):
    """What a worker says of itself with each answer.

    Attributes:
        rss: its memory, in bytes.
        last: it does no further job, and ends.
    """

    rss: int
    last: bool = False


def spell_finished(finished: Finished, report: Report) -> list[bytes]:
    """Spell what a job came to.

    Args:
        finished: its body is not copied.
        report: of the worker.
    """
    header = plain(finished)
    assert isinstance(header, dict), "a struct is a map"
    header["body"] = b""
    header = {"finished": header, "report": plain(report)}
    return spell_message(header, [finished.body])


def spell_failed(error: ToruaError, report: Report) -> list[bytes]:
    """Spell why a job came to nothing.

    Args:
        error: for whoever asked.
        report: of the worker.
    """
    failed = [error.code, error.detail, error.members]
    return spell_message({"failed": failed, "report": plain(report)})


def read_answer(
    header: object, blobs: list[bytes]
) -> tuple[Finished | ToruaError, Report]:
    """Read a job's outcome, and what the worker says of itself.

    Args:
        header: of the message.
        blobs: of the message.

    Raises:
        ProtocolError: it is none.
    """
    match header, blobs:
        case {"finished": dict(finished), "report": report}, [body]:
            finished["body"] = body
            return shape(finished, Finished), shape(report, Report)
        case {"failed": [str(code), str(detail), dict(members)], "report": report}, []:
            return from_wire(code, detail, members), shape(report, Report)
    raise ProtocolError("not an answer")

"""Jobs and their answers as messages between a node and its query workers."""

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


def spell_finished(finished: Finished, rss: int) -> list[bytes]:
    """Spell what a job came to.

    Args:
        finished: its body is not copied.
        rss: the worker's memory after it, in bytes.
    """
    header = plain(finished)
    assert isinstance(header, dict), "a struct is a map"
    header["body"] = b""
    return spell_message({"finished": header, "rss": rss}, [finished.body])


def spell_failed(error: ToruaError, rss: int) -> list[bytes]:
    """Spell why a job came to nothing.

    Args:
        error: for whoever asked.
        rss: the worker's memory after it, in bytes.
    """
    failed = [error.code, error.detail, error.members]
    return spell_message({"failed": failed, "rss": rss})


def read_answer(
    header: object, blobs: list[bytes]
) -> tuple[Finished | ToruaError, int]:
    """Read a job's outcome, and the worker's memory after it.

    Args:
        header: of the message.
        blobs: of the message.

    Raises:
        ProtocolError: it is none.
    """
    match header, blobs:
        case {"finished": dict(finished), "rss": int(rss)}, [body]:
            finished["body"] = body
            return shape(finished, Finished), rss
        case {"failed": [str(code), str(detail), dict(members)], "rss": int(rss)}, []:
            return from_wire(code, detail, members), rss
    raise ProtocolError("not an answer")

"""Messages of a header and blobs, and jobs spelled so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.jobs import (
    Report,
    read_answer,
    read_job,
    spell_failed,
    spell_finished,
    spell_job,
)
from torua.codec.messages import MessageReader, spell_message
from torua.core.graph.changes import EdgeChange, NodeChange
from torua.core.graph.jobs import Finished, Format, Gathered, Job
from torua.core.graph.schema import MAIN_GRAPH
from torua.errors import OverloadedError, ProtocolError

REPORT = Report(rss=5, last=True)


@given(st.lists(st.lists(st.binary(max_size=20), max_size=3), max_size=4), st.data())
def test_messages_are_found_wherever_they_are_cut(
    messages: list[list[bytes]], data: st.DataObject
) -> None:
    """What is sent is read, in order, byte for byte."""
    sent = b"".join(
        b"".join(spell_message({"n": at}, blobs)) for at, blobs in enumerate(messages)
    )
    reader, found = MessageReader(), []
    while sent:
        size = data.draw(st.integers(1, 30))
        found += reader.feed(sent[:size])
        sent = sent[size:]
    assert found == [({"n": at}, blobs) for at, blobs in enumerate(messages)]


def test_what_is_no_message_is_refused() -> None:
    """A library that prints to the pipe is found out."""
    with pytest.raises(ProtocolError):
        MessageReader().feed(b"Warning: something\n")
    with pytest.raises(ProtocolError):
        read_job({"job": 1}, [])
    with pytest.raises(ProtocolError):
        read_answer({"finished": {}}, [])


def test_jobs_come_back_as_they_went() -> None:
    """Parts of tables and partial answers find their places."""
    job = Job(
        MAIN_GRAPH,
        "RETURN $p",
        {"p": 1 << 100, "b": b"x", "l": [{"a": None}]},
        (Gathered("P", None, (b"1", b"")), Gathered("K", ("P", "P"), (b"2",))),
        partials=(b"3", b"4"),
        format=Format.ARROW,
    )
    ((header, blobs),) = MessageReader().feed(b"".join(spell_job(job, 2.5)))
    assert read_job(header, blobs) == (job, 2.5)
    assert job.size == 4


def test_answers_come_back_as_they_went() -> None:
    """Bodies, changes and errors."""
    changes = (
        NodeChange("P", 1, {"a": [1, {"b": b"c"}]}, 3),
        EdgeChange("K", ("P", "x"), ("P", 1.5), b"id", None, 2),
    )
    finished = Finished(("a",), ("INT64",), b"[[1]]", 1, True, changes)
    ((header, blobs),) = MessageReader().feed(
        b"".join(spell_finished(finished, REPORT))
    )
    assert read_answer(header, blobs) == (finished, REPORT)
    error = OverloadedError("full", retry_after=1)
    ((header, blobs),) = MessageReader().feed(b"".join(spell_failed(error, REPORT)))
    found, report = read_answer(header, blobs)
    assert isinstance(found, OverloadedError)
    assert (found.detail, found.members, report) == ("full", {"retry_after": 1}, REPORT)

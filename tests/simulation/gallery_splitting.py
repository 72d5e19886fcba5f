"""Switches that break a rule of splits: see `test_gallery`."""

from typing import Any

import pytest
from msgspec.structs import replace

from torua.core.splitting import commands, door, moving
from torua.core.splitting.splitter import Splitter


def parent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent serves slots that are being given away, though it told its end."""
    monkeypatch.setattr(door, "closing", lambda state, shard: None)


def done_without_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child asks for its slots before it has all that the parent had."""
    monkeypatch.setattr(Splitter, "_has_all", lambda self, end: True)


def versions_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's log begins where every log begins.

    Args:
        monkeypatch: puts it right again.
    """
    begin = commands._begin

    def low(state: Any, command: Any) -> Any:
        """Begin at the bottom.

        Args:
            state: where.
            command: what was asked for.
        """
        return begin(state, replace(command, base=0))

    monkeypatch.setattr(commands, "_begin", low)
    monkeypatch.setattr(Splitter, "_is_behind", lambda self, end: False)


def stale_routing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked by an old slot table does as asked."""
    monkeypatch.setattr("tests.simulation.cluster_node.is_stale", lambda *_: False)


def answers_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What idempotency keys were answered stays with the parent."""
    whole = moving.piece

    def without(*given: Any) -> Any:
        """Leave them out."""
        told = whole(*given)
        return replace(told, moved=replace(told.moved, answers=()))

    monkeypatch.setattr("tests.simulation.works.piece", without)


def child_shows_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the child is read before it has all that the parent had."""
    monkeypatch.setattr("tests.simulation.cluster_copy.OpenCopy.whole", True)


def end_is_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent's log is said to end where it is committed, not where it ends.

    Args:
        monkeypatch: puts it right again.
    """
    whole = door.end_of_log

    def early(state: Any, asked: Any, primary: Any) -> Any:
        """Leave out what is under way.

        Args:
            state: where.
            asked: about which split.
            primary: the parent's.
        """
        seq = whole(state, asked, primary)
        return seq if seq is None else primary.gcp

    monkeypatch.setattr("tests.simulation.works.end_of_log", early)


def end_told_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent says where its log ends before it refuses anything."""

    def at_once(state: Any, asked: Any, primary: Any) -> Any:
        """Take the child's word for it that the slots are being given away.

        Args:
            state: where.
            asked: about which split.
            primary: the parent's.
        """
        return primary.tip if asked.child in state.splits and primary else None

    monkeypatch.setattr("tests.simulation.works.end_of_log", at_once)

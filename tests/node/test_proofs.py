"""Tests for `torua.node.proofs`: reads share proofs, and never an older one."""

from pathlib import Path

import pytest

from tests.node.lone_node import SHARD
from tests.node.several_nodes import ALLOCS, NODES, Several
from torua.core.replication.barrier import BARRIER_S, HOLD_S
from torua.node.barriers import KIND
from torua.node.copy import OpenCopy


def ask(copy: OpenCopy, told: list[bool]) -> None:
    """Have a copy proven.

    Args:
        copy: which leads.
        told: what is told goes there.
    """
    copy.prove(told.append)


@pytest.fixture(name="several")
def make_several(tmp_path: Path) -> Several:
    """Three nodes; the first leads."""
    several = Several(tmp_path)
    several.settle(2.0)
    several.write(0, b"a")
    return several


def asked(several: Several) -> int:
    """Count the questions that the first node sent to the second, and forget them."""
    sent = several.network.sent
    found = [each[:3] for each in sent].count((NODES[0], NODES[1], KIND))
    sent.clear()
    return found


def test_reads_of_one_turn_share_a_question(several: Several) -> None:
    """Ten reads need as many messages as one."""
    copy, told = several.copy(0), list[bool]()
    asked(several)
    for _ in range(10):
        ask(copy, told)
    assert told == []
    several.settle()
    assert told == [True] * 10
    assert asked(several) == 1
    several.close()


def test_a_read_does_not_join_what_was_already_asked(several: Several) -> None:
    """Its value was taken after the nonce was sent: it must have one of its own."""
    copy, early, late = several.copy(0), list[bool](), list[bool]()
    ask(copy, early)
    asked(several)
    several.clock.advance(0)
    assert asked(several) == 1
    several.network.lose = lambda _, body: "barrier_ask" in str(body)
    ask(copy, late)
    several.settle(BARRIER_S * 2)
    assert [early, late] == [[True], [False]]
    several.close()


def test_a_read_does_not_wait_for_a_copy_that_was_dropped(several: Several) -> None:
    """It asks anew, of whoever is left, as soon as the state says so."""
    copy, told = several.copy(0), list[bool]()
    several.network.lose = lambda kind, _: kind == KIND
    ask(copy, told)
    several.settle(HOLD_S * 2)
    assert told == []
    several.change(in_sync=ALLOCS[:1], copies=several.shard.copies[:1])
    several.settle(0.05)
    assert told == [True]
    several.close()


def test_a_copy_that_leads_no_more_proves_nothing(several: Several) -> None:
    """Whoever waits is told so, once; so is whoever comes later."""
    copy, told = several.copy(0), list[bool]()
    ask(copy, told)
    several.promote(1)
    several.settle()
    ask(copy, told)
    assert told[0] is False
    assert told[-1] is False
    assert len(told) == 2
    several.close()


def test_a_deposed_primary_that_cannot_know_proves_nothing(several: Several) -> None:
    """While nobody answers its barriers it says nothing, and then no."""
    copy, told = several.copy(0), list[bool]()
    several.network.lose = lambda kind, _: kind == "barrier"
    ask(copy, told)
    several.settle(HOLD_S * 10)
    assert told == []
    several.settle(4.0)
    assert told == [False]
    assert several.nodes[0].shards.proving(SHARD) is copy
    several.close()


def test_what_is_read_again_comes_from_memory(several: Several) -> None:
    """Until it is written; absent keys too; not where that is switched off."""
    copy, caching = several.copy(0), several.nodes[0].shards._caching
    entries = [copy.peek(key) for key in (b"a", b"none") * 3]
    assert entries[0] is not None
    assert entries[1] is None
    assert (caching.hits, caching.misses) == (4, 2)
    several.write(0, b"a", b"none", value=b"new")
    assert several.get(0, b"a") == several.get(0, b"none") == b"new"
    assert several.get(0, b"a") == b"new"
    caching.use(False, 1 << 20)
    before = caching.hits
    assert several.get(0, b"a") == b"new"
    assert caching.hits == before
    several.close()

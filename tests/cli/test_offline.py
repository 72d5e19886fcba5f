"""What is told of, and done to, the data dir of a node that is stopped."""

import json
from pathlib import Path

import pytest

from tests.cli.fakes import run
from tests.core.allocation.parts import formed, node
from tests.core.coordination.test_lineage import kept
from torua.codec import read, spell
from torua.core.coordination.messages import Facts
from torua.storage.files import DiskFiles
from torua.storage.identity import begin_life, begin_votes
from torua.storage.lock import DataDirLock
from torua.storage.stable import StableStore

NEW = "a" * 32


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Make the data dir of the first of three voters."""
    files = DiskFiles()
    identity = begin_life(tmp_path, files, 5, lambda: node(1), "one")
    begin_votes(tmp_path, files, identity, spell(kept(formed(6, 2, 3))))
    return tmp_path


def facts(data_dir: Path) -> Facts:
    """Return what the node keeps."""
    data = StableStore(data_dir / "votes", DiskFiles()).load()
    assert data is not None
    return read(data, Facts)


def test_inspection_tells_which_state_a_survivor_has(data_dir: Path) -> None:
    """And of each shard what would be left; it changes nothing, and asks nobody."""
    before = (data_dir / "votes").read_bytes()
    said = run(None, "inspect-data", "--data-dir", str(data_dir)).stdout
    assert "version 9 of term 3, not known to be committed" in said
    assert "red: needs force-allocate" in said
    told = run(None, "inspect-data", "--data-dir", str(data_dir), "-o", "json").stdout
    assert {each["copy"] for each in json.loads(told)["shards"]} == {"in sync", "none"}
    assert (data_dir / "votes").read_bytes() == before


def test_a_cluster_is_begun_anew_only_with_the_loss_accepted(data_dir: Path) -> None:
    """Before, it is told what would be lost, and nothing changes."""
    words = ("unsafe-bootstrap", "--data-dir", str(data_dir))
    before = facts(data_dir)
    told = run(None, *words)
    assert (told.exit_code, facts(data_dir)) == (1, before)
    assert "LOST" in told.stdout
    done = run(None, *words, "--accept-data-loss")
    assert done.exit_code == 0
    assert facts(data_dir).accepted.voters == (node(1),)
    assert facts(data_dir).cluster_uuid in done.stdout


def test_a_survivor_is_detached_once(data_dir: Path) -> None:
    """To a cluster whose id is one."""
    words = ("detach", "--data-dir", str(data_dir), "--accept-data-loss", "--cluster")
    assert run(None, *words, "here").exit_code == 2
    assert run(None, *words, NEW).exit_code == 0
    assert facts(data_dir).cluster_uuid == NEW
    again = run(None, *words, NEW)
    assert (again.exit_code, again.stderr.count("already")) == (1, 1)


def test_a_node_that_runs_is_left_alone(data_dir: Path) -> None:
    """Its data dir is locked."""
    lock = DataDirLock(data_dir)
    words = ("unsafe-bootstrap", "--data-dir", str(data_dir), "--accept-data-loss")
    refused = run(None, *words)
    lock.release()
    assert refused.exit_code == 5
    assert "in use" in refused.stderr


def test_what_is_no_data_dir_is_said_in_one_line(tmp_path: Path) -> None:
    """So is one that is damaged."""
    empty = run(None, "inspect-data", "--data-dir", str(tmp_path))
    assert (empty.exit_code, empty.stderr.count("\n")) == (1, 1)
    (tmp_path / "identity").write_bytes(b"garbage")
    damaged = run(None, "inspect-data", "--data-dir", str(tmp_path))
    assert (damaged.exit_code, damaged.stderr.count("\n")) == (5, 1)

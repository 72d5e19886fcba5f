"""Whole clusters under faults, from seeds: no rule is broken, and seeds repeat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import main, run
from tests.simulation.scenarios import SCENARIOS, played

pytestmark = pytest.mark.simulation

ROOT = Path(__file__).parents[2]
SEEDS_EACH = 15
REGRESSIONS = (
    ("bit-flips", 2016340),
    ("chaos", 12),
    ("chaos", 77),
    ("chaos", 101),
    ("chaos", 2006576),
    ("control", 18),
    ("deaf-primary", 0),
    ("deaf-primary", 2),
    ("deaf-primary", 2013311),
    ("disks", 93),
    ("disks", 20278),
    ("failed-cas", 1336),
    ("isolated-primary", 1161),
    ("isolated-primary", 1541),
    ("silent-drop", 1850),
    ("splits-control", 457),
    ("splits-control", 520),
)
"""Seeds that found something once, in the machines, the shell or the rules."""


@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_rule_is_broken(name: str, block: int) -> None:
    """Three seeds of each scenario end with equal copies and true histories."""
    for seed in range(3 * block, 3 * block + 3):
        cluster = played(name, seed)
        assert sum(client.done for client in cluster.clients) > 0
        assert cluster.data.checks > 100


@pytest.mark.parametrize(("name", "seed"), REGRESSIONS)
def test_what_was_found_stays_found(name: str, seed: int) -> None:
    """What broke a rule once breaks none now."""
    played(name, seed)


def test_a_seed_is_the_same_whatever_the_hash_seed() -> None:
    """Equal seeds give equal traces, though sets and dicts are hashed otherwise."""
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "tests.simulation"),
                *("--scenario", "chaos", "--seed", "7"),
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        digests.add(done.stdout.rpartition("trace ")[2])
    assert len(digests) == 1


def test_a_seed_is_told_with_what_plays_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken seed comes with its rule, its trace, and a command."""
    monkeypatch.setattr("tests.simulation.rules.DataRules.everything", _breaks)
    assert main(["--scenario", "calm", "--seed", "3"]) == 1
    said = capsys.readouterr().out
    assert "R0: made up" in said
    assert "--scenario calm --seed 3" in said
    assert "n04 to n02 Publish" in said


def test_calm_clusters_lose_no_request() -> None:
    """Without faults every request is answered, and no shard is lost."""
    cluster = played("calm", 5)
    assert all(client.unknown == client.refused == 0 for client in cluster.clients)
    assert cluster.counts["lost shards"] == 0


def test_few_shards_are_lost_where_disks_are() -> None:
    """Disks are lost only while another copy is whole, so hardly a shard turns red."""
    lost = sum(played("bit-flips", seed).counts["lost shards"] for seed in range(5))
    assert lost <= 1


def test_seeds_are_counted() -> None:
    """A result tells how much happened."""
    result = run(("calm", 1))
    assert result.events > 1000
    assert result.requests > 100
    assert result.seconds > 4.0


def _breaks(self: object) -> None:
    """Break a rule that does not exist."""
    raise AssertionError("R0: made up")

"""Tests for `torua.config`."""

from pathlib import Path

import pytest

from torua.config import OPTIONS, Config, read_config
from torua.core.ids import Address
from torua.core.resilience.policies import Policies
from torua.errors import StartupError


def test_no_option_at_all_is_a_single_node_on_loopback() -> None:
    """The defaults form a cluster of one, in the directory that the contract names."""
    config = read_config({}, {})
    assert config.http == Address("127.0.0.1", 7440)
    assert config.cluster == Address("127.0.0.1", 7441)
    assert config.data_dir == Path("torua-data/node")
    assert config.bootstrap_expect == 1
    assert config.settings.shards == 4
    assert config.replication.replicas == 2
    assert config.replication.min_copies is None


def test_option_goes_before_environment_before_file_before_default(
    tmp_path: Path,
) -> None:
    """What was said nearest to the command line counts."""
    file = tmp_path / "torua.toml"
    file.write_text('name = "file"\nzone = "file"\nshards = 9\njoin = ["a:1", "b:2"]\n')
    given = {"config": str(file), "name": "option"}
    environment = {"TORUA_NAME": "environment", "TORUA_ZONE": "environment"}
    config = read_config(given, environment)
    assert (config.name, config.zone, config.settings.shards) == (
        "option",
        "environment",
        9,
    )
    assert config.join == (Address("a", 1), Address("b", 2))


def test_a_node_that_joins_forms_no_cluster_unless_told() -> None:
    """With seeds and no number, a node waits for a cluster for ever."""
    assert read_config({"join": "a:1"}, {}).bootstrap_expect is None
    given = {"join": "a:1", "bootstrap-expect": "3"}
    assert read_config(given, {}).bootstrap_expect == 3


def test_memory_is_said_in_mebibytes(tmp_path: Path) -> None:
    """By option, environment or file, as everything."""
    file = tmp_path / "torua.toml"
    file.write_text("graph-memory = 512\n")
    given = {"config": str(file), "query-memory": "256"}
    config = read_config(given, {"TORUA_QUERY_BUDGET": "8"})
    bounds = (config.query_memory, config.query_budget, config.graph_memory)
    assert bounds == (256 << 20, 8 << 20, 512 << 20)
    standing = read_config({}, {})
    assert standing.query_memory == 1 << 30
    assert standing.query_budget == 64 << 20


def test_every_fault_is_named_at_once() -> None:
    """One refusal names each wrong value, where it was said and why."""
    with pytest.raises(StartupError) as refusal:
        read_config({"http": "x", "preset": "fast"}, {"TORUA_SHARDS": "0"})
    for part in ("--http 'x'", "--preset 'fast'", "TORUA_SHARDS '0'"):
        assert part in refusal.value.detail


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"replicas": "8"}, "not a whole number from 1 to 7"),
        ({"replicas": "0"}, "not a whole number from 1 to 7"),
        ({"min-copies": "3"}, "more than --replicas 2"),
        ({"replicas": "3", "min-copies": "4"}, "more than --replicas 3"),
        ({"cluster": "0.0.0.0:7441"}, "--advertise"),
        ({"config": "/nowhere/torua.toml"}, "No such file"),
        ({"cluster-secret": "/nowhere/secret"}, "No such file"),
        ({"role": "king"}, "data, voter"),
        ({"without": "luck"}, "retry-budget, breakers, selection"),
        ({"name": "two words"}, "letters"),
        ({"query-memory": "255"}, "not a whole number from 256"),
        ({"query-memory": "1024MiB"}, "not a whole number"),
        ({"query-budget": "0"}, "not a whole number from 1"),
        ({"query-budget": "600"}, "more than half of --query-memory 1024"),
        ({"graph-memory": "128"}, "not a whole number from 256"),
        ({"join": "host"}, "HOST:PORT"),
        ({"http": "host:70000"}, "HOST:PORT"),
    ],
)
def test_what_cannot_hold_is_refused(given: dict[str, str], part: str) -> None:
    """A wrong or contradictory option is one clear line."""
    with pytest.raises(StartupError, match=part):
        read_config(given, {})


def test_a_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """A misspelt key is a fault, not silence."""
    file = tmp_path / "torua.toml"
    file.write_text("shard = 3\n")
    with pytest.raises(StartupError, match="unknown key 'shard'"):
        read_config({"config": str(file)}, {})


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    """A secret that could be guessed protects nothing."""
    file = tmp_path / "secret"
    file.write_text("short\n")
    with pytest.raises(StartupError, match="fewer than 16 bytes"):
        read_config({"cluster-secret": str(file)}, {})
    file.write_text("long enough to be one\n")
    config = read_config({"cluster-secret": str(file)}, {})
    assert config.secret == b"long enough to be one"


def test_advertise_takes_a_host_with_or_without_a_port() -> None:
    """Port 0 stands for the one that gets bound."""
    hosts = {"10.0.0.1": 0, "10.0.0.1:9": 9, "::1": 0, "[::1]:9": 9}
    for text, port in hosts.items():
        assert read_config({"advertise": text}, {}).advertise.port == port


def test_parts_of_the_resilience_can_be_off() -> None:
    """All are on by default; those that are named are not."""
    assert read_config({}, {}).policies == Policies()
    policies = read_config({"without": "breakers, watchdog"}, {}).policies
    assert policies == Policies(breakers=False, watchdog=False)


def test_every_option_has_help_and_every_field_an_option() -> None:
    """The table of options is the whole of the configuration."""
    assert all(option.help for option in OPTIONS)
    assert isinstance(read_config({}, {}), Config)

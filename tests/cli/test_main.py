"""The options that all commands share, and where requests go."""

from errno import ENOSPC
from pathlib import Path
from typing import NoReturn

import pytest

import torua
from tests.cli.fakes import FakeClient, run
from torua.cli import cluster_file
from torua.cli.cluster_file import ClusterFile
from torua.cli.failures import Failure
from torua.cli.http import Client, with_query


def test_version_is_the_package_s() -> None:
    """One number, in one place."""
    assert run(None, "--version").stdout == f"torua, version {torua.__version__}\n"


def test_help_tells_the_exit_codes() -> None:
    """A script's author finds them without the docs."""
    said = run(None, "--help").stdout
    assert "4  outcome unknown" in said


def test_endpoints_of_the_local_cluster_are_the_default(tmp_path: Path) -> None:
    """What ``torua up`` wrote is used where the user says nothing."""
    assert cluster_file.endpoints(None, tmp_path) == ("http://127.0.0.1:7440",)
    content = ClusterFile(endpoints=("http://a:1", "http://b:2"), nodes=(), pid=None)
    cluster_file.write(tmp_path, content)
    assert cluster_file.read(tmp_path) == content
    assert cluster_file.endpoints(None, tmp_path) == ("http://a:1", "http://b:2")


def test_a_full_disk_behind_the_output_is_one_line_and_no_refusal() -> None:
    """Exit code 1 would tell a script that the key does not exist."""

    def no_room(*_: object) -> NoReturn:
        """Fail as a write to a full disk does."""
        raise OSError(ENOSPC, "No space left on device")

    result = run(FakeClient(no_room), "status")
    assert result.exit_code == 5
    assert result.stderr.startswith("torua: input or output failed here: ")
    assert result.stderr.count("\n") == 1


def test_endpoints_may_be_urls_or_addresses(tmp_path: Path) -> None:
    """Several, with commas; a scheme is added where there is none."""
    given = cluster_file.endpoints("a:1, https://b:2/,", tmp_path)
    assert given == ("http://a:1", "https://b:2/")


def test_a_damaged_cluster_file_is_named(tmp_path: Path) -> None:
    """The line says which file to look at."""
    cluster_file.path_in(tmp_path).write_text('{"endpoints": 7}')
    with pytest.raises(Failure, match=r"cluster\.json"):
        cluster_file.endpoints(None, tmp_path)


@pytest.mark.parametrize("wrong", ["ftp://a:1", "http://", "http://a:port", ","])
def test_a_wrong_endpoint_is_a_usage_error(wrong: str) -> None:
    """It is one line, and exit code 2."""
    result = run(None, "--endpoint", wrong, "status")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_nobody_there_is_unavailable() -> None:
    """Each endpoint that was tried is named, and a script may try again."""
    result = run(None, "--endpoint", "127.0.0.1:1,127.0.0.1:2", "kv", "put", "k", "v")
    assert result.exit_code == 3
    assert "127.0.0.1:1 cannot be reached; http://127.0.0.1:2" in result.stderr


def test_a_client_needs_an_endpoint() -> None:
    """None at all is our mistake, not the user's."""
    with pytest.raises(AssertionError):
        Client([])


def test_query_leaves_out_what_is_not_given() -> None:
    """Values are percent-encoded."""
    assert with_query("/kv", prefix="a b&c", after=None) == "/kv?prefix=a%20b%26c"
    assert with_query("/kv", after=None) == "/kv"

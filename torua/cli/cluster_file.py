"""Where a local cluster lies, and the file that tells its endpoints to the commands."""

import os
from pathlib import Path

import msgspec

from torua.cli.failures import ExitCode, Failure

DEFAULT_DIR = Path("torua-data")
DEFAULT_ENDPOINT = "http://127.0.0.1:7440"


class LocalNode(msgspec.Struct, frozen=True):
    """One node of a local cluster; ``pid`` is None while it does not run."""

    name: str
    http: str
    cluster: str
    pid: int | None
    data_dir: str
    log: str


class ClusterFile(msgspec.Struct, frozen=True):
    """What ``torua up`` writes; ``pid`` is the supervisor's, None once it stopped."""

    endpoints: tuple[str, ...]
    nodes: tuple[LocalNode, ...]
    pid: int | None


def path_in(data_dir: Path) -> Path:
    """Return where the file of a local cluster lies."""
    return data_dir / "cluster.json"


def read(data_dir: Path) -> ClusterFile | None:
    """Read the file of a local cluster; None where there is none.

    Raises:
        Failure: it is there and cannot be understood.
    """
    path = path_in(data_dir)
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterFile)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise Failure(f"cannot read {path}: {error}") from None


def write(data_dir: Path, content: ClusterFile) -> None:
    """Replace the file of a local cluster at once, never seen half.

    Args:
        data_dir: an existing directory.
        content: what shall stand in it.
    """
    path = path_in(data_dir)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
    os.replace(fresh, path)


def endpoints(option: str | None, data_dir: Path = DEFAULT_DIR) -> tuple[str, ...]:
    """Return where to send requests to.

    Args:
        option: what the user gave: URLs or ``host:port``, separated by commas.
        data_dir: of the local cluster, asked where the user gave nothing.
    """
    if option:
        given = tuple(_url(each) for each in option.split(",") if each.strip())
        if not given:
            raise Failure("--endpoint names no endpoint", ExitCode.USAGE)
        return given
    local = read(data_dir)
    return (local.endpoints if local else ()) or (DEFAULT_ENDPOINT,)


def _url(text: str) -> str:
    """Complete ``host:port`` to a URL; leave a URL as it is."""
    text = text.strip()
    return text if "://" in text else f"http://{text}"

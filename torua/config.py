"""Everything a node was told, from options, environment and file, checked once, whole.

An option on the command line goes before the environment (``TORUA_<NAME>``), which
goes before the TOML file named by ``--config``, which goes before the default.  No room
below can see this module: the assembly hands each part what it needs.
"""

import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from torua.core.configuration import REPLICAS_MAX, Replication
from torua.core.ids import Address
from torua.core.resilience.policies import NAMES as POLICIES
from torua.core.resilience.policies import Policies
from torua.core.state import SLOTS, Settings
from torua.errors import StartupError

ENGINES = ("ladybug", "kuzu")
ROLES = ("data", "voter")
PRESETS = ("local", "lan", "wan")
LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
SECRET_BYTES_MIN = 16
"""A shorter secret could be guessed by whoever records a datagram."""
FIXED = ("shards", "engine")
"""Fields of `Settings` that are options; the rest is known when a cluster forms."""
WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Config(Struct, frozen=True):
    """What one node was told.  Valid as a whole: `read_config` is the only maker.

    Attributes:
        data_dir: everything the node keeps.
        name: for people, unique in a cluster.
        http: where to serve the HTTP API; port 0 picks a free one.
        cluster: where to gossip (UDP) and to meet peers (TCP).
        advertise: the host, and the port or 0 for the bound one, that peers are told.
        join: gossip seeds.
        bootstrap_expect: how many nodes form a new cluster; None never forms one.
        settings: what is fixed for the cluster when it is formed.
        replication: how often shards are kept when it is formed.
        roles: among ``data`` and ``voter``.
        zone: failure domain, empty where none was given.
        max_shards: how many shard copies it takes; None without a limit.
        secret: the shared cluster secret; None without one.
        cluster_name: label in every datagram and handshake.
        preset: name of the membership timings.
        query_memory: bytes that a query worker may take.
        query_budget: bytes that a statement may gather.
        graph_memory: bytes for pages of all graphs that are open.
        policies: which parts of the resilience are used.
        log_format: ``text`` or ``json``.
        log_level: the least severity that is logged.
    """

    data_dir: Path
    name: str
    http: Address
    cluster: Address
    advertise: Address
    join: tuple[Address, ...]
    bootstrap_expect: int | None
    settings: Settings
    replication: Replication
    roles: tuple[str, ...]
    zone: str
    max_shards: int | None
    secret: bytes | None
    cluster_name: str
    preset: str
    query_memory: int
    query_budget: int
    graph_memory: int
    policies: Policies
    log_format: str
    log_level: str


class Option(Struct, frozen=True):
    """One option: how it is named everywhere, read, and explained.

    Attributes:
        name: as on the command line, without the dashes.
        default: as text; None where there is none.
        read: makes a value of the text; ValueError where it cannot.
        help: one line for ``--help``.
    """

    name: str
    default: str | None
    read: Callable[[str], object]
    help: str

    @property
    def variable(self) -> str:
        """Name the environment variable that sets it."""
        return "TORUA_" + self.name.upper().replace("-", "_")


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        """Read one; ValueError where it is out of bounds."""
        whole = text.isascii() and text.isdigit()
        if not whole or not low <= int(text) <= high:
            raise ValueError(f"not a whole number from {low} to {high}")
        return int(text)

    return read


def _mebibytes(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of bytes, said in MiB from ``low`` to ``high``."""
    whole = _whole(low, high)
    return lambda text: whole(text) << 20


def _choice(*words: str) -> Callable[[str], str]:
    """Make a reader that takes one of ``words``."""

    def read(text: str) -> str:
        """Read one; ValueError where it is another word."""
        if text not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return text

    return read


def _word(text: str) -> str:
    """Read a name: letters, digits, ``_``, ``.`` and ``-``, 1 to 64 of them."""
    if not WORD.fullmatch(text):
        raise ValueError("not 1 to 64 letters, digits, '_', '.' or '-'")
    return text


def _addresses(text: str) -> tuple[Address, ...]:
    """Read addresses with commas between them; none is fine."""
    return tuple(Address.parse(part.strip()) for part in text.split(",") if part)


def _advertise(text: str) -> Address:
    """Read ``HOST`` or ``HOST:PORT``; port 0 stands for the bound one."""
    has_port = "]:" in text or text.count(":") == 1
    return Address.parse(text if has_port else f"{text}:0")


def _roles(text: str) -> tuple[str, ...]:
    """Read roles with commas between them: one or both of ``data`` and ``voter``."""
    roles = tuple(sorted({part.strip() for part in text.split(",")}))
    if not set(roles) <= set(ROLES):
        raise ValueError(f"not of {', '.join(ROLES)}")
    return roles


def _without(text: str) -> Policies:
    """Read what of the resilience is off, with commas between; none is fine."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not set(names) <= set(POLICIES):
        raise ValueError(f"not of {', '.join(POLICIES)}")
    return Policies().without(names)


def _secret(text: str) -> bytes:
    """Read the file of the secret; white space around it does not count."""
    try:
        secret = Path(text).read_bytes().strip()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"holds fewer than {SECRET_BYTES_MIN} bytes")
    return secret


OPTIONS = (
    Option("data-dir", "./torua-data/node", Path, "everything the node keeps"),
    Option("name", None, _word, "human name, unique in the cluster; the host's name"),
    Option("http", "127.0.0.1:7440", Address.parse, "HTTP API; port 0 picks one"),
    Option("cluster", "127.0.0.1:7441", Address.parse, "gossip (UDP), peers (TCP)"),
    Option("advertise", None, _advertise, "HOST[:PORT] that peers are told"),
    Option("join", "", _addresses, "gossip seeds, HOST:PORT with commas between"),
    Option(
        "bootstrap-expect",
        None,
        _whole(1, 1000),
        "first start only: so many nodes form the cluster; 1, or none with --join",
    ),
    Option("shards", "4", _whole(1, SLOTS), "first start only: number of shards"),
    Option(
        "replicas",
        "2",
        _whole(1, REPLICAS_MAX),
        "copies of each shard when the cluster is formed, the primary included",
    ),
    Option(
        "min-copies",
        None,
        _whole(1, REPLICAS_MAX),
        "copies that must hold a write when it is formed; 1 of 2, else a majority",
    ),
    Option("role", "data,voter", _roles, "data, voter or both"),
    Option("zone", "", lambda text: text and _word(text), "failure domain"),
    Option("max-shards", None, _whole(0, SLOTS), "how many shard copies it takes"),
    Option("cluster-secret", None, _secret, "file of the secret that all nodes share"),
    Option("cluster-name", "torua", _word, "label in every datagram and handshake"),
    Option("preset", "lan", _choice(*PRESETS), "membership timings: local, lan, wan"),
    Option("engine", "ladybug", _choice(*ENGINES), "first start only: graph engine"),
    Option(
        "query-memory",
        "1024",
        _mebibytes(256, 1 << 20),
        "MiB that a query worker may take, of which there are two",
    ),
    Option(
        "query-budget",
        "64",
        _mebibytes(1, 1 << 14),
        "MiB that a statement may gather; four times that, all of a node",
    ),
    Option(
        "graph-memory",
        "4096",
        _mebibytes(256, 1 << 20),
        "MiB for pages of open graphs; the least used are closed beyond it",
    ),
    Option("without", "", _without, f"off, with commas: {', '.join(POLICIES)}"),
    Option("log-format", "text", _choice("text", "json"), "text or json"),
    Option("log-level", "info", _choice(*LOG_LEVELS), ", ".join(LOG_LEVELS)),
)


def read_config(given: Mapping[str, str], environment: Mapping[str, str]) -> Config:
    """Make one configuration of all that was said, or refuse it whole.

    Args:
        given: options of the command line by name, ``config`` among them.
        environment: the environment variables.

    Returns:
        The configuration, valid as a whole.

    Raises:
        StartupError: something in it is wrong; it names every fault found.
    """
    path = given.get("config") or environment.get("TORUA_CONFIG")
    file = _read_file(Path(path)) if path else {}
    values: dict[str, object] = {}
    faults = [f"{path}: unknown key {key!r}" for key in sorted(set(file) - _NAMES)]
    for option in OPTIONS:
        text, origin = _said(option, given, environment, file)
        try:
            values[option.name] = None if text is None else option.read(text)
        except ValueError as error:
            faults.append(f"{origin} {text!r}: {error}")
    if not faults:
        faults = list(_contradictions(values))
    if faults:
        raise StartupError("; ".join(faults))
    return _whole_config(values)


_NAMES = {option.name for option in OPTIONS}


def _read_file(path: Path) -> dict[str, object]:
    """Read a TOML file of options; StartupError where it is none."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise StartupError(f"--config {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupError(f"--config {str(path)!r}: {error}") from error


def _said(
    option: Option,
    given: Mapping[str, str],
    environment: Mapping[str, str],
    file: Mapping[str, object],
) -> tuple[str | None, str]:
    """Return the text that counts for an option, and where it was said."""
    if option.name in given:
        return given[option.name], f"--{option.name}"
    if option.variable in environment:
        return environment[option.variable], option.variable
    if option.name in file:
        value = file[option.name]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        return text, f"key {option.name}"
    return option.default, f"--{option.name}"


def _contradictions(values: Mapping[str, object]) -> list[str]:
    """Name what is wrong with values that are fine each for itself."""
    faults = []
    match values["replicas"], values["min-copies"]:
        case int(replicas), int(least) if least > replicas:
            faults.append(f"--min-copies {least} is more than --replicas {replicas}")
    match values["query-budget"], values["query-memory"]:
        case int(budget), int(memory) if 2 * budget > memory:
            faults.append(
                f"--query-budget {budget >> 20} is more than half of --query-memory "
                f"{memory >> 20}, which could not hold it"
            )
    match values["cluster"], values["advertise"]:
        case Address(host), None if host in ("0.0.0.0", "::"):  # noqa: S104
            faults.append(
                f"--cluster {host} listens everywhere, so --advertise must say which "
                "address peers are told"
            )
    return faults


def _whole_config(values: dict[str, object]) -> Config:
    """Make the configuration of values that were all checked."""
    bound = values["cluster"]
    join, expect = values["join"], values["bootstrap-expect"]
    assert isinstance(bound, Address)
    made = {name.replace("-", "_"): value for name, value in values.items()}
    settings = {key: made.pop(key) for key in FIXED}
    copies = {key: made.pop(key) for key in ("replicas", "min_copies")}
    made["name"] = made["name"] or _host_name()
    made["roles"] = made.pop("role")
    made["policies"] = made.pop("without")
    made["secret"] = made.pop("cluster_secret")
    made["advertise"] = made["advertise"] or Address(bound.host, 0)
    made["bootstrap_expect"] = expect or (None if join else 1)
    return Config(
        **made,  # type: ignore[arg-type]
        settings=Settings(**settings),  # type: ignore[arg-type]
        replication=Replication(**copies),  # type: ignore[arg-type]
    )


def _host_name() -> str:
    """Make a node's name of the host's, leaving out what names cannot hold."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "node"


def environment() -> Mapping[str, str]:
    """Return the environment of this process; the one place that reads it."""
    return os.environ

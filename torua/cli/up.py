"""``torua up``: a whole cluster on this machine, under one foreground process."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import psutil

import torua
from torua.cli import cluster_file, ports
from torua.cli.cluster_file import DEFAULT_DIR, LocalNode
from torua.cli.failures import ExitCode, Failure
from torua.cli.supervisor import NodePlan, Supervisor, node_command

DEFAULT_NODES = 3


@click.command()
@click.option("--nodes", type=click.IntRange(1, 99), help="How many.  [default: 3]")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIR,
    show_default=True,
    help="Everything that the cluster keeps; used again by the next start.",
)
@click.option("--shards", type=click.IntRange(1), help="First start: how many shards.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 7),
    help="First start: copies a shard.  [default: 2]",
)
@click.option(
    "--preset", type=click.Choice(["local", "lan", "wan"]), help="Membership timings."
)
@click.option(
    "--restart/--no-restart",
    default=True,
    show_default=True,
    help="Whether a node that ends is started again.",
)
@click.option(
    "--ready-timeout",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="How many seconds the cluster may take to be ready.",
)
@click.argument("node_options", nargs=-1)
def up(  # noqa: PLR0913 - click hands in each option
    *,
    nodes: int | None,
    data_dir: Path,
    shards: int | None,
    replicas: int | None,
    preset: str | None,
    restart: bool,
    ready_timeout: float,
    node_options: tuple[str, ...],
) -> None:
    """Run a cluster on this machine until Ctrl-C.

    It has three nodes on loopback, HTTP on ports 7440, 7442, 7444 (free ones where
    those are taken), and keeps its data under ./torua-data.  NODE_OPTIONS, after --,
    go to each ``twist torua-node``.
    """
    shared = [
        *_option("--shards", shards),
        *_option("--replicas", replicas),
        *_option("--preset", preset),
        *node_options,
    ]
    with _locked(data_dir), ExitStack() as claims:
        before = cluster_file.read(data_dir)
        known = before.nodes if before else ()
        _refuse_survivors(known)
        count = _node_count(nodes, len(known))
        plans = plan(count, data_dir, known, shared, claims)
        click.echo(f"Torua {torua.__version__}: {len(plans)} nodes in {data_dir}")
        for each in plans:
            click.echo(f"  {each.name}  {each.url}  log: {each.log}")
        supervisor = Supervisor(
            plans, data_dir, restart=restart, ready_timeout_s=ready_timeout
        )
        supervisor.run(lambda seconds: _greet(plans, data_dir, seconds))
        click.echo("stopped")


def plan(
    count: int,
    data_dir: Path,
    known: Sequence[LocalNode],
    shared: Sequence[str],
    claims: ExitStack,
) -> list[NodePlan]:
    """Lay out the nodes: names, ports, data dirs and command lines.

    Args:
        count: how many.
        data_dir: of the whole cluster.
        known: the nodes of the last start; they keep name, place and, if free, ports.
        shared: options that go to each node.
        claims: the ports are nobody else's until it is closed.
    """
    before = {node.name: (_port(node.http), _port(node.cluster)) for node in known}
    names = [f"node-{place}" for place in range(1, count + 1)]
    pairs = ports.choose([before.get(name) for name in names], claims)
    cluster = [f"{ports.HOST}:{pair[1]}" for pair in pairs]
    plans = []
    for name, pair, address in zip(names, pairs, cluster, strict=True):
        others = ",".join(each for each in cluster if each != address)
        http, home = f"{ports.HOST}:{pair[0]}", data_dir / name
        options = [
            *("--name", name, "--data-dir", str(home)),
            *("--http", http, "--cluster", address),
            *("--bootstrap-expect", str(count)),
            *_option("--join", others or None),
            *shared,
        ]
        plans.append(NodePlan(name, http, address, home, node_command(options)))
    return plans


def _node_count(asked: int | None, known: int) -> int:
    """Decide how many nodes to run; fewer than there are would lose the others' keys.

    Args:
        asked: by the user; None where nothing was said.
        known: how many there were in this directory before.
    """
    if asked is not None and asked < known:
        raise Failure(
            f"this directory holds a cluster of {known} nodes; start all of them, or"
            " give another --data-dir",
            ExitCode.USAGE,
        )
    return asked or known or DEFAULT_NODES


def _refuse_survivors(known: Sequence[LocalNode]) -> None:
    """Refuse where daemons of the last start still run, without their supervisor."""
    pids = [str(node.pid) for node in known if node.pid and _is_daemon(node)]
    if pids:
        raise Failure(
            f"nodes of the last start still run, for their supervisor was killed; end"
            f" them first: kill {' '.join(pids)}"
        )


def _is_daemon(node: LocalNode) -> bool:
    """Tell whether the process of a node is still that node, not another program."""
    try:
        words = psutil.Process(node.pid).cmdline()
    except psutil.Error:
        return False
    return "torua-node" in words and node.name in words


def _option(name: str, value: object) -> list[str]:
    """Spell an option, if it was given."""
    return [] if value is None else [name, str(value)]


def _port(address: str) -> int:
    """Return the port of ``host:port``."""
    return int(address.rpartition(":")[2])


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the directory against a second supervisor."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "cluster.lock").open("a")
    except OSError as error:
        raise Failure(f"cannot use {data_dir}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(
                f"a cluster runs in {data_dir} already; stop that one first, or give"
                " another --data-dir"
            ) from None
        yield


def _greet(plans: Sequence[NodePlan], data_dir: Path, seconds: float) -> None:
    """Tell what to try first."""
    there = "" if data_dir == DEFAULT_DIR else f" --endpoint {plans[0].url}"
    first, last = plans[0].url, plans[-1].url
    click.echo(f"ready after {seconds:.1f} s; try in another terminal:")
    click.echo(f"  curl -X PUT {first}/kv/hello --data-binary world")
    click.echo(f"  curl {last}/kv/hello")
    click.echo(f"  torua{there} status")
    click.echo("Ctrl-C stops all of it")

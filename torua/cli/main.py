"""The ``torua`` command."""

from typing import Any

import click

import torua
from torua.cli import cluster_file
from torua.cli.bench import bench
from torua.cli.config import config
from torua.cli.cypher import cypher
from torua.cli.failures import Failure
from torua.cli.http import DEFAULT_TIMEOUT_S, Client
from torua.cli.kv import kv
from torua.cli.load_files import load
from torua.cli.nodes import nodes
from torua.cli.offline import detach, inspect_data, unsafe_bootstrap
from torua.cli.overview import shards, status
from torua.cli.rolling import rolling_restart
from torua.cli.shard import rebalance, shard
from torua.cli.tasks import tasks
from torua.cli.up import up

EXIT_CODES = """\b
Exit codes:
  0  done
  1  no: the key or node does not exist, a condition does not hold
  2  the command line is wrong
  3  unavailable: nobody answers, or nothing could be done now; try again
  4  outcome unknown: the write may or may not have happened; look
  5  anything else: refused as wrong, or failed
"""


class _Commands(click.Group):
    """The commands, none of which ends in a traceback over a full disk.

    Invariants: those of its base.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; where its own input or output fails, say so."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly: whoever read our output has enough
        except OSError as error:
            raise Failure(f"input or output failed here: {error}") from error


@click.group(cls=_Commands, epilog=EXIT_CODES)
@click.version_option(torua.__version__, prog_name="torua")
@click.option(
    "--endpoint",
    envvar="TORUA_ENDPOINT",
    metavar="URL[,URL]",
    help="Nodes to ask, in this order; also TORUA_ENDPOINT.  [default: those of"
    " ./torua-data/cluster.json, else http://127.0.0.1:7440]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="How many seconds a node may take to answer.",
)
@click.pass_context
def main(context: click.Context, endpoint: str | None, timeout: float) -> None:
    """Torua: a sharded key-value and graph store that keeps itself together.

    ``torua up`` runs a cluster on this machine; the other commands ask one.
    """
    if context.obj is None and context.invoked_subcommand != up.name:
        context.obj = Client(cluster_file.endpoints(endpoint), timeout)


for command in (
    *(up, status, nodes, shards, shard, rebalance, tasks, rolling_restart, config),
    *(kv, cypher, load, bench),
    *(inspect_data, unsafe_bootstrap, detach),
):
    main.add_command(command)

"""``torua nodes``: the nodes, and what an operator has done to them."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from torua.cli.http import Client
from torua.cli.overview import list_nodes
from torua.cli.tasks import follow

Fields = Mapping[str, Any]


class _Nodes(click.Group):
    """Subcommands; any other word is the name of a node to describe.

    Invariants: those of its base.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``torua nodes`` and ``torua nodes NODE`` for ``torua nodes list``.

        Args:
            ctx: click's.
            args: the words behind ``nodes``.
        """
        first = args[0] if args else ""
        if first not in self.commands and first != "--help":
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Nodes, options_metavar="", subcommand_metavar="[NODE | COMMAND …]")
def nodes() -> None:
    """List the nodes, describe one, or have one emptied or removed.

    With NODE, its id or name: describe that one, with its shard copies.
    """


nodes.add_command(list_nodes)


def _path(node: str, rest: str = "") -> str:
    """Spell the path of a node."""
    return f"/nodes/{quote(node, safe='')}{rest}"


def _post(client: Client, target: str, body: object = None) -> Fields:
    """Ask for something to be done."""
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer: Fields = client.ask("POST", target, body=data, headers=headers).json()
    return answer


@nodes.command()
@click.argument("names", metavar="NODE…", nargs=-1, required=True)
@click.option("--off", is_flag=True, help="They take their share again.")
@click.pass_obj
def maintenance(client: Client, names: tuple[str, ...], off: bool) -> None:
    """Put nodes into maintenance: their shards move away, and no new ones come.

    What no other node may have stays, and is served.  --off ends it; it also calls an
    evacuation off.
    """
    body = {"nodes": list(names), "enabled": not off}
    for name, duty in _post(client, "/nodes/maintenance", body)["nodes"].items():
        click.echo(f"{name}: {'takes its share' if duty == 'full' else duty}")


@nodes.command()
@click.argument("node")
@click.option("--no-wait", is_flag=True, help="Only begin; `torua tasks` tells more.")
@click.pass_obj
def evacuate(client: Client, node: str, no_wait: bool) -> None:
    """Move everything off a node, primaries first, and tell how far it is.

    Once it is done the node can be stopped.  To call it off: `torua nodes maintenance
    NODE --off`.  Exits with 1 where it was called off.
    """
    begun = _post(client, _path(node, "/evacuate"))
    if no_wait:
        click.echo(f"{begun['node']} is evacuated; task {begun['task']}")
        return
    follow(client, begun["task"])
    click.echo(f"{begun['node']} is empty, and can be stopped")


@nodes.command()
@click.argument("node")
@click.pass_obj
def leave(client: Client, node: str) -> None:
    """Have a node go for good: a live one is emptied, a dead one removed.

    A live one is to be stopped afterwards.  A dead one is refused while a shard needs
    its copy in sync.
    """
    detail = client.ask("GET", _path(node, "/info")).json()
    if detail["status"] in {"dead", "left"}:
        client.ask("DELETE", _path(node))
        click.echo(f"{detail['name']} is removed")
        return
    begun = _post(client, _path(node, "/evacuate"))
    follow(client, begun["task"])
    click.echo(f"{begun['node']} is empty: stop it now")

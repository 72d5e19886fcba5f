"""``torua nodes``: the nodes, and what an operator has done to them."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from torua.cli.failures import ExitCode, Failure, Refusal
from torua.cli.http import Client
from torua.cli.overview import list_nodes

POLL_S = 0.5
"""How often an evacuation is asked how far it is."""

SILENCE_MAX = 60
"""So often in a row nobody may know of it: its node may be busy, or be started anew."""

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


def follow(client: Client, task: str) -> None:
    """Tell how far a task is whenever that changes, until it is over.

    Args:
        client: whom to ask.
        task: its id.
    """
    said, silence = "", 0
    while silence < SILENCE_MAX:
        told = _task(client, task)
        silence = silence + 1 if told is None else 0
        if told is not None:
            line = progress_line(told)
            if line != said:
                click.echo(line)
            said = line
            if told["state"] == "failed":
                raise Failure("; ".join(told["errors"]), ExitCode.NO)
            if told["state"] != "running":
                return
        time.sleep(POLL_S)
    raise Failure("no node tells of it any more; look again", ExitCode.UNAVAILABLE)


def _task(client: Client, task: str) -> Fields | None:
    """Ask for a task; None where its node does not tell of it just now."""
    try:
        told: Fields = client.ask("GET", f"/tasks/{quote(task, safe='')}").json()
    except Refusal as refusal:
        if refusal.status == 404:
            return None
        raise
    return told


def progress_line(task: Fields) -> str:
    """Say in one line how far a task is.

    Args:
        task: as the API tells of it.
    """
    whole = "" if task["total"] is None else f" of {task['total']}"
    facts = [f"{name.replace('_', ' ')} {n}" for name, n in task["facts"].items() if n]
    words = [f"{task['done']}{whole} {task['unit']}", *facts]
    return f"{task['state']}: {', '.join(words)}"


@click.command()
@click.pass_obj
def tasks(client: Client) -> None:
    """List long work: what is under way, and what was lately."""
    for task in client.ask("GET", "/tasks").json():
        left = "" if task["eta"] is None else f", about {task['eta']:.0f} s more"
        line = f"{progress_line(task)}, {task['seconds']:.1f} s{left}"
        click.echo(f"{task['id']}  {task['node']}  {task['detail']}: {line}")

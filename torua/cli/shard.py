"""``torua shard``: why copies are where they are, and how to have them elsewhere."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from torua.cli.display import Display
from torua.cli.http import Client, with_query
from torua.cli.output import format_option, print_json, print_table
from torua.cli.tasks import follow

POLL_S = 0.5
"""How often balance is asked how far it is."""


@click.group()
def shard() -> None:
    """Explain a shard, move it by hand, split it, or repair it."""


def _post(client: Client, target: str, body: object) -> Any:
    """Ask for something to be done."""
    return client.ask(
        "POST",
        target,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    ).json()


@shard.command()
@click.argument("number", metavar="SHARD", type=click.IntRange(0))
@format_option
@click.pass_obj
def explain(client: Client, number: int, form: str) -> None:
    """Tell why each copy is where it is, and why no other node has one.

    For each node without one the decider that keeps it from having one is named.
    """
    told = client.ask("GET", with_query("/shards/explain", shard=number)).json()
    if form == "json":
        print_json(told)
        return
    if told["wants"]:
        click.echo(f"shard {number} wants {told['wants']}")
    columns = ("node", "has", "decider", "why")
    rows: list[tuple[object, ...]] = [
        (each["node"], f"{each['role']}, {each['state']}", None, each["why"])
        for each in told["copies"]
    ]
    rows += [
        (each["node"], None, each["decider"], each["why"]) for each in told["others"]
    ]
    print_table(columns, rows)


@shard.command()
@click.argument("number", metavar="SHARD", type=click.IntRange(0))
@click.argument("node")
@click.option("--primary", is_flag=True, help="It shall lead; it has a copy in sync.")
@click.option("--dry-run", is_flag=True, help="Tell only what would be done.")
@click.pass_obj
def assign(
    client: Client, number: int, node: str, primary: bool, dry_run: bool
) -> None:
    """Move a copy of a shard to a node, or with --primary the lead.

    Refused, with the decider, where the node may not have it.  Balance goes on: where
    nodes are uneven by two and more, it moves this or another one again.
    """
    role = "primary" if primary else "replica"
    asked = {"shard": number, "node": node, "role": role, "dry_run": dry_run}
    told = _post(client, "/shards/assign", asked)
    what = "the lead" if primary else "a copy"
    begun = "would move" if dry_run else "moves"
    click.echo(
        f"{what} of shard {number} {begun} from {told['source']} to {told['node']}"
    )


@shard.command("force-allocate")
@click.argument("number", metavar="SHARD", type=click.IntRange(0))
@click.option("--node", required=True, help="Whose copy shall lead, by name or id.")
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="What that node does not have of the shard is lost for good.",
)
@click.pass_obj
def force_allocate(
    client: Client, number: int, node: str, accept_data_loss: bool
) -> None:
    """Let a red shard go on with what one node has of it.

    Only where no copy in sync will come back: writes that were acknowledged and are
    not on that node are lost.  A node without a copy begins with an empty shard.
    Refused, with the rule, where a copy in sync lives.
    """
    asked = {"shard": number, "node": node, "accept_data_loss": accept_data_loss}
    _post(client, "/shards/force-allocate", asked)
    click.echo(f"shard {number} goes on with what {node} has of it")


@shard.command()
@click.argument("number", metavar="SHARD", type=click.IntRange(0))
@click.option(
    "--slots",
    multiple=True,
    metavar="FIRST-LAST",
    help="Slots that move, as often as need be; without: the upper half.",
)
@click.option("--cancel", is_flag=True, help="Call a split off that is under way.")
@click.option("--no-wait", is_flag=True, help="Only begin; `torua tasks` tells more.")
@click.pass_obj
def split(
    client: Client, number: int, slots: tuple[str, ...], cancel: bool, no_wait: bool
) -> None:
    """Move half of a shard's slots to a new shard, and tell how far that is.

    Both are served all the while, but for some ten milliseconds in which writes of what
    moves wait.  Exits with 1 where it was called off.
    """
    target = f"/shards/{number}/split"
    if cancel:
        told = client.ask("DELETE", target).json()
        click.echo(f"the split is off: there will be no shard {told['child']}")
        return
    begun = _post(client, target, {"slots": [_span(each) for each in slots] or None})
    if not no_wait:
        follow(client, begun["task"])
    done = f"is split off, task {begun['task']}" if no_wait else "has its slots"
    click.echo(f"shard {begun['child']} {done}")


def _span(text: str) -> tuple[int, int]:
    """Read a range of slots."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise click.BadParameter(f"{text!r} is not FIRST-LAST", param_hint="--slots")
    return int(first), int(last or first)


@click.command()
@click.option("--dry-run", is_flag=True, help="Tell only what would be moved.")
@click.option("--watch", is_flag=True, help="Go on telling until all is even.")
@click.pass_obj
def rebalance(client: Client, dry_run: bool, watch: bool) -> None:
    """Have balance sought now, and tell what is still to be moved.

    It is sought without asking, too, unless allocation.rebalance is false; what is
    asked for does not wait, and is content with smaller gains of load and bytes.
    --watch tells so until nothing is left to be moved; Ctrl-C ends that only.
    """
    told = _balance(client, dry_run)
    most = _left(told)
    with Display() as display:
        while watch and not _is_at_rest(told):
            most = max(most, _left(told))
            display.show("balance", _unevenness(told), (most - _left(told), most))
            time.sleep(POLL_S)
            told = _balance(client, dry_run=True)
    if told["even"]:
        click.echo("even: nothing is to be moved")
        return
    click.echo(_unevenness(told))
    for each in told["moves"]:
        what = "the lead" if each["role"] == "primary" else "a copy"
        source = f" from {each['source']}" if each["source"] else ""
        click.echo(f"next: {what} of shard {each['shard']}{source} to {each['target']}")


def _balance(client: Client, dry_run: bool) -> Mapping[str, Any]:
    """Have balance sought, or only ask what is to be moved."""
    query = {"dry_run": "true"} if dry_run else {}
    told: Mapping[str, Any] = _post(
        client, with_query("/cluster/rebalance", **query), {}
    )
    return told


def _is_at_rest(told: Mapping[str, Any]) -> bool:
    """Tell whether nothing is to be moved, nor on its way."""
    return bool(told["even"] and not told["under_way"])


def _left(told: Mapping[str, Any]) -> int:
    """Count what is to be moved, or on its way."""
    return int(told["copies_to_move"] + told["primaries_to_move"] + told["under_way"])


def _unevenness(told: Mapping[str, Any]) -> str:
    """Say what is to be moved."""
    return (
        f"to be moved, at least: {told['copies_to_move']} copies, "
        f"{told['primaries_to_move']} primaries; under way: {told['under_way']}"
    )

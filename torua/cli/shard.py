"""``torua shard``: what an operator may have done to one shard."""

import json

import click

from torua.cli.http import Client


@click.group()
def shard() -> None:
    """Repair a shard by hand."""


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
    client.ask(
        "POST",
        "/shards/force-allocate",
        body=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    click.echo(f"shard {number} goes on with what {node} has of it")

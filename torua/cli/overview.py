"""``torua status``, ``nodes list`` and ``shards``: the cluster at a glance."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from torua.cli.failures import ExitCode
from torua.cli.http import Client
from torua.cli.output import format_option, print_facts, print_json, print_table

Fields = Mapping[str, Any]


@click.command()
@format_option
@click.pass_context
def status(context: click.Context, form: str) -> None:
    """Show how the cluster fares: health, coordinator, nodes, shards.

    Exits with 3 where health is red, as the node sees it that is asked, or any shard.
    """
    client: Client = context.obj
    health, info, nodes, shards = (
        client.ask("GET", target).json()
        for target in ("/health", "/cluster/info", "/nodes", "/shards")
    )
    if form == "json":
        print_json({"health": health, "info": info, "nodes": nodes, "shards": shards})
    else:
        print_facts(_facts(_with_shards(health, shards), info, nodes))
    if "red" in {health["status"], *(shard["state"] for shard in shards)}:
        context.exit(ExitCode.UNAVAILABLE)


def _with_shards(health: Fields, shards: Sequence[Fields]) -> Fields:
    """Have one node's health tell of shards that only other nodes know to be red."""
    red = [shard for shard in shards if shard["state"] == "red"]
    if health["status"] == "red" or not red:
        return health
    reasons = [f"shard {each['shard']} is red, on {each['primary']}" for each in red]
    told = [*(health.get("reasons") or ()), *reasons]
    return {**health, "status": "red", "reasons": told}


def _facts(
    health: Fields, info: Fields, nodes: Sequence[Fields]
) -> list[tuple[str, object]]:
    """List what a person wants to know first."""
    facts: list[tuple[str, object]] = [
        ("cluster", f"{info['cluster_name']} ({info['cluster_id'] or 'not formed'})"),
        ("health", health["status"]),
        ("coordinator", f"{health['coordinator'] or 'none'} (term {info['term']})"),
        ("nodes", f"{info['healthy_nodes']}/{info['total_nodes']} healthy"),
        (
            "shards",
            f"{info['total_shards']}, {info['assigned_shards']} assigned,"
            f" shared {sharing(nodes, 'primaries')},"
            f" copies {sharing(nodes, 'shard_count')}",
        ),
        ("asked", f"{health['node']}, up {_duration(info['uptime'])}"),
    ]
    facts += [("reason", reason) for reason in health.get("reasons") or ()]
    facts += [("note", note) for note in health.get("notes") or ()]
    return facts


def sharing(nodes: Sequence[Fields], what: str) -> str:
    """Say how many each data node has, fewest first: ``1/1/2``.

    Args:
        nodes: as the API lists them.
        what: the field that counts: ``primaries``, or ``shard_count`` for all copies.
    """
    counts = sorted(
        node[what]
        for node in nodes
        if node["shard_count"] or "data" in node["roles"]
        if node["status"] not in {"dead", "left"} or node["shard_count"]
    )
    return "/".join(map(str, counts)) or "-"


def _duration(seconds: float) -> str:
    """Spell a duration in its two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@click.command("list")
@click.argument("node", required=False)
@format_option
@click.pass_obj
def list_nodes(client: Client, node: str | None, form: str) -> None:
    """List the nodes.

    With NODE, its id or name: describe that one, with its shard copies.
    """
    if node is not None:
        _one_node(client, node, form)
        return
    listed = client.ask("GET", "/nodes").json()
    if form == "json":
        print_json(listed)
        return
    columns = [
        *("name", "status", "coordinator", "shards>", "primaries>"),
        *("disk>", "requests/s>", "http", "address", "roles", "zone", "version"),
        "node_id",
    ]
    names = {"shards>": "shard_count", "primaries>": "primaries"}
    told = [
        {**each, "disk>": _share_full(each), "requests/s>": _rate(each)}
        for each in listed
    ]
    print_table(
        columns,
        (tuple(each[names.get(name, name)] for name in columns) for each in told),
    )


def _share_full(node: Fields) -> str | None:
    """Say how full a node's disk is, where it said so lately."""
    total = node.get("disk_total")
    return f"{node['disk_used'] / total:.0%}" if total else None


def _rate(node: Fields) -> str | None:
    """Say how many requests a second a node's primaries serve."""
    return _whole(node.get("requests_per_s"))


def _one_node(client: Client, node: str, form: str) -> None:
    """Describe one node."""
    detail = client.ask("GET", f"/nodes/{quote(node, safe='')}/info").json()
    if form == "json":
        print_json(detail)
        return
    copies = detail.pop("copies", [])
    if detail.get("uptime") is not None:
        detail["uptime"] = _duration(detail["uptime"])
    print_facts(detail.items())
    if copies:
        click.echo()
        columns = ("shard>", "role", "state", "position>", "keys>", "bytes>")
        print_table(
            columns,
            (
                tuple(copy[column.removesuffix(">")] for column in columns)
                for copy in copies
            ),
        )


@click.command()
@format_option
@click.pass_obj
def shards(client: Client, form: str) -> None:
    """List the shards.

    Each with its state, its primary, its copies, and what it holds; a copy that is
    not in sync with its state.
    """
    listed = client.ask("GET", "/shards").json()
    if form == "json":
        print_json(listed)
        return
    print_table(
        (
            *("shard>", "state", "primary", "replicas", "in sync>", "keys>", "bytes>"),
            *("reads/s>", "writes/s>"),
        ),
        (
            (
                shard["shard"],
                shard["state"],
                shard["primary"],
                _replicas(shard["copies"]),
                _in_sync(shard["copies"]),
                shard["keys"],
                shard["bytes"],
                *(_whole(shard.get(f"{what}_per_s")) for what in ("reads", "writes")),
            )
            for shard in listed
        ),
    )


def _whole(rate: float | None) -> str | None:
    """Round a rate, if it is known."""
    return None if rate is None else f"{rate:.0f}"


def _replicas(copies: Sequence[Fields]) -> list[str] | None:
    """Name the replicas' nodes; what each does, where it does not hold everything."""
    return [
        str(copy["node"]) if copy["in_sync"] else f"{copy['node']} ({copy['state']})"
        for copy in copies
        if copy["role"] != "primary"
    ] or None


def _in_sync(copies: Sequence[Fields]) -> str:
    """Say how many of all copies hold every acknowledged write: ``2/3``."""
    return f"{sum(copy['in_sync'] for copy in copies)}/{len(copies)}"

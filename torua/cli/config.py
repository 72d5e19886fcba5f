"""``torua config``: what may be changed while the cluster runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Answer, Client
from torua.cli.output import format_option, print_facts, print_json, print_table

PATH = "/cluster/config"
Fields = Mapping[str, Any]

if_version_option = click.option(
    "--if-version",
    type=click.IntRange(1),
    help="Only if the configuration is still at this version.",
)


@click.group()
def config() -> None:
    """Read and change the configuration of the cluster, without a restart.

    A change is committed for all nodes or for none; each node acknowledges once it acts
    upon it.
    """


@config.command("get")
@click.argument("key", required=False)
@format_option
@click.pass_obj
def get(client: Client, key: str | None, form: str) -> None:
    """Show every key, and which nodes act upon the values.

    With a KEY: explain that one.
    """
    answer = client.ask("GET", f"{PATH}?explain=true")
    view = answer.json()
    if key is not None and key not in view["config"]:
        raise Failure(f"there is no such key: {key}", ExitCode.NO)
    if form == "json":
        print_json(view if key is None else _explained(view, key))
    elif key is not None:
        print_facts(
            (name, _word(value)) for name, value in _explained(view, key).items()
        )
    else:
        rows = (
            (name, _word(value), _word(view["keys"][name]["default"]))
            for name, value in view["config"].items()
        )
        print_table(("key", "value", "default"), rows)
        _tell(view)


@config.command("set", options_metavar="[OPTIONS]")
@click.argument("settings", metavar="KEY=VALUE…", nargs=-1, required=True)
@if_version_option
@format_option
@click.pass_obj
def set_(
    client: Client, settings: Sequence[str], if_version: int | None, form: str
) -> None:
    """Give keys other values, all of them or none.

    A VALUE is JSON, or a word; words with commas between them are a list.
    """
    changes = dict(_read(setting) for setting in settings)
    _change(client, changes, if_version, form)


@config.command("reset")
@click.argument("keys", metavar="KEY…", nargs=-1, required=True)
@if_version_option
@format_option
@click.pass_obj
def reset(
    client: Client, keys: Sequence[str], if_version: int | None, form: str
) -> None:
    """Give keys their default values, all of them or none.

    It is the default of the table that `torua config get` shows, whatever the cluster
    was formed with.
    """
    _change(client, dict.fromkeys(keys), if_version, form)


def _change(client: Client, changes: Fields, if_version: int | None, form: str) -> None:
    """Have keys changed, and say who acknowledged."""
    headers = {"Content-Type": "application/json"}
    if if_version is not None:
        headers["If-Match"] = f'"{if_version}"'
    body = json.dumps(changes).encode()
    answer: Answer = client.ask("PUT", PATH, body=body, headers=headers)
    view = answer.json()
    if form == "json":
        print_json(view)
        return
    for key in changes:
        click.echo(f"{key} = {_word(view['config'][key])}")
    _tell(view)


def _tell(view: Fields) -> None:
    """Say which version it is, and which nodes act upon it."""
    acknowledged = ", ".join(view["acknowledged"]) or "nobody"
    click.echo(f"version {view['version']}, acknowledged by {acknowledged}")
    if view["pending"]:
        click.echo(f"not yet by {', '.join(view['pending'])}")
    for node in view["nodes"]:
        if node["without"]:
            parts = ", ".join(node["without"])
            click.echo(f"{node['name']} was started without {parts}")


def _explained(view: Fields, key: str) -> dict[str, Any]:
    """Return all that is known of a key."""
    return {"key": key, "value": view["config"][key], **view["keys"][key]}


def _read(setting: str) -> tuple[str, object]:
    """Read ``KEY=VALUE``; a usage error where it is none."""
    key, sign, text = setting.partition("=")
    if not sign or not key:
        raise click.UsageError(f"not KEY=VALUE: {setting!r}")
    try:
        return key, json.loads(text)
    except ValueError:
        words = [word.strip() for word in text.split(",") if word.strip()]
        return key, words if "," in text else text


def _word(value: object) -> str:
    """Spell a value as it would be given."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "[]"
    return value if isinstance(value, str) else json.dumps(value)

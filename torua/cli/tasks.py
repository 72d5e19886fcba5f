"""``torua tasks``: long work, and how far it is; and how commands follow it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import click

from torua.cli.display import Display
from torua.cli.failures import ExitCode, Failure, Refusal
from torua.cli.http import Client
from torua.cli.output import format_option, print_facts, print_json

POLL_S = 0.5
"""How often a task is asked how far it is."""

SILENCE_MAX = 60
"""So often in a row nobody may know of it: its node may be busy, or be started anew."""

Fields = Mapping[str, Any]


@click.command()
@click.argument("task", required=False)
@click.option("--watch", is_flag=True, help="Go on telling until it is over.")
@format_option
@click.pass_obj
def tasks(client: Client, task: str | None, watch: bool, form: str) -> None:
    """List long work: what is under way, and what was lately.

    With TASK, an id: describe that one.  --watch follows it, or all that is under way,
    to the end; Ctrl-C ends the watching, not the work.
    """
    if watch:
        _watch(client, task)
    elif task is not None:
        _describe(client, task, form)
    elif form == "json":
        print_json(client.ask("GET", "/tasks").json())
    else:
        for each in client.ask("GET", "/tasks").json():
            line = f"{progress_line(each)}, {each['seconds']:.1f} s{_left(each)}"
            click.echo(f"{each['id']}  {each['node']}  {each['detail']}: {line}")


def follow(client: Client, task: str) -> None:
    """Show how far a task is until it is over.

    Args:
        client: whom to ask.
        task: its id.

    Raises:
        Failure: it failed; or nobody tells of it any more.
    """
    with _interruptible(task), Display() as display:
        silence = 0
        while silence < SILENCE_MAX:
            told = _task(client, task)
            silence = silence + 1 if told is None else 0
            if told is not None and _shown(display, told):
                return
            time.sleep(POLL_S)
    raise Failure("no node tells of it any more; look again", ExitCode.UNAVAILABLE)


def progress_line(task: Fields) -> str:
    """Say in one line how far a task is.

    Args:
        task: as the API tells of it.
    """
    whole = "" if task["total"] is None else f" of {task['total']}"
    facts = [f"{name.replace('_', ' ')} {n}" for name, n in task["facts"].items() if n]
    words = [f"{task['done']}{whole} {task['unit']}", *facts]
    return f"{task['state']}: {', '.join(words)}"


def _left(task: Fields) -> str:
    """Say how long a task may still take, where its node dares a guess."""
    return "" if task["eta"] is None else f", about {task['eta']:.0f} s more"


def _watch(client: Client, task: str | None) -> None:
    """Follow one task, or all that run now."""
    if task is not None:
        follow(client, task)
        return
    running = [
        each["id"]
        for each in client.ask("GET", "/tasks").json()
        if each["state"] == "running"
    ]
    if not running:
        click.echo("nothing is under way")
    for each in running:
        follow(client, each)


def _describe(client: Client, task: str, form: str) -> None:
    """Tell all that is known of one task."""
    told = client.ask("GET", _path(task)).json()
    if form == "json":
        print_json(told)
        return
    told["errors"] = told["errors"] or None
    facts = told.pop("facts")
    print_facts([*told.items(), *facts.items()])


def _shown(display: Display, told: Fields) -> bool:
    """Show a task; tell whether it is over, and raise where it failed."""
    over = bool(told["state"] != "running")
    if over:
        display.say(progress_line(told))
    else:
        part = (told["done"], told["total"])
        display.show(told["id"], progress_line(told), part, _left(told))
    if told["state"] == "failed":
        raise Failure("; ".join(told["errors"]) or "it failed", ExitCode.NO)
    return over


def _task(client: Client, task: str) -> Fields | None:
    """Ask for a task; None where its node does not tell of it just now."""
    try:
        told: Fields = client.ask("GET", _path(task)).json()
    except Refusal as refusal:
        if refusal.status == 404:
            return None
        raise
    return told


def _path(task: str) -> str:
    """Spell the path of a task."""
    return f"/tasks/{quote(task, safe='')}"


@contextmanager
def _interruptible(task: str) -> Iterator[None]:
    """Have Ctrl-C end the watching with a word about the work, which goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Failure(
            f"not watched any more; it goes on: torua tasks {task} --watch",
            ExitCode.INTERRUPTED,
        ) from None

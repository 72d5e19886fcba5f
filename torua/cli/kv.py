"""``torua kv``: keys and values, from standard input and to standard output."""

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from torua.cli.failures import ExitCode, Failure, Refusal
from torua.cli.http import Answer, Client, key_target, with_query
from torua.cli.output import format_option, print_json, print_table

PAGE_LIMIT = 1000
"""How many keys one request lists; the pages are joined."""

if_match_option = click.option(
    "--if-match",
    metavar="VERSION",
    help="Only if the key is at this version, or at any (*).",
)
idempotency_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="A retry with the same key is done once only.",
)


@click.group()
def kv() -> None:
    """Read and write keys."""


@kv.command()
@click.argument("key")
@click.option("--if-none-match", metavar="VERSION", help="Only if it is at another.")
@format_option
@click.pass_obj
def get(client: Client, key: str, if_none_match: str | None, form: str) -> None:
    """Write the value of KEY to standard output, byte for byte.

    With -o json: the value with its version, type and place.  Exits with 1 where the
    key does not exist, or where --if-none-match holds it back.
    """
    headers = _given({"If-None-Match": _quoted(if_none_match)})
    try:
        answer = client.ask("GET", key_target(key), headers=headers)
    except Refusal as refusal:
        if refusal.status == 304:
            raise Refusal(304, f"{key!r} is still at version {if_none_match}") from None
        raise
    if form == "json":
        print_json(_about(key, answer) | _spelled(answer))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.body)


@kv.command()
@click.argument("key")
@click.argument("value", required=False)
@if_match_option
@click.option("--if-none-match", metavar="*", help="Only if the key does not exist.")
@click.option("--ttl", type=float, metavar="SECONDS", help="How long it shall live.")
@click.option("--content-type", metavar="TYPE", help="What a GET says that it is.")
@idempotency_option
@format_option
@click.pass_obj
def put(  # noqa: PLR0913 - click hands in each option
    client: Client,
    *,
    key: str,
    value: str | None,
    if_match: str | None,
    if_none_match: str | None,
    ttl: float | None,
    content_type: str | None,
    idempotency_key: str | None,
    form: str,
) -> None:
    """Set KEY to VALUE, or to standard input where VALUE is - or left out.

    Exits with 1 where a condition does not hold, with 4 where the outcome is unknown.
    """
    headers = _given(
        {
            "If-Match": _quoted(if_match),
            "If-None-Match": _quoted(if_none_match),
            "Content-Type": content_type or "application/octet-stream",
            "Idempotency-Key": idempotency_key,
        }
    )
    target = with_query(key_target(key), ttl=ttl)
    answer = client.ask("PUT", target, body=_value(value), headers=headers)
    if form == "json":
        print_json(_about(key, answer))
    else:
        click.echo(f"version {answer.version()}")


@kv.command()
@click.argument("key")
@if_match_option
@idempotency_option
@click.pass_obj
def delete(
    client: Client, key: str, if_match: str | None, idempotency_key: str | None
) -> None:
    """Remove KEY; no error where it does not exist.

    Exits with 1 where --if-match does not hold, with 4 where the outcome is unknown.
    """
    headers = _given(
        {"If-Match": _quoted(if_match), "Idempotency-Key": idempotency_key}
    )
    client.ask("DELETE", key_target(key), headers=headers)


@kv.command("list")
@click.argument("prefix", default="")
@click.option("--after", metavar="KEY", help="Only keys that come after it.")
@click.option("--limit", type=click.IntRange(1), help="At most so many; else all.")
@click.option("--values", is_flag=True, help="The values too.")
@format_option
@click.pass_obj
def list_keys(  # noqa: PLR0913 - click hands in each option
    client: Client,
    *,
    prefix: str,
    after: str | None,
    limit: int | None,
    values: bool,
    form: str,
) -> None:
    """List the keys that begin with PREFIX, in byte order, over all shards.

    All pages are fetched, and joined.
    """
    items = list(_items(client, prefix, after, limit, values))
    if form == "json":
        print_json(items)
        return
    columns = ("key", "version>", "size>", *(("value",) if values else ()))
    print_table(
        columns,
        (
            (item["key"], item["version"], item["size"])
            + ((_shown(item),) if values else ())
            for item in items
        ),
    )


def _items(
    client: Client, prefix: str, after: str | None, limit: int | None, values: bool
) -> Iterator[dict[str, Any]]:
    """Yield keys page after page."""
    left = limit
    while left is None or left > 0:
        target = with_query(
            "/kv",
            prefix=prefix or None,
            after=after,
            limit=min(PAGE_LIMIT, left or PAGE_LIMIT),
            values="true" if values else None,
        )
        page = client.ask("GET", target).json()
        yield from page["items"]
        after = page["next"]
        if after is None:
            return
        left = left if left is None else left - len(page["items"])


def _shown(item: dict[str, Any]) -> str:
    """Show a listed value on one line."""
    if "value_base64" in item:
        return f"base64:{item['value_base64']}"
    return json.dumps(item.get("value", ""), ensure_ascii=False)


def _value(argument: str | None) -> bytes:
    """Return the value to be put: the argument's bytes, or standard input."""
    if argument is None or argument == "-":
        return sys.stdin.buffer.read()
    return argument.encode("utf-8", "surrogateescape")


def _about(key: str, answer: Answer) -> dict[str, Any]:
    """Tell of a key what the headers of an answer tell."""
    shard = answer.headers.get("torua-shard")
    return {
        "key": key,
        "version": answer.version(),
        "shard": int(shard) if shard is not None else None,
        "served_by": answer.headers.get("torua-served-by"),
    }


def _spelled(answer: Answer) -> dict[str, Any]:
    """Spell a value in JSON; in base64 where it is not UTF-8."""
    facts: dict[str, Any] = {
        "content_type": answer.headers.get("content-type"),
        "size": len(answer.body),
    }
    try:
        facts["value"] = answer.body.decode()
    except UnicodeDecodeError:
        facts["value_base64"] = base64.b64encode(answer.body).decode()
    return facts


def _quoted(version: str | None) -> str | None:
    """Spell a version as an ETag; ``*`` and what is quoted already stay."""
    if version is None or version == "*" or version.startswith('"'):
        return version
    if not version.isdecimal():
        raise Failure(f"not a version: {version!r}", ExitCode.USAGE)
    return f'"{version}"'


def _given(headers: dict[str, str | None]) -> dict[str, str]:
    """Leave out the headers that are None."""
    return {name: value for name, value in headers.items() if value is not None}

"""``torua bench``: how fast a running cluster is, measured from here."""

from typing import Any

import click
import msgspec

from torua.cli import load, loader
from torua.cli.failures import ExitCode, Failure
from torua.cli.histogram import summed_up
from torua.cli.http import Client
from torua.cli.output import format_option, print_facts, print_json, print_table

WORKLOADS = ["put", "get", "mixed", "bulk", "bulk-get"]


@click.command(context_settings={"show_default": True})
@click.argument("workload", type=click.Choice(WORKLOADS))
@click.option("--concurrency", type=click.IntRange(1, 1000), default=16)
@click.option("--seconds", type=click.FloatRange(0.1), help="How long; else 10.")
@click.option("--operations", type=click.IntRange(1), help="How many, in its stead.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Requests a second, whatever became of those before.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1)
@click.option("--value-size", type=click.IntRange(0, 16 << 20), default=100)
@click.option("--keys", type=click.IntRange(1), default=10_000)
@click.option("--batch", type=click.IntRange(1, 10_000), default=100)
@click.option("--cbor", is_flag=True, help="Bulk requests in CBOR, not JSON.")
@click.option("--seed", type=int, default=1, help="Of the keys.")
@format_option
@click.pass_context
def bench(  # noqa: PLR0913 - click hands in each option
    context: click.Context,
    *,
    workload: str,
    concurrency: int,
    seconds: float | None,
    operations: int | None,
    rate: float | None,
    processes: int,
    value_size: int,
    keys: int,
    batch: int,
    cbor: bool,
    seed: int,
    form: str,
) -> None:
    """Load the cluster and tell how many operations a second it does, and how fast.

    WORKLOAD: put, get, mixed (half each), bulk (requests of --batch puts) or bulk-get.
    Each of --concurrency connections, spread over the endpoints, sends one request
    after the other.  With --rate requests are due at that pace, and the time of each
    counts from when it was due.  The keys bench/00000000 and so on are overwritten and
    stay.  The load comes from --processes processes: where generator_cpu is near to
    their number, it measures itself.
    Exits with 5 where a request failed.
    """
    if seconds is not None and operations is not None:
        raise Failure("--seconds or --operations, not both", ExitCode.USAGE)
    client: Client = context.obj
    plan = load.Plan(workload, value_size, keys, batch, seed, cbor)
    drive = loader.Drive(
        endpoints=tuple(client.endpoints),
        connections=concurrency,
        seconds=10.0 if seconds is None and operations is None else seconds,
        operations=operations,
        rate=rate,
        timeout_s=client.timeout_s,
    )
    if workload in {"get", "mixed", "bulk-get"}:
        click.echo(f"putting {keys} keys first (not measured)", err=True)
        load.fill(client, plan)
    tally = loader.run(load.requests_of(plan), drive, min(processes, concurrency))
    report = summary(plan, drive, tally)
    if form == "json":
        print_json(report)
    else:
        _print_report(report)
    if tally.errors:
        context.exit(ExitCode.FAILED)


def summary(
    plan: load.Plan, drive: loader.Drive, tally: loader.Tally
) -> dict[str, Any]:
    """Sum up a run: rates, percentiles of the latencies by kind, errors.

    Args:
        plan: what was asked.
        drive: how it was sent.
        tally: what was counted.
    """
    return {
        "workload": plan.workload,
        "concurrency": drive.connections,
        "rate": drive.rate,
        "value_bytes": plan.value_bytes,
        "batch": plan.batch if plan.workload.startswith("bulk") else None,
        "seconds": round(tally.seconds, 3),
        "operations": tally.operations,
        "operations_per_s": round(tally.operations / tally.seconds, 1),
        "generator_cpu": round(tally.cpu_s / tally.seconds, 3),
        "errors": dict(tally.errors),
        "requests": {
            kind: msgspec.to_builtins(summed_up(histogram))
            for kind, histogram in sorted(tally.latencies.items())
        },
    }


def _print_report(report: dict[str, Any]) -> None:
    """Show a summary to people."""
    errors = report["errors"]
    print_facts(
        [
            ("workload", report["workload"]),
            ("clients", report["concurrency"]),
            ("value", f"{report['value_bytes']} bytes"),
            ("duration", f"{report['seconds']} s"),
            ("operations", report["operations"]),
            ("operations/s", report["operations_per_s"]),
            ("generator", f"{report['generator_cpu']} processors"),
            ("errors", ", ".join(f"{n} x {what}" for what, n in errors.items()) or 0),
        ]
    )
    columns = ("count", "mean_ms", "p50_ms", "p99_ms", "p999_ms", "max_ms")
    print_table(
        ("request", *(f"{column}>" for column in columns)),
        (
            (kind, *(figures[column] for column in columns))
            for kind, figures in report["requests"].items()
        ),
    )

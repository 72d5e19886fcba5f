"""``torua bench``: how fast a running cluster is, measured from here."""

from typing import Any

import click

from torua.cli import load
from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Client
from torua.cli.output import format_option, print_facts, print_json, print_table


@click.command(context_settings={"show_default": True})
@click.argument("workload", type=click.Choice(["put", "get", "bulk", "mixed"]))
@click.option("--concurrency", type=click.IntRange(1, 1000), default=16)
@click.option("--seconds", type=click.FloatRange(0.1), help="How long; else 10.")
@click.option("--operations", type=click.IntRange(1), help="How many, in its stead.")
@click.option("--value-size", type=click.IntRange(0, 16 << 20), default=100)
@click.option("--keys", type=click.IntRange(1), default=10_000)
@click.option("--batch", type=click.IntRange(1, 10_000), default=100)
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
    value_size: int,
    keys: int,
    batch: int,
    seed: int,
    form: str,
) -> None:
    """Load the cluster and tell how many operations a second it does, and how fast.

    WORKLOAD: put, get, mixed (half each), or bulk (requests of --batch puts).  Each
    of --concurrency clients sends one request after the other to one of the endpoints.
    The keys bench/00000000 and so on are overwritten and stay.  The clients share one
    Python thread: where that uses up a processor, it measures itself.
    Exits with 5 where a request failed.
    """
    if seconds is not None and operations is not None:
        raise Failure("--seconds or --operations, not both", ExitCode.USAGE)
    plan = load.Plan(
        workload=workload,
        concurrency=concurrency,
        seconds=10.0 if seconds is None and operations is None else seconds,
        operations=operations,
        value_bytes=value_size,
        keys=keys,
        batch=batch,
        seed=seed,
    )
    client: Client = context.obj
    if workload in {"get", "mixed"}:
        click.echo(f"putting {keys} keys first (not measured)", err=True)
        load.fill(client, plan)
    result = load.run(plan, client.endpoints, client.timeout_s)
    report = summary(plan, result)
    if form == "json":
        print_json(report)
    else:
        _print_report(report)
    if result.tally.errors:
        context.exit(ExitCode.FAILED)


def summary(plan: load.Plan, result: load.Result) -> dict[str, Any]:
    """Sum up a run: rates, percentiles of the latencies by kind, errors.

    Args:
        plan: what load was made.
        result: what was measured.
    """
    return {
        "workload": plan.workload,
        "concurrency": plan.concurrency,
        "value_bytes": plan.value_bytes,
        "batch": plan.batch if plan.workload == "bulk" else None,
        "seconds": round(result.seconds, 3),
        "operations": result.tally.operations,
        "operations_per_s": round(result.tally.operations / result.seconds, 1),
        "errors": dict(result.tally.errors),
        "requests": {
            kind: _latencies(sorted(values))
            for kind, values in sorted(result.tally.latencies.items())
        },
    }


def percentile(ordered: list[float], fraction: float) -> float:
    """Return the value that ``fraction`` of the values do not exceed (nearest rank).

    Args:
        ordered: at least one, rising.
        fraction: 0 to 1.
    """
    rank = -int(-fraction * len(ordered) // 1)
    return ordered[max(0, rank - 1)]


def _latencies(ordered: list[float]) -> dict[str, float]:
    """Sum up the latencies of one kind of request, in milliseconds."""
    figures = {
        "mean_ms": sum(ordered) / len(ordered),
        "p50_ms": percentile(ordered, 0.5),
        "p99_ms": percentile(ordered, 0.99),
        "p999_ms": percentile(ordered, 0.999),
        "max_ms": ordered[-1],
    }
    rounded = {name: round(value * 1000, 3) for name, value in figures.items()}
    return {"count": len(ordered)} | rounded


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

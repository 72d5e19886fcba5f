"""Each scenario has a cluster of its own; what it started ends with it."""

from cluster import Cluster


def before_scenario(context, scenario):
    """Make room for a cluster."""
    context.cluster = Cluster()
    context.closing = []


def after_scenario(context, scenario):
    """End everything; where it failed, show the logs and keep the data."""
    failed = scenario.status.has_failed()
    for close in reversed(context.closing):
        close()
    if failed:
        print(context.cluster.logs())
        print(f"kept for a look: {context.cluster.root}")
    context.cluster.close(keep=failed)

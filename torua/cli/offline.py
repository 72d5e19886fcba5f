"""``torua inspect-data``, ``unsafe-bootstrap``, ``detach``: for a node that is stopped.

They read and change the votes in its data dir, nothing else.  The last two give up what
the rules protect, for an operator who knows that the majority will not come back.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from torua.cli.failures import ExitCode, Failure
from torua.cli.output import format_option, print_facts, print_json, print_table
from torua.codec import spell
from torua.core.coordination.lineage import Rest, adopted, alone, rests
from torua.core.coordination.messages import Facts
from torua.core.ids import NodeId
from torua.errors import ToruaError
from torua.node.votes import kept_facts
from torua.storage.files import DiskFiles
from torua.storage.identity import VOTES_FILE, KeptIdentity, read_identity
from torua.storage.lock import DataDirLock
from torua.storage.stable import StableStore

_directory = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Of the node.",
)
_accepted = click.option(
    "--accept-data-loss", is_flag=True, help="Do it; else tell only what would be done."
)

WHAT_BOOTSTRAP_DOES = (
    "It becomes the only voter of a NEW cluster, with the nodes and shards that it"
    " knows. Writes that were acknowledged after its state, or on copies that are lost,"
    " are LOST.",
    "The old cluster is given up: a majority of its voters that came back would go on"
    " without this node, beside the new one. Never start them with their old data dirs:"
    " bring each in by `torua detach`, or begin it with an empty data dir.",
)


class Kept(Struct, frozen=True):
    """What a data dir says: who the node is, and what it promised and accepted."""

    identity: KeptIdentity
    facts: Facts
    votes: Path

    def name(self, node: NodeId) -> str:
        """Name a node as people do."""
        entry = self.facts.accepted.state.nodes.get(node)
        return entry.name if entry else node

    def rests(self) -> tuple[Rest, ...]:
        """Tell of each shard what would be left of it with this node alone."""
        return rests(self.facts.accepted.state, self.identity.node_id)


@click.command("inspect-data")
@_directory
@format_option
def inspect_data(data_dir: Path, form: str) -> None:
    """Tell what a node's data dir knows of its cluster; changes nothing.

    Where a majority is lost, compare the survivors: the one with the greatest state,
    term first, then version, knows most.
    """
    with _said():
        kept = _read(data_dir)
    if form == "json":
        print_json({**_facts(kept), "shards": [_row(kept, r) for r in kept.rests()]})
        return
    _show(kept)


@click.command("unsafe-bootstrap")
@_directory
@_accepted
def unsafe_bootstrap(data_dir: Path, accept_data_loss: bool) -> None:
    """Begin a new cluster with one survivor, where most voters are lost for good.

    On a node that is stopped.  Without --accept-data-loss it only tells what would be
    done, and what would be lost.
    """
    with _said(), _locked(data_dir):
        kept = _read(data_dir)
        if not kept.facts.cluster_uuid:
            raise Failure(f"{data_dir} belongs to no cluster", ExitCode.NO)
        _show(kept)
        click.echo()
        for sentence in WHAT_BOOTSTRAP_DOES:
            click.echo(sentence)
        _agree(accept_data_loss)
        new = uuid.uuid4().hex
        _keep(kept, alone(kept.facts, new, lambda: uuid.uuid4().hex))
    click.echo(f"{kept.identity.name} is the only voter of cluster {new}: start it")
    click.echo(f"other survivors: torua detach --data-dir … --cluster {new}")


@click.command()
@_directory
@click.option("--cluster", "cluster_uuid", required=True, help="The new one's id.")
@_accepted
def detach(data_dir: Path, cluster_uuid: str, accept_data_loss: bool) -> None:
    """Bring another survivor into the cluster that `unsafe-bootstrap` began.

    On a node that is stopped.  It forgets the old cluster, and joins the new one with
    its copies: those that go on elsewhere are replaced, the others may be gone on with.
    """
    if len(cluster_uuid) != 32 or set(cluster_uuid) - set("0123456789abcdef"):
        raise Failure(f"not the id of a cluster: {cluster_uuid!r}", ExitCode.USAGE)
    with _said(), _locked(data_dir):
        kept = _read(data_dir)
        if kept.facts.cluster_uuid == cluster_uuid:
            raise Failure(f"it belongs to {cluster_uuid} already", ExitCode.NO)
        _show(kept)
        click.echo(
            f"\nIt leaves cluster {kept.facts.cluster_uuid or '(none)'} for good, and"
            f" joins {cluster_uuid}. Its copies of shards that go on there without it"
            " are erased."
        )
        _agree(accept_data_loss)
        _keep(kept, adopted(kept.facts, cluster_uuid))
    click.echo(f"{kept.identity.name} joins {cluster_uuid}: start it with --join")


@contextmanager
def _said() -> Iterator[None]:
    """Have what is wrong with a data dir said in one line."""
    try:
        yield
    except ToruaError as error:
        raise Failure(error.detail) from None


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep the node from being started meanwhile; refuse where it runs."""
    lock = DataDirLock(data_dir)
    try:
        yield
    finally:
        lock.release()


def _read(data_dir: Path) -> Kept:
    """Read what a data dir says."""
    files = DiskFiles()
    identity = read_identity(data_dir, files)
    if identity is None:
        raise Failure(f"{data_dir} is no node's data dir", ExitCode.NO)
    votes = data_dir / VOTES_FILE
    facts = kept_facts(StableStore(votes, files), identity.node_id)
    return Kept(identity, facts, votes)


def _keep(kept: Kept, facts: Facts) -> None:
    """Replace the votes, at once and on the disk."""
    StableStore(kept.votes, DiskFiles()).save(spell(facts))


def _agree(accepted: bool) -> None:
    """End here, unless the operator said that it shall be done."""
    if not accepted:
        raise Failure(
            "nothing was changed; with --accept-data-loss it is done", ExitCode.NO
        )


def _show(kept: Kept) -> None:
    """Show what a data dir says to people."""
    print_facts((name.replace("_", " "), fact) for name, fact in _facts(kept).items())
    rows = [tuple(_row(kept, rest).values()) for rest in kept.rests()]
    if rows:
        click.echo()
        print_table(("shard>", "copy here", "also in sync on", "with it alone"), rows)


def _facts(kept: Kept) -> dict[str, object]:
    """List what decides which survivor knows most."""
    facts, state = kept.facts, kept.facts.accepted.state
    version = f"version {facts.accepted.version} of term {facts.accepted.term}"
    return {
        "node": kept.identity.name,
        "node_id": kept.identity.node_id,
        "cluster": f"{state.cluster_name} ({facts.cluster_uuid or 'none'})",
        "state": f"{version}{'' if facts.committed else ', not known to be committed'}",
        "voters": [kept.name(voter) for voter in facts.accepted.voters],
        "nodes": sorted(entry.name for entry in state.nodes.values()),
    }


def _row(kept: Kept, rest: Rest) -> dict[str, object]:
    """Say of one shard what there is here."""
    here = "in sync" if rest.goes_on else "out of sync" if rest.holds else "none"
    return {
        "shard": rest.shard,
        "copy": here,
        "others": [kept.name(node) for node in rest.others],
        "alone": "goes on" if rest.goes_on else "red: needs force-allocate",
    }

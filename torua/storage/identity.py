"""Who this node is, for as long as its data dir lives.

A node whose disk was emptied must come back as another node: its votes and its copies
are gone, and an old id would vote again after amnesia (rule C8).  So the id is made
only where nothing else was ever kept.
"""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from torua.codec import plain
from torua.core.ids import NodeId
from torua.errors import CorruptionError, ProtocolError
from torua.storage.files import Files
from torua.storage.stable import StableStore

IDENTITY_FILE = "identity"
VOTES_FILE = "votes"
"""What the coordination keeps, in a `StableStore` of that name in the data dir."""

DATA_DIRECTORIES = ("log", "shards")
"""What else a data dir holds; where any of it is, the identity was made before it."""


class KeptIdentity(Struct, frozen=True):
    """What the data dir says of the node.

    Attributes:
        node_id: made once, with the data dir.
        name: what people call it.
        boot_epoch: which life of it this is; higher in every later one.
        has_votes: whether the votes file was begun, so that it must be there.
    """

    node_id: NodeId
    name: str
    boot_epoch: int
    has_votes: bool = False


def begin_life(
    data_dir: Path,
    files: Files,
    unix_ms: int,
    new_id: Callable[[], str],
    name: str | None = None,
) -> KeptIdentity:
    """Read who we are, or make it up; count this life, and keep that.

    Args:
        data_dir: where; it must exist, and be locked.
        files: the file layer.
        unix_ms: the wall clock, in milliseconds; the epoch rises even if it went back.
        new_id: makes 32 hexadecimal digits that nobody else ever makes.
        name: what people call it from now on; None keeps the name it has, and takes one
            from the id where it has none.

    Raises:
        CorruptionError: the identity is damaged, or missing beside data of an old node.
        DiskError, DiskFullError: it could not be kept.
    """
    path = data_dir / IDENTITY_FILE
    store = StableStore(path, files)
    kept = _read(store, path)
    if kept is None:
        _refuse_over_old_data(data_dir, files)
        node_id = NodeId(new_id())
        kept = KeptIdentity(node_id, name or f"node-{node_id[:8]}", 0)
    epoch = max(kept.boot_epoch + 1, unix_ms)
    identity = replace(kept, name=name or kept.name, boot_epoch=epoch)
    store.save(plain.spell(identity))
    return identity


def begin_votes(
    data_dir: Path, files: Files, identity: KeptIdentity, blank: bytes
) -> StableStore:
    """Open the votes, and begin them where this node never had any.

    Args:
        data_dir: where; it must exist, and be locked.
        files: the file layer.
        identity: whose votes, as `begin_life` gave it.
        blank: what the votes say before the first one.

    Raises:
        CorruptionError: the votes that were begun are gone; with its old id the node
            would vote twice (rule C8).
        DiskError, DiskFullError: they could not be kept.
    """
    votes = StableStore(data_dir / VOTES_FILE, files)
    missing = votes.load() is None
    if identity.has_votes and missing:
        raise CorruptionError(
            f"{data_dir / VOTES_FILE} is missing: a node that forgot its votes must "
            "not vote again; with an empty data dir it is another node",
            file=str(data_dir / VOTES_FILE),
        )
    if missing:
        votes.save(blank)
    if not identity.has_votes:
        kept = StableStore(data_dir / IDENTITY_FILE, files)
        kept.save(plain.spell(replace(identity, has_votes=True)))
    return votes


def read_identity(data_dir: Path, files: Files) -> KeptIdentity | None:
    """Read what a data dir says of its node; None where it says nothing.

    Args:
        data_dir: where.
        files: the file layer.

    Raises:
        CorruptionError: it is damaged.
        DiskError: it cannot be read.
    """
    path = data_dir / IDENTITY_FILE
    return _read(StableStore(path, files), path)


def _read(store: StableStore, path: Path) -> KeptIdentity | None:
    """Read what was kept; None where nothing was."""
    data = store.load()
    if data is None:
        return None
    try:
        return plain.read(data, KeptIdentity)
    except ProtocolError as error:
        raise CorruptionError(f"{path} is damaged: {error}", file=str(path)) from error


def _refuse_over_old_data(data_dir: Path, files: Files) -> None:
    """Raise where the data dir holds what an earlier node kept."""
    held = [name for name in DATA_DIRECTORIES if files.names(data_dir / name)]
    held += [VOTES_FILE] if VOTES_FILE in files.names(data_dir) else []
    if held:
        raise CorruptionError(
            f"{data_dir} has lost its identity: {held[0]} holds data of a node, but "
            f"{IDENTITY_FILE} is missing; a new node needs an empty data dir",
            file=str(data_dir / IDENTITY_FILE),
        )

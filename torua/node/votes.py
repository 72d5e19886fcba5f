"""What a node promised and accepted in elections, as its votes file keeps it."""

from msgspec.structs import replace

from torua.codec.plain import read
from torua.core.coordination.messages import Facts
from torua.core.ids import NodeId
from torua.errors import CorruptionError, ProtocolError
from torua.storage.stable import StableStore


def kept_facts(votes: StableStore, me: NodeId) -> Facts:
    """Read what a node keeps, as its last life kept it.

    Args:
        votes: where it is kept.
        me: whose it is.

    Raises:
        CorruptionError: they are another node's, or no votes.
    """
    data = votes.load()
    if data is None:
        return Facts(me, 0)
    try:
        facts = read(data, Facts)
    except ProtocolError as error:
        raise CorruptionError(f"the votes are damaged: {error.detail}") from error
    if facts.node_id != me:
        raise CorruptionError(
            f"the votes are of node {facts.node_id}, but this is node {me}: was a data "
            "dir restored?"
        )
    return facts


def read_facts(votes: StableStore, me: NodeId, boot_epoch: int) -> Facts:
    """Read what earlier lives of a node promised and accepted.

    Args:
        votes: where it is kept.
        me: whose.
        boot_epoch: the life that goes on with it, later than all before.

    Raises:
        CorruptionError: they are another node's, or no votes.
    """
    facts = kept_facts(votes, me)
    if facts.boot_epoch >= boot_epoch:
        raise CorruptionError(
            f"the votes are of life {facts.boot_epoch}, but this is node {me} in life "
            f"{boot_epoch}: was a data dir restored?"
        )
    return replace(facts, boot_epoch=boot_epoch)

"""What a node promised and accepted in elections, as its votes file keeps it."""

from msgspec.structs import replace

from torua.codec.plain import read
from torua.core.coordination.messages import Facts
from torua.core.ids import NodeId
from torua.errors import CorruptionError, ProtocolError
from torua.storage.stable import StableStore


def read_facts(votes: StableStore, me: NodeId, boot_epoch: int) -> Facts:
    """Read what earlier lives of a node promised and accepted.

    Args:
        votes: where it is kept.
        me: whose.
        boot_epoch: the life that goes on with it, later than all before.

    Raises:
        CorruptionError: they are another node's, or no votes.
    """
    data = votes.load()
    if data is None:
        return Facts(me, boot_epoch)
    try:
        facts = read(data, Facts)
    except ProtocolError as error:
        raise CorruptionError(f"the votes are damaged: {error.detail}") from error
    if facts.node_id != me or facts.boot_epoch >= boot_epoch:
        raise CorruptionError(
            f"the votes are of node {facts.node_id} in life {facts.boot_epoch}, but "
            f"this is node {me} in life {boot_epoch}: was a data dir restored?"
        )
    return replace(facts, boot_epoch=boot_epoch)

"""Whether a packet is for this life of this node, and from a life that counts.

An address may pass to another node, and a node to another life: then what was meant
for the one must not be answered by the other, or ghosts would never die.
"""

from torua.core.members import Member
from torua.core.membership.foreign import Foreign
from torua.core.membership.messages import Packet
from torua.core.membership.table import Table


def later_life(packet: Packet, me: Member) -> int:
    """Tell of which later life of this node a packet shows; 0 where of none.

    Args:
        packet: from anybody.
        me: this node.
    """
    epochs = [0]
    if packet.target == me.node_id:
        epochs.append(packet.target_epoch)
    if packet.sender == me.node_id:
        epochs.append(packet.sender_epoch)
    return max(epochs) if max(epochs) > me.boot_epoch else 0


def objection(packet: Packet, table: Table, foreign: Foreign) -> str:
    """Say in one word why a packet is not to be taken; empty where it is.

    Args:
        packet: from anybody.
        table: what this node believes.
        foreign: whom it refuses.
    """
    me = table.me
    if packet.target and packet.target != me.node_id:
        return "wrong-target"
    if later_life(packet, me):
        return "superseded"
    if packet.sender == me.node_id:
        return "own"
    if packet.target and packet.target_epoch < me.boot_epoch:
        return "stale-target"
    return _objection_to_sender(packet, table, foreign)


def _objection_to_sender(packet: Packet, table: Table, foreign: Foreign) -> str:
    """Object to nodes of other clusters, and to past lives."""
    held = table.other(packet.sender)
    if (packet.sender, packet.sender_epoch) in foreign:
        return "foreign-cluster"
    if held is not None and held.boot_epoch > packet.sender_epoch:
        return "old-life"
    return ""

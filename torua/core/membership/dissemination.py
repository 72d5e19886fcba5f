"""Which rumours ride on the next packet: those sent the fewest times first."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from torua.core.ids import NodeId
from torua.core.membership.messages import Rumour

MISFITS_MAX = 8
"""How many rumours too big for what room is left are looked past."""


class _Entry(Struct):
    """One rumour under way; it changes as it is sent.

    Invariants: ``sent`` only rises.
    """

    rumour: Rumour
    size: int
    sent: int = 0


class Dissemination:
    """The rumours that this node still has to spread, one a member.

    Invariants: a member's rumour stands in one place, and only the newest does; what
    stands at level i was sent i times; no level but the last is kept empty for ever.

    Performance: `take` costs what it takes, not what there is.
    """

    def __init__(self, room: int, size_of: Callable[[Rumour], int]) -> None:
        """Start with nothing to say.

        Args:
            room: how many bytes of rumours the emptiest packet has room for.
            size_of: how many bytes a rumour takes in a packet.
        """
        self.room = room
        self._size_of = size_of
        self._levels: list[dict[NodeId, _Entry]] = [{}]
        self._level_of: dict[NodeId, int] = {}
        self._oversize: dict[NodeId, int] = {}

    def __len__(self) -> int:
        """Count what waits to go by packets."""
        return len(self._level_of)

    def __contains__(self, node_id: NodeId) -> bool:
        """Tell whether there is still news of a member to spread."""
        return node_id in self._level_of or node_id in self._oversize

    def put(self, rumour: Rumour) -> None:
        """Spread a rumour from now on, in place of an earlier one of that member.

        One that no packet has room for waits for push/pulls instead.
        """
        node_id = rumour.member.node_id
        self.discard(node_id)
        size = self._size_of(rumour)
        if size > self.room:
            self._oversize[node_id] = 0
        else:
            self._place(node_id, _Entry(rumour, size))

    def discard(self, node_id: NodeId) -> None:
        """Spread no news of a member any more."""
        self._oversize.pop(node_id, None)
        level = self._level_of.pop(node_id, None)
        if level is not None:
            del self._levels[level][node_id]

    def take(self, room: int, limit: int) -> list[Rumour]:
        """Take what fits, and count it as sent once more.

        Args:
            room: how many bytes there are for rumours.
            limit: how often a rumour is sent; after that it is dropped from here.
        """
        chosen = list(self._choose(room))
        for entry in chosen:
            node_id = entry.rumour.member.node_id
            del self._levels[self._level_of.pop(node_id)][node_id]
            entry.sent += 1
            if entry.sent < limit:
                self._place(node_id, entry)
        return [entry.rumour for entry in chosen]

    @property
    def wants_sync(self) -> bool:
        """Tell whether there is news that only a push/pull can carry."""
        return bool(self._oversize)

    def synced(self, limit: int) -> None:
        """Count a push/pull, which carries everything, as one more sending."""
        sent = {node_id: count + 1 for node_id, count in self._oversize.items()}
        self._oversize = {
            node_id: count for node_id, count in sent.items() if count < limit
        }

    def _choose(self, room: int) -> Iterator[_Entry]:
        """Yield what fits, the least often sent and among those the newest first."""
        misfits = 0
        for level in self._levels:
            for entry in reversed(level.values()):
                if entry.size <= room:
                    room -= entry.size
                    yield entry
                elif (misfits := misfits + 1) > MISFITS_MAX:
                    return

    def _place(self, node_id: NodeId, entry: _Entry) -> None:
        """Put an entry where its count says."""
        while len(self._levels) <= entry.sent:
            self._levels.append({})
        self._levels[entry.sent][node_id] = entry
        self._level_of[node_id] = entry.sent

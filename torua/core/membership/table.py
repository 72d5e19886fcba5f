"""What one node believes of all, with the indexes that the rest of membership needs."""

from random import Random

from msgspec.structs import replace

from torua.core.ids import Address, NodeId
from torua.core.members import Member, Status
from torua.core.membership.beliefs import overrides
from torua.core.membership.messages import Rumour
from torua.core.membership.order import ProbeOrder
from torua.core.membership.suspicion import Suspicions
from torua.core.membership.timing import Timing

PEERS_MAX = 64
"""As many addresses are enough to find a cluster again."""


class Table:
    """The beliefs of one node.

    Invariants: this node stands in ``members``; ``order`` holds exactly the other
    members that live; a member has a suspicion exactly while it is SUSPECT, and a time
    in ``_gone_at`` exactly while it is DEAD or LEFT.
    """

    def __init__(self, me: Member, timing: Timing, rng: Random) -> None:
        """Believe in this node alone.

        Args:
            me: this node.
            timing: the preset.
            rng: draws the order of probes.
        """
        self.me = me
        self.members: dict[NodeId, Member] = {me.node_id: me}
        self.order = ProbeOrder(rng)
        self.suspicions = Suspicions(timing)
        self.heard_at: dict[NodeId, float] = {}
        self._gone_at: dict[NodeId, float] = {}
        self._timing = timing

    @property
    def live(self) -> int:
        """Count who lives, this node included."""
        return len(self.order) + 1

    def other(self, node_id: NodeId) -> Member | None:
        """Look up a member that is not this node."""
        return None if node_id == self.me.node_id else self.members.get(node_id)

    def change_me(self, **changes: object) -> Member:
        """Change what this node says of itself; return what it was before."""
        before = self.me
        self.me = replace(self.me, **changes)
        self.members[self.me.node_id] = self.me
        return before

    def adopt(self, rumour: Rumour, now: float) -> None:
        """Believe a rumour about another member, in place of what was believed.

        Args:
            rumour: it overrides what is held.
            now: the time.
        """
        member, node_id = rumour.member, rumour.member.node_id
        held = self.members.get(node_id)
        assert node_id != self.me.node_id and overrides(member, held)
        was_live = held is not None and held.is_live
        self.members[node_id] = member
        if member.is_live and not was_live:
            self.order.add(node_id)
        elif was_live and not member.is_live:
            self.order.discard(node_id)
        self._time(rumour, now)

    def forget(self, node_id: NodeId) -> Member:
        """Know a member no more; return what was believed of it."""
        self.order.discard(node_id)
        self.suspicions.end(node_id)
        self._gone_at.pop(node_id, None)
        self.heard_at.pop(node_id, None)
        return self.members.pop(node_id)

    def long_gone(self, now: float) -> list[NodeId]:
        """Tell who has been dead or away for so long that it is to be forgotten."""
        reap_s = self._timing.reap_s
        return [node_id for node_id, at in self._gone_at.items() if now - at >= reap_s]

    def dead(self, now: float, within_s: float) -> list[Member]:
        """Tell who died, and did not leave, a short while ago.

        Args:
            now: the time.
            within_s: what is a short while.
        """
        recent = [
            self.members[i] for i, t in self._gone_at.items() if now - t < within_s
        ]
        return [member for member in recent if member.status is Status.DEAD]

    def rumours(self, now: float) -> tuple[Rumour, ...]:
        """Say all that is believed, this node first."""
        me = self.me.node_id
        return tuple(
            Rumour(member, me, self.age(node_id, now))
            for node_id, member in self.members.items()
        )

    def age(self, node_id: NodeId, now: float) -> float:
        """Tell for how many seconds a member has been gone.

        Args:
            node_id: the member; 0 is the answer where it is not gone.
            now: the time.
        """
        return max(0.0, now - self._gone_at.get(node_id, now))

    def peers(self) -> tuple[Address, ...]:
        """Tell where the others that live are."""
        ids = [node_id for node_id in self.members if node_id != self.me.node_id]
        live = [self.members[i].address for i in ids if self.members[i].is_live]
        return tuple(sorted(live)[:PEERS_MAX])

    def namesakes(self, member: Member) -> list[Member]:
        """Tell who else lives under a member's name, at another address.

        At the same address it is what the member came to replace.
        """
        same = [other for other in self.members.values() if other.name == member.name]
        return [
            other
            for other in same
            if other.is_live
            and other.node_id != member.node_id
            and other.address != member.address
        ]

    def _time(self, rumour: Rumour, now: float) -> None:
        """Set or clear the times that go with the status."""
        member, node_id = rumour.member, rumour.member.node_id
        self.suspicions.end(node_id)
        self._gone_at.pop(node_id, None)
        if member.status is Status.SUSPECT:
            self.suspicions.begin(node_id, rumour.by, self.live, now)
        elif not member.is_live:
            self._gone_at[node_id] = now - max(0.0, rumour.age_s)

"""Which nodes are lost."""

from collections.abc import Callable

from torua.core.ids import NodeId
from torua.node.reach import FORGOTTEN, Reach

ONE, TWO = NodeId("1" * 32), NodeId("2" * 32)


class Connections:
    """Connections by hand.

    Invariants: one watches.
    """

    def watch(
        self,
        on_up: Callable[[NodeId], None],
        on_down: Callable[[NodeId, str], None],
    ) -> None:
        """See `Peers.watch`.

        Args:
            on_up: told of a connection.
            on_down: told of none.
        """
        self.up, self.down = on_up, on_down


def watched() -> tuple[Connections, Reach, list[str]]:
    """Watch connections, and note what is told."""
    told: list[str] = []
    peers = Connections()
    reach = Reach(
        peers,
        lambda node: told.append(f"up {node[0]}"),
        lambda node: told.append(f"lost {node[0]}"),
    )
    return peers, reach, told


def test_a_node_is_lost_once_another_try_failed() -> None:
    """And is back with a connection; one that never was connected is none of ours."""
    peers, reach, told = watched()
    peers.down(TWO, "refused")
    peers.up(ONE)
    peers.down(ONE, "reset")
    assert (reach.lost, told) == ((), ["up 1"])
    peers.down(ONE, "refused")
    peers.down(ONE, "refused")
    assert (reach.lost, told) == ((ONE,), ["up 1", "lost 1"])
    peers.up(ONE)
    assert (reach.lost, told[-1]) == ((), "up 1")


def test_a_node_that_membership_gave_up_is_lost_at_once() -> None:
    """Nobody dials it any more."""
    peers, reach, told = watched()
    peers.up(ONE)
    peers.down(ONE, FORGOTTEN)
    assert (reach.lost, told) == ((ONE,), ["up 1", "lost 1"])

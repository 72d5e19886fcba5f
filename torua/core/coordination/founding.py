"""How a cluster is formed where there is none: who founds it, and with what."""

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from torua.core.builds import next_level
from torua.core.configuration import Configuration
from torua.core.coordination.messages import Event, Facts, Voters
from torua.core.coordination.voters import first_voters
from torua.core.members import Member
from torua.core.state import ClusterState, Settings


class Founding(Struct, frozen=True):
    """What this node was told about forming a cluster.

    Attributes:
        cluster_name: its label.
        settings: what is fixed for it; ``settings.expected_nodes`` is not read here.
        bootstrap_expect: how many nodes must be seen first; 0 to join only.
        configuration: what it begins with of what may be changed.
    """

    cluster_name: str = ""
    settings: Settings = Settings()
    bootstrap_expect: int = 0
    configuration: Configuration = Configuration()


def is_blank(facts: Facts, live: list[Member]) -> bool:
    """Tell whether there is neither a voter set nor a cluster to be seen.

    Args:
        facts: what this node keeps.
        live: the members that live.
    """
    blank = not facts.accepted.voters and not facts.cluster_uuid
    return blank and not any(member.meta.cluster_uuid for member in live)


def founders(founding: Founding, live: list[Member]) -> Voters:
    """Return the first voter set to try; nobody while too few are there, or ever.

    Args:
        founding: what this node was told.
        live: the members that live.
    """
    if not 0 < founding.bootstrap_expect <= len(live):
        return ()
    able = [member.node_id for member in live if "voter" in member.meta.roles]
    return first_voters(able, founding.bootstrap_expect)


def lacking(founding: Founding, live: list[Member]) -> tuple[Event, str]:
    """Return what there is to say while no cluster is formed or seen, and how much.

    Args:
        founding: what this node was told.
        live: the members that live.
    """
    if not founding.bootstrap_expect:
        return Event.SEEKING, ""
    return Event.WAITING, f"{len(live)} of {founding.bootstrap_expect}"


def blank_state(founding: Founding, live: list[Member], random: Random) -> ClusterState:
    """Make the state that a new cluster begins with, under a uuid of its own.

    Args:
        founding: what this node was told.
        live: the members that live; it begins at the feature level that all know.
        random: makes the uuid.
    """
    return ClusterState(
        cluster_uuid=f"{random.getrandbits(128):032x}",
        cluster_name=founding.cluster_name,
        settings=replace(founding.settings, expected_nodes=founding.bootstrap_expect),
        configuration=founding.configuration,
        feature_level=next_level(0, (member.meta.build for member in live)),
    )

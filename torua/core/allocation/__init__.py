"""DECIDES which nodes belong, which of them holds which shard copy, and who leads it.

`reconcile` compares the cluster state with the nodes that live and are lost, and
returns the state that should be; `execute` does what a node asks for.  Both return the
same object where nothing changes, and whoever commits calls them again until it does
not.  Neither knows a clock or a network: who is lost, and what time it is, they are
told.

What it does not do: find out who lives (`membership`, `coordination`), or copy data
(`replication`).  What the rules protect stands in `docs/allocation.md`.
"""

from torua.core.allocation.commands import (
    Command,
    CopyLost,
    FailCopy,
    ForceAllocate,
    HandOver,
    Leave,
    MarkInSync,
    MarkStarted,
    execute,
)
from torua.core.allocation.configuring import Configure
from torua.core.allocation.delays import Delays
from torua.core.allocation.operating import (
    Forget,
    GiveLead,
    MoveCopy,
    Rebalance,
    SetDuty,
)
from torua.core.allocation.outlook import Outlook
from torua.core.allocation.reconciling import reconcile

__all__ = [
    "Command",
    "Configure",
    "CopyLost",
    "Delays",
    "FailCopy",
    "ForceAllocate",
    "Forget",
    "GiveLead",
    "HandOver",
    "Leave",
    "MarkInSync",
    "MarkStarted",
    "MoveCopy",
    "Outlook",
    "Rebalance",
    "SetDuty",
    "execute",
    "reconcile",
]

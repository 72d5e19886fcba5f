"""How a node takes turns with other processes: it waits for the end of theirs.

By default the kernel lets whoever is woken by a message take the processor from whoever
sent it, in the middle of its turn (``sched(7)``).  What the sender had more to send
comes by itself then, and both do more for less.  A node says of itself that it need not
be so (``SCHED_BATCH``): it is woken as before, and runs at once where a processor is
idle, or else as soon as its turn comes.
"""

import os


def wait_for_turns() -> bool:
    """Have this thread, and all that it starts, interrupt nobody when it is woken.

    Returns:
        Whether it is so: some systems know no such policy, or allow none.
    """
    policy = getattr(os, "SCHED_BATCH", None)
    if policy is None:
        return False
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        return False
    return True

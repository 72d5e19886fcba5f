"""A node's threads wait for their turns."""

import os
import sys
from threading import Thread

import pytest

from torua.service.scheduling import wait_for_turns


@pytest.mark.skipif(sys.platform != "linux", reason="about the kernel of Linux")
def test_threads_that_are_started_later_wait_as_well() -> None:
    """The policy is of a thread, and whatever it starts has it too."""
    found: list[object] = []

    def starts() -> None:
        """Wait, and start another that says how it is scheduled."""
        found.append(wait_for_turns())
        other = Thread(target=lambda: found.append(os.sched_getscheduler(0)))
        other.start()
        other.join()

    thread = Thread(target=starts)
    thread.start()
    thread.join()
    if found[0] is False:
        pytest.skip("this kernel does not allow it")
    assert found == [True, os.SCHED_BATCH]
    assert os.sched_getscheduler(0) != os.SCHED_BATCH

"""Memory that was used once is used again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from torua.service.memory import keep_pages
kept = keep_pages()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def copies():
    begin = faults()
    for _ in range(8):
        several = [bytes(16 << 20) + b"x" for _ in range(2)]
        del several
    return faults() - begin
copies()
print(kept, copies() * resource.getpagesize() >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about the C library of Linux")
def test_copies_of_large_values_fault_no_new_pages_in() -> None:
    """What was freed after the last copy is there for the next."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    kept, mebibytes = done.stdout.split()
    if kept == "False":
        pytest.skip("this C library keeps pages as it likes")
    assert int(mebibytes) < 32

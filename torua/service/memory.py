"""How memory is kept in a node: the collector looks seldom, and pages are used again.

What requests leave behind is freed by its reference counts; the collector finds next to
nothing, and a look at everything is what it costs.  So what is there once a node has
started, modules and all, is set aside, and looks are made for many objects at once.

A large value is copied at each hop, and for each copy the C library asks the kernel for
new pages, and gives them back after: to fault 16 MiB of them in takes ten times as long
as to copy 16 MiB.  So some are kept, for the next copy, and all threads share them.
"""

import ctypes
import gc

YOUNG_OBJECTS = 20_000
"""So many more objects than before, and the young are looked at: some ten requests'
worth was the default."""

OLD_LOOKS = 50
"""After so many looks at the middle-aged, the old are looked at too."""

KEPT_BYTES = 64 << 20
"""Of what is free at the heap's end so much is not given back: four large values."""

TRIM_BYTES = 2 * KEPT_BYTES
"""Where more is free the rest is given back."""

MAPPED_BYTES = 32 << 20
"""What is larger gets pages of its own; the C library takes no more than this."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
"""Of ``mallopt``; see ``malloc.h``."""


def tune() -> None:
    """Set aside what is there, and look seldom; once a node has started."""
    keep_pages()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, OLD_LOOKS)


def keep_pages() -> bool:
    """Have the C library keep freed pages; tell whether it is one that can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {
        _TRIM_THRESHOLD: TRIM_BYTES,
        _TOP_PAD: KEPT_BYTES,
        _MMAP_THRESHOLD: MAPPED_BYTES,
        _ARENA_MAX: 1,
    }
    return all([mallopt(option, value) == 1 for option, value in wanted.items()])

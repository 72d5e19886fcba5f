"""How the garbage collector works in a node: seldom, and not on what stays.

What requests leave behind is freed by its reference counts; the collector finds next to
nothing, and a look at everything is what it costs.  So what is there once a node has
started, modules and all, is set aside, and looks are made for many objects at once.
"""

import gc

YOUNG_OBJECTS = 20_000
"""So many more objects than before, and the young are looked at: some ten requests'
worth was the default."""

OLD_LOOKS = 50
"""After so many looks at the middle-aged, the old are looked at too."""


def tune() -> None:
    """Set aside what is there, and look seldom; once a node has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, OLD_LOOKS)

"""Makes the file layer of a node fail, as the file named by ``FAULTS_FILE`` says.

Python imports this by itself where it is on the path.  It wraps the operating system's
side of the file layer, so that the product knows nothing of it.
"""

import errno
import json
import os
from pathlib import Path

from torua.storage.files import DiskFile

FAULTS = os.environ.get("FAULTS_FILE", "")

_init = DiskFile.__init__


def _remembering(self, path):
    """Open a file, and remember where it is."""
    _init(self, path)
    self._path = str(path)


def _failing(name, method):
    """Return a method that fails where it is told to."""

    def wrapped(self, *arguments):
        if os.path.exists(FAULTS):
            order = json.loads(Path(FAULTS).read_text())
            if order["operation"] == name and order["below"] in self._path:
                number = getattr(errno, order["error"])
                raise OSError(number, os.strerror(number))
        return method(self, *arguments)

    return wrapped


if FAULTS:
    DiskFile.__init__ = _remembering
    for _name in ("append", "sync", "read"):
        setattr(DiskFile, _name, _failing(_name, getattr(DiskFile, _name)))

"""What is done about a log that is damaged: nothing of it is served, and it is kept."""

from pathlib import Path

from torua.errors import CorruptionError
from torua.storage.files import Files, blame
from torua.storage.log import Log


def open_log(directory: Path, files: Files, label: str) -> tuple[Log, str]:
    """Open the node's log; a damaged one is set aside, and an empty one begun.

    The copies then miss their records, which they find out when they are opened: they
    are made anew from others, and where there are none, their shards stay red and what
    was set aside is for people to look at.

    Args:
        directory: where the log is.
        files: the file layer.
        label: tells what is set aside from what was before; part of a file name.

    Returns:
        The log, and what was found to be wrong; empty where nothing was.

    Raises:
        DiskError: it cannot be read, or not be set aside.
    """
    try:
        return Log.open(directory, files), ""
    except CorruptionError as error:
        detail = error.detail
    aside = directory.with_name(f"{directory.name}.damaged-{label}")
    try:
        files.replace(directory, aside)
        files.sync_directory(directory.parent)
    except OSError as error:
        blame(error, directory)
    return Log.open(directory, files), f"{detail}; it is kept as {aside}"

"""SQLite, opened the one way that a map needs, and what its errors mean.

Its WAL takes every write without a sync; a second connection on another thread copies
it into the database and syncs now and then.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from torua.errors import CorruptionError, DiskError, DiskFullError

WAL_BYTES_MAX = 64 << 20
"""A larger WAL is emptied by a checkpoint that makes a write wait for its end."""

_PAGE_BYTES = 4096
"""A change writes whole pages to the WAL: larger ones make small writes slower."""

_CACHE_KIB = 20 << 10
"""A value of the most bytes fits in; where it does not, reading it takes five times."""

_ROUNDS_MAX = 8
_WAIT_BYTES_MAX = 256 << 10
"""As much a checkpoint may have to copy and sync while writes wait for it."""

_BUSY_TIMEOUT_S = 30.0
_DISK_CODES = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }
)
_DAMAGE_CODES = frozenset(
    {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a database the way every connection to it must be.

    Any thread may use it, one at a time; who does is the caller's business.

    Raises:
        sqlite3.Error: it cannot be opened; `blame` tells what that means.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (
            f"page_size={_PAGE_BYTES}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "wal_autocheckpoint=0",
            f"journal_size_limit={WAL_BYTES_MAX}",
            f"cache_size=-{_CACHE_KIB}",
            "secure_delete=OFF",
            "cell_size_check=ON",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def copy_wal(connection: sqlite3.Connection) -> bool:
    """Copy what the WAL holds into the database, and sync both.

    Returns:
        Whether all that was there at the beginning was copied, and is durable.
    """
    done, frames = _checkpoint(connection, "PASSIVE")
    if frames * _PAGE_BYTES > WAL_BYTES_MAX:
        _begin_wal_anew(connection, frames)
    return done


def _checkpoint(connection: sqlite3.Connection, mode: str) -> tuple[bool, int]:
    """Copy the WAL's frames into the database.

    Args:
        connection: not the one that writes.
        mode: SQLite's.

    Returns:
        Whether all that were there were copied, and are durable; and how many.
    """
    row = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    busy, frames, copied = row
    return not busy and frames == copied, frames


def _begin_wal_anew(connection: sqlite3.Connection, frames: int) -> None:
    """Let the next write begin the WAL at its front; under load it never would.

    What is written meanwhile is copied first, so that the last part, for which writes
    wait, is short.

    Args:
        connection: not the one that writes.
        frames: how many were copied already.
    """
    for _ in range(_ROUNDS_MAX):
        copied, (_, frames) = frames, _checkpoint(connection, "PASSIVE")
        if (frames - copied) * _PAGE_BYTES <= _WAIT_BYTES_MAX:
            break
    _checkpoint(connection, "RESTART")


@contextmanager
def blame(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into what they mean for whoever must act."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except UnicodeDecodeError as error:
        raise CorruptionError(f"{path} is damaged: {error}", file=str(path)) from error
    except sqlite3.Error as error:
        _raise(error, path)


def _raise(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise the error of ours that one of SQLite's means."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code & 0xFF == sqlite3.SQLITE_FULL:
        raise DiskFullError(f"{path}: no room left", file=str(path)) from error
    if code & 0xFF in _DISK_CODES and code not in _DAMAGE_CODES:
        raise DiskError(f"{path}: {error}", file=str(path)) from error
    raise CorruptionError(f"{path} is damaged: {error}", file=str(path)) from error

"""The data directory: its lock, its address file, and refusals to start where it cannot be used."""

import contextlib
import fcntl
import json
import logging
import os
import pwd
import shutil
from collections.abc import Iterator, Sequence
from errno import EACCES
from pathlib import Path
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from tailrace.events import TailraceError
from tailrace.log import LogVersionError
from tailrace.server.layout import BACKUPS_DIRECTORY, LOCK_FILE, RESTORING_FILE, SERVER_FILE, TEMPORARY_DIRECTORY
from tailrace.storage.faults import reason_of
from tailrace.storage.files import make_directories, replace_durably
from tailrace.storage.legacy import ImportRefused
from tailrace.storage.migrations import UpgradeFailed

logger = logging.getLogger(__name__)


def refuse(reason: str) -> NoReturn:
    """Refuse to start. Raise SystemExit with the reason, for exit code 1."""
    raise SystemExit(f"tailrace: {reason}")


@contextlib.contextmanager
def locked(data: Path) -> Iterator[int]:
    """Create the data directory if missing, and lock it for this process; yield the descriptor that holds the lock.

    Raise SystemExit where it cannot be created or written, or where another server has locked it.
    """
    try:
        make_directories(data)
    except OSError as error:
        refuse(f"the data directory {data} cannot be made: {error.strerror}")
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        refuse(f"the data directory {data} cannot be written: {error.strerror}")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another server is running on the data directory {data}")
        yield descriptor
    finally:
        os.close(descriptor)


def check_restored(data: Path) -> None:
    """Refuse to start on a data directory to which a backup is restored in part."""
    if (data / RESTORING_FILE).exists():
        refuse(f"a restore to {data} was stopped in the middle: run `tailrace restore` again, which goes on with it")


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Refuse to start, with a reason of one line, where a part of the data directory cannot be used."""
    try:
        yield
    except (LogVersionError, ImportRefused, ValueError) as error:  # whose messages are complete
        refuse(str(error))
    except OSError as error:
        if not error.filename:
            logger.exception("%s cannot be opened", path)
            refuse(f"{path} cannot be opened: {error}")
        advice = f": it is to belong to the user of the server, who is {_user()}" if error.errno == EACCES else ""
        refuse(f"{error.filename} cannot be opened: {error.strerror}{advice}")
    except (SQLAlchemyError, UpgradeFailed, TailraceError) as error:
        reason = reason_of(error.__cause__ or error, str(error).splitlines()[0])
        refuse(f"{path} cannot be opened: {reason}; restore it from a backup, or move it away to begin anew")


def remove_temporary(data: Path) -> None:
    """Remove what queries of a killed server spilled to disk, and its backups kept; where that fails, a query that
    spills reports it.

    Engines create the directory again.
    """
    shutil.rmtree(data / BACKUPS_DIRECTORY, ignore_errors=True)
    directory = data / TEMPORARY_DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.unlink(missing_ok=True)  # where it is no directory


def write_address(data: Path, url: str, doors: Sequence[str] = ()) -> None:
    """Write the server's URL, and its open doors, for the commands on this machine.

    The server runs without it, such as on a full disk.
    """
    file = data / SERVER_FILE
    address = {"url": url, "pid": os.getpid(), **({"doors": list(doors)} if doors else {})}
    try:
        replace_durably(file, json.dumps(address).encode() + b"\n")
    except OSError as error:
        logger.error("%s cannot be written (%s): commands need --url", file, error)
        file.unlink(missing_ok=True)  # of an earlier run


def remove_address(data: Path) -> None:
    """Remove what `write_address` wrote."""
    (data / SERVER_FILE).unlink(missing_ok=True)


def _user() -> str:
    """Return the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())

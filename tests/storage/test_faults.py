"""What a failure of a disk is told as, whichever library met it."""

import errno
import logging
import os
import sqlite3

import pytest
from deltalake.exceptions import CommitFailedError

from tailrace.events import DatasetNotFound, DiskFull, StorageUnavailable
from tailrace.storage.faults import disk_fault, reason_of, sqlite_fault, without_traceback

FULL = "no space is left on the disk"


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("of the library")
    error.sqlite_errorcode = code
    return error


def wrapped(inner: Exception) -> Exception:
    try:
        raise RuntimeError("the file could not be closed") from inner
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # As deltalake and Arrow raise them, without a number of their own.
        OSError("Generic LocalFileSystem error: Unable to copy data to file: No space left (os error 28)"),
        CommitFailedError("Failed to commit transaction: /srv/x (os error 28)"),
        OSError("Error writing bytes to file. Detail: [errno 28] No space"),
        sqlite_error(13),
        sqlite_error(4874),
        wrapped(OSError(errno.ENOSPC, "x")),
    ],
)
def test_a_full_disk_is_known_from_every_library(error: Exception) -> None:
    fault = disk_fault(error)

    assert isinstance(fault, DiskFull)
    assert (fault.status, FULL in fault.message, "/srv" in fault.message) == (503, True, False)
    assert reason_of(error) == FULL


def test_a_disk_that_takes_no_writes_is_told_of() -> None:
    fault = disk_fault(OSError(errno.EROFS, os.strerror(errno.EROFS), "/srv/x"))

    assert isinstance(fault, StorageUnavailable)
    assert "the disk can only be read" in fault.message


def test_other_errors_are_no_faults_of_the_disk() -> None:
    assert disk_fault(ValueError("x")) is None
    assert disk_fault(OSError(errno.EACCES, "x")) is None
    assert sqlite_fault(sqlite_error(1)) is None  # SQLITE_ERROR: of the statement
    assert sqlite_fault(sqlite_error(19)) is None  # SQLITE_CONSTRAINT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), "Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/srv/x"), "No such file or directory"),
        (ValueError("of /srv/x"), "it is damaged or incomplete"),
        (OSError("of /srv/x"), "it is damaged or incomplete"),
        (DatasetNotFound("dataset 'a' not found"), "dataset 'a' not found"),
        (sqlite_error(26), "it is damaged or incomplete"),
    ],
)
def test_a_reason_has_neither_a_path_nor_the_words_of_a_library(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def record(error: Exception) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.ERROR, "", 1, "commit of %r failed", ("web",), (type(error), error, None))
    assert without_traceback(made)
    return made


def test_a_full_disk_is_logged_in_a_line_and_what_is_not_known_with_its_traceback() -> None:
    full = record(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    other = record(ValueError("x"))

    assert (full.getMessage(), full.exc_info) == (f"commit of 'web' failed: {FULL}", None)
    assert other.getMessage() == "commit of 'web' failed"
    assert other.exc_info is not None

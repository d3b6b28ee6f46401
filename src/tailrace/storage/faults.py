"""Failures of disks and databases as our errors, without a path or a library's wording."""

import errno
import logging
import os
import re
import sqlite3
from collections.abc import Iterator

from tailrace.events import DiskFull, StorageUnavailable, TailraceError

RETRY_AFTER_S = 10
FULL = "no space is left on the disk"
READ_ONLY = "the disk can only be read"
UNREADABLE = "it is damaged or incomplete"

_DISK_FULL_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
# How libraries write the number of an OSError that they keep to themselves: Rust's, then Arrow's.
_NUMBER = re.compile(r"\((?:os error) (\d+)\)|\[errno (\d+)\]", re.IGNORECASE)
_FULL_TEXT = os.strerror(errno.ENOSPC)  # how DuckDB's errors end
_READ_ONLY_TEXT = os.strerror(errno.EROFS)

# Of https://www.sqlite.org/rescode.html, primary codes but for the one that says more.
_SQLITE_FULL = 13
_SQLITE_IOERR_SHMSIZE = 4874  # no space for the index of its write-ahead log
_SQLITE_REASONS = {
    5: "it is locked by another process",
    6: "it is locked by another process",
    8: READ_ONLY,
    10: "the disk failed",
    11: UNREADABLE,
    14: "its file cannot be opened",
    26: UNREADABLE,
}

# In the errors of obstore, and of delta-rs, which has the same library within it.
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")


class ObjectStoreFault(OSError):
    """An object store did not do what it was asked, or its answer was lost. The text is for people, clients too."""


def is_full(error: BaseException) -> bool:
    """Return whether an error comes of a full disk, or of a quota that is used up."""
    return any(
        _error_number(each) in _DISK_FULL_NUMBERS or _FULL_TEXT in str(each) or _is_full_sqlite(each)
        for each in _chain(error)
    )


def is_read_only(error: BaseException) -> bool:
    """Return whether an error comes of a disk that takes no writes."""
    return any(_error_number(each) == errno.EROFS or _READ_ONLY_TEXT in str(each) for each in _chain(error))


def without_traceback(record: logging.LogRecord) -> bool:
    """Filter log records: an error that comes of a disk that is full or takes no writes, or of a store, is one line."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and (is_full(error) or is_read_only(error) or _is_of_store(error)):
        record.msg, record.args = f"{record.getMessage()}: {reason_of(error)}", ()
        record.exc_info = None
    return True


def _is_of_store(error: BaseException) -> bool:
    return any(isinstance(each, ObjectStoreFault) for each in _chain(error))


def reason_of(error: BaseException, otherwise: str = UNREADABLE) -> str:
    """Return why something on a disk could not be read or written, in words that any client may see.

    `otherwise` is returned for an error of another kind.
    """
    if is_full(error):
        return FULL
    if is_read_only(error):
        return READ_ONLY
    for each in _chain(error):
        if isinstance(each, TailraceError):
            return each.message
        if isinstance(each, ObjectStoreFault):
            return str(each)
        if isinstance(each, sqlite3.Error) and (known := _SQLITE_REASONS.get(_sqlite_code(each) & 0xFF)):
            return known
        if (number := _error_number(each)) is not None:
            return os.strerror(number)
    return otherwise


def disk_fault(error: BaseException) -> TailraceError | None:
    """Return the refusal for an error that comes of a full disk or one that takes no writes, None for any other."""
    if is_full(error):
        return disk_full()
    if is_read_only(error):
        return StorageUnavailable(f"the server cannot keep this: {READ_ONLY}", retry_after_s=RETRY_AFTER_S)
    return None


def disk_full() -> DiskFull:
    """Return the refusal of what would need space on a full disk."""
    return DiskFull(f"the server cannot keep this: {FULL}", retry_after_s=RETRY_AFTER_S)


def sqlite_fault(error: sqlite3.Error) -> TailraceError | None:
    """Return the refusal for a failure of an SQLite file, None for an error in what it was asked."""
    if _is_full_sqlite(error):
        return disk_fault(error)
    reason = _SQLITE_REASONS.get(_sqlite_code(error) & 0xFF)
    if reason is None:
        return None
    return StorageUnavailable(f"the server's database does not answer: {reason}", retry_after_s=RETRY_AFTER_S)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _error_number(error: BaseException) -> int | None:
    """Return the system's number of an error, also of one that a library wrote into its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _NUMBER.search(str(error))
    return int(match[1] or match[2]) if match else None


def _sqlite_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # an error of the module itself has none
    return code


def _is_full_sqlite(error: BaseException) -> bool:
    if not isinstance(error, sqlite3.Error):
        return False
    code = _sqlite_code(error)
    return code & 0xFF == _SQLITE_FULL or code == _SQLITE_IOERR_SHMSIZE


def reason_in(text: str) -> str:
    """Return what an error of an object store's library says, in words that any client may see."""
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is not None:
        return f"the object store answers {status[1]}{f' {code[1]}' if code else ''}"
    if "timed out" in text or "TimedOut" in text:
        return "the object store does not answer in time"
    if "HTTP error" in text or "HttpError" in text:
        return "the object store cannot be reached, or breaks off"
    return f"the object store fails: {text.splitlines()[0]}"

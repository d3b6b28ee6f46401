"""Files that survive a power cut: written whole, flushed, and put in place in one step."""

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

FLUSH_THREADS = 16  # what file systems flush at the same time shares their journal's writes

logger = logging.getLogger(__name__)


def read_bytes(path: Path) -> bytes | None:
    """Return the content of a file, or None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def flush(path: Path) -> None:
    """Flush a file's content, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(paths: Iterable[Path]) -> None:
    """Flush many files or directories, which takes far less time than one after the other."""
    paths = list(paths)
    if len(paths) == 1:
        flush(paths[0])
        return
    with ThreadPoolExecutor(FLUSH_THREADS, "tailrace-flush") as threads:
        for done in [threads.submit(flush, path) for path in paths]:
            done.result()


def write_flushed(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a new file and flush its content; where that fails there is none, so that nobody trusts it later."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


def make_directories(path: Path) -> None:
    """Make a directory and those above it that are missing, durably, for their owner only."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for directory in reversed(missing):
        make_directory(directory)


def make_directory(path: Path) -> None:
    """Make a directory, for its owner only, and flush its name; where that fails there is none, as it may be lost."""
    path.mkdir(mode=0o700, exist_ok=True)
    try:
        flush(path.parent)
    except BaseException:
        with suppress(OSError):  # where somebody else has put something into it
            path.rmdir()
        raise


def replace_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path` in one step that a crash cannot split; it and its name are on disk when this returns.

    When it fails, what was at `path` is there still, and nothing is left of the attempt.
    """
    make_directories(path.parent)
    temporary = path.with_name(path.name + ".new")
    # Never written to again: after a failed flush of it the system may take for written what is not.
    temporary.unlink(missing_ok=True)
    write_flushed(temporary, content, mode=mode)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def set_aside(path: Path) -> Path | None:
    """Move a file that holds nothing sound out of the way, so that it can be looked at; return where it is now.

    None where it cannot be moved. An earlier one is replaced.
    """
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
    except OSError:
        logger.exception("%s cannot be set aside", path)
        return None
    return aside

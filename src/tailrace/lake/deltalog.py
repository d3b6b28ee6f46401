"""The log of a Delta table: versions whose content is on the disk before their name can be.

A version is a file `N.json` of one action a line, as the Delta protocol has it. It is written under another name,
flushed, linked to its own name without overwriting (so that of two writers one is told), and its directory is flushed.
The other name goes last: where it is still there, that flush failed or never came.
"""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from tailrace.events import DatasetUnavailable
from tailrace.storage.files import flush, make_directories, replace_durably, write_flushed

DELTA_LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
UNREADABLE_DIRECTORY = Path("_tailrace", "unreadable")  # in a table's directory: what was set aside
SCRATCH_PREFIX = "checkpoint-"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = "_commit_", ".json.tmp"  # as delta-rs names them: readers pass over them
DIGITS = 20  # of a version in a file's name

Action = Mapping[str, Any]
"""One action of a version: its kind, and its members as the Delta protocol names them."""

logger = logging.getLogger(__name__)


class DeltaLog:
    """Writes the versions of the table in a directory. One thread at a time may use it."""

    def __init__(self, table: Path) -> None:
        self.path = table / DELTA_LOG
        self._unsure: dict[int, bytes] = {}  # versions that may have their name, but perhaps not on the disk

    @property
    def is_sure(self) -> bool:
        """Whether every version that `append` was asked for is either durable or not there at all."""
        return not self._unsure

    def append(self, version: int, actions: Iterable[Action]) -> None:
        """Write a version, durably.

        Raise FileExistsError where there is one of this number. With any other error it may be there or not: `is_sure`
        tells whether that is known, and `settle` makes sure.
        """
        content = b"".join(msgspec.json.encode(action) + b"\n" for action in actions)
        path = version_path(self.path, version)
        temporary = self._temporary(content)
        self._unsure[version] = content
        try:
            os.link(temporary, path)
        except FileExistsError:
            del self._unsure[version]
            temporary.unlink()
            raise
        flush(self.path)
        del self._unsure[version]
        temporary.unlink()

    def settle(self) -> None:
        """Make what is there of versions whose fate is not known durable: a name whose flush failed is made anew."""
        if not self._unsure:
            return
        for version, content in self._unsure.items():
            path = version_path(self.path, version)
            # Not that of another writer, which came first.
            if path.exists() and path.read_bytes() == content:
                self._temporary(content).replace(path)
        flush(self.path)
        self._unsure.clear()
        for temporary in _temporaries(self.path):
            temporary.unlink()

    def _temporary(self, content: bytes) -> Path:
        path = self.path / f"{TEMPORARY_PREFIX}{uuid.uuid4()}{TEMPORARY_SUFFIX}"
        write_flushed(path, content)
        return path


def version_path(log: Path, version: int) -> Path:
    return log / f"{version:0{DIGITS}d}.json"


# Opening


def recover(table: Path) -> list[str]:
    """Make a table's log whole and durable as far as a crash or a power cut may have kept it from being so.

    A newest version that is not whole is set aside: it never was durable, so the rows of it are in the log of events.
    Returns the names of the files that were. Raise OSError, and DatasetUnavailable for a version that must stay.
    """
    log = table / DELTA_LOG
    found: list[str] = []
    if not log.is_dir():
        return found
    for scratch in (table / "_tailrace").glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(scratch)
    newest = max(versions(log), default=None)
    if newest is not None and (fault := _fault(version_path(log, newest).read_bytes())):
        later = [number for number in map(_number, _set_aside_before(table)) if number is not None and number > newest]
        if newest == 0 or later or fault != TORN:
            raise DatasetUnavailable(f"version {newest} of the table is not readable: {fault}")
        found.append(_set_aside(table, version_path(log, newest)))
        newest -= 1
    last = log / LAST_CHECKPOINT
    if last.exists() and not _is_last_checkpoint(last.read_bytes()):
        found.append(_set_aside(table, last))
    temporaries = _temporaries(log)
    if temporaries and newest is not None:
        path = version_path(log, newest)
        anew = log / f"{TEMPORARY_PREFIX}{uuid.uuid4()}{TEMPORARY_SUFFIX}"
        write_flushed(anew, path.read_bytes())
        anew.replace(path)
        flush(log)
    for temporary in temporaries:
        temporary.unlink()
    return found


def check(table: Path) -> None:
    """Raise DatasetUnavailable where a version that is read to open a table is not readable.

    delta-rs takes an empty one for a version in which nothing was done, and its rows would be missing without a word.
    """
    for path in sorted(_needed(table / DELTA_LOG)):
        if path.suffix == ".json" and (fault := _fault(path.read_bytes())):
            raise DatasetUnavailable(f"version {_number(path.name)} of the table is not readable: {fault}")


def set_aside_checkpoints(table: Path) -> list[tuple[Path, Path]]:
    """Set aside the checkpoints that cannot be read, and what points to them: where each was and where it is now."""
    log = table / DELTA_LOG
    unreadable = [path for path in log.glob("*.checkpoint*.parquet") if not _is_parquet(path)]
    if unreadable and (log / LAST_CHECKPOINT).exists():
        unreadable.append(log / LAST_CHECKPOINT)
    return [(path, table / UNREADABLE_DIRECTORY / _set_aside(table, path)) for path in unreadable]


def has_version_set_aside(table: Path) -> bool:
    """Whether a version of the table was set aside, and is there still to be looked at."""
    return any(_number(name) is not None for name in _set_aside_before(table))


def put_back(moved: Iterable[tuple[Path, Path]]) -> None:
    """Undo what was set aside."""
    for path, aside in moved:
        aside.rename(path)


def versions(log: Path) -> list[int]:
    """Return the numbers of the versions that are there as JSON, in no order."""
    numbers = (_number(path.name) for path in log.glob("*.json"))
    return [number for number in numbers if number is not None]


def _number(name: str) -> int | None:
    digits, _, rest = name.partition(".")
    return int(digits) if len(digits) == DIGITS and digits.isdigit() and rest.startswith("json") else None


TORN = "it is not whole"


def _fault(content: bytes) -> str:
    """Why a version cannot be read; `TORN` where it is as a power cut leaves a file: short, or with pages of zeros."""
    if not content.strip() or b"\0" in content:
        return TORN
    for line in content.splitlines():
        try:
            action = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            is_last = content.endswith(line)  # with no newline behind it
            return TORN if is_last else str(error)
        if not isinstance(action, dict):
            return "it has a line that is no action"
    return ""


def _is_last_checkpoint(content: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(content)["version"], int)
    except (msgspec.DecodeError, TypeError, KeyError):
        return False


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException):
        return False
    return True


def _temporaries(log: Path) -> list[Path]:
    return list(log.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"))


def _set_aside_before(table: Path) -> list[str]:
    directory = table / UNREADABLE_DIRECTORY
    return [path.name for path in directory.iterdir()] if directory.is_dir() else []


def _set_aside(table: Path, path: Path) -> str:
    """Move a file out of the table's log, durably; its name there."""
    directory = table / UNREADABLE_DIRECTORY
    make_directories(directory)
    name = f"{path.name}.{time.time_ns()}"
    path.rename(directory / name)
    flush(directory)
    flush(path.parent)
    logger.error("%s cannot be read and was set aside as %s", path, directory / name)
    return name


# Checkpoints


def checkpoint(table: Path) -> None:
    """Write a checkpoint of a table's newest version, and delete the versions that it makes needless.

    delta-rs makes it, but flushes nothing: it does so in a directory of its own, from which it is taken once flushed.
    Raise OSError, DeltaError.
    """
    log = table / DELTA_LOG
    scratch = table / "_tailrace" / f"{SCRATCH_PREFIX}{uuid.uuid4()}"
    try:
        (scratch / DELTA_LOG).mkdir(parents=True)
        before = set()
        for entry in _needed(log):
            os.link(entry, scratch / DELTA_LOG / entry.name)
            before.add(entry.name)
        DeltaTable(str(scratch)).create_checkpoint()
        made = [path for path in (scratch / DELTA_LOG).iterdir() if path.name not in before | {LAST_CHECKPOINT}]
        for path in made:
            flush(path)
            path.replace(log / path.name)
        flush(log)
        replace_durably(log / LAST_CHECKPOINT, (scratch / DELTA_LOG / LAST_CHECKPOINT).read_bytes(), mode=0o666)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    DeltaTable(str(table)).cleanup_metadata()


def _needed(log: Path) -> list[Path]:
    """Return the files from which the newest version can be read: the last checkpoint, and the versions since."""
    files = [path for path in log.iterdir() if len(path.name) > DIGITS and path.name[:DIGITS].isdigit()]
    since = max((int(path.name[:DIGITS]) for path in files if ".checkpoint" in path.name), default=0)
    return [path for path in files if int(path.name[:DIGITS]) >= since]

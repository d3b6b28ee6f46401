"""The log of a Delta table in a local directory: versions whose content is durable before their name is.

A version is written under another name, flushed, linked to its own name without overwriting (so that of two writers one
is told), and its directory is flushed. The other name goes last: where it is still there, that flush failed or never
came.
"""

import logging
import uuid
from collections.abc import Iterable

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.events import DatasetUnavailable
from tailrace.lake.delta import create_checkpoint, remove_old_versions
from tailrace.lake.deltalog import (
    DELTA_LOG,
    DIGITS,
    LAST_CHECKPOINT,
    OWN_DIRECTORY,
    UNREADABLE_DIRECTORY,
    Action,
    DeltaLog,
    encode,
    needed_names,
    version_name,
)
from tailrace.lake.local_files import SORT_PREFIX, LocalFiles

SCRATCH_PREFIX = f"{OWN_DIRECTORY}/checkpoint-"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = f"{DELTA_LOG}/_commit_", ".json.tmp"  # as delta-rs names them: readers skip them

logger = logging.getLogger(__name__)


class LocalDeltaLog(DeltaLog):
    """The versions of a table in a directory."""

    def __init__(self, storage: LocalFiles) -> None:
        self._storage = storage
        self._uncertain: dict[int, bytes] = {}  # versions whose name may exist, but may not be durable

    @property
    def is_sure(self) -> bool:
        """Whether each version given to `append` is known to be durable, or known not to exist."""
        return not self._uncertain

    def append(self, version: int, actions: Iterable[Action]) -> None:
        """Write a version, durably.

        Raise FileExistsError where there is one of this number. With any other error it may be there or not: `is_sure`
        tells whether that is known, and `settle` makes sure.
        """
        content = encode(actions)
        if version == 0:
            self._storage.make_directories(DELTA_LOG)
        temporary = _write_temporary(self._storage, content)
        self._uncertain[version] = content
        try:
            self._storage.link(temporary, version_name(version))
        except FileExistsError:
            del self._uncertain[version]
            self._storage.remove(temporary)
            raise
        self._storage.flush(DELTA_LOG)
        del self._uncertain[version]
        self._storage.remove(temporary)

    def settle(self) -> None:
        """Make the versions durable whose fate is unknown: a name whose flush failed is created again."""
        if not self._uncertain:
            return
        for version, content in self._uncertain.items():
            name = version_name(version)
            # Not that of another writer, which came first.
            if self._storage.exists(name) and self._storage.read(name) == content:
                self._storage.replace(_write_temporary(self._storage, content), name)
        self._storage.flush(DELTA_LOG)
        self._uncertain.clear()
        for temporary in _temporaries(self._storage):
            self._storage.remove(temporary)

    def is_newest(self, version: int) -> bool:
        """Return whether no version follows this one, as far as that can be told without listing them."""
        storage = self._storage
        return not storage.exists(version_name(version + 1)) and storage.exists(version_name(version))

    def checkpoint(self) -> None:
        """Write a checkpoint of the newest version, and delete the versions that it replaces."""
        checkpoint(self._storage)

    def needed(self) -> list[str]:
        """Return the names of the files from which the newest version can be read."""
        return needed_names(self._storage.names(DELTA_LOG))

    def recover(self) -> list[str]:
        """Repair the log after a crash or a power cut; return the names of files set aside."""
        return recover(self._storage)

    def check(self) -> None:
        """Raise DatasetUnavailable where a version that is read to open a table is not readable."""
        check(self._storage)

    def set_aside_checkpoints(self) -> list[tuple[str, str]]:
        """Set aside unreadable checkpoints and the pointer to them; return the old and new names."""
        return set_aside_checkpoints(self._storage)

    def put_back(self, aside: str, name: str) -> None:
        """Move a file that was set aside back to its name."""
        self._storage.put_back(aside, name)

    def confirm(self, newest: int) -> int:
        """Flush the newest files: a process that has ended writes nothing any more."""
        flush_newest(self._storage, newest)
        return newest

    def has_version_set_aside(self) -> bool:
        """Return whether a version of the table was set aside, and still exists for inspection."""
        return any(_number(name) is not None for name in _names_set_aside(self._storage))


def _write_temporary(storage: LocalFiles, content: bytes) -> str:
    name = f"{TEMPORARY_PREFIX}{uuid.uuid4()}{TEMPORARY_SUFFIX}"
    storage.write_flushed(name, content)
    return name


def _temporaries(storage: LocalFiles) -> list[str]:
    names = storage.names(DELTA_LOG)
    return [name for name in names if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)]


# Opening


def recover(storage: LocalFiles) -> list[str]:
    """Repair a table's log after a crash or a power cut, and make it durable.

    A newest version that is not whole is set aside: it never was durable, so the rows of it are in the log of events.
    Returns the names of the files that were. Raise OSError, and DatasetUnavailable for a version that must stay.
    """
    found: list[str] = []
    if not storage.is_table():
        return found
    for name in storage.names(OWN_DIRECTORY):
        if name.startswith((SCRATCH_PREFIX, SORT_PREFIX)):
            storage.remove_directory(name)
    newest = max(_versions(storage), default=None)
    if newest is not None and (fault := _fault(storage.read(version_name(newest)))):
        later = [number for number in map(_number, _names_set_aside(storage)) if number is not None and number > newest]
        if newest == 0 or later or fault != TORN:
            raise DatasetUnavailable(f"version {newest} of the table is not readable: {fault}")
        found.append(_set_aside(storage, version_name(newest)))
        newest -= 1
    if storage.exists(LAST_CHECKPOINT) and not _is_last_checkpoint(storage.read(LAST_CHECKPOINT)):
        found.append(_set_aside(storage, LAST_CHECKPOINT))
    temporaries = _temporaries(storage)
    if temporaries and newest is not None:
        name = version_name(newest)
        storage.replace(_write_temporary(storage, storage.read(name)), name)
        storage.flush(DELTA_LOG)
    for temporary in temporaries:
        storage.remove(temporary)
    return found


def check(storage: LocalFiles) -> None:
    """Raise DatasetUnavailable where a version that is read to open a table is not readable.

    delta-rs takes an empty one for a version in which nothing was done, and its rows would be missing without a word.
    """
    for name in sorted(needed_names(storage.names(DELTA_LOG))):
        if name.endswith(".json") and (fault := _fault(storage.read(name))):
            raise DatasetUnavailable(f"version {_number(name)} of the table is not readable: {fault}")


def set_aside_checkpoints(storage: LocalFiles) -> list[tuple[str, str]]:
    """Set aside unreadable checkpoints and the pointer to them; return the old and new names."""
    unreadable = [name for name in checkpoints(storage) if not _is_parquet(storage, name)]
    if unreadable and storage.exists(LAST_CHECKPOINT):
        unreadable.append(LAST_CHECKPOINT)
    return [(name, _set_aside(storage, name)) for name in unreadable]


def checkpoints(storage: LocalFiles) -> list[str]:
    """Return the names of a table's checkpoints, also of incomplete ones."""
    return [name for name in storage.names(DELTA_LOG) if ".checkpoint" in name and name.endswith(".parquet")]


def flush_newest(storage: LocalFiles, newest: int) -> None:
    """Flush the newest files, which another engine or an earlier version may have written without flushing."""
    for name in (version_name(newest - 1), version_name(newest), *checkpoints(storage), LAST_CHECKPOINT):
        if storage.exists(name):
            storage.flush(name)
    storage.flush(DELTA_LOG)


def _versions(storage: LocalFiles) -> list[int]:
    """Return the numbers of the versions that exist as JSON, unordered."""
    numbers = (_number(name) for name in storage.names(DELTA_LOG) if name.endswith(".json"))
    return [number for number in numbers if number is not None]


def _number(name: str) -> int | None:
    digits, _, rest = _base(name).partition(".")
    return int(digits) if len(digits) == DIGITS and digits.isdigit() and rest.startswith("json") else None


TORN = "it is not whole"


def _fault(content: bytes) -> str:
    """Return why a version cannot be read; `TORN` where it is truncated or has pages of zeros, as after a power cut."""
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


def _is_parquet(storage: LocalFiles, name: str) -> bool:
    try:
        path = storage.location(name)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            file.read()
    except (OSError, ValueError, pa.ArrowException):
        return False
    return True


def _names_set_aside(storage: LocalFiles) -> list[str]:
    return storage.names(UNREADABLE_DIRECTORY)


def _set_aside(storage: LocalFiles, name: str) -> str:
    """Move a file out of the table's log, durably; return its new name."""
    aside = storage.set_aside(name)
    logger.error("%s cannot be read and was set aside as %s", storage.location(name), storage.location(aside))
    return aside


# Checkpoints


def checkpoint(storage: LocalFiles) -> None:
    """Write a checkpoint of a table's newest version, and delete the versions that it replaces.

    delta-rs makes it, but flushes nothing: it does so in a directory of its own, from which it is taken once flushed.
    Raise OSError, DeltaError.
    """
    beneath = f"{SCRATCH_PREFIX}{uuid.uuid4()}"
    scratch = storage.beneath(beneath)
    try:
        scratch.make_scratch(DELTA_LOG)
        before = {LAST_CHECKPOINT}
        for name in needed_names(storage.names(DELTA_LOG)):
            storage.link(name, f"{beneath}/{name}")
            before.add(name)
        create_checkpoint(scratch.uri)
        for name in scratch.names(DELTA_LOG):
            if name not in before:
                scratch.flush(name)
                storage.replace(f"{beneath}/{name}", name)
        storage.flush(DELTA_LOG)
        storage.replace_durably(LAST_CHECKPOINT, scratch.read(LAST_CHECKPOINT), mode=0o666)
    finally:
        storage.remove_scratch(beneath)
    remove_old_versions(storage.uri)


def _base(name: str) -> str:
    return name.rpartition("/")[2]

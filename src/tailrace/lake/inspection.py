"""Inspection of a dataset's files on the disk for damage, which changes nothing."""

from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from tailrace.events import DatasetUnavailable
from tailrace.lake import catalog, sidecar
from tailrace.lake.delta import DeltaError
from tailrace.lake.deltalog import UNREADABLE_DIRECTORY
from tailrace.lake.hashes import content_damage
from tailrace.lake.local_table import LocalTable
from tailrace.lake.snapshot import DataFile
from tailrace.lake.table import DatasetTable
from tailrace.lake.table_storage import TableStorage

MAX_FAULTS = 5  # of a dataset that are listed
UNREADABLE = (OSError, ValueError, KeyError, DeltaError, pa.ArrowException, msgspec.MsgspecError)


class Inspection(Struct, frozen=True):
    """The result of inspecting a dataset's files."""

    fault: str = ""  # what is wrong with them, empty where nothing is; the counts are 0 then
    files: int = 0
    rows: int = 0
    set_aside: str = ""  # the directory with a version of its table that was not whole; empty where there is none


def dataset_directories(root: Path) -> list[Path]:
    """Return the directories of a lake that are or should be datasets, by name."""
    return [each for each in sorted(root.iterdir()) if catalog.NAME.fullmatch(each.name) and each.is_dir()]


def inspect(storage: TableStorage, *, verify: bool = False) -> Inspection:
    """Look at every file of a dataset: its size, and on this machine its metadata; with `verify` read all of it."""
    fault, files = _read(storage)
    if not fault:
        faults = [fault for file in files if (fault := _fault(storage, file, verify=verify))]
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        fault = "; ".join(faults[:MAX_FAULTS] + more)
    set_aside = storage.location(UNREADABLE_DIRECTORY) if storage.delta_log.has_version_set_aside() else ""
    if fault:
        return Inspection(fault, set_aside=set_aside)
    return Inspection(files=len(files), rows=sum(file.rows for file in files), set_aside=set_aside)


def _read(storage: TableStorage) -> tuple[str, tuple[DataFile, ...]]:
    """Return why a dataset cannot be opened, empty where it can, and its files."""
    try:
        sidecar.load_info(storage)
        sidecar.load_fields(storage)
        return "", DatasetTable.open_read_only(storage).files
    except DatasetUnavailable as error:
        return error.message, ()
    except UNREADABLE as error:
        return f"cannot be opened: {first_line(error)}", ()


def _fault(storage: TableStorage, file: DataFile, *, verify: bool) -> str:
    try:
        size = storage.size_bytes(file.name)
        if size != file.bytes:
            return f"{file.base_name} has {size} bytes, but {file.bytes} were written"
        count = file.rows
        if isinstance(storage, LocalTable):
            with storage.parquet(file.name) as parquet:
                count = parquet.metadata.num_rows
        fault = content_damage(file.name, file.bytes, storage.chunks(file.name)) if verify else ""
    except UNREADABLE as error:
        return f"{file.base_name} cannot be read: {first_line(error)}"
    if count != file.rows:
        return f"{file.base_name} has {count} events, but {file.rows} were written"
    return f"{file.base_name} is damaged: {fault}" if fault else ""


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]

"""Files beside a table: its dataset's info, the field registry, its clustering, the removed and the damaged files."""

import logging
from pathlib import PurePath

import msgspec

from tailrace.lake.catalog import DatasetInfo, decode_by_name
from tailrace.lake.deltalog import DIGITS, OWN_DIRECTORY
from tailrace.lake.fields import decode_fields, encode_fields
from tailrace.lake.snapshot import FieldsView
from tailrace.lake.table_storage import SmallFiles, TableStorage

INFO = f"{OWN_DIRECTORY}/dataset.json"
FIELDS = f"{OWN_DIRECTORY}/fields.json"
NUMBERED_FIELDS = f"{OWN_DIRECTORY}/fields"  # a directory of registries, of which the highest number counts
KEPT_FIELDS = 2  # of those, as others read one while the next is written
LOADS = 10  # attempts to read what others replace meanwhile
REMOVED = f"{OWN_DIRECTORY}/removed.json"
DAMAGED = f"{OWN_DIRECTORY}/damaged.json"
CLUSTERING = f"{OWN_DIRECTORY}/clustering.json"

logger = logging.getLogger(__name__)


def load_info(storage: SmallFiles) -> DatasetInfo:
    """Return the info of a dataset. Raise OSError or msgspec's errors where it cannot be read."""
    stored = msgspec.json.decode(storage.read(INFO))
    if isinstance(stored, dict) and (former := stored.pop("currentBy", None)) is not None:  # as 0.1.0 calls it
        stored["primaryKey"] = former
    return msgspec.convert(stored, DatasetInfo)


def store_info(storage: SmallFiles, info: DatasetInfo) -> None:
    """Store the info of a dataset, durably."""
    storage.replace_durably(INFO, msgspec.json.encode(info))


def load_fields(storage: SmallFiles) -> tuple[FieldsView | None, int]:
    """Return the registry of a table's fields, None where there is none, and its number, 0 where it has none.

    Raise OSError or msgspec's errors.
    """
    raw, number = read_fields(storage)
    return (None if raw is None else decode_fields(raw)), number


def read_fields(storage: SmallFiles) -> tuple[bytes | None, int]:
    """Return the registry as it is stored, None where there is none, and its number. Raise OSError."""
    before = -1
    for _ in range(LOADS):
        number = max((_number_of(name) for name in storage.names(NUMBERED_FIELDS)), default=0)
        raw = storage.read_if_there(_numbered_fields(number) if number else FIELDS)
        if raw is not None or number == before == 0:  # not at once: the first numbered one takes the place of FIELDS
            return raw, number
        before = number
    raise OSError(f"{storage.location(NUMBERED_FIELDS)} changes faster than it can be read")


def store_fields(storage: SmallFiles, view: FieldsView) -> None:
    """Store the registry, durably: a reader finds the old one or this one, never a part."""
    storage.replace_durably(FIELDS, encode_fields(view))


def store_numbered_fields(storage: TableStorage, view: FieldsView, number: int) -> None:
    """Store the registry that follows the one with the number before, durably, where several servers may do that.

    Raise FileExistsError where another one has.
    """
    storage.create_durably(_numbered_fields(number), encode_fields(view))
    if number > KEPT_FIELDS:
        storage.remove_data_files([_numbered_fields(number - KEPT_FIELDS)])
    if number == 1:
        storage.remove_data_files([FIELDS])  # or it would count, old as it is, were all numbered ones lost


def _numbered_fields(number: int) -> str:
    return f"{NUMBERED_FIELDS}/{number:0{DIGITS}d}.json"


def _number_of(name: str) -> int:
    stem = PurePath(name).stem
    return int(stem) if stem.isdecimal() else 0


def load_clustering(storage: SmallFiles) -> tuple[str, ...]:
    """Return the columns by which rows are clustered; none where none were chosen."""
    raw = storage.read_if_there(CLUSTERING)
    if raw is None:
        return ()
    try:
        return msgspec.json.decode(raw, type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        where = storage.location(CLUSTERING)
        logger.error("%s is damaged (%s) and is set aside: the clustering is chosen anew", where, error)
        storage.mark_damaged(CLUSTERING)
        return ()


def store_clustering(storage: SmallFiles, columns: tuple[str, ...]) -> None:
    """Store them, durably."""
    storage.replace_durably(CLUSTERING, msgspec.json.encode(columns))


def load_removed(storage: SmallFiles) -> dict[str, int]:
    """Return the removed files that still exist, with the ms since the Unix epoch of their removal."""
    return _numbers(storage, REMOVED, "files that are due to be removed are so later")


def store_removed(storage: SmallFiles, removed: dict[str, int]) -> None:
    """Store that, durably."""
    storage.replace_durably(REMOVED, msgspec.json.encode(removed))


def load_damaged(storage: SmallFiles) -> dict[str, int]:
    """Return the damaged files of a table, with the ms since the Unix epoch of the discovery."""
    return _numbers(storage, DAMAGED, "files that are damaged are found anew")


def store_damaged(storage: SmallFiles, damaged: dict[str, int]) -> None:
    """Store that, durably."""
    storage.replace_durably(DAMAGED, msgspec.json.encode(damaged))


def _numbers(storage: SmallFiles, name: str, without: str) -> dict[str, int]:
    raw = storage.read_if_there(name)
    return decode_by_name(raw, int, storage.location(name), without, lambda: storage.mark_damaged(name))

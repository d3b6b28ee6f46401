"""The directories of the datasets, each with its table, and the file of dropped datasets."""

import logging
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tailrace.events import InvalidName
from tailrace.events.declarations import DeclaredType
from tailrace.lake.table_storage import OWN_DIRECTORY
from tailrace.log import FIRST_WRITER, Positions
from tailrace.storage.files import flush, read_bytes, replace_durably, set_aside

DEFAULT_KIND = "axiom:events:v1"
AUDIT_KIND = "tailrace:audit:v1"  # created and written by the server itself; not counted by the limit of datasets
DROPPED_PREFIX = "_dropped-"
NEW_PREFIX = "_new-"

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class DatasetInfo(Struct, frozen=True, rename="camel"):
    """The info of a dataset: its kind, owner, description and retention."""

    name: str
    created_ns: int  # ns since the Unix epoch
    created_position: int  # in the first writer's log: earlier batches belonged to an earlier dataset of this name
    description: str = ""
    who: str = ""  # id of the user that created it
    kind: str = DEFAULT_KIND
    retention_days: int = 0  # 0 keeps events for good
    use_retention_period: bool = False
    organisation: str = ""  # its owner; "" is the first organisation
    updated_ns: int = 0  # ns since the Unix epoch of the last change of this info; 0 for none
    primary_key: str = ""  # an id field: queries see only the row of the highest `_revision` for each of its values
    edge_deployment: str = ""  # stored and returned, without effect
    declared: Mapping[str, DeclaredType | None] = {}  # by a protocol: fields by name; None leaves one as it was
    created_positions: Positions = {}  # in the other writers' logs, likewise

    @property
    def created(self) -> Positions:
        """The positions in all writers' logs at its creation."""
        return {**self.created_positions, FIRST_WRITER: self.created_position}


def check_name(name: str) -> None:
    """Raise InvalidName unless the name is 1 to 128 of `A-Za-z0-9._-`, as in Axiom's documents and clients."""
    if not NAME.fullmatch(name):
        raise InvalidName(
            f"dataset name {name[:140]!r} is not valid: 1 to 128 ASCII letters, digits, '-', '_' or '.', "
            "the first a letter or a digit"
        )


def dataset_directories(root: Path) -> list[Path]:
    """Return the directories of datasets, by name; remove what an interrupted creation or drop left."""
    found = []
    for directory in sorted(root.iterdir()):
        if directory.name.startswith((DROPPED_PREFIX, NEW_PREFIX)):
            try:
                shutil.rmtree(directory)
            except OSError:
                logger.exception("%s is no dataset any more and cannot be removed", directory)
        elif NAME.fullmatch(directory.name):
            found.append(directory)
        elif directory.name != OWN_DIRECTORY:
            logger.warning("%s is no dataset and is passed over", directory)
    return found


def dropped_path(root: Path) -> Path:
    return root / OWN_DIRECTORY / "dropped.json"


def load_dropped(root: Path) -> dict[str, Positions]:
    """Return the dropped datasets, each with the positions up to which its batches are dropped too."""
    path = dropped_path(root)
    without = "events of dropped datasets that the log still has stay in it"
    stored = decode_by_name(read_bytes(path), int | dict[str, int], str(path), without, partial(set_aside, path))
    return {name: {FIRST_WRITER: each} if isinstance(each, int) else each for name, each in stored.items()}


def store_dropped(root: Path, dropped: Mapping[str, Positions]) -> None:
    """Write the dropped datasets; a number alone is a position in the first writer's log."""
    stored = {
        name: positions.get(FIRST_WRITER, 0) if positions.keys() <= {FIRST_WRITER} else positions
        for name, positions in dropped.items()
    }
    replace_durably(dropped_path(root), msgspec.json.encode(stored))


def decode_by_name(
    raw: bytes | None, value: Any, location: str, without: str, set_aside: Callable[[], object]
) -> dict[str, Any]:
    """Return the values of a type by name in a file; a damaged one is set aside, and `without` says what that means."""
    if raw is None:
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, value])
    except msgspec.MsgspecError as error:
        logger.error("%s is damaged (%s) and is set aside: %s", location, error, without)
        set_aside()
        return {}


def remove(directory: Path, *, or_keep: bool = True) -> None:
    """Take a dataset's directory out of sight in one step, where there is one, then delete it; what stays goes later.

    Raise OSError where that may not last: then it is to be seen as before, or with `or_keep` false only after a power
    cut, and whole.
    """
    tombstone = directory.with_name(f"{DROPPED_PREFIX}{uuid.uuid4()}")
    try:
        directory.rename(tombstone)
    except FileNotFoundError:
        return
    try:
        flush(directory.parent)
    except BaseException:
        if or_keep:
            # So that it is renamed again the next time: this name may not be durable.
            tombstone.rename(directory)
        raise
    try:
        shutil.rmtree(tombstone)
    except OSError as error:
        logger.error("%s cannot be removed (%s); the next start will", tombstone, error)

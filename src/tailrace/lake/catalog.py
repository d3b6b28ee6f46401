"""The datasets of a lake by name, wherever their tables are; and the file of dropped datasets."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import msgspec
from msgspec import Struct

from tailrace.events import InvalidName
from tailrace.events.declarations import DeclaredType
from tailrace.lake.deltalog import OWN_DIRECTORY
from tailrace.lake.snapshot import TableRoot
from tailrace.lake.table_storage import SmallFiles, TableStorage
from tailrace.log import FIRST_WRITER, Positions

if TYPE_CHECKING:
    from tailrace.storage.file_cache import FileCache

DEFAULT_KIND = "axiom:events:v1"
AUDIT_KIND = "tailrace:audit:v1"  # created and written by the server itself; not counted by the limit of datasets
DROPPED = f"{OWN_DIRECTORY}/dropped.json"  # a file beside the datasets

T = TypeVar("T")

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


class DatasetOptions(TypedDict, total=False):
    """What a dataset may be created with; as in `DatasetInfo`."""

    description: str
    who: str
    primary_key: str
    kind: str
    retention_days: int
    use_retention_period: bool
    organisation: str
    edge_deployment: str


class InfoChanges(TypedDict, total=False):
    """What may be changed of a dataset's info; None leaves a member as it is."""

    description: str | None
    retention_days: int | None
    use_retention_period: bool | None


def check_name(name: str) -> None:
    """Raise InvalidName unless the name is 1 to 128 of `A-Za-z0-9._-`, as in Axiom's documents and clients."""
    if not NAME.fullmatch(name):
        raise InvalidName(
            f"dataset name {name[:140]!r} is not valid: 1 to 128 ASCII letters, digits, '-', '_' or '.', "
            "the first a letter or a digit"
        )


class Catalog(ABC):
    """The datasets of a lake, each with its table. Thread-safe, one call at a time for each name.

    What fails raises OSError.
    """

    files: SmallFiles  # beside the datasets
    root: Path  # whose subdirectories have the files of tables, as readers open them
    cache: "FileCache | None" = None  # in which readers must hold them, where they are not always there
    opening_threads = 4  # that read tables at the start; most of that is waiting and native

    @property
    def tables(self) -> TableRoot:
        """The root of the files of tables."""
        return TableRoot(f"{self.root.resolve()}/")

    @abstractmethod
    def names(self, is_own: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Return the datasets by name; remove what an interrupted creation or drop left of names that are own.

        Those of other names may be being made, or removed, by another server.
        """

    def has_files(self, name: str) -> bool:
        """Return whether there is any file of a dataset that was named, but cannot be opened."""
        return True

    @abstractmethod
    def storage(self, name: str) -> TableStorage:
        """Return the storage of a dataset's table."""

    @abstractmethod
    def create(self, name: str, make: Callable[[TableStorage], None], read: Callable[[TableStorage], T]) -> T:
        """Create a dataset by what writes its table and its info; return what is read of it then.

        It is there completely and durably, or where this raises not at all.
        """

    @abstractmethod
    def remove(self, name: str, *, or_keep: bool = True) -> None:
        """Take a dataset out of sight in one step, where there is one, then delete it; what stays goes later.

        Raise OSError where that may not last: then it is to be seen as before, or with `or_keep` false only after a
        power cut, and whole.
        """


def load_dropped(files: SmallFiles) -> dict[str, Positions]:
    """Return the dropped datasets, each with the positions up to which its batches are dropped too."""
    without = "events of dropped datasets that the log still has stay in it"
    stored = decode_by_name(
        files.read_if_there(DROPPED),
        int | dict[str, int],
        files.location(DROPPED),
        without,
        lambda: files.mark_damaged(DROPPED),
    )
    return {name: {FIRST_WRITER: each} if isinstance(each, int) else each for name, each in stored.items()}


def store_dropped(files: SmallFiles, dropped: Mapping[str, Positions]) -> None:
    """Write the dropped datasets; a number alone is a position in the first writer's log."""
    stored = {
        name: positions.get(FIRST_WRITER, 0) if positions.keys() <= {FIRST_WRITER} else positions
        for name, positions in dropped.items()
    }
    files.replace_durably(DROPPED, msgspec.json.encode(stored))


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

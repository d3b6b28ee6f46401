"""Where a server's tables are: in its data directory, in another directory, or in an object store that is its own."""

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
from msgspec import Struct

from tailrace.lake import Catalog, LocalCatalog, TableRoot, table_root
from tailrace.server.data_directory import refuse
from tailrace.server.layout import CACHE_DIRECTORY, LAKE_DIRECTORY, STORAGE_FILE
from tailrace.server.settings import Settings
from tailrace.storage.files import read_bytes, replace_durably

if TYPE_CHECKING:
    from tailrace.lake.object_catalog import ObjectCatalog
    from tailrace.lake.table_storage import SmallFiles
    from tailrace.storage.file_cache import FileCache

FILE_SCHEME = "file://"
OBJECT_SCHEME = "s3://"
OWNER = "_tailrace/owner.json"  # beside the datasets

logger = logging.getLogger(__name__)


class TableStoreOwner(Struct, frozen=True):
    """Whose an object store's tables are: in the data directory as in the store.

    The tables carry positions in the log of one data directory, and mean nothing beside another one.
    """

    id: str
    url: str


def is_object_store(settings: Settings) -> bool:
    """Return whether the tables are in an object store."""
    return settings.server.storage.startswith(OBJECT_SCHEME)


def tables_directory(settings: Settings, data: Path) -> Path:
    """Return the directory of the tables, where they are in no object store. Raise SystemExit."""
    storage = settings.server.storage
    if not storage:
        return data / LAKE_DIRECTORY
    path = Path(storage.removeprefix(FILE_SCHEME))
    if not path.is_absolute():
        refuse(f"setting storage is {storage!r}, but takes an absolute path, file:///path, or s3://bucket/prefix")
    return path


def has_tables(settings: Settings, data: Path) -> bool:
    """Return whether a server had its tables there before."""
    if settings.server.storage:
        return (data / STORAGE_FILE).exists()
    return tables_directory(settings, data).exists()


def open_catalog(settings: Settings, data: Path, owner_id: str = "") -> Catalog:
    """Open the datasets. Raise SystemExit where the tables are elsewhere, or the store cannot be used; OSError.

    They belong to the data directory, or to whoever has the same `owner_id`.
    """
    if is_object_store(settings):
        url = settings.server.storage.rstrip("/")
    else:
        url = str(tables_directory(settings, data)) if settings.server.storage else ""
    known = _known_owner(data)
    if known is not None and known.url != url:
        refuse(
            f"the tables of this data directory are at {known.url}, but setting storage says "
            f"{url or 'that they are in it'}; remove {data / STORAGE_FILE} to leave them and begin anew"
        )
    if not url:
        return LocalCatalog(data / LAKE_DIRECTORY)
    local = data / LAKE_DIRECTORY
    if local.is_dir() and any(local.iterdir()) and local != Path(url):
        refuse(f"this data directory has tables in {local}: leave out setting storage, or take another data directory")
    owner = TableStoreOwner(owner_id, url) if owner_id else known or TableStoreOwner(str(uuid.uuid4()), url)
    try:
        if is_object_store(settings):
            catalog: Catalog = _object_catalog(settings, data, is_probed=True)
        else:
            catalog = LocalCatalog(Path(url))
        _claim(catalog.files, data, owner)
    except (OSError, ValueError) as error:
        _refuse_store(url, error)
    return catalog


def tables_to_read(settings: Settings, data: Path) -> tuple[TableRoot, "FileCache | None"]:
    """Return the root of the tables that a server of the same settings writes, for one who reads their files only.

    With the cache in which those must be held, where they are in an object store. Raise SystemExit.
    """
    if not is_object_store(settings):
        return table_root(tables_directory(settings, data)), None
    try:
        catalog = _object_catalog(settings, data, is_probed=False)
    except (OSError, ValueError) as error:
        _refuse_store(settings.server.storage, error)
    return catalog.tables, catalog.cache


def _object_catalog(settings: Settings, data: Path, *, is_probed: bool) -> "ObjectCatalog":
    # Where there is no object store its library is not loaded, which takes 30 ms.
    from tailrace.lake.hashes import damage
    from tailrace.lake.object_catalog import ObjectCatalog
    from tailrace.storage.file_cache import FileCache
    from tailrace.storage.object_files import open_s3

    store = open_s3(settings.server.storage)
    if is_probed:
        store.probe()
    return ObjectCatalog(store, FileCache(data / CACHE_DIRECTORY, store, settings.server.cache_bytes, damage))


def _refuse_store(url: str, error: Exception) -> NoReturn:
    logger.debug("the place of the tables fails", exc_info=error)
    refuse(f"{url} cannot be used for tables: {error} (setting storage)")


def _claim(files: "SmallFiles", data: Path, owner: TableStoreOwner) -> None:
    """Make the place the data directory's. Raise ValueError where it is another one's."""
    content = msgspec.json.encode(owner)
    found = files.read_if_there(OWNER)
    if found is not None and msgspec.json.decode(found, type=TableStoreOwner).id != owner.id:
        raise ValueError(
            "it has the tables of another data directory, which only a server with that may change; where that is "
            f"lost for good, delete {files.location(OWNER)} to take them over"
        )
    # Here first: a place that is claimed by nobody who remembers it would be nobody's.
    replace_durably(data / STORAGE_FILE, content)
    if found is None:
        files.create_durably(OWNER, content)


def _known_owner(data: Path) -> TableStoreOwner | None:
    raw = read_bytes(data / STORAGE_FILE)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=TableStoreOwner)
    except msgspec.MsgspecError as error:
        refuse(f"{data / STORAGE_FILE} is damaged ({error}): put it back from a backup")

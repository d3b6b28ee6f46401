"""Files in an object store, by URL: put under a new name or over an old one, read, listed and deleted."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import obstore
from msgspec import Struct
from obstore.exceptions import AlreadyExistsError, BaseError

from tailrace.events import StorageUnavailable, TailraceError
from tailrace.storage.faults import reason_in
from tailrace.storage.s3 import s3_store

if TYPE_CHECKING:
    from obstore.store import ClientConfig

REQUEST_TIMEOUT_S = 10  # of one request, its body included
RETRY_AFTER_S = 5
LISTED_AT_ONCE = 1000  # most names that S3 lists, or deletes, in one request

logger = logging.getLogger(__name__)


class ObjectStoreUnavailable(StorageUnavailable):
    """The object store did not do what it was asked, or its answer was lost."""

    code = "object_store_unavailable"


class ObjectExists(TailraceError):
    """The object was not put, as there is one of its name."""

    code = "object_exists"


class ObjectMissing(TailraceError):
    """There is no object of this name."""

    code = "object_missing"


class StoredObject(Struct, frozen=True):
    """An object, as a listing shows it."""

    name: str
    size_bytes: int
    modified_at: datetime  # by the clock of the store


class ObjectStore:
    """The objects under a prefix of a store. Thread-safe; each call is one request, or a few, and is not repeated.

    Every call raises ObjectStoreUnavailable when the store fails or does not answer in time; a put may have happened
    then, and may happen later.
    """

    def __init__(self, store: Any, url: str) -> None:
        self.url = url
        self._store = store

    def create(self, name: str, content: bytes) -> None:
        """Put an object of a new name; raise ObjectExists when there is one, or may be one in a moment."""
        try:
            obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            raise ObjectExists(f"there is an object {name} in {self.url}") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def overwrite(self, name: str, content: bytes) -> None:
        """Put an object, in place of one that may be there."""
        try:
            obstore.put(self._store, name, content, mode="overwrite", use_multipart=False)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def read(self, name: str) -> bytes:
        """Return the content of an object; raise ObjectMissing where there is none."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no object {name} in {self.url}") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def read_end(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last bytes of an object, all where it is shorter, and its size; raise ObjectMissing."""
        try:
            found = obstore.get(self._store, name, options={"range": {"suffix": length}})
            return bytes(found.bytes()), found.meta["size"]
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no object {name} in {self.url}") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return ranges of an object, each given by its offset and length > 0; raise ObjectMissing."""
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        try:
            return [bytes(part) for part in obstore.get_ranges(self._store, name, starts=starts, lengths=lengths)]
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no object {name} in {self.url}") from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def listing(self, directory: str, after: str | None = None) -> list[StoredObject]:
        """Return the objects of a directory, or those with names after one, sorted by name."""
        try:
            pages = obstore.list(self._store, directory, offset=after, chunk_size=LISTED_AT_ONCE)
            found = [StoredObject(each["path"], each["size"], each["last_modified"]) for page in pages for each in page]
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        return sorted(found, key=lambda each: each.name)

    def directories(self) -> list[str]:
        """Return the names of the directories at the top, in order; one that was emptied may be among them."""
        try:
            return sorted(obstore.list_with_delimiter(self._store)["common_prefixes"])
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are deleted already."""
        for first in range(0, len(names), LISTED_AT_ONCE):
            try:
                obstore.delete(self._store, list(names[first : first + LISTED_AT_ONCE]))
            except FileNotFoundError:  # a file system stops there: the others are deleted one by one
                self._delete_each(names[first : first + LISTED_AT_ONCE])
            except (BaseError, OSError) as error:
                raise _unavailable(error) from error

    def _delete_each(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _unavailable(error) from error


def open_s3(url: str) -> ObjectStore:
    """Open the store at a URL `s3://bucket/prefix`; see `s3_store`. No request is repeated."""
    timeouts: ClientConfig = {"timeout": timedelta(seconds=REQUEST_TIMEOUT_S)}
    # Whoever repeats a put has to know that it did.
    return ObjectStore(s3_store(url, timeouts, {"max_retries": 0}), url.rstrip("/"))


def _unavailable(error: Exception) -> ObjectStoreUnavailable:
    logger.debug("an object store fails", exc_info=error)
    return ObjectStoreUnavailable(reason_in(str(error)), retry_after_s=RETRY_AFTER_S)

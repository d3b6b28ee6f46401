"""Files in an object store, read and written whole; what fails is an OSError, as of a disk.

Whoever gets no error knows that the store has the object. A request that fails is tried again a few times, and then
told in words.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from tailrace.storage.faults import ObjectStoreFault, reason_in
from tailrace.storage.s3 import s3_store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

READ_TIMEOUT_S = 15  # without a byte of the answer
REQUEST_TIMEOUT_S = 600  # of one request, with a file of 128 MiB in it
RETRIES = 6  # of a request that fails, with pauses that double
MAX_PAUSE_S = 2
RETRY_TIMEOUT_S = 20  # from the first request on, after which there is no further one
CHUNK_BYTES = 4 * 1024 * 1024
TRANSFERS = 16  # of several files at the same time
PROBE = "_tailrace/probe-"

logger = logging.getLogger(__name__)


class ObjectFiles:
    """The objects beneath a URL, by names with "/" between directories. Thread-safe."""

    def __init__(self, store: Any, url: str) -> None:
        self.url = url
        self._store = store

    def location(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """Return the content of an object. Raise FileNotFoundError where there is none."""
        with _faults(name):
            return bytes(obstore.get(self._store, name).bytes())

    def read_if_there(self, name: str) -> bytes | None:
        """Return the content of an object, None where there is none."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def size_bytes(self, name: str) -> int:
        """Return the size of an object. Raise FileNotFoundError where there is none."""
        with _faults(name):
            return int(obstore.head(self._store, name)["size"])

    def exists(self, name: str) -> bool:
        """Return whether there is an object."""
        try:
            self.size_bytes(name)
        except FileNotFoundError:
            return False
        return True

    def create(self, name: str, content: bytes) -> None:
        """Put a new object. Raise FileExistsError where there is one of this name with another content.

        With any other error it may be there, or come later.
        """
        try:
            with _faults(name):
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except FileExistsError:
            # Of a request whose answer was lost, and that was sent again, this may be what the first one put.
            if self.read_if_there(name) != content:
                raise

    def write(self, name: str, content: bytes | Path) -> None:
        """Put an object, in place of one that may be there: bytes, or a file, which may be large."""
        with _faults(name):
            obstore.put(self._store, name, content, chunk_size=2 * CHUNK_BYTES)

    def rename(self, name: str, other: str) -> None:
        """Copy an object to another name, and delete it under its own."""
        with _faults(name):
            obstore.rename(self._store, name, other)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        names = list(names)
        if not names:
            return
        with _faults(names[0]):
            obstore.delete(self._store, names)

    def names(self, directory: str) -> list[str]:
        """Return the names of all objects in a directory and those beneath it, unordered."""
        with _faults(directory):
            return [each["path"] for page in obstore.list(self._store, directory) for each in page]

    def directories(self) -> list[str]:
        """Return the names of the directories at the top, in order."""
        with _faults(self.url):
            return sorted(obstore.list_with_delimiter(self._store)["common_prefixes"])

    def sizes(self, directory: str) -> dict[str, int]:
        """Return the size of each object in a directory and those beneath it, by name."""
        with _faults(directory):
            return {each["path"]: int(each["size"]) for page in obstore.list(self._store, directory) for each in page}

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an object. Raise FileNotFoundError, at the first, where there is none."""
        with _faults(name):
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def download(self, name: str, file: BinaryIO) -> int:
        """Write the content of an object into a file; return its size. Raise FileNotFoundError."""
        with _faults(name):
            found = obstore.get(self._store, name)
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                file.write(chunk)
            return int(found.meta["size"])

    def write_all(self, files: Iterable[tuple[str, Path]]) -> None:
        """Put files under names, several at the same time."""
        files = list(files)
        if len(files) == 1:
            self.write(*files[0])
            return
        with ThreadPoolExecutor(TRANSFERS, "tailrace-upload") as threads:
            for done in [threads.submit(self.write, name, path) for name, path in files]:
                done.result()

    def probe(self) -> None:
        """Try the store with an object of its own. Raise ObjectStoreFault where it fails, or where a second object
        takes the place of a first one though it was put on the condition that there is none.
        """
        name = f"{PROBE}{uuid.uuid4()}"
        try:
            self.create(name, b"first")
            try:
                self.create(name, b"second")
            except FileExistsError:
                if self.read(name) == b"first":
                    return
            raise ObjectStoreFault(
                "it puts an object in place of another one though the request says If-None-Match: *, so that two "
                "writers of a table would undo each other's commits"
            )
        finally:
            try:
                self.delete([name])
            except OSError as error:
                logger.warning("%s cannot be deleted: %s", self.location(name), error)


def open_s3(url: str, *, retries: int | None = None) -> ObjectFiles:
    """Open the store at a URL `s3://bucket/prefix`; see `s3_store`.

    A request that fails is sent again at most `retries` times, or `RETRIES`.
    """
    url = url.rstrip("/")
    timeouts: ClientConfig = {
        "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    again: RetryConfig = {
        "max_retries": RETRIES if retries is None else retries,
        "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
        "backoff": {"max_backoff": timedelta(seconds=MAX_PAUSE_S)},
    }
    return ObjectFiles(s3_store(url, timeouts, again), url)


@contextmanager
def _faults(name: str) -> Iterator[None]:
    """Raise the library's errors as those of files."""
    try:
        yield
    except AlreadyExistsError as error:
        raise FileExistsError(f"there is an object {name}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no object {name}") from error
    except BaseError as error:
        raise ObjectStoreFault(reason_in(str(error))) from error
    except OSError as error:
        if error.errno is not None:  # of a file on this machine
            raise
        raise ObjectStoreFault(reason_in(str(error))) from error

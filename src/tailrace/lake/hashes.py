"""The hash of a data file's content, which stands in its name: what a bad disk changes in it is found.

Parquet readers pass changed bytes on as other data. A name comes through checkpoints, copies and other engines.
"""

import os
import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

HASH_BYTES = 8
CHUNK_BYTES = 1024 * 1024
SUFFIX = ".zstd.parquet"
NAMED = re.compile(rf"-([0-9a-f]{{{2 * HASH_BYTES}}}){re.escape(SUFFIX)}")

MISSING = "it is not there"
CHANGED = "its content is not what was written"


class HashingFile:
    """A file that is written from its front and hashed on the way: as much of one as Arrow's writers use."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = blake2b(digest_size=HASH_BYTES)

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def name(self, path: Path) -> Path:
        """Give what was written its name, made of that of the file it was written to."""
        digest = self._hash.hexdigest()
        return path.rename(path.with_name(f"{path.name.removesuffix(SUFFIX)}-{digest}{SUFFIX}"))


def is_hashed(name: str) -> bool:
    """Whether a file's name holds its hash: those of earlier versions of Tailrace, and of other engines, do not."""
    return NAMED.search(name) is not None


def content_damage(name: str, size: int, chunks: Iterable[bytes]) -> str:
    """Return what is wrong with the content of a file that was written with so many bytes, wherever it is; as `damage`.

    Raise what reading it raises.
    """
    found = NAMED.search(name)
    digest = blake2b(digest_size=HASH_BYTES)
    there = 0
    for chunk in chunks:
        digest.update(chunk)
        there += len(chunk)
    if there != size:
        return f"it has {there} bytes, but {size} were written"
    return "" if found is None or digest.hexdigest() == found[1] else CHANGED


def damage(path: Path, size: int, *, of_disk: bool = False) -> str:
    """Return what is wrong with a file that was written with so many bytes; "" where nothing is, or nothing can be
    told.

    Reads all of it; with `of_disk` from the disk, not what the system has in memory of it.
    """
    found = NAMED.search(path.name)
    digest = blake2b(digest_size=HASH_BYTES)
    try:
        there = path.stat().st_size
        if there != size:
            return f"it has {there} bytes, but {size} were written"
        if found is None:
            return ""
        with path.open("rb", buffering=0) as file:
            if of_disk:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"it cannot be read: {os.strerror(error.errno or 0)}"
    return "" if digest.hexdigest() == found[1] else CHANGED

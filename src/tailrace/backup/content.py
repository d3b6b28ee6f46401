"""What a backup is of: its datasets and files, as the server lists them and as a backup's manifest keeps them."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from msgspec import Struct

from tailrace.events import Conflict, TailraceError
from tailrace.lake.hashes import CHUNK_BYTES, NAMED

HASH_BYTES = 32  # of the content of files whose names do not have it

_PART = re.compile(r"[^/\\\0]+")


class BackupFile(Struct, frozen=True, omit_defaults=True):
    """A file of a backup."""

    name: str  # beneath the directory of its dataset, or beneath the data directory
    bytes: int
    hash: str = ""  # of its content, BLAKE2b of 256 bits in hex; empty where the name says it


class BackupDataset(Struct, frozen=True, omit_defaults=True):
    """A dataset of a backup: its table at a version."""

    name: str
    version: int
    rows: int
    fault: str = ""  # why events that the server had acknowledged are not in it; empty where all are


class LeftOut(Struct, frozen=True):
    """A dataset that is not in a backup, and why."""

    name: str
    reason: str


class BackupBegun(Struct, frozen=True, rename="camel"):
    """What a server gives to be copied, as it was at one moment."""

    id: str
    created: str  # RFC 3339: everything acknowledged before is in it
    tailrace: str  # the version
    files: list[BackupFile]  # of the data directory
    datasets: list[BackupDataset]
    left_out: list[LeftOut]
    has_database: bool  # False where the database is elsewhere (database_url)


class BackupListing(Struct, frozen=True):
    """The files of a dataset of a backup, those that change (the table's log, what is beside it) last."""

    files: list[BackupFile]


class DroppedMeanwhile(Conflict):
    """The dataset was dropped after the backup had begun."""

    code = "dropped_meanwhile"


class FileUnreadable(TailraceError):
    """A file of the backup is missing where it was, or not what was written."""

    status = 410
    code = "file_unreadable"


def hash_of(chunks: Iterable[bytes]) -> str:
    """Return the hash of content, as `BackupFile` has it."""
    digest = blake2b(digest_size=HASH_BYTES)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def hash_in_name(name: str) -> str:
    """Return the hash of a data file's content that its name has; empty where it has none."""
    found = NAMED.search(name)
    return found[1] if found else ""


def file_fault(path: Path, file: BackupFile) -> str:
    """Return what is wrong with a copy of a file on this machine, empty where nothing is. Reads all of it."""
    size = path.stat().st_size
    if size != file.bytes:
        return f"it has {size} bytes in place of {file.bytes}"
    due = file.hash or hash_in_name(file.name)
    digest = blake2b(digest_size=len(due) // 2)
    with path.open("rb", buffering=0) as opened:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
    return "" if digest.hexdigest() == due else "its content is not what was written"


def is_sound_name(name: str) -> bool:
    """Return whether a file's name stays beneath its directory."""
    return all(_PART.fullmatch(part) and part not in (".", "..") for part in name.split("/"))

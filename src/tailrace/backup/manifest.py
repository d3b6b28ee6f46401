"""The manifest of a backup: all of its files. It is written last, so that a backup with a manifest is whole."""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec
from msgspec import Struct

from tailrace.backup.content import BackupDataset, BackupFile, LeftOut, is_sound_name
from tailrace.backup.place import BackupPlace
from tailrace.lake.catalog import NAME

FORMAT = 1
MANIFESTS = "backups"  # a directory: ID-HASH.json
DATA = "data"  # of files whose name has their hash: DATASET/NAME
OBJECTS = "objects"  # of all others: the hash of the content, below its first two digits
CHECK_BYTES = 8  # of the hash in a manifest's name

_MANIFEST = re.compile(rf"{MANIFESTS}/([A-Za-z0-9-]+)-([0-9a-f]{{{2 * CHECK_BYTES}}})\.json")


class BackupDamaged(Exception):
    """A file of a backup is not what was written, or is missing; the message says which."""


class SavedDataset(Struct, frozen=True):
    """A dataset in a backup."""

    dataset: BackupDataset
    files: tuple[BackupFile, ...]
    missing: dict[str, str] = {}  # files that could not be read where they were, with the reason


class Manifest(Struct, frozen=True, rename="camel"):
    """A backup that is whole."""

    format: int
    id: str
    created: str  # RFC 3339: it has everything acknowledged before
    tailrace: str  # the version of the server
    has_database: bool
    files: tuple[BackupFile, ...]  # of the data directory
    datasets: tuple[SavedDataset, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether it has everything that the server had."""
        return not self.left_out and not any(each.missing or each.dataset.fault for each in self.datasets)

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(file.bytes for _, file in self.all_files())

    @property
    def rows(self) -> int:
        """The number of events."""
        return sum(each.dataset.rows for each in self.datasets)

    def all_files(self) -> Iterator[tuple[str, BackupFile]]:
        """Yield each file with its dataset, "" for those of the data directory."""
        for file in self.files:
            yield "", file
        for saved in self.datasets:
            for file in saved.files:
                yield saved.dataset.name, file


def stored_name(dataset: str, file: BackupFile) -> str:
    """Return the name under which a place has a file."""
    return f"{OBJECTS}/{file.hash[:2]}/{file.hash}" if file.hash else f"{DATA}/{dataset}/{file.name}"


def write_manifest(place: BackupPlace, manifest: Manifest) -> None:
    """Write it, after which the backup is whole."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    place.create(f"{MANIFESTS}/{manifest.id}-{_check(content)}.json", content)


def manifest_names(place: BackupPlace) -> dict[str, str]:
    """Return the names of the manifests by the ids of their backups, oldest first."""
    found = (_MANIFEST.fullmatch(name) for name in sorted(place.sizes(MANIFESTS)))
    return {match[1]: match[0] for match in found if match}


def read_manifest(place: BackupPlace, name: str) -> Manifest:
    """Return a manifest by its name. Raise BackupDamaged; ValueError for one of a later version."""
    match = _MANIFEST.fullmatch(name)
    content = place.read(name)
    if match is None or _check(content) != match[2]:
        raise BackupDamaged(f"{place.url}/{name} is damaged: its content is not what was written")
    form = msgspec.json.decode(content, type=_Form).format
    if form != FORMAT:
        raise ValueError(f"{place.url}/{name} has format {form}, but this version of Tailrace reads {FORMAT}")
    manifest = msgspec.json.decode(content, type=Manifest)
    check_names(manifest.all_files())
    return manifest


def check_names(files: Iterable[tuple[str, BackupFile]]) -> None:
    """Raise ValueError for a file that would be written elsewhere than beneath its directory."""
    for dataset, file in files:
        is_sound_dataset = not dataset or NAME.fullmatch(dataset)
        if not is_sound_dataset or not is_sound_name(file.name) or not re.fullmatch(r"[0-9a-f]*", file.hash):
            raise ValueError(f"{file.name[:200]!r} of dataset {dataset[:200]!r} is no name of a file of a backup")


class _Form(Struct):
    format: int


def _check(content: bytes) -> str:
    return blake2b(content, digest_size=CHECK_BYTES).hexdigest()

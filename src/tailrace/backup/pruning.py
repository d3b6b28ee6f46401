"""Deleting old backups of a directory: their manifests first, then the files that no other backup has."""

from msgspec import Struct

from tailrace.backup.manifest import DATA, MANIFESTS, OBJECTS, manifest_names, read_manifest, stored_name
from tailrace.backup.place import DirectoryPlace


class Pruned(Struct, frozen=True):
    """What was deleted."""

    backups: int = 0
    files: int = 0
    bytes: int = 0


def prune(place: DirectoryPlace, keep: int) -> Pruned:
    """Delete all backups but the newest, and what only they had; files of a backup that was stopped go too.

    Where this is stopped the next call goes on: a backup without a manifest is none. Raise BackupDamaged, ValueError
    where a manifest that stays cannot be read, as its files are not known; PlaceInUse; OSError.
    """
    with place.working():
        names = list(manifest_names(place).values())
        used = {
            stored_name(dataset, file)
            for name in names[-keep:]
            for dataset, file in read_manifest(place, name).all_files()
        }
        for name in names[:-keep]:
            place.remove(name)
        place.flush(MANIFESTS)  # or after a power cut a manifest could be back whose files are not
        unused = {
            name: size
            for directory in (DATA, OBJECTS)
            for name, size in place.sizes(directory).items()
            if name not in used
        }
        for name in unused:
            place.remove(name)
        place.remove_empty_directories()
        return Pruned(len(names[:-keep]), len(unused), sum(unused.values()))

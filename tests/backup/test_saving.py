"""Backups of what is being written to: consistent, copied once, verified, and whole or not there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.backups import Origin, Told, events_in, newest, restored

from tailrace.backup.manifest import BackupDamaged, manifest_names, read_manifest
from tailrace.backup.place import DirectoryPlace, PlaceInUse
from tailrace.backup.pruning import Pruned, prune
from tailrace.backup.saving import check_stored
from tailrace.lake.table_copy import Keep, TableCopy

DATA_FILES = "data/web/_day=*/*.parquet"


def files(place: DirectoryPlace, pattern: str = DATA_FILES) -> list[Path]:
    return sorted(place.directory.glob(pattern))


def test_a_backup_has_what_was_accepted_before_whether_it_was_in_a_file_or_not(
    origin: Origin, place: DirectoryPlace, tmp_path: Path
) -> None:
    origin.lake.commit_now()
    origin.accept(2, [10, 11])

    manifest = origin.save(place)

    assert (manifest.rows, manifest.is_complete, manifest.has_database) == (12, True, True)
    assert restored(place, tmp_path / "data").rows == 12
    assert events_in(tmp_path / "data") == {"web": list(range(12))}
    assert (tmp_path / "data" / "sessions.key").read_bytes() == b"secret"


def test_a_file_is_copied_once(origin: Origin, place: DirectoryPlace) -> None:
    origin.save(place)
    before = {path: path.stat().st_mtime_ns for path in files(place)}
    origin.accept(2, [10])
    told = Told()

    second = origin.save(place, told)

    assert len(before) == 1
    assert {path: path.stat().st_mtime_ns for path in files(place)}.items() > before.items()
    assert told.kept >= 1
    assert len(manifest_names(place)) == 2
    assert newest(place) == second


def test_each_backup_stays_what_it_was(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    first = origin.save(place)
    origin.accept(2, [10])
    origin.lake.compact("web")
    origin.lake.trim("web", 2**62)
    origin.accept(3, [20])
    origin.save(place)

    restored(place, tmp_path / "first", backup=first.id)
    restored(place, tmp_path / "second")

    assert events_in(tmp_path / "first") == {"web": list(range(10))}
    assert events_in(tmp_path / "second") == {"web": [20]}


def meanwhile(origin: Origin, change: Callable[[], object]) -> None:
    """Have something happen once the files of `web` are listed, before the first is read."""
    listing = origin.source.listing

    def listed(backup_id: str, dataset: str) -> object:
        found = listing(backup_id, dataset)
        change()
        return found

    origin.source.listing = listed  # type: ignore[method-assign, assignment]


def test_files_stay_until_they_are_copied(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.lake.commit_now()
    origin.accept(2, [10])

    def replace_all() -> None:
        origin.lake.compact("web")
        origin.lake.trim("web", 2**62)
        dataset = origin.lake._state.dataset("web")
        long_after_ms = 2**42
        assert dataset.maintenance.sweep(long_after_ms) == 1  # the merged one, which came later
        assert len(list(origin.directory.glob("lake/web/_day=*/*.parquet"))) == 2

    meanwhile(origin, replace_all)
    origin.save(place)

    assert origin.lake._state.dataset("web").maintenance.sweep(2**42) == 2
    restored(place, tmp_path / "data")
    assert events_in(tmp_path / "data") == {"web": list(range(11))}


def test_a_full_disk_takes_files_before_they_are_copied_and_the_backup_says_so(
    origin: Origin, place: DirectoryPlace
) -> None:
    def free() -> None:
        origin.lake.trim("web", 2**62)
        origin.lake._state.dataset("web").maintenance.sweep(0, at_once=True)

    meanwhile(origin, free)
    told = Told()

    manifest = origin.save(place, told)

    [saved] = manifest.datasets
    assert not manifest.is_complete
    assert ["No such file" in reason for reason in saved.missing.values()] == [True]
    assert "is not in the backup" in told.warnings[0]


def test_a_dataset_that_is_dropped_meanwhile_is_left_out(origin: Origin, place: DirectoryPlace) -> None:
    origin.lake.create("other")
    meanwhile(origin, lambda: origin.lake.drop("web") if origin.lake.has("web") else None)

    manifest = origin.save(place)

    assert [each.dataset.name for each in manifest.datasets] == ["other"]
    assert [(each.name, "was dropped" in each.reason) for each in manifest.left_out] == [("web", True)]


def test_a_damaged_file_is_told_and_all_others_are_copied(origin: Origin, place: DirectoryPlace) -> None:
    origin.lake.commit_now()
    [file] = origin.directory.glob("lake/web/_day=*/*.parquet")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    origin.accept(2, [10])
    told = Told()

    manifest = origin.save(place, told)

    [saved] = manifest.datasets
    assert saved.missing == {f"{file.parent.name}/{file.name}": "it is damaged: its content is not what was written"}
    assert len(files(place)) == 1
    assert file.name in told.warnings[0]


def test_a_dataset_whose_events_cannot_be_committed_is_as_old_as_its_table(
    origin: Origin, place: DirectoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.lake.commit_now()
    origin.accept(2, [10])

    def fail(*_: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(origin.lake._state.dataset("web").table, "commit", fail)

    [saved] = origin.save(place).datasets

    assert (saved.dataset.rows, saved.dataset.fault) == (10, "no space is left on the disk")


def test_what_stops_a_backup_leaves_none_and_the_next_goes_on(origin: Origin, place: DirectoryPlace) -> None:
    origin.lake.commit_now()
    origin.accept(2, [10])
    content = origin.source.content
    names: list[str] = []

    @contextmanager
    def stopping(backup_id: str, dataset: str, name: str) -> Iterator[Iterator[bytes]]:
        names.append(name)
        if name == "sessions.key":
            raise KeyboardInterrupt
        with content(backup_id, dataset, name) as chunks:
            yield chunks

    origin.source.content = stopping  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        origin.save(place)
    assert (len(files(place)), manifest_names(place), files(place, ".unfinished*")) == (2, {}, [])
    assert not list(origin.directory.glob("backups/*"))

    names.clear()
    origin.source.content = content  # type: ignore[method-assign]
    told = Told()
    origin.save(place, told)

    assert told.kept > 2
    assert len(manifest_names(place)) == 1


def test_half_a_file_of_a_backup_that_was_killed_is_removed(origin: Origin, place: DirectoryPlace) -> None:
    unfinished = place.directory / ".unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "part").write_bytes(b"PAR1")

    origin.save(place)

    assert not unfinished.exists()


def test_two_backups_do_not_write_to_a_directory_at_once(origin: Origin, place: DirectoryPlace) -> None:
    with place.working(), pytest.raises(PlaceInUse, match="another backup or export is being written"):
        origin.save(DirectoryPlace(place.directory))


def test_what_a_disk_changed_in_a_place_is_found_and_copied_again(origin: Origin, place: DirectoryPlace) -> None:
    origin.save(place)
    [file] = files(place)
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    origin.save(place)
    told = Told()

    faults = check_stored(place, newest(place), told)
    origin.save(place, told, verify=True)

    assert [fault for fault in faults if file.name in fault] == faults
    assert ["is copied again" in warning for warning in told.warnings] == [True]
    assert check_stored(place, newest(place), told) == []


def test_a_manifest_that_is_not_what_was_written_is_no_backup(origin: Origin, place: DirectoryPlace) -> None:
    origin.save(place)
    [name] = manifest_names(place).values()
    path = place.directory / name
    path.write_bytes(path.read_bytes().replace(b'"rows": 10', b'"rows": 11'))

    with pytest.raises(BackupDamaged, match="is damaged"):
        read_manifest(place, name)


def test_a_backup_that_nobody_copies_ends(origin: Origin) -> None:
    backups = origin.source.backups
    begun = backups.begin()
    running = backups._find(begun.id)
    running.used_s -= 601

    backups._watch(running)

    assert not list(origin.directory.glob("backups/*"))
    assert not origin.lake._state.dataset("web").maintenance._pins


def test_old_backups_are_deleted_with_what_only_they_had(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    first = origin.save(place)
    origin.lake.trim("web", 2**62)
    origin.accept(2, [20])
    second = origin.save(place)
    origin.accept(3, [21])
    origin.save(place)
    (place.directory / "data" / "web" / "stray").write_bytes(b"of a backup that was stopped")
    [old] = [file for file in first.datasets[0].files if file.name.endswith(".parquet")]

    pruned = prune(place, 2)

    assert (pruned.backups, first.id in manifest_names(place), second.id in manifest_names(place)) == (1, False, True)
    assert not (place.directory / "data" / "web" / old.name).exists()
    assert not (place.directory / "data" / "web" / "stray").exists()
    assert check_stored(place, newest(place), Told()) == []
    restored(place, tmp_path / "data", backup=second.id)
    assert events_in(tmp_path / "data") == {"web": [20]}
    assert prune(place, 2) == Pruned()


def test_a_backup_that_fails_as_it_begins_keeps_no_file(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    origin.lake.create("zoo")
    copy = origin.lake.copy

    def failing(name: str, keep: Keep) -> TableCopy:
        found = copy(name, keep)
        if name == "zoo":
            raise ValueError("what nobody thought of")
        return found

    monkeypatch.setattr(origin.lake, "copy", failing)
    with pytest.raises(ValueError, match="nobody thought"):
        origin.source.begin()

    assert origin.lake.snapshot("web").files
    assert not origin.lake._state.dataset("web").maintenance._pins


def test_nothing_is_deleted_where_a_backup_that_stays_is_damaged(origin: Origin, place: DirectoryPlace) -> None:
    origin.save(place)
    origin.save(place)
    name = list(manifest_names(place).values())[-1]
    (place.directory / name).write_bytes(b"{}")
    before = place.sizes("")

    with pytest.raises(BackupDamaged):
        prune(place, 1)

    assert place.sizes("") == before

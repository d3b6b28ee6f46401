"""Restoring: into an empty directory, in part, up to a moment; and what stops it leaves nothing that a server takes."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.backups import Origin, Told, events_in, newest, restored
from support.disks import fill, small_disk
from support.events import batch

from tailrace.access import Access
from tailrace.backup import restoring
from tailrace.backup.place import DirectoryPlace
from tailrace.lake import sidecar
from tailrace.lake.local_table import LocalTable
from tailrace.server.data_directory import check_restored
from tailrace.server.restore import RestorePlan, RestoreRefused, moment_ns, restore, select
from tailrace.storage.database import Database

SECOND_NS = 1_000_000_000


def spoil(path: Path) -> None:
    """Change a bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_directory_that_is_not_empty_is_refused(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.save(place)
    data = tmp_path / "data"
    data.mkdir()
    (data / "mine").write_text("mine")

    with pytest.raises(RestoreRefused, match=r"is not empty \(it has mine\)"):
        restored(place, data)

    assert [path.name for path in data.iterdir()] == ["mine"]


def test_the_owner_has_a_new_token_and_all_others_work_on(
    origin: Origin, place: DirectoryPlace, tmp_path: Path
) -> None:
    origin.save(place)
    done = restored(place, tmp_path / "data")
    token = (tmp_path / "data" / "owner-token").read_text().strip()

    assert (done.has_token, done.faults) == (True, ())
    with closing(Database.open(tmp_path / "data" / "tailrace.db")) as database:
        access = Access(database)
        owner = access.authenticate("xapt-owner")
        again = access.authenticate(token)
    assert (again.user_id, again.is_unlimited) == (owner.user_id, True)
    assert os.stat(tmp_path / "data" / "owner-token").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "data" / "tailrace.db").st_mode & 0o777 == 0o600


def test_the_registry_of_fields_that_counts_is_restored(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.lake.commit_now()
    storage = LocalTable(origin.directory / "lake" / "web")
    stored, _ = sidecar.load_fields(storage)
    assert stored is not None
    registry = replace(stored, rest={"seldom": frozenset({"string"})})
    sidecar.store_numbered_fields(storage, stored, 1)  # as of a server that shared its tables once
    sidecar.store_numbered_fields(storage, registry, 2)

    origin.save(place)
    restored(place, tmp_path / "data")

    assert sidecar.load_fields(LocalTable(tmp_path / "data" / "lake" / "web")) == (registry, 0)


def test_one_dataset_is_restored(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.lake.create("other")
    origin.save(place)

    assert restored(place, tmp_path / "data", datasets=("web",)).datasets == 1

    assert events_in(tmp_path / "data") == {"web": list(range(10))}
    with pytest.raises(RestoreRefused, match="has no dataset none; it has other, web"):
        restored(place, tmp_path / "none", datasets=("none",))


def test_events_that_the_server_took_later_are_left_out(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    until_ns = 2_000_000_000 * SECOND_NS  # after the dataset was made
    mixed = [batch([{"n": 10}], "web"), batch([{"n": 11}], "web", received_ns=until_ns)]
    for position, each in enumerate(mixed, start=2):
        origin.lake.accept(position, each)
    origin.lake.commit_now()
    origin.lake.accept(4, batch([{"n": 12}], "web", received_ns=until_ns + 1))
    origin.save(place)

    done = restored(place, tmp_path / "data", until_ns=until_ns)

    assert (done.rows, done.left_out, done.faults) == (11, 2, ())
    assert events_in(tmp_path / "data") == {"web": list(range(11))}
    before = restored(place, tmp_path / "before", until_ns=1)
    assert (before.rows, before.left_out, events_in(tmp_path / "before")) == (0, 13, {})


def test_the_backup_up_to_a_moment_is_the_first_after_it() -> None:
    names = [("a", "2026-05-01T00:00:00Z"), ("b", "2026-05-02T00:00:00Z")]

    assert select(names, None) == "b"
    assert select(names, moment_ns("2026-04-30T12:00:00Z")) == "a"
    assert select(names, moment_ns("2026-05-01T00:00:01Z")) == "b"
    with pytest.raises(RestoreRefused, match="the newest backup is of 2026-05-02T00:00:00Z, before that moment"):
        select(names, moment_ns("2026-05-02T00:00:01Z"))
    with pytest.raises(RestoreRefused, match="no backup that is whole"):
        select([], None)


def test_a_damaged_file_is_told_and_what_is_sound_is_restored_where_that_is_wanted(
    origin: Origin, place: DirectoryPlace, tmp_path: Path
) -> None:
    origin.lake.create("other")
    origin.accept(2, [7], "other")
    origin.save(place)
    [file] = place.directory.glob("data/web/*/*.parquet")
    spoil(file)
    data = tmp_path / "data"

    with pytest.raises(RestoreRefused, match=f"{file.name} is damaged.*--partial"):
        restored(place, data)
    with pytest.raises(SystemExit, match="was stopped in the middle"):
        check_restored(data)
    done = restored(place, data, is_partial=True)

    assert [file.name in fault for fault in done.faults] == [True]
    assert not list(data.glob("lake/web/_day=*/*.parquet"))
    assert events_in(data)["other"] == [7] if (data / "lake" / "web").rename(tmp_path / "web") else False
    check_restored(data)


def test_a_damaged_log_of_a_table_is_told(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.save(place)
    objects = [path for path in place.directory.glob("objects/*/*") if b"add" in path.read_bytes()]
    spoil(objects[0])

    with pytest.raises(RestoreRefused, match="is damaged"):
        restored(place, tmp_path / "data")


@pytest.fixture
def stops_after(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of one number: of files, after which copying back is stopped."""
    left = [0]
    fetch = restoring._fetch

    def stopping(*arguments: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        fetch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(restoring, "_fetch", stopping)
    monkeypatch.setattr(restoring, "TRANSFERS", 1)
    return left


def test_a_restore_that_was_stopped_goes_on_and_no_server_starts_before(
    origin: Origin, place: DirectoryPlace, tmp_path: Path, stops_after: list[int]
) -> None:
    first = origin.save(place)
    origin.accept(2, [10])
    origin.save(place)
    data = tmp_path / "data"
    for attempts in range(10):  # noqa: B007
        stops_after[0] = 3  # two of which are copied each time
        try:
            told = Told()
            restore(place, first, data, RestorePlan(first.id), told)
            break
        except KeyboardInterrupt:
            with pytest.raises(SystemExit, match="run `tailrace restore` again"):
                check_restored(data)
            with pytest.raises(RestoreRefused, match=f"has a part of backup {first.id}"):
                restored(place, data)

    assert attempts > 1
    assert told.kept > 0
    assert events_in(data) == {"web": list(range(10))}
    check_restored(data)


def test_a_full_disk_stops_a_restore_which_goes_on_once_there_is_space(
    origin: Origin, place: DirectoryPlace, tmp_path: Path
) -> None:
    origin.accept(2, [10])
    origin.save(place)
    with small_disk(tmp_path / "disk", 4) as disk:
        data = disk / "data"
        filling = fill(disk)
        with filling.open("r+b") as opened:
            opened.truncate(filling.stat().st_size - 40_000)
        with pytest.raises(OSError, match="No space left on device"):
            restored(place, data)
        filling.unlink()
        restored(place, data)
        assert events_in(data) == {"web": list(range(11))}


def test_a_full_disk_stops_a_backup_which_goes_on_once_there_is_space(origin: Origin, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        place = DirectoryPlace(disk / "place")
        filling = fill(disk)
        with filling.open("r+b") as opened:
            opened.truncate(filling.stat().st_size - 40_000)
        with pytest.raises(OSError, match="No space left on device"):
            origin.save(place)
        assert not list(place.directory.glob("backups/*"))
        filling.unlink()
        assert origin.save(place) == newest(place)


def test_a_table_that_lacks_a_file_of_the_server_says_so(origin: Origin, place: DirectoryPlace, tmp_path: Path) -> None:
    origin.lake.commit_now()
    [file] = origin.directory.glob("lake/web/_day=*/*.parquet")
    spoil(file)
    origin.save(place)

    done = restored(place, tmp_path / "data")

    assert [file.name in fault and "is not in the backup" in fault for fault in done.faults] == [True]

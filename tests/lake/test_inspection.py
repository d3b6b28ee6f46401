"""Inspection of a dataset's files: what is right, and each kind of damage in words."""

from pathlib import Path

import pytest
from support.directories import contents
from support.events import FIRST_TIME_NS, batch
from support.lakes import NEVER

from tailrace.lake import Lake
from tailrace.lake.inspection import Inspection, dataset_directories, inspect
from tailrace.lake.local_table import LocalTable


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of a dataset with two files of two events."""
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    for n in range(1, 3):
        lake.accept(n, batch([{"n": n}, {"n": -n}], first_ns=FIRST_TIME_NS + n * 10**9))
        lake.commit_now("d")
    lake.close(commit=False)
    return tmp_path / "d"


def one_file(directory: Path) -> Path:
    return sorted(directory.glob("_day=*/*.parquet"))[0]


def test_a_whole_dataset_has_no_fault(directory: Path) -> None:
    assert inspect(LocalTable(directory)) == Inspection(files=2, rows=4)


def test_nothing_is_changed(directory: Path) -> None:
    newest = max((directory / "_delta_log").glob("*.json"))
    newest.write_bytes(b"")
    before = contents(directory)
    inspect(LocalTable(directory))

    assert contents(directory) == before


def test_a_missing_file_is_named(directory: Path) -> None:
    file = one_file(directory)
    file.unlink()

    fault = inspect(LocalTable(directory)).fault
    assert fault.startswith(f"{file.name} cannot be read: FileNotFoundError")


def test_a_file_of_another_size_is_named_with_both(directory: Path) -> None:
    file = one_file(directory)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])

    assert inspect(LocalTable(directory)) == Inspection(f"{file.name} has {size - 1} bytes, but {size} were written")


def test_a_file_that_is_no_parquet_is_named(directory: Path) -> None:
    file = one_file(directory)
    file.write_bytes(bytes(file.stat().st_size))

    assert inspect(LocalTable(directory)).fault.startswith(f"{file.name} cannot be read: ")


def test_a_changed_value_is_found(directory: Path) -> None:
    file = one_file(directory)
    content = bytearray(file.read_bytes())
    content[6] ^= 1  # of the first page
    file.write_bytes(content)

    assert inspect(LocalTable(directory)).fault == ""
    assert inspect(LocalTable(directory), verify=True).fault.startswith(f"{file.name} is damaged: ")


@pytest.mark.parametrize("name", ["dataset.json", "fields.json"])
def test_a_spoiled_file_beside_the_table_is_a_fault(directory: Path, name: str) -> None:
    [path] = directory.rglob(name)
    path.write_bytes(b"{")

    assert inspect(LocalTable(directory)).fault


def test_a_table_without_a_log_is_a_fault(directory: Path) -> None:
    for path in (directory / "_delta_log").iterdir():
        path.unlink()

    assert inspect(LocalTable(directory)).fault.startswith("cannot be opened: ")


def test_a_version_that_was_set_aside_is_told_with_its_directory(directory: Path) -> None:
    newest = max((directory / "_delta_log").glob("*.json"))
    newest.write_bytes(b"")
    Lake.open(directory.parent, NEVER).close(commit=False)

    found = inspect(LocalTable(directory))
    assert (found.fault, found.files, found.rows) == ("", 1, 2)
    assert Path(found.set_aside).is_dir()


def test_datasets_are_the_directories_with_the_name_of_one(directory: Path) -> None:
    root = directory.parent
    (root / "_new-x").mkdir()
    (root / "file").write_bytes(b"")

    assert dataset_directories(root) == [directory]

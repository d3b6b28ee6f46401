"""Small files: whole or as before, for their owner only, and nothing left of an attempt that failed."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tailrace.storage.files import replace_durably, set_aside


def test_a_file_is_put_in_place_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    replace_durably(path, b"one")
    replace_durably(path, b"two")

    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["file"]


def test_what_a_crash_left_of_an_attempt_is_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / "file.new"
    left.write_bytes(b"half")
    left.chmod(0o644)
    replace_durably(tmp_path / "file", b"whole")

    assert (tmp_path / "file").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_durably(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        replace_durably(path, b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_flushed_before_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    met: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content"
        met.append(f"{kind} {'named' if path.exists() else 'unnamed'}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    replace_durably(path, b"x")

    assert met == ["content unnamed", "directory named"]


def test_a_damaged_file_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"?")

    assert set_aside(tmp_path / "file") == tmp_path / "file.damaged"
    assert os.listdir(tmp_path) == ["file.damaged"]
    assert set_aside(tmp_path / "file") is None

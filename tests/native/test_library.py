"""The shared object: that it is there, of this source, and what is said where it cannot be loaded."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.native import library, load, why_missing


def test_it_is_loaded_once() -> None:
    loaded = load()

    assert loaded is not None
    assert load() is loaded
    assert why_missing() is None


def test_the_number_of_its_interface_is_that_of_the_header() -> None:
    header = library.FILE.with_name("native.h").read_text()

    assert f"#define TAILRACE_NATIVE_ABI {library.ABI}\n" in header


def test_it_is_built_from_the_sources_beside_it() -> None:
    hatch_build = pytest.importorskip("hatch_build")  # hatchling is not among the newest libraries
    loaded = load()
    assert loaded is not None
    loaded.tailrace_native_build.restype = ctypes.c_char_p

    assert loaded.tailrace_native_build().decode() == hatch_build.build_digest(hatch_build.ROOT), "run `make test`"


def test_what_is_not_there_is_a_reason(tmp_path: Path) -> None:
    assert "_native.so" in str(library.opened(tmp_path / "_native.so"))


def test_what_is_no_shared_object_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "_native.so").write_bytes(b"MZ")

    assert "_native.so" in str(library.opened(tmp_path / "_native.so"))


def test_what_is_another_library_is_a_reason(tmp_path: Path) -> None:
    import _ctypes

    assert "is not Tailrace's" in str(library.opened(Path(_ctypes.__file__)))


def test_another_version_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "ABI", library.ABI + 1)

    assert "is of another version" in str(library.opened(library.FILE))


def test_it_can_be_left_out() -> None:
    code = "from tailrace.native import load, why_missing; print(load(), why_missing())"

    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TAILRACE_NATIVE": "off"}, check=True, capture_output=True
    )

    assert told.stdout.strip() == b"None TAILRACE_NATIVE is off"

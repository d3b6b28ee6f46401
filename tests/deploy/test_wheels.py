"""hatch_build.py: what is compiled with which compiler, when it is compiled again, and what is in a wheel."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

hatch_build = pytest.importorskip("hatch_build")  # hatchling is not among the newest libraries

ROOT = Path(__file__).parents[2]
COPIED = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")

# A compiler that writes down how it is called, and otherwise is the machine's.
NOTING = """#!/bin/sh
echo "$@" >> "{calls}"
exec {cc} "$@"
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of what a package is made of, without what is built."""
    copy = tmp_path / "source"
    shutil.copytree(
        ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", ".build-*")
    )
    for name in COPIED:
        shutil.copy(ROOT / name, copy)
    return copy


def run(source: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(source / "hatch_build.py"), *arguments]
    return subprocess.run(command, cwd=source, env={**os.environ, **env}, check=False, capture_output=True, text=True)


@pytest.mark.process
@pytest.mark.skipif(not hatch_build.has_compiler(), reason="no C compiler")
def test_it_is_compiled_again_only_where_a_source_has_changed(source: Path, tmp_path: Path) -> None:
    calls, noting = tmp_path / "calls", tmp_path / "noting-cc"
    noting.write_text(NOTING.format(calls=calls, cc=os.environ.get("CC", "cc")))
    noting.chmod(0o755)

    def compiled() -> bool:
        calls.write_text("")
        assert run(source, CC=str(noting)).returncode == 0
        return "native.c" in calls.read_text()

    assert compiled()
    assert not compiled()
    with (source / "src/tailrace/native/native.c").open("a") as file:
        file.write("/* changed */\n")
    assert compiled()
    assert not compiled()


@pytest.mark.process
def test_a_compiler_that_cannot_compile_is_none(tmp_path: Path) -> None:
    assert run(ROOT, "compiler", CC="false").returncode == 1
    assert run(ROOT, "compiler", CC=str(tmp_path / "absent")).returncode == 1


@pytest.mark.process
@pytest.mark.parametrize(("cc", "asked"), [("false", "['ziglang']"), (os.environ.get("CC", "cc"), "[]")])
def test_zig_is_asked_for_only_where_there_is_no_compiler(cc: str, asked: str) -> None:
    if cc != "false" and not hatch_build.has_compiler():
        pytest.skip("no C compiler")
    code = "from hatchling.build import get_requires_for_build_wheel as asked; print(asked())"

    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "CC": cc}, check=True, capture_output=True, text=True
    )

    assert told.stdout.strip() == asked


@pytest.mark.process
def test_a_wheel_has_the_shared_object_and_the_platform_it_is_for(source: Path, tmp_path: Path) -> None:
    code = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, check=True, capture_output=True)

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stem.split("-")[2:4] == ["py3", "none"]
    assert wheel.stem.split("-")[4] != "any"
    assert names.count("tailrace/native/_native.so") == 1
    assert not [name for name in names if name.endswith((".c", ".h"))]
    [about] = [name for name in names if name.endswith(".dist-info/WHEEL")]
    assert b"Root-Is-Purelib: false" in zipfile.ZipFile(wheel).read(about)


@pytest.mark.process
@pytest.mark.costly
@pytest.mark.parametrize(
    ("target", "magic"), [("musl-arm64", b"\x7fELF\x02\x01\x01"), ("macos-arm64", b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01")]
)
def test_a_wheel_for_another_platform(source: Path, tmp_path: Path, target: str, magic: bytes) -> None:
    pytest.importorskip("ziglang", reason="`make wheels` installs it")
    assert run(source, "wheels", str(tmp_path), target).returncode == 0

    [wheel] = tmp_path.glob("*.whl")
    assert wheel.stem.endswith(hatch_build.TARGETS[target].tag)
    assert zipfile.ZipFile(wheel).read("tailrace/native/_native.so").startswith(magic)
    assert not (source / "src/tailrace/native/_native.so").exists()


@pytest.mark.process
def test_the_source_distribution_has_what_is_compiled(source: Path, tmp_path: Path) -> None:
    (source / "src/tailrace/native/_native.so").write_bytes(b"")
    code = "from hatchling.build import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, check=True, capture_output=True)

    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"hatch_build.py", "src/tailrace/native/native.c", "src/tailrace/native/native.h"} <= names
    assert not [name for name in names if name.endswith(".so")]

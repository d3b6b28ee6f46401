"""The vendors' own test suites, fetched as they were published and run unmodified against a server of this code.

A program, not a test, as it needs the registries: `make test-clients`. A suite whose tool is missing is skipped and
says so. `tests/clients/suites/run.py axiom-go` runs one of them. Nothing that is fetched is kept in the repository.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[3]
AXIOM_PY = "0.15.0"
AXIOM_GO = "v0.37.0"
DEPLOYMENT = "cloud.us-east-1.aws"  # any name will do: a dataset keeps the one it is given
# Of the development group of axiom-py, without its linters.
AXIOM_PY_NEEDS = ("pytest", "pytest-asyncio", "pytest-rerunfailures", "respx", "responses", "rfc3339", "iso8601")
START_TIMEOUT_S = 60.0

Environment = dict[str, str]


class Skipped(Exception):
    """A suite that cannot run here, and why."""


def axiom_py(folder: Path, env: Environment) -> int:
    """Return the tests of the source distribution of axiom-py, in an environment of their own."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    _run([*download, f"axiom-py=={AXIOM_PY}"], folder)
    [archive] = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    [source] = (each for each in folder.glob("axiom_py-*") if each.is_dir())
    _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    python = str(folder / "venv" / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", f"axiom-py=={AXIOM_PY}", *AXIOM_PY_NEEDS], folder)
    command = [python, "-m", "pytest", "tests", "-p", "no:cacheprovider", "-q", "-rfEs"]
    return subprocess.run(command, cwd=source, env=env, check=False).returncode


def axiom_go(folder: Path, env: Environment) -> int:
    """Return the integration tests of the module axiom-go, and of its adapters for loggers."""
    go = shutil.which("go")
    if go is None:
        raise Skipped("Go is not installed")
    (folder / "go.mod").write_text("module suites\n")
    answer = _run([go, "mod", "download", "-json", f"github.com/axiomhq/axiom-go@{AXIOM_GO}"], folder)
    source = folder / "axiom-go"
    shutil.copytree(json.loads(answer)["Dir"], source)
    for directory, _, files in os.walk(source):  # what the module cache holds is read-only
        for name in (".", *files):
            (Path(directory) / name).chmod(0o755)
    run = subprocess.run([go, "test", "-count=1", "-run", "TestSuite$", "./axiom"], cwd=source, env=env, check=False)
    adapters = [go, "test", "-count=1", "-p=1", "-tags=integration", "./adapters/..."]
    return run.returncode or subprocess.run(adapters, cwd=source, env=env, check=False).returncode


def axiom_js(folder: Path, env: Environment) -> int:
    """@axiomhq/js by hand, as its package has no tests: those of this repository that drive it."""
    if shutil.which("node") is None or not (ROOT / "tests/clients/js/node_modules").exists():
        raise Skipped("Node.js or its packages are not installed (`make javascript`)")
    files = ["tests/clients/test_axiom_js.py", "tests/clients/test_axiom_management_js.py"]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *files], cwd=ROOT, check=False).returncode


SUITES: Mapping[str, Callable[[Path, Environment], int]] = {
    "axiom-py": axiom_py,
    "axiom-go": axiom_go,
    "axiom-js": axiom_js,
}


def main(names: list[str]) -> int:
    """Run the suites named, all where none is; return how many failed."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"there is no suite {unknown[0]!r}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    ended: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="tailrace-suites-") as made:
        folder = Path(made)
        with _Server(folder / "data") as server:
            for name in names or SUITES:
                print(f"== {name}", flush=True)
                (folder / name).mkdir()
                try:
                    failed = SUITES[name](folder / name, server.environment())
                    ended[name] = "FAILED" if failed else "passed"
                except Skipped as reason:
                    ended[name] = f"skipped: {reason}"
                except subprocess.CalledProcessError as error:
                    ended[name] = f"NOT RUN: {' '.join(error.cmd)}\n{error.stderr}"
    for name, how in ended.items():
        print(f"{name}: {how}", flush=True)
    return sum(1 for how in ended.values() if how.startswith(("FAILED", "NOT RUN")))


class _Server:
    """A server of this code on a port of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> "_Server":
        command = [sys.executable, "-m", "tailrace", "serve", f"--data={self._data}", "--port=0"]
        with (self._data.parent / "server.log").open("w") as log:  # each refusal that a suite provokes is a line there
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        if not any(line.startswith("Query") for line in self._process.stdout):
            raise SystemExit("the server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(START_TIMEOUT_S)
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def environment(self) -> Environment:
        """Return what the suites read: where the server is, the owner's token and an API token for the edge routes."""
        url = json.loads((self._data / "server.json").read_text())["url"]
        token = (self._data / "owner-token").read_text().strip()
        capabilities = {"*": {"ingest": ["create"], "query": ["read"]}}
        made = httpx.post(
            f"{url}/v2/tokens",
            json={"name": "edge", "datasetCapabilities": capabilities},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        ).json()
        mine = {
            "AXIOM_URL": url,
            "AXIOM_TOKEN": token,
            "AXIOM_ORG_ID": "tailrace",
            "AXIOM_DATASET_SUFFIX": "suite",
            "AXIOM_INTEGRATION_TESTS": "true",
            "AXIOM_EDGE_URL": url,
            "AXIOM_EDGE_TOKEN": made["token"],
            "AXIOM_EDGE_DEPLOYMENT": DEPLOYMENT,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith(("AXIOM_", "TAILRACE_"))}
        return others | mine


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

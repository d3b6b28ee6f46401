"""Real server processes for the tests: one for the whole run, and as many of one's own as a test needs."""

import gc
import itertools
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from sqlalchemy import Engine
from support.forked import Forked
from support.postgres import empty, postgres_database, postgres_server
from support.rounds import rounds
from support.s3 import Proxy, S3Server, s3_server

from tailrace.storage.database import Database

# The same examples in every run, so that a failure is of the change at hand; "search" looks for new ones. No deadlines,
# as the machine may be shared.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, max_examples=rounds(50))
hypothesis.settings.register_profile("search", deadline=None, max_examples=rounds(50))
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# What tests start would inherit that a signal is ignored, as a shell and nohup have it for what runs in the background.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

POSTGRESQL = "postgresql"
KINDS_OF_DATABASE = ("sqlite", POSTGRESQL)
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


# Directories whose tests all start processes; the others' ask for the fixture `process`.
PROCESS_DIRECTORIES = {"clients", "crash"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes, which `make test-fast` leaves out, and what `make test-long` repeats."""
    for item in items:
        directory = item.path.relative_to(Path(__file__).parent).parts[0]
        if directory in PROCESS_DIRECTORIES or "process" in getattr(item, "fixturenames", ()):
            item.add_marker("process")
        callspec = getattr(item, "callspec", None)
        if callspec is not None and POSTGRESQL in callspec.params.values():
            item.add_marker("process")
        if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("rounds")
        for quirk in item.iter_markers("quirk"):
            library, version = quirk.args
            if metadata.version(library) != version:
                item.add_marker(pytest.mark.xfail(reason=f"a habit of {library} {version}", strict=False))


def pytest_collection_finish() -> None:
    """Leave out of every collection of garbage what lasts as long as the run: a quarter of a million objects."""
    gc.collect()
    gc.freeze()


class Server:
    """A server process on a data directory; it can be stopped, killed and started again.

    It is started as a program, or forked, which costs less; `launch` starts a program always.
    """

    def __init__(
        self, data: Path, options: tuple[str, ...] = (), env: dict[str, str] | None = None, *, is_forked: bool = False
    ) -> None:
        self.data = data
        self.options = options
        self.env = env or {}
        self.is_forked = is_forked
        self.url = ""
        self.token = ""
        self.banner: list[str] = []
        self.process: subprocess.Popen[str] | Forked | None = None
        self.errors = data.with_name(data.name + ".stderr")
        self.verify: ssl.SSLContext | bool = True  # by which a client trusts its certificate
        self._client: httpx.Client | None = None

    def launch_arguments(self) -> list[str]:
        """Return the command that starts the process."""
        return [sys.executable, "-m", "tailrace", *self.arguments()]

    def arguments(self) -> list[str]:
        """Return the command's arguments."""
        chosen = any(option.startswith("--port") for option in self.options)
        port = [] if chosen else ["--port=0"]
        return ["serve", f"--data={self.data}", *port, *self.options]

    def environment(self) -> dict[str, str]:
        """Return the process's variables: the shell's without its settings of Tailrace, and its own.

        With TEST_WORKERS servers have so many processes that take events in.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
        workers = {"TAILRACE_WORKERS": os.environ["TEST_WORKERS"]} if "TEST_WORKERS" in os.environ else {}
        return {**clean, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **workers, **self.env}

    def launch(self) -> "subprocess.Popen[str]":
        """Start the process and do not wait for it."""
        with self.errors.open("a") as errors:
            return subprocess.Popen(
                self.launch_arguments(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment(),
            )

    def start(self) -> "Server":
        """Start the process and return once it is ready; raise AssertionError when it does not become so."""
        self.launch_unready()
        answer = self.client.get("/readyz")
        assert answer.status_code == 200, answer.text
        return self

    def launch_unready(self) -> "Server":
        """Start the process and return once it has replayed its log, whether it can take events or not."""
        self.process = Forked(self.arguments(), self.environment(), self.errors) if self.is_forked else self.launch()
        self.banner = _read_banner(self.process, self.errors)
        self.url = next(line for line in self.banner if "is ready at" in line).rpartition(" ")[2]
        given = self.env.get("TAILRACE_ROOT_TOKEN")
        self.token = given or (self.data / "owner-token").read_text().strip()
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            trust_env=False,
            verify=self.verify,
        )
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def client(self) -> httpx.Client:
        """A client with the owner's token."""
        assert self._client is not None
        return self._client

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self.signal(signal.SIGKILL)

    def stop(self) -> int:
        """End the process with SIGTERM and return its exit code."""
        return self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end of the process."""
        assert self.process is not None
        if self._client is not None:
            self._client.close()
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def end(self) -> None:
        """Make sure that no process is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def create(self, dataset: str) -> str:
        """Make a dataset and return its name."""
        answer = self.client.post("/v2/datasets", json={"name": dataset})
        assert answer.status_code == 200, answer.text
        return dataset

    def api_token(self, *datasets: str, query: bool = False) -> str:
        """Make an API token that may send to the datasets, and query them if asked for."""
        rights = {"ingest": ["create"], **({"query": ["read"]} if query else {})}
        answer = self.client.post(
            "/v2/tokens", json={"name": "test", "datasetCapabilities": dict.fromkeys(datasets, rights)}
        )
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def ingest(
        self,
        dataset: str,
        body: bytes | str | Any,
        content_type: str | None = "application/json",
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a body, or what becomes one as JSON, with the owner's token."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        kind = {} if content_type is None else {"Content-Type": content_type}
        return self.client.post(
            f"/v1/datasets/{dataset}/ingest", content=content, headers={**kind, **(headers or {})}, params=params
        )

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        answer = self.client.post("/tailrace/v1/sql", json={"sql": query})
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows


def _read_banner(process: "subprocess.Popen[str] | Forked", errors: Path) -> list[str]:
    """Return the lines that a server prints when it is ready; its end is a failure with its error output, and so is its
    silence, then with what its threads do.
    """
    lines: queue.Queue[str] = queue.Queue()
    stdout = process.stdout
    assert stdout is not None

    def pump() -> None:
        try:
            for line in stdout:
                # With --log-format=json what it says is that, too.
                lines.put(json.loads(line)["message"] if line.startswith("{") else line.rstrip("\n"))
        except ValueError:  # closed beneath the reader when the server was ended
            return
        finally:
            lines.put("")

    threading.Thread(target=pump, daemon=True, name="banner").start()
    banner: list[str] = []
    try:
        while not banner or not banner[-1].startswith("Query"):
            line = lines.get(timeout=START_TIMEOUT_S)
            if not line and process.poll() is not None:
                break
            banner.append(line)
        else:
            return banner
    except queue.Empty:
        process.send_signal(signal.SIGABRT)
        process.wait(START_TIMEOUT_S)
    raise AssertionError(f"the server did not start: {banner}\n{errors.read_text()}")


@pytest.fixture(scope="session")
def process() -> None:
    """Mark a test or fixture that starts a process, so that `make test-fast` leaves it out."""


@pytest.fixture(scope="session")
def server(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that need none of their own."""
    running = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    assert running.process is not None
    assert running.process.poll() is None, running.errors.read_text()
    assert running.stop() == 0, running.errors.read_text()


MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(process: None, tmp_path: Path) -> Iterator[MakeServer]:
    """Make servers of a test's own, not started yet; each ends with the test.

    Arguments: command line options such as "--commit-age-s=1"; keywords `data` (a directory) and `env`.
    """
    made: list[Server] = []
    numbers = itertools.count()

    def make(*options: str, data: Path | None = None, env: dict[str, str] | None = None) -> Server:
        # Variables may be read where modules are imported.
        running = Server(data or tmp_path / f"data-{next(numbers)}", options, env, is_forked=env is None)
        made.append(running)
        return running

    yield make
    for running in made:
        running.end()


@pytest.fixture
def dataset(server: Server, request: pytest.FixtureRequest) -> str:
    """Return a new dataset on the shared server."""
    return server.create(f"d-{next(_DATASETS)}")


_DATASETS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Engine]:
    """Yield a PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def one_postgres_url(postgres: Engine) -> Iterator[str]:
    """Yield the URL of a database, for one test after the other."""
    with postgres_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def one_postgres_database(one_postgres_url: str) -> Iterator[Database]:
    """Yield that database, with its tables: a test that needs no other connections saves the time that they take."""
    with Database.open(one_postgres_url) as opened:
        yield opened


@pytest.fixture
def postgres_url(one_postgres_url: str, one_postgres_database: Database) -> str:
    """Return the URL of a new database on PostgreSQL."""
    empty(one_postgres_database)
    return one_postgres_url


@pytest.fixture(params=KINDS_OF_DATABASE)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new database is: what `Database.open` takes, for each kind that there is."""
    if request.param != POSTGRESQL:
        return tmp_path / "tailrace.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=KINDS_OF_DATABASE)
def empty_location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Yield the same where there is no table yet."""
    if request.param != POSTGRESQL:
        yield tmp_path / "tailrace.db"
        return
    with postgres_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest, location: Path | str) -> Iterator[Database]:
    """Yield a new database."""
    if isinstance(location, str):
        yield request.getfixturevalue("one_postgres_database")
        return
    with Database.open(location) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Yield an S3 server for the whole run, which is started for the first test that asks for it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Yield a proxy before the S3 server, by which clients here, and in processes that are started, find it."""
    proxy = Proxy(s3)
    for name, value in s3.environment(proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    try:
        yield proxy
    finally:
        proxy.close()

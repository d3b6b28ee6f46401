"""`tailrace backup` and `restore` against real servers: under load, killed in the middle, from and to object stores."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from support.commands import tailrace
from support.s3 import Proxy, S3Server
from support.waiting import wait_until

from tailrace.backup.place import DirectoryPlace, open_place
from tailrace.backup.restoring import DirectoryTarget
from tailrace.backup.running import MAX_BACKUPS
from tailrace.cli.backup import HttpSource

if TYPE_CHECKING:
    from conftest import MakeServer, Server

pytestmark = pytest.mark.process

NAMES = [f"load-{number}" for number in range(2)]


class Load:
    """Sends events to the datasets of a server until it is stopped, and knows which were acknowledged."""

    def __init__(self, server: "Server", batch: int = 20) -> None:
        self.server = server
        self.acknowledged: dict[str, list[int]] = {name: [] for name in NAMES}
        self._batch = batch
        self._stop = threading.Event()
        for name in NAMES:
            server.create(name)
        self._threads = [threading.Thread(target=self._send, args=[name]) for name in NAMES]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            numbers = list(range(number, number + self._batch))
            lines = "".join(json.dumps({"n": n, "text": "x" * 200}) + "\n" for n in numbers)
            answer = self.server.ingest(name, lines, "application/x-ndjson")
            assert answer.status_code == 200, answer.text
            self.acknowledged[name] += numbers
            number += self._batch

    def so_far(self) -> dict[str, int]:
        """Return how many were acknowledged of each dataset."""
        return {name: len(numbers) for name, numbers in self.acknowledged.items()}


def address(server: "Server", token: str = "") -> dict[str, str]:
    return {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": token or server.token}


def backup_token(server: "Server") -> str:
    """Make a token that may do nothing but backups."""
    answer = server.client.post("/v2/tokens", json={"name": "b", "orgCapabilities": {"server": ["backup"]}})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def check_restored(server: "Server", before: dict[str, int]) -> None:
    """Assert that a server has what was acknowledged before, without gaps or repetitions."""
    figures = "count(*) AS n, count(DISTINCT n) AS d, min(n) AS low, max(n) AS high"
    for name, least in before.items():
        [row] = server.sql(f'SELECT {figures} FROM "{name}"')
        assert row["n"] == row["d"] == row["high"] + 1 >= least
        assert row["low"] == 0


@pytest.mark.slow
def test_what_was_acknowledged_before_a_backup_began_is_restored(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server("--commit-age-s=0.2", "--compact-files=2", "--maintenance-every-s=0.1").start()
    place, data = tmp_path / "place", tmp_path / "restored"
    token = backup_token(server)
    with Load(server) as load:
        wait_until(lambda: min(load.so_far().values()) > 200)
        before = load.so_far()
        first = tailrace("backup", str(place), env=address(server, token))
        between = load.so_far()
        second = tailrace("backup", str(place), env=address(server, token))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    weak = tailrace("backup", str(place), env=address(server, server.api_token(NAMES[0])))
    assert (weak.returncode, "server:backup" in weak.stderr) == (1, True)
    server.kill()
    identifier = first.stdout.partition(":")[0]

    done = tailrace("restore", str(place), "--data", str(data))
    again = tailrace("restore", str(place), "--data", str(data))
    older = tailrace("restore", str(place), "--data", str(tmp_path / "older"), "--backup", identifier)

    assert done.returncode == older.returncode == 0, done.stderr + older.stderr
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    restored = make_server(data=data).start()
    check_restored(restored, between)
    assert restored.client.get("/v2/tokens").json()[0]["name"] == "b"
    # It goes on: positions in the log are those that no table knows.
    assert restored.ingest(NAMES[0], [{"n": -1}]).json()["ingested"] == 1
    restored.kill()
    assert restored.start().sql(f'SELECT count(*) AS n FROM "{NAMES[0]}" WHERE n = -1') == [{"n": 1}]
    restored.kill()
    check_restored(make_server(data=tmp_path / "older").start(), before)


def test_a_place_tells_what_it_has(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server().start()
    server.create("web")
    server.ingest("web", [{"n": 1}])
    place = str(tmp_path / "place")
    none = tailrace("restore", place, "--list", "backups")
    empty = tailrace("restore", place, "--data", str(tmp_path / "data"))
    done = tailrace("backup", place, env=address(server))
    backup_id = done.stdout.partition(":")[0]
    [listed] = [
        line for line in tailrace("restore", place, "--list", "backups").stdout.splitlines() if backup_id in line
    ]

    assert (none.returncode, len(none.stdout.splitlines())) == (0, 1)
    assert (empty.returncode, "has no backup that is whole" in empty.stderr) == (1, True)
    assert listed.split()[-1] == "complete"
    datasets = tailrace("restore", place, "--list", "datasets").stdout
    assert {"axiom-audit", "demo", "web"} == {line.split()[0] for line in datasets.splitlines()[1:]}
    assert "every file is what was written" in tailrace("restore", place, "--verify").stdout
    [file] = (tmp_path / "place").glob("data/web/*/*.parquet")
    file.write_bytes(b"PAR1")
    spoiled = tailrace("restore", place, "--verify")
    assert (spoiled.returncode, str(file) in spoiled.stderr) == (1, True)
    file.unlink()
    kept = tailrace("backup", place, "--keep", "1", env=address(server))
    assert (kept.returncode, "deleted 1 earlier backup: " in kept.stdout) == (0, True), kept.stderr
    assert tailrace("backup", "s3://bucket/x", "--keep", "1", env=address(server)).returncode == 2
    unknown = tailrace("restore", place, "--data", str(tmp_path / "data"), "--backup", "none")
    assert (unknown.returncode, "has no backup none" in unknown.stderr) == (1, True)
    assert tailrace("restore", place).returncode == 2
    assert tailrace("restore", "ftp://place", "--list", "backups").returncode == 2
    assert tailrace("restore", place, "--data", str(tmp_path / "data"), "--until", "once").returncode == 2


@pytest.mark.slow
def test_backups_and_restores_that_are_killed_go_on(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server("--commit-age-s=0.05", "--compact-files=0").start()
    place, data = tmp_path / "place", tmp_path / "restored"
    with Load(server, batch=200) as load:
        wait_until(lambda: min(load.so_far().values()) > 20_000)
    before = load.so_far()

    kills = run_killed(["backup", str(place)], address(server), place)
    assert kills
    server.kill()
    kills = run_killed(["restore", str(place), "--data", str(data)], {}, data / "lake")
    assert kills
    check_restored(make_server(data=data).start(), before)


@pytest.mark.slow
def test_what_a_signal_stops_ends_in_order_and_goes_on(
    make_server: "MakeServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server().start()
    server.create("web")
    server.ingest("web", [{"n": 1}])
    place, data, out = tmp_path / "place", tmp_path / "data", tmp_path / "out"
    commands = {
        "backup": [("backup", str(place)), "what is copied is not copied again"],
        "restore": [("restore", str(place), "--data", str(data)), "what is copied is not copied again"],
        "export": [("export", "web", str(out)), "whole days that are there are not asked for again"],
    }
    stops = {"backup": MAX_BACKUPS + 1, "restore": 1, "export": 1}  # which the server would have to wait for
    puts = {DirectoryPlace: DirectoryPlace.put, DirectoryTarget: DirectoryTarget.put}

    for name, (command, advice) in commands.items():
        for _ in range(stops[name]):
            once = threading.Lock()  # a second one would end the tests

            def stop(*_: object, once: threading.Lock = once) -> None:
                if once.acquire(blocking=False):
                    os.kill(os.getpid(), signal.SIGTERM)

            for place_ in puts:
                monkeypatch.setattr(place_, "put", stop)
            stopped = tailrace(*command, env=address(server))
            assert (stopped.returncode, stopped.stderr) == (
                143,
                f"tailrace: stopped by SIGTERM; run it again: {advice}\n",
            )
        for place_, put in puts.items():
            monkeypatch.setattr(place_, "put", put)
        done = tailrace(*command, env=address(server))
        assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*/.unfinished"))


def run_killed(arguments: list[str], env: dict[str, str], grows: Path) -> int:
    """Run a command until it succeeds, killed each time once it has written more; return how often it was killed."""
    kills = 0
    while True:
        had = files_in(grows)
        running = subprocess.Popen(
            [sys.executable, "-m", "tailrace", *arguments],
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: running.poll() is not None or files_in(grows) > had + 5)  # noqa: B023
        if kills < 3 and running.poll() is None:
            running.send_signal(signal.SIGKILL)
        _, errors = running.communicate()
        if running.returncode == 0:
            return kills
        assert running.returncode == -signal.SIGKILL, errors
        kills += 1


def files_in(directory: Path) -> int:
    """Count the files below a directory, of which some may come and go meanwhile."""
    return sum(len(files) for _, _, files in os.walk(directory))


@pytest.mark.slow
def test_tables_in_a_store_are_backed_up_to_a_store_and_restored_to_another(
    make_server: "MakeServer", proxy: Proxy, s3: S3Server, tmp_path: Path
) -> None:
    tables, place, other = s3.url(), s3.url(), s3.url()
    server = make_server(f"--storage={tables}", "--commit-age-s=0.2", "--workers=2").start()
    with Load(server) as load:
        wait_until(lambda: min(load.so_far().values()) > 200)
        before = load.so_far()
        moment = datetime.now(UTC).isoformat()
        wait_until(lambda: sum(load.so_far().values()) > sum(before.values()) + 100)
        done = tailrace("backup", place, env=address(server))
    assert done.returncode == 0, done.stderr
    archive = s3.url()
    exported = tailrace("export", NAMES[0], archive, "--format", "parquet", env=address(server))
    assert exported.stdout.startswith(f"{load.so_far()[NAMES[0]]} events in 1 file "), exported.stderr
    assert len(open_place(archive).sizes(NAMES[0])) == 1
    server.kill()
    data = tmp_path / "restored"

    restored = tailrace("restore", place, "--data", str(data), "--storage", other, "--until", "+1h")
    assert (restored.returncode, "before that moment" in restored.stderr) == (1, True)
    restored = tailrace("restore", place, "--data", str(data), "--storage", other)
    assert restored.returncode == 0, restored.stderr
    check_restored(make_server(f"--storage={other}", data=data).start(), before)
    then = s3.url()
    until = tailrace("restore", place, "--data", str(tmp_path / "then"), "--storage", then, "--until", moment)
    assert until.returncode == 0, until.stderr
    assert ", 0 later events left out" not in until.stdout
    check_restored(make_server(f"--storage={then}", data=tmp_path / "then").start(), before)
    local = tailrace("restore", place, "--data", str(tmp_path / "local"), "--dataset", NAMES[0])
    assert local.returncode == 0, local.stderr
    check_restored(make_server(data=tmp_path / "local").start(), {NAMES[0]: before[NAMES[0]]})
    refused = tailrace("restore", place, "--data", str(tmp_path / "third"), "--storage", other)
    assert (refused.returncode, "there are files in" in refused.stderr) == (1, True)
    assert open_place(place).sizes("backups")


def test_a_place_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "backups").write_bytes(b"")

    listed = tailrace("restore", str(tmp_path / "place"), "--list", "backups")
    none = tailrace("restore", str(tmp_path / "absent"), "--list", "datasets")

    assert (listed.returncode, listed.stderr.partition(";")[0]) == (
        1,
        f"tailrace: {tmp_path}/place/backups: Not a directory",
    )
    assert (none.returncode, "has no backup that is whole" in none.stderr) == (1, True)


@pytest.mark.parametrize("target", ["", "ftp://host/backups", "s3://"])
def test_what_is_no_place_is_refused(target: str) -> None:
    for arguments in (("backup", target), ("restore", target, "--list", "backups"), ("export", "web", target)):
        refused = tailrace(*arguments)

        assert (refused.returncode, " is no " in refused.stderr) == (2, True), refused.stderr


def test_a_file_that_a_proxy_has_compressed_is_as_it_was() -> None:
    body = httpx.ByteStream(gzip.compress(b"events"))
    packed = httpx.MockTransport(lambda _: httpx.Response(200, stream=body, headers={"Content-Encoding": "gzip"}))

    with (
        httpx.Client(transport=packed, base_url="http://127.0.0.1") as client,
        HttpSource(client).content("id", "web", "file") as chunks,
    ):
        assert b"".join(chunks) == b"events"


@pytest.mark.slow
def test_a_database_on_postgresql_is_named_to_be_backed_up_by_its_own_tools(
    make_server: "MakeServer", postgres_url: str, tmp_path: Path
) -> None:
    server = make_server(f"--database-url={postgres_url}").start()
    server.create("web")
    server.ingest("web", [{"n": 1}])
    place, data = tmp_path / "place", tmp_path / "data"

    done = tailrace("backup", str(place), env=address(server))
    restored = tailrace("restore", str(place), "--data", str(data))

    assert (done.returncode, "pg_dump" in done.stderr) == (0, True)
    assert (restored.returncode, "pg_restore" in restored.stderr) == (0, True)
    assert not (data / "tailrace.db").exists()

"""Several processes that take events in: one server to its clients, whatever becomes of any of them."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.processes import descendants, is_alive
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

WORKERS = 3
CONNECTIONS = 8
# A client that is made quickly: it reads no certificates, and no variables.
BARE: dict[str, Any] = {"timeout": 60, "trust_env": False, "verify": False}


class Load:
    """Sends events one by one over connections of its own, and keeps the keys of those that were acknowledged."""

    def __init__(self, server: "Server", dataset: str, prefix: str = "") -> None:
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self.broken = 0  # connections that ended without an answer
        self._path = f"{server.url}/v1/datasets/{dataset}/ingest"
        self._token = server.token
        self._prefix = prefix
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CONNECTIONS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _send(self, connection: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        for number in range(10**9):
            if self._ending.is_set():
                return
            key = f"{self._prefix}{connection}-{number}"
            try:
                # A connection each, so that the kernel gives it to any worker.
                answer = httpx.post(self._path, json=[{"key": key}], headers=headers, **BARE)
            except httpx.TransportError:
                self.broken += 1
                continue
            if answer.status_code == 200:
                self.acknowledged.append(key)
            else:
                self.refused.append(answer.status_code)


def workers_of(server: "Server") -> list[int]:
    """Return the processes of a server that listen as it does."""
    port = int(server.url.rpartition(":")[2])
    return sorted(pid for pid in descendants(server.pid) if listens(pid, port))


def listens(pid: int, port: int) -> bool:
    """Whether a process has a socket that listens on a port."""
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return False
    inodes = {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    return any(f"socket:[{inode}]" in links for inode in inodes)


def keys_of(server: "Server", dataset: str) -> list[str]:
    return sorted(row["key"] for row in server.sql(f'SELECT key FROM "{dataset}"'))


@pytest.fixture(scope="module")
def many(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """One server with workers."""
    from conftest import Server

    running = Server(tmp_path_factory.mktemp("workers") / "data", (f"--workers={WORKERS}",), is_forked=True).start()
    yield running
    assert running.stop() == 0, running.errors.read_text()


def fresh(server: "Server", method: str, path: str, token: str = "", **more: Any) -> httpx.Response:
    """Send a request over a connection of its own, which the kernel gives to any worker."""
    headers = {"Authorization": f"Bearer {token or server.token}", **more.pop("headers", {})}
    return httpx.request(method, server.url + path, headers=headers, **BARE, **more)


def test_every_worker_takes_events_and_a_query_has_them_at_once(many: "Server") -> None:
    name = many.create("w-each")
    rng = Random(1)
    for number in range(40):
        answer = fresh(many, "POST", f"/v1/datasets/{name}/ingest", json=[{"key": f"{number:03}"}])
        assert answer.status_code == 200, answer.text
        if rng.random() < 0.3:
            assert keys_of(many, name) == [f"{each:03}" for each in range(number + 1)]
    logs = sorted((many.data / "worker-logs").iterdir())
    assert [path.name for path in logs] == [f"worker-{number}" for number in range(WORKERS)]
    assert all(name.encode() in next(path.glob("*.seg")).read_bytes() for path in logs)


def test_what_is_revoked_or_dropped_is_so_for_every_worker_at_once(many: "Server") -> None:
    name = many.create("w-revoked")
    for number in range(5):
        secret = many.client.post(
            "/v2/tokens", json={"name": "brief", "datasetCapabilities": {name: {"ingest": ["create"]}}}
        ).json()
        path = f"/v1/datasets/{name}/ingest"
        for _ in range(2 * WORKERS):
            assert fresh(many, "POST", path, secret["token"], json=[{"key": "a"}]).status_code == 200
        if number % 2:
            assert many.client.delete(f"/v2/tokens/{secret['id']}").status_code == 204
            expected = 401
        else:
            assert many.client.delete(f"/v2/datasets/{name}").status_code == 204
            expected = 404
        seen = {fresh(many, "POST", path, secret["token"], json=[{"key": "a"}]).status_code for _ in range(3 * WORKERS)}
        assert seen == {expected}
        if expected == 404:
            many.create(name)
            assert many.sql(f'SELECT * FROM "{name}"') == []
            assert fresh(many, "POST", path, secret["token"], json=[{"key": "a"}]).status_code == 200
            assert len(many.sql(f'SELECT * FROM "{name}"')) == 1


def test_ids_and_keys_are_remembered_whichever_worker_is_met(many: "Server") -> None:
    name = many.create("w-once")

    def bulk(_: int) -> int:
        lines = b"".join(b'{"create":{"_id":"%d"}}\n{"n":%d}\n' % (each, each) for each in range(5))
        headers = {"Content-Type": "application/x-ndjson"}
        return fresh(many, "POST", f"/{name}/_bulk", content=lines, headers=headers).status_code

    def keyed(number: int) -> int:
        headers = {"Idempotency-Key": f"key-{number % 4}"}
        return fresh(
            many, "POST", f"/v1/datasets/{name}/ingest", json=[{"key": number % 4}], headers=headers
        ).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(bulk, range(16))) == {200}
        assert set(threads.map(keyed, range(16))) == {200}
    assert many.sql(f'SELECT count(*) AS n FROM "{name}" WHERE n IS NOT NULL') == [{"n": 5}]
    assert many.sql(f'SELECT count(*) AS n FROM "{name}" WHERE key IS NOT NULL') == [{"n": 4}]


def test_what_was_refused_and_counted_by_any_worker_is_told_by_the_server(many: "Server") -> None:
    name = many.create("w-refused")

    def count(metric: str) -> float:
        text = many.client.get("/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(metric))

    ingested = 'tailrace_ingested_events_total{protocol="axiom"}'
    before = count(ingested)
    for number in range(2 * WORKERS):
        path = f"/v1/datasets/{name}/ingest"
        assert fresh(many, "POST", path, json=[{"a": 1}, {"a": 2}]).status_code == 200
        wrong = fresh(many, "POST", path, f"xaat-wrong-{number}", json=[{"a": 1}], headers={"User-Agent": "w-refused"})
        assert wrong.status_code == 401
    assert count(ingested) == before + 4 * WORKERS

    def refused() -> int:
        listed = many.client.get("/tailrace/v1/refusals").json()
        return sum(each["count"] for each in listed if each.get("userAgent") == "w-refused")

    wait_until(lambda: refused() == 2 * WORKERS)


def test_a_browser_gets_the_console_and_others_what_a_protocol_has_at_its_path(many: "Server") -> None:
    for _ in range(2 * WORKERS):
        page = fresh(many, "GET", "/", headers={"Accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html"), page.text
        assert fresh(many, "GET", "/").json()["tagline"] == "You Know, for Search"
        assert fresh(many, "HEAD", "/").status_code == 200


def test_a_tail_has_the_events_of_every_worker(many: "Server") -> None:
    name = many.create("w-tail")
    seen: list[int] = []
    with many.client.stream("GET", f"/tailrace/v1/tail/{name}") as tail:
        lines = (line for line in tail.iter_lines() if line)
        assert next(lines).startswith(":")  # it is told that it reads from here on
        for number in range(4 * WORKERS):
            fresh(many, "POST", f"/v1/datasets/{name}/ingest", json=[{"n": number}])
        for line in lines:
            if line.startswith("data:"):
                seen.append(json.loads(line.removeprefix("data:"))["n"])
            if len(seen) == 4 * WORKERS:
                break
    assert sorted(seen) == list(range(4 * WORKERS))


def test_workers_that_are_killed_lose_nothing_and_refuse_nobody(many: "Server") -> None:
    name = many.create("w-killed")
    rng = Random(2)
    with Load(many, name) as load:
        for _ in range(4):
            before = len(load.acknowledged)
            wait_until(lambda before=before: len(load.acknowledged) > before + 20)  # type: ignore[misc]
            workers = workers_of(many)
            victim = rng.choice(workers)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: not is_alive(victim))  # type: ignore[misc]
        wait_until(lambda: many.client.get("/readyz").status_code == 200)
    assert load.refused == []
    found = keys_of(many, name)
    assert len(found) == len(set(found))
    assert set(load.acknowledged) <= set(found)
    # Those whose answer was cut off may be stored or not.
    assert len(found) <= len(load.acknowledged) + load.broken
    wait_until(lambda: len(workers_of(many)) == WORKERS)  # the last one killed is replaced, too


def test_a_killed_server_has_everything_again_with_other_numbers_of_workers(make_server: "MakeServer") -> None:
    server = make_server("--workers=3").start()
    server.create("d")
    loads: list[Load] = []
    for workers in (2, 1, 3):
        with Load(server, "d", f"{len(loads)}-") as load:
            wait_until(lambda load=load: len(load.acknowledged) > 60)  # type: ignore[misc]
            server.kill()
        loads.append(load)
        server.options = (f"--workers={workers}",)
        server.start()
        found = keys_of(server, "d")
        assert len(found) == len(set(found))
        assert {key for load in loads for key in load.acknowledged} <= set(found)


def test_a_server_that_is_stopped_answers_what_is_in_flight(make_server: "MakeServer") -> None:
    server = make_server("--workers=2").start()
    server.create("d")
    with Load(server, "d") as load:
        wait_until(lambda: len(load.acknowledged) > 50)
        began = time.monotonic()
        assert server.stop() == 0, server.errors.read_text()
        assert time.monotonic() - began < 20
    assert load.refused == []
    server.start()
    assert keys_of(server, "d") == sorted(load.acknowledged)


@pytest.mark.slow
def test_workers_take_over_settings_that_are_reloaded(make_server: "MakeServer", tmp_path: Path) -> None:
    file = tmp_path / "tailrace.toml"
    file.write_text('request_log = "off"')
    server = make_server("--workers=2", f"--config={file}").start()
    server.ingest("demo", [{"n": 1}])

    def reload(settings: str, said: str) -> None:
        assert server.process is not None
        file.write_text(settings)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: f"SIGHUP: reloaded {said}" in server.errors.read_text())

    def is_logged(text: str) -> bool:
        server.ingest("demo", [{"n": 1}])  # which a worker answers, and logs
        return text in server.errors.read_text()

    reload('request_log = "all"', "request_log")
    wait_until(lambda: is_logged("POST /v1/datasets/demo/ingest 200"))
    reload('request_log = "all"\nlog_format = "json"', "log_format")
    wait_until(lambda: is_logged('"path":"/v1/datasets/demo/ingest"'))

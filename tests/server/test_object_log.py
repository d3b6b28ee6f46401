"""A server whose log is in an object store, and what a data directory remembers of where its log was."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from log.kit import make_batch
from support.append import append_now
from support.object_stores import FaultyStore, hurried
from support.s3 import Proxy, S3Server
from support.waiting import wait_until

from tailrace.log import Log, LogSettings, ObjectLog, Subscription
from tailrace.server import doctor, log_opening
from tailrace.server.doctor import Finding, examine
from tailrace.server.log_opening import open_log, remember_stop
from tailrace.server.metrics import FLUSH_BOUNDS_S, Latency
from tailrace.server.settings import SCHEMA, ServerSettings, Settings

if TYPE_CHECKING:
    from conftest import MakeServer, Server

URL = "s3://events/log"


def test_a_killed_server_replays_its_log_from_the_store_and_tells_when_that_fails(
    make_server: "MakeServer", s3: S3Server, proxy: Proxy
) -> None:
    s3_url = s3.url()
    options = (f"--log={s3_url}", "--log-group-ms=5", "--log-put-timeout-s=0.2", "--commit-age-s=3600")
    server = make_server(*options).start()
    assert server.ingest("demo", [{"n": 1}, {"n": 2}]).status_code == 200
    server.kill()
    server.start()
    assert _numbers(server) == [1, 2]
    assert not (server.data / "log").exists()

    proxy.fault = lambda *_: "slow down"
    refused = server.ingest("demo", [{"n": 3}])
    assert refused.status_code == 503
    assert "the log cannot be written: the object store answers 503 SlowDown" in refused.text
    ready = server.client.get("/readyz")
    assert ready.status_code == 503
    assert "the object store answers 503 SlowDown" in ready.text
    assert server.ingest("demo", [{"n": 4}]).status_code == 503

    proxy.reset()
    wait_until(lambda: server.client.get("/readyz").status_code == 200)
    assert server.ingest("demo", [{"n": 5}]).status_code == 200
    assert _numbers(server) == [1, 2, 5]
    assert "tailrace_log_flush_duration_seconds_count 2" in server.client.get("/metrics").text
    assert server.stop() == 0


def _numbers(server: "Server") -> list[int]:
    return [row["n"] for row in server.sql("SELECT n FROM demo ORDER BY n")]


def test_doctor_tries_the_store_of_the_log(
    s3: S3Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OBJECT_STORE_TIMEOUT_S", 0.5)
    settings = SCHEMA.build({"data": tmp_path, "log": s3.url()})
    assert _found(settings).found == f"{settings.server.log} takes objects, and refuses to put one over another"
    proxy.fault = lambda *_: "refused"
    with hurried():
        found = _found(settings)
    assert (found.level, found.found) == ("wrong", "the object store answers 403 AccessDenied")
    assert "AWS_" in found.advice


def _found(settings: Settings) -> Finding:
    return next(finding for finding in examine(settings) if finding.subject == "log")


# Where the log was


def _open(data: Path, url: str) -> Log:
    settings = Settings(server=ServerSettings(log=url), log=LogSettings(group_ms=0, put_timeout_s=0.05))
    return open_log(settings, data, Subscription(lambda group: None), Latency(FLUSH_BOUNDS_S))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    """Return the store that any URL opens."""
    found = FaultyStore()
    monkeypatch.setattr(log_opening, "open_s3", lambda url: found)
    return found


def test_a_log_may_not_be_moved_while_it_has_events_that_are_in_no_table(tmp_path: Path, store: FaultyStore) -> None:
    log = _open(tmp_path, "")
    position = append_now(log, make_batch())
    log.close()
    remember_stop(tmp_path, log, position - 1)
    with pytest.raises(SystemExit, match="may have events that are in no table yet"):
        _open(tmp_path, URL)
    log = _open(tmp_path, "")
    log.close()
    remember_stop(tmp_path, log, position)

    log = _open(tmp_path, URL)
    assert isinstance(log, ObjectLog)
    log.close()
    with pytest.raises(SystemExit, match=f"the log was at {URL} until now"):  # as it did not stop
        _open(tmp_path, "")


def test_a_log_of_an_earlier_version_may_have_events(tmp_path: Path, store: FaultyStore) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(SystemExit, match=str(tmp_path / "log")):
        _open(tmp_path, URL)
    _open(tmp_path, "").close()


def test_a_server_does_not_start_on_a_store_that_puts_over_objects(tmp_path: Path, store: FaultyStore) -> None:
    store.create = store.overwrite  # type: ignore[method-assign]
    with pytest.raises(SystemExit, match=r"in spite of If-None-Match: \*.*\(setting log\)"):
        _open(tmp_path, URL)


def test_a_server_does_not_start_on_a_store_that_does_not_answer(tmp_path: Path, store: FaultyStore) -> None:
    store.is_dead = True
    with hurried(), pytest.raises(SystemExit, match=r"the log cannot be opened: the object store fails: dead"):
        _open(tmp_path, URL)


def test_it_is_not_taken_for_drained_where_the_store_does_not_answer(tmp_path: Path, store: FaultyStore) -> None:
    log = _open(tmp_path, URL)
    position = append_now(log, make_batch())
    log.close()
    store.is_dead = True
    with hurried():
        remember_stop(tmp_path, log, position - 1)
    with pytest.raises(SystemExit, match="may have events"):
        _open(tmp_path, "")

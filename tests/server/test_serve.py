"""A server's life: first start, readiness, refusals to start, and a graceful stop."""

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable
from support import http
from support.waiting import wait_until

from tailrace.server.stores import open_database

if TYPE_CHECKING:
    from conftest import MakeServer, Server

EVENT = b'[{"n":1}]'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def committed(server: "Server", dataset: str) -> int:
    """How many events the dataset's table has, read without the server."""
    return int(DeltaTable(server.data / "lake" / dataset).to_pyarrow_table().num_rows)


def opened(server: "Server") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    connection.settimeout(30)
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


def head(server: "Server", path: str, length: int, *more: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def half_sent(server: "Server", dataset: str) -> socket.socket:
    """Return a connection whose request the server has begun to read."""
    connection = opened(server)
    connection.sendall(head(server, f"/v1/datasets/{dataset}/ingest", len(EVENT), "Expect: 100-continue"))
    read_until(connection, b"100 Continue")
    connection.sendall(EVENT[:4])
    return connection


def test_the_first_start_prints_lines_that_work_when_pasted(make_server: "MakeServer") -> None:
    server = make_server().start()

    text = "\n".join(server.banner)
    assert server.url in text
    assert server.token in text
    ingest = next(line for line in server.banner if line.startswith("Ingest:")).partition(":")[2]
    query = next(line for line in server.banner if line.startswith("Query:")).partition(":")[2]
    sent = subprocess.run(["bash", "-c", ingest], capture_output=True, text=True, check=True)
    found = subprocess.run(["bash", "-c", query], capture_output=True, text=True, check=True)
    assert json.loads(sent.stdout)["ingested"] == 1
    assert json.loads(found.stdout)["message"] == "hello"


def test_what_the_first_start_makes_is_for_its_owner_only(make_server: "MakeServer") -> None:
    server = make_server().start()

    for directory in (server.data, server.data / "lake", server.data / "log", server.data / "temporary"):
        assert mode(directory) == 0o700
    for name in ("owner-token", "server.json", "tailrace.db", "tailrace.db-wal"):
        assert mode(server.data / name) == 0o600
    assert json.loads((server.data / "server.json").read_text()) == {"url": server.url, "pid": server.pid}
    assert server.token.startswith("xapt-")


def test_a_later_start_keeps_the_token_and_does_not_print_it(make_server: "MakeServer") -> None:
    server = make_server().start()
    token = server.token
    server.client.delete("/v2/datasets/demo")
    server.stop()

    server.start()
    assert server.token == token
    assert token not in "\n".join(server.banner)
    assert str(server.data / "owner-token") in "\n".join(server.banner)
    assert "demo" not in {each["name"] for each in server.client.get("/v2/datasets").json()}


def test_a_root_token_given_is_the_owners_and_is_neither_printed_nor_stored(make_server: "MakeServer") -> None:
    server = make_server(env={"TAILRACE_ROOT_TOKEN": "xapt-known-to-the-test"}).start()

    assert server.client.get("/v2/user").status_code == 200
    assert "xapt-known" not in "\n".join(server.banner)
    assert not (server.data / "owner-token").exists()
    ingest = next(line for line in server.banner if line.startswith("Ingest:")).partition(":")[2]
    env = {**os.environ, "TAILRACE_TOKEN": server.token}
    sent = subprocess.run(["bash", "-c", ingest], capture_output=True, text=True, check=True, env=env)
    assert json.loads(sent.stdout)["ingested"] == 1


def test_a_root_token_given_later_takes_the_place_of_the_stored_one(make_server: "MakeServer") -> None:
    server = make_server().start()
    before = server.token
    server.stop()

    server.env = {"TAILRACE_ROOT_TOKEN": "xapt-known-to-the-test"}
    server.start()
    assert not (server.data / "owner-token").exists()
    old = http.get(f"{server.url}/v2/user", headers={"Authorization": f"Bearer {before}"})
    assert (old.status_code, server.client.get("/v2/user").status_code) == (401, 200)


def test_the_owners_token_is_in_its_file_before_the_database_knows_it(make_server: "MakeServer") -> None:
    server = make_server()
    server.data.mkdir()
    # What a kill between the two leaves.
    (server.data / "owner-token").write_text("xapt-of-the-first-attempt\n")

    server.start()
    assert server.token == "xapt-of-the-first-attempt"
    assert server.client.get("/v2/user").status_code == 200


def test_a_file_of_the_owners_token_that_is_damaged_is_told_of(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.stop()
    (server.data / "owner-token").write_bytes(b"")

    server.launch_unready()
    assert "set root_token" in "\n".join(server.banner)
    assert "owner-token holds no token" in server.errors.read_text()


def test_a_second_server_on_the_same_data_directory_is_refused(make_server: "MakeServer") -> None:
    server = make_server().start()

    second = subprocess.run(
        [str(part) for part in server.launch_arguments()], capture_output=True, text=True, timeout=60
    )

    assert second.returncode == 1
    assert "another server" in second.stderr
    assert str(server.data) in second.stderr
    assert "Traceback" not in second.stderr
    assert server.client.get("/readyz").status_code == 200


def test_a_port_in_use_is_refused(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server().start()
    port = server.url.rpartition(":")[2]

    second = subprocess.run(
        [str(part) for part in make_server(f"--port={port}", data=tmp_path / "other").launch_arguments()],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_file_of_prices_that_cannot_be_used_stops_the_start(make_server: "MakeServer", tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[model]\ninput = 'much'\n")

    refused = subprocess.run(
        [str(part) for part in make_server(f"--model-prices={file}").launch_arguments()],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert refused.returncode == 2
    assert f"setting model_prices: {file} has no prices" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_stop_answers_what_is_in_flight_commits_and_exits_with_0(make_server: "MakeServer") -> None:
    server = make_server("--commit-age-s=3600").start()
    server.create("d")
    server.ingest("d", [{"n": 0}])
    assert committed(server, "d") == 0
    assert server.process is not None

    with half_sent(server, "d") as connection, opened(server):  # the second one stays idle
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(server))
        connection.sendall(EVENT[4:])
        answer = read_until(connection, b'"walLength"')
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.process.wait(30) == 0
    assert committed(server, "d") == 2
    assert not (server.data / "server.json").exists()
    assert server.errors.read_text() == ""


def test_a_part_of_the_data_directory_that_cannot_be_used_is_named_in_a_line(make_server: "MakeServer") -> None:
    server = make_server()
    server.data.mkdir()
    (server.data / "owner-token").mkdir()
    (server.data / "tailrace.db").write_bytes(b"no database\n" * 100)

    for name, reason in (
        ("tailrace.db", "cannot be opened: it is damaged or incomplete; restore it from a backup, or move it away to"),
        ("owner-token", "cannot be opened: Is a directory"),
    ):
        refused = server.launch()
        assert refused.wait(60) == 1
        told = server.errors.read_text().splitlines()[-1]
        assert told.startswith(f"tailrace: {server.data / name} {reason}")
        (server.data / "tailrace.db").unlink()
        server.data.joinpath("tailrace.db").touch()
    assert "Traceback" not in server.errors.read_text()


def test_a_database_whose_driver_is_not_installed_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"database_url needs the package pg8000: pip install tailrace\[postgres\]"):
        open_database("postgresql+pg8000://u@localhost/x", tmp_path)


def test_a_file_in_place_of_the_directory_of_queries_is_replaced(make_server: "MakeServer") -> None:
    server = make_server()
    server.data.mkdir()
    (server.data / "temporary").touch()

    server.start()

    assert server.sql("SELECT 1 AS n") == [{"n": 1}]


def test_a_hangup_before_the_server_is_there_is_ignored(make_server: "MakeServer") -> None:
    server = make_server()
    process = server.launch()
    try:
        wait_until(lambda: catches_hangups(process.pid))
        assert not server.data.exists(), "the server was there before it heeded the signal"
        process.send_signal(signal.SIGHUP)
        wait_until((server.data / "server.json").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def catches_hangups(pid: int) -> bool:
    """Whether a process has a handler for SIGHUP, the first bit of its mask."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.findall(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[0], 16) & 1)


def refuses_connections(server: "Server") -> bool:
    try:
        opened(server).close()
    except ConnectionError:
        return True
    return False


def test_a_stop_does_not_wait_for_ever_for_a_request(make_server: "MakeServer") -> None:
    server = make_server("--shutdown-grace-s=0.5", "--commit-age-s=3600").start()
    server.create("d")
    server.ingest("d", [{"n": 0}])

    with half_sent(server, "d"):
        assert server.stop() == 0
    assert committed(server, "d") == 1


def test_an_interrupt_stops_as_a_termination_does(make_server: "MakeServer") -> None:
    server = make_server().start()

    assert server.signal(signal.SIGINT) == 0


def test_a_client_that_hangs_up_halfway_stores_nothing(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.create("d")

    half_sent(server, "d").close()
    chunked = opened(server)
    chunked.sendall(
        head(server, "/v1/datasets/d/ingest", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        + b"9\r\n"
        + EVENT
        + b"\r\n"
    )
    chunked.close()

    gone = re.compile(r'^tailrace_refused_requests_total\{.*reason="client_gone",.*\} 2\.0$', re.MULTILINE)
    wait_until(lambda: gone.search(server.client.get("/metrics").text) is not None)
    assert server.sql("SELECT count(*) AS c FROM d") == [{"c": 0}]


def test_a_client_that_hangs_up_after_its_request_harms_nobody(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.create("d")

    for _ in range(20):
        connection = opened(server)
        connection.sendall(head(server, "/v1/datasets/d/ingest", len(EVENT)) + EVENT)
        connection.close()

    assert server.ingest("d", [{"n": 2}]).status_code == 200
    assert server.sql("SELECT count(*) AS c FROM d WHERE n = 2") == [{"c": 1}]
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()


def test_a_query_ends_when_its_client_hangs_up(make_server: "MakeServer") -> None:
    server = make_server("--query-concurrency=1", "--query-timeout-s=1h").start()
    endless = json.dumps({"sql": "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"}).encode()

    with opened(server) as connection:
        connection.sendall(head(server, "/tailrace/v1/sql", len(endless), "Expect: 100-continue"))
        read_until(connection, b"100 Continue")
        connection.sendall(endless)

    assert server.sql("SELECT 1 AS one") == [{"one": 1}]


def test_a_stop_ends_a_query_that_runs(make_server: "MakeServer") -> None:
    server = make_server("--query-timeout-s=1h", "--shutdown-grace-s=0.5").start()
    endless = json.dumps({"sql": "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"}).encode()

    with opened(server) as connection:
        connection.sendall(head(server, "/tailrace/v1/sql", len(endless), "Expect: 100-continue"))
        read_until(connection, b"100 Continue")
        connection.sendall(endless)
        assert server.stop() == 0


def test_a_server_without_room_on_its_disk_says_so_and_refuses_events(make_server: "MakeServer") -> None:
    server = make_server("--log-min-free-bytes=1000000GiB").launch_unready()

    ready = http.get(f"{server.url}/readyz")
    assert ready.status_code == 503
    assert "log_min_free_bytes" in ready.json()["message"]
    assert http.get(f"{server.url}/healthz").status_code == 200
    refused = server.ingest("demo", [{"n": 1}])
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert server.sql("SELECT count(*) AS c FROM demo") == [{"c": 0}]


def test_a_table_that_is_away_is_told_of_until_it_is_back(make_server: "MakeServer") -> None:
    server = make_server("--commit-age-s=0.1").start()
    server.create("away")
    server.ingest("away", [{"n": 1}])
    # Not what is on the disk: the server counts a commit a moment after its name is there.
    wait_until(lambda: "tailrace_uncommitted_events 0.0" in server.client.get("/metrics").text)
    assert committed(server, "away") == 1
    directory = server.data / "lake" / "away"
    directory.rename(server.data / "elsewhere")

    query = server.client.post("/tailrace/v1/sql", json={"sql": "SELECT n FROM away"})
    assert query.status_code == 503
    assert "away" in query.json()["message"]
    ready = server.client.get("/readyz")
    assert ready.status_code == 503
    assert "away" in ready.json()["message"]
    assert server.ingest("demo", [{"n": 1}]).status_code == 200
    assert server.ingest("away", [{"n": 2}]).status_code == 200
    wait_until(lambda: "tailrace_commit_failures_total 0.0" not in server.client.get("/metrics").text)

    (server.data / "elsewhere").rename(directory)
    wait_until(lambda: server.client.get("/readyz").status_code == 200)
    assert server.sql("SELECT n FROM away ORDER BY n") == [{"n": 1}, {"n": 2}]
    wait_until(lambda: committed(server, "away") == 2)


def test_a_file_of_a_table_that_is_missing_makes_it_unavailable(make_server: "MakeServer") -> None:
    server = make_server("--commit-age-s=0.1").start()
    server.create("hurt")
    server.ingest("hurt", [{"n": 1}])
    # One commit may be the audit trail's.
    wait_until(lambda: "tailrace_uncommitted_events 0.0" in server.client.get("/metrics").text)
    for file in (server.data / "lake" / "hurt").glob("*/*.parquet"):
        file.unlink()

    query = server.client.post("/tailrace/v1/sql", json={"sql": "SELECT n FROM hurt"})
    assert query.status_code == 503


def test_a_hangup_without_a_terminal_reloads_settings(make_server: "MakeServer", tmp_path: Path) -> None:
    file = tmp_path / "tailrace.toml"
    file.write_text('request_log = "off"')
    server = make_server(f"--config={file}").start()
    assert server.process is not None

    def hang_up(settings: str, said: str) -> None:
        before = server.errors.read_text().count(said)
        file.write_text(settings)
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.errors.read_text().count(said) > before)

    server.client.get("/v1/datasets/unlogged")
    hang_up(
        'request_log = "all"\nlog_format = "json"\ncommit_age_s = 7\ntrusted_proxies = ["127.0.0.0/8"]',
        "SIGHUP: reloaded log_format, request_log, trusted_proxies; changed too, and for the next start: commit_age_s",
    )
    server.client.get("/readyz", headers={"X-Forwarded-For": "203.0.113.9"})
    hang_up("commit_age_s = 0", "what cannot be used stays as it was: setting commit_age_s")
    hang_up("commit_age_s = 7", "SIGHUP: reloaded log_format, request_log, trusted_proxies")

    lines = [json.loads(line) for line in server.errors.read_text().splitlines() if line.startswith("{")]
    logged = [(line["path"], line["address"]) for line in lines if "path" in line]
    assert logged == [("/readyz", "203.0.113.9")]


def test_a_server_stops_in_good_order_when_its_terminal_is_gone(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server("--commit-age-s=3600")
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    process = subprocess.Popen(
        server.launch_arguments(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=clean
    )
    try:
        os.close(theirs)
        wait_until(lambda: b"Query:" in os.read(ours, 65536))
        os.close(ours)  # no session has it as its terminal, so nobody sends the signal but this test
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert not (server.data / "server.json").exists()


def test_a_server_without_its_native_library_says_so_and_serves(make_server: "MakeServer") -> None:
    server = make_server(env={"TAILRACE_NATIVE": "off"}).start()

    server.ingest(server.create("slow"), EVENT)

    assert server.sql('select count(*) as n from "slow"') == [{"n": 1}]
    assert "the native library is not used" in server.errors.read_text()
    assert 'native="no"' in server.client.get("/metrics").text

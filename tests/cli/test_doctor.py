"""`tailrace doctor` on data directories of servers that run, were stopped, or were harmed."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from tailrace.cli.app import build

if TYPE_CHECKING:
    from conftest import MakeServer, Server


def doctor(*arguments: str, **env: str) -> Result:
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("TAILRACE_")}
    given = {"TAILRACE_PORT": "0", "TAILRACE_LOG_MIN_FREE_BYTES": "1MiB", **env}
    return CliRunner(env={**clean, **given}).invoke(build(), ["doctor", *arguments])


def wrong(done: Result) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("wrong")]


@pytest.fixture(scope="module")
def left_behind(process: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of a server that was killed with events in a table, in the log, and only there."""
    from conftest import Server

    server = Server(tmp_path_factory.mktemp("doctor") / "data")
    try:
        server.start()
        server.ingest("demo", [{"n": n} for n in range(100)])
        server.stop()
        server.start()
        for n in range(3):
            server.ingest("demo", [{"n": n}])
        server.kill()
    finally:
        server.end()
    return server.data


@pytest.fixture
def data(left_behind: Path, tmp_path: Path) -> Path:
    """Return a copy of it, as if it had been stopped in good order."""
    copy = shutil.copytree(left_behind, tmp_path / "data")
    (copy / "server.json").unlink()
    return copy


def test_a_running_server_and_its_directory_are_in_order(server: "Server") -> None:
    done = doctor("--data", str(server.data))

    assert (done.exit_code, wrong(done), done.stderr) == (0, [], ""), done.stdout
    for said in (
        f"runs at {server.url}",
        "all readable",
        "events are taken and committed, and queries",
        "version: tailrace ",
    ):
        assert said in done.stdout


def test_a_server_elsewhere_is_asked_over_the_network(server: "Server", dataset: str) -> None:
    env = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.api_token(dataset)}
    done = doctor(**env)
    refused = doctor(**{**env, "TAILRACE_TOKEN": "xaat-wrong"})
    nobody = doctor(**{**env, "TAILRACE_URL": "http://127.0.0.1:1"})

    assert (done.exit_code, wrong(done)) == (0, []), done.stdout
    assert "data directory" not in done.stdout
    assert (refused.exit_code, len(wrong(refused))) == (1, 1)
    assert "token" in wrong(refused)[0]
    assert (nobody.exit_code, len(wrong(nobody))) == (1, 1)
    assert "no server answers" in wrong(nobody)[0]


def test_files_are_not_said_to_be_verified_where_there_is_no_directory_to_read(data: Path) -> None:
    done = doctor("--verify", "--data", str(data), TAILRACE_URL="http://127.0.0.1:1")

    assert done.exit_code == 2
    assert "leave --url (TAILRACE_URL) out" in " ".join(done.stderr.replace("│", "").split())


def contents(data: Path) -> dict[Path, int]:
    """When each file was changed, but SQLite's memory shared by those that read."""
    return {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file() and path.suffix != ".db-shm"}


def test_a_stopped_server_is_in_order_and_nothing_is_changed(data: Path) -> None:
    before = contents(data)

    done = doctor("--data", str(data))

    assert (done.exit_code, wrong(done)) == (0, []), done.stdout
    assert "server: not running" in done.stdout
    assert "events in tables: 100" in done.stdout
    assert contents(data) == before


def test_a_killed_server_is_a_warning(left_behind: Path) -> None:
    done = doctor("--data", str(left_behind))

    assert (done.exit_code, wrong(done)) == (0, []), done.stdout
    assert "warning server: not running; it was killed" in done.stdout


def test_a_directory_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    done = doctor("--data", str(tmp_path / "none"))

    assert done.exit_code == 1
    assert "is not there" in wrong(done)[0]


def test_settings_that_are_wrong_are_named(data: Path) -> None:
    done = doctor("--data", str(data), TAILRACE_COMMIT_BYTES="much", TAILRACE_PROT="1")

    assert done.exit_code == 1
    # The default address, which is examined in place of theirs, may be another server's.
    named = [line for line in wrong(done) if " settings: " in line]
    assert ["TAILRACE_PROT" in line or "commit_bytes" in line for line in named] == [True, True]


def test_files_that_its_user_may_not_use_are_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.access  # which the superuser, who runs tests in a container, always is
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "owner-token" and allowed(path, mode))

    done = doctor("--data", str(data))

    assert done.exit_code == 1
    assert f"{data / 'owner-token'} cannot be read and written" in wrong(done)[0]


def test_files_that_settings_name_and_cannot_be_used_are_found(data: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("[1]")
    done = doctor(
        "--data",
        str(data),
        TAILRACE_MODEL_PRICES=str(tmp_path / "prices.json"),
        TAILRACE_GEO_DATABASE=str(tmp_path / "none.mmdb"),
    )

    assert done.exit_code == 1
    assert ["model_prices" in wrong(done)[0], "geo_database" in wrong(done)[1]] == [True, True]


def test_a_spoiled_registry_of_fields_is_found(data: Path) -> None:
    (data / "lake" / "demo" / "_tailrace" / "fields.json").write_bytes(b"")
    done = doctor("--data", str(data))

    assert (done.exit_code, "dataset demo: cannot be opened" in wrong(done)[0]) == (1, True)


def test_tables_that_every_user_may_read_are_found(data: Path) -> None:
    data.chmod(0o755)
    (data / "lake").chmod(0o755)
    done = doctor("--data", str(data))

    assert (done.exit_code, "every user may read lake" in wrong(done)[0]) == (1, True)


def test_a_flipped_byte_in_the_log_is_found(data: Path) -> None:
    [*_, segment] = sorted((data / "log").glob("*.seg"))
    spoiled = bytearray(segment.read_bytes())
    spoiled[60] ^= 1
    segment.write_bytes(spoiled)

    done = doctor("--data", str(data))

    assert done.exit_code == 1
    assert [line for line in wrong(done) if segment.name in line], done.stdout


def test_a_missing_and_a_cut_file_of_a_table_are_found(data: Path) -> None:
    [file] = (data / "lake" / "demo").glob("_day=*/*.parquet")
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    cut = doctor("--data", str(data))
    file.unlink()
    missing = doctor("--data", str(data))

    assert (cut.exit_code, missing.exit_code) == (1, 1)
    assert "dataset demo" in wrong(cut)[0]
    assert f"has {len(content) - 10} bytes" in wrong(cut)[0]
    assert f"{file.name} cannot be read" in wrong(missing)[0]


def test_a_version_of_a_table_that_is_empty_is_found_though_others_read_past_it(data: Path) -> None:
    (data / "lake" / "demo" / "_delta_log" / f"{1:020d}.json").write_bytes(b"")

    done = doctor("--data", str(data))

    assert (done.exit_code, "version 1 of the table is not readable" in wrong(done)[0]) == (1, True)


def test_a_version_that_was_set_aside_is_told(data: Path) -> None:
    aside = data / "lake" / "demo" / "_tailrace" / "unreadable"
    aside.mkdir()
    (aside / f"{2:020d}.json.1790000000000000000").write_bytes(b"")

    done = doctor("--data", str(data))

    assert done.exit_code == 0
    assert f"is in {aside}" in done.stdout


def test_a_bit_of_a_table_that_another_reader_would_not_miss_is_found(data: Path) -> None:
    [file] = (data / "lake" / "demo").glob("_day=*/*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(content)

    assert doctor("--data", str(data)).exit_code == 0
    done = doctor("--data", str(data), "--verify")

    assert done.exit_code == 1
    assert f"{file.name} is damaged" in wrong(done)[0]


def test_a_spoiled_database_is_found(data: Path) -> None:
    (data / "tailrace.db").write_bytes(b"no database" * 1000)

    done = doctor("--data", str(data))

    assert done.exit_code == 1
    assert "tailrace.db" in wrong(done)[0]


def test_databases_that_the_next_start_imports_are_named(data: Path) -> None:
    with closing(sqlite3.connect(data / "access.db")) as connection:
        connection.execute("CREATE TABLE users (id TEXT)")
    (data / "saved.db").write_bytes(b"no database" * 1000)

    done = doctor("--data", str(data))

    assert "access.db of version 0.1 is sound; the next `tailrace serve` imports it" in done.stdout
    assert "saved.db" in wrong(done)[0]


def test_secrets_that_others_may_read_are_found_with_what_to_do(data: Path) -> None:
    (data / "owner-token").chmod(0o644)

    done = doctor("--data", str(data))

    assert done.exit_code == 1
    assert "owner-token" in wrong(done)[0]
    assert "chmod 600" in done.stdout


def test_a_disk_with_too_little_room_is_found(data: Path) -> None:
    done = doctor("--data", str(data), TAILRACE_LOG_MIN_FREE_BYTES="1000000GiB")

    assert done.exit_code == 1
    assert "free" in wrong(done)[0]


def test_a_clock_behind_the_log_is_found(data: Path) -> None:
    [segment, *_] = (data / "log").glob("*.seg")
    later = time.time() + 1000
    os.utime(segment, (later, later))

    done = doctor("--data", str(data))

    assert done.exit_code == 1
    assert "before the log was last written" in wrong(done)[0]


def test_a_port_that_is_taken_is_found(data: Path, server: "Server") -> None:
    done = doctor("--data", str(data), TAILRACE_PORT=server.url.rpartition(":")[2])

    assert done.exit_code == 1
    assert "cannot listen" in wrong(done)[0]


def test_requests_that_were_refused_are_told(make_server: "MakeServer") -> None:
    server = make_server().start()
    for _ in range(2):
        server.client.post("/_nothing", headers={"User-Agent": "shipper/1"})

    done = doctor("--data", str(server.data))

    assert done.exit_code == 0
    [line] = [line for line in done.stdout.splitlines() if "refused" in line]
    assert line.startswith("warning refused: POST /_nothing 404 not_found, 2 times, last 20")
    assert line.endswith("Z, from 127.0.0.1 (shipper/1): /_nothing not found")

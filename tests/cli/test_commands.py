"""The commands, run as a user runs them, against a real server."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.commands import Ran, tailrace
from support.receivers import http_receiver
from support.tls import needs_openssl, self_signed
from support.waiting import wait_until

from tailrace.cli.serve import all_settings, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Server


def on(server: Server, *arguments: str, stdin: bytes = b"") -> Ran:
    """Run a client command against the server, found by its data directory."""
    return tailrace(*arguments, stdin=stdin, env={"TAILRACE_DATA": str(server.data)})


def numbers(server: Server, dataset: str) -> list[int]:
    return [row["i"] for row in server.sql(f'SELECT i FROM "{dataset}" ORDER BY i')]


def test_the_version_is_printed() -> None:
    assert tailrace("--version").stdout.startswith("tailrace ")


def test_a_command_imports_no_more_than_it_needs(process: None) -> None:
    def imported(*arguments: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-m", "tailrace", *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return {line.rpartition("|")[2].strip() for line in said.splitlines()}

    assert imported("--version").isdisjoint({"typer", "httpx", "msgspec", "tailrace.config"})
    assert imported("--help").isdisjoint({"tailrace.protocols", "duckdb", "pyarrow", "sqlalchemy"})
    assert imported("token", "list", "--help").isdisjoint({"tailrace.cli.ingest", "duckdb", "pyarrow", "sqlalchemy"})


def test_numpy_starts_no_threads_for_linear_algebra_unless_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    tailrace("--version")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    tailrace("--version")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is another")
def test_the_server_has_arrow_allocate_with_glibc_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    tailrace("token", "--help")
    assert "ARROW_DEFAULT_MEMORY_POOL" not in os.environ

    tailrace("serve", "--help")
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "system"

    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "mimalloc")
    tailrace("serve", "--help")
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "mimalloc"


def test_flags_that_are_not_given_are_not_made_unless_an_argument_may_be_any_of_them() -> None:
    assert list(settings_of(["serve", "--port=1", "--config", "t.toml", "--data", "d"])) == ["data", "port"]
    assert settings_of(["serve", "--help"]) == all_settings()
    assert settings_of(["serve", "--prot=1"]) == all_settings()
    assert settings_of(["serve"]) == {}


def test_config_prints_values_with_their_origins(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('root_token = "xapt-hidden"\n')
    run = tailrace("config", "--config", str(file), "--port", "9", "--format", "json")
    assert run.returncode == 0
    settings = json.loads(run.stdout)
    assert settings["port"] == {"value": 9, "origin": "flag --port"}
    assert settings["root_token"] == {"value": "set", "origin": f"file {file}"}
    table = tailrace("config", env={"TAILRACE_CONFIG": str(file), "TAILRACE_COMMIT_BYTES": "1MiB"}).stdout
    assert any(
        line.split() == ["commit_bytes", "1", "MiB", "environment", "TAILRACE_COMMIT_BYTES"]
        for line in table.splitlines()
    )
    assert "hidden" not in table


def test_config_refuses_what_is_no_setting() -> None:
    run = tailrace("config", "--port", "x", env={"TAILRACE_PROT": "1"})
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.splitlines() == [
        "tailrace: unknown environment variable TAILRACE_PROT; did you mean TAILRACE_PORT?",
        "tailrace: setting port (flag --port): 'x' is not accepted; "
        "it takes a whole number, at least 0 and at most 65535",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["query"],
        ["query", "--sql", "SELECT 1", "--format", "xml"],
        ["ingest", "d", "absent.ndjson"],
        ["ingest", "d", __file__],
        ["ingest", "d", "-", "--csv-delimiter", ",,"],
        ["token", "create", "t", "--dataset", "d:fly"],
    ],
)
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    run = tailrace(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Usage:" in run.stderr


def test_without_a_server_a_command_says_what_to_do(tmp_path: Path) -> None:
    run = tailrace("dataset", "list", "--data", str(tmp_path))
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        f"tailrace: no server runs on the data directory {tmp_path}: "
        "start one with `tailrace serve`, give the data directory of a running one by --data (TAILRACE_DATA), "
        "or its address by --url (TAILRACE_URL)"
    ]


def test_a_refused_token_is_one_clear_line(server: Server) -> None:
    run = tailrace("dataset", "list", env={"TAILRACE_URL": server.url, "TAILRACE_TOKEN": "xapt-wrong"})
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "refused the token" in line
    assert "TAILRACE_TOKEN" in line
    assert "xapt-wrong" not in line


def test_datasets_are_created_listed_and_dropped(server: Server) -> None:
    assert on(server, "dataset", "create", "cli-made", "--description", "by a test").returncode == 0
    again = on(server, "dataset", "create", "cli-made")
    assert again.returncode == 1
    assert "exists" in again.stderr
    listed = on(server, "dataset", "list").stdout.splitlines()
    assert any(line.startswith("cli-made ") and "by a test" in line for line in listed)
    unasked = on(server, "dataset", "delete", "cli-made")
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    assert "cli-made" in on(server, "dataset", "list").stdout
    deleted = on(server, "dataset", "delete", "cli-made", "--yes")
    assert (deleted.returncode, deleted.stdout) == (0, "dropped dataset cli-made and all its events\n")
    assert "cli-made" not in on(server, "dataset", "list").stdout


def test_a_token_is_created_listed_and_revoked(server: Server, dataset: str) -> None:
    rights = ("--dataset", f"{dataset}:ingest", "--default-dataset", dataset)
    made = on(server, "token", "create", "by cli", *rights, "--expires", "1d")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("xaat-")
    with_it = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": secret}
    assert tailrace("ingest", dataset, "-", stdin=b'{"i":1}\n', env=with_it).returncode == 0
    query = tailrace("query", "--sql", f'SELECT * FROM "{dataset}"', env=with_it)
    assert query.returncode == 1
    listed = on(server, "token", "list").stdout
    (line,) = [line for line in listed.splitlines() if f"{dataset}:ingest" in line]
    assert secret not in listed
    assert line.split()[-1] == dataset
    assert json.loads(on(server, "token", "show", line.split()[0]).stdout)["defaultDataset"] == dataset
    assert on(server, "token", "delete", line.split()[0], "--yes").returncode == 0
    refused = tailrace("ingest", dataset, "-", stdin=b'{"i":1}\n', env=with_it)
    assert refused.returncode == 1
    assert "refused the token" in refused.stderr


def test_an_unknown_token_id_leads_to_the_list(server: Server) -> None:
    run = on(server, "token", "delete", "by name", "--yes")
    assert (run.returncode, run.stdout) == (1, "")
    assert "`tailrace token list`" in run.stderr


def test_a_token_for_a_dataset_that_does_not_exist_comes_with_a_warning(server: Server, dataset: str) -> None:
    made = on(server, "token", "create", "t", "--dataset", "cli-nope:ingest", "--dataset", dataset, "--dataset", "*")
    assert made.returncode == 0
    assert made.stdout.startswith("xaat-")
    (warning,) = [line for line in made.stderr.splitlines() if "warning" in line]
    assert "no dataset cli-nope" in warning


def test_a_query_that_is_not_given_by_its_option_is_told_the_option() -> None:
    run = tailrace("query", "SELECT 1")
    assert (run.returncode, run.stdout) == (2, "")
    assert "--sql" in run.stderr


def test_a_json_file_cut_off_is_said_to_be_unsent(server: Server, dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"i":1},{"i":')
    run = on(server, "ingest", dataset, str(file))
    assert run.returncode == 1
    assert run.stdout == "ingested 0 events, 0 failed, 1 file not read to the end\n"
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"{file}: nothing of it was sent: it is not valid JSON")


def test_a_large_ndjson_file_arrives_whole_and_once(server: Server, dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text("".join(f'{{"i":{i}}}\n' for i in range(25_000)))
    run = on(server, "ingest", dataset, str(file))
    assert run.stdout == "ingested 25000 events, 0 failed\n"
    assert (run.returncode, run.stderr) == (0, "")
    assert numbers(server, dataset) == list(range(25_000))


def test_compressed_files_of_every_format_arrive(server: Server, dataset: str, tmp_path: Path) -> None:
    array = tmp_path / "a.json.gz"
    array.write_bytes(gzip.compress(json.dumps([{"i": 1}, {"i": 2}], indent=1).encode()))
    lines = tmp_path / "b.jsonl.zst"
    compress = zstandard.ZstdCompressor().compress
    lines.write_bytes(compress(b'{"i":3}\n') + compress(b'{"i":4}\n'))
    single = tmp_path / "c.json"
    single.write_text('{\n  "i": 5\n}\n')
    run = on(server, "ingest", dataset, str(array), str(lines), str(single))
    assert run.stdout == "ingested 5 events, 0 failed\n", run.stderr
    assert numbers(server, dataset) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_input_is_known_by_its_first_bytes(
    server: Server, dataset: str, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(compress(b"i\n1\n2\n"))
    piped = on(server, "ingest", dataset, "-", "--format", "csv", stdin=file.read_bytes())
    assert (piped.returncode, piped.stdout) == (0, "ingested 2 events, 0 failed\n"), piped.stderr
    named = on(server, "ingest", dataset, str(file))
    assert (named.returncode, named.stdout) == (0, "ingested 2 events, 0 failed\n"), named.stderr


@pytest.mark.parametrize("junk", [b"\x89PNG\r\n\x1a\n\x00\x00", b"PK\x03\x04", b"\xff\xfei\x00\n\x001\x00"])
def test_binary_input_as_csv_fails(server: Server, dataset: str, junk: bytes) -> None:
    run = on(server, "ingest", dataset, "-", "--format", "csv", stdin=junk)
    assert run.returncode == 1
    assert "header row" in run.stderr or "UTF-16" in run.stderr


def test_csv_keeps_its_header_and_quotes_over_many_bodies(server: Server, dataset: str) -> None:
    text = io.StringIO()
    rows = [[str(i), f'a "quoted"\nline, {i}'] for i in range(10_001)]
    csv.writer(text).writerows([["n", "größe, in cm"], *rows])
    run = on(server, "ingest", dataset, "-", "--format", "csv", stdin=text.getvalue().encode())
    assert run.stdout == "ingested 10001 events, 0 failed\n", run.stderr
    back = server.sql(f'SELECT n, "größe, in cm" AS size FROM "{dataset}" ORDER BY CAST(n AS INTEGER)')
    assert [[row["n"], row["size"]] for row in back] == rows


def test_time_field_and_format_are_sent_along(server: Server, dataset: str) -> None:
    options = ["--timestamp-field", "at", "--timestamp-format", "2006-01-02 15h04"]
    run = on(server, "ingest", dataset, "-", *options, stdin=b'{"at":"2030-02-03 04h05"}\n')
    assert run.returncode == 0, run.stderr
    (row,) = server.sql(f'SELECT _time FROM "{dataset}"')
    assert row["_time"].startswith("2030-02-03T04:05:00")


def test_refused_events_are_listed_by_their_place_in_the_file(server: Server, dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    bad = {3, 12_345}
    file.write_text("".join('{"i":\n' if i in bad else f'{{"i":{i}}}\n' for i in range(12_346)))
    run = on(server, "ingest", dataset, str(file))
    assert run.returncode == 1
    assert run.stdout == "ingested 12344 events, 2 failed\n"
    first, second = run.stderr.splitlines()
    assert first.startswith(f"{file}: event 3: ")
    assert second.startswith(f"{file}: event 12345: ")
    assert numbers(server, dataset) == [i for i in range(12_346) if i not in bad]


def test_a_broken_file_does_not_keep_the_next_from_arriving(server: Server, dataset: str, tmp_path: Path) -> None:
    broken = tmp_path / "a.ndjson.gz"
    broken.write_bytes(gzip.compress(b'{"i":1}\n' * 100)[:-12])
    good = tmp_path / "b.ndjson"
    good.write_text('{"i":2}\n')
    run = on(server, "ingest", dataset, str(broken), str(good))
    assert run.returncode == 1
    assert run.stderr.startswith(f"{broken}: ")
    assert 2 in numbers(server, dataset)


def test_ingest_into_a_missing_dataset_stops_at_once(server: Server) -> None:
    run = on(server, "ingest", "cli-absent", "-", stdin=b'{"i":1}\n')
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    assert "not found" in run.stderr


def test_an_answer_comes_in_every_format(server: Server, dataset: str) -> None:
    assert server.ingest(dataset, [{"i": 1, "s": "é"}, {"i": 2, "s": None}]).status_code == 200
    sql = f'SELECT i, s FROM "{dataset}" ORDER BY i'
    rows = [{"i": 1, "s": "é"}, {"i": 2, "s": None}]

    def answer(*form: str) -> bytes:
        run = on(server, "query", "--sql", sql, *form)
        assert run.returncode == 0, run.stderr
        return run.output

    assert [json.loads(line) for line in answer().splitlines()] == rows
    assert json.loads(answer("--format", "json"))["rows"] == rows
    assert list(csv.reader(io.StringIO(answer("--format", "csv").decode()))) == [["i", "s"], ["1", "é"], ["2", ""]]
    table = answer("--format", "table").decode().splitlines()
    assert [line.split() for line in table] == [["i", "s"], ["1", "é"], ["2", "null"]]
    assert pa.ipc.open_stream(answer("--format", "arrow")).read_all().to_pylist() == rows


def test_apl_is_answered_in_every_format(server: Server, dataset: str) -> None:
    assert server.ingest(dataset, [{"i": 1, "s": "é"}, {"i": 2, "s": None}]).status_code == 200
    apl = f"['{dataset}'] | project i, s | order by i asc"
    rows = [{"i": 1, "s": "é"}, {"i": 2, "s": None}]

    def answer(*form: str) -> bytes:
        run = on(server, "query", apl, "--start", "now-1h", "--end", "now", *form)
        assert run.returncode == 0, run.stderr
        return run.output

    assert [json.loads(line) for line in answer().splitlines()] == rows
    assert json.loads(answer("--format", "json"))["tables"][0]["columns"] == [[1, 2], ["é", None]]
    assert list(csv.reader(io.StringIO(answer("--format", "csv").decode()))) == [["i", "s"], ["1", "é"], ["2", ""]]
    table = answer("--format", "table").decode().splitlines()
    assert [line.split() for line in table] == [["i", "s"], ["1", "é"], ["2", "null"]]
    assert pa.ipc.open_stream(answer("--format", "arrow")).read_all().to_pylist() == rows


def test_wrong_apl_is_one_line_with_its_place(server: Server) -> None:
    run = on(server, "query", "demo | whre x")
    assert (run.returncode, run.stdout) == (1, "")
    line, query, caret = run.stderr.splitlines()
    assert "line 1, column 8" in line
    assert "did you mean 'where'?" in line
    assert query == "tailrace:   demo | whre x"
    assert caret == "tailrace:" + " " * 10 + "^"


def test_one_equals_sign_is_told_of_and_a_wrong_word_of_sql_too(server: Server) -> None:
    assert "to compare, write '=='" in on(server, "query", "demo | where level = 'info'").stderr
    assert "met 'SELEC'" in on(server, "query", "--sql", "SELEC * FROM demo").stderr


@pytest.mark.parametrize("form", ["ndjson", "json", "csv", "arrow", "table"])
def test_what_the_server_says_of_an_answer_is_told_in_every_format(server: Server, dataset: str, form: str) -> None:
    server.ingest(dataset, [{"level": "error"}])
    run = on(server, "query", f"['{dataset}'] | where levle == 'error' | count", "--format", form)

    assert run.returncode == 0
    assert "levle" in run.stderr


def test_a_time_may_be_written_as_an_age(server: Server, dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}])

    assert on(server, "query", f"['{dataset}'] | project n", "--start", "-1h").stdout == '{"n":1}\n'


def test_a_dataset_that_is_not_there_is_told_with_the_nearest_name(server: Server) -> None:
    server.create("cli-nearest")
    for arguments in (["query", "['cli-neares'] | count"], ["dataset", "info", "cli-neares"]):
        said = on(server, *arguments).stderr
        assert "did you mean 'cli-nearest'?" in said
        assert "`tailrace dataset create cli-neares`" in said
    sent = on(server, "ingest", "cli-neares", "-", stdin=b'{"n":1}').stderr
    assert "not found; did you mean 'cli-nearest'?" in sent  # the command alone is named, not the route


def test_text_that_is_not_utf_8_is_counted_and_read_by_its_encoding(
    server: Server, dataset: str, tmp_path: Path
) -> None:
    file = tmp_path / "old.csv"
    file.write_bytes("name\nJosé\nAda\n".encode("latin-1"))

    blind = on(server, "ingest", dataset, str(file))
    read = on(server, "ingest", dataset, str(file), "--encoding", "latin-1")

    assert "1 line with bytes that are not UTF-8" in blind.stderr
    assert read.stderr == ""
    assert server.sql(f"SELECT count(*) AS n FROM \"{dataset}\" WHERE name = 'José'") == [{"n": 1}]


def test_logs_parquet_and_folders(server: Server, dataset: str, tmp_path: Path) -> None:
    log, table = tmp_path / "access.log", tmp_path / "t.parquet"
    line = '203.0.113.9 - - [10/Oct/2025:13:55:36 -0700] "GET / HTTP/1.1" 200 5\n'
    log.write_text(f"{line}{line}no such line\n")
    pq.write_table(pa.table({"i": [1, 2], "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 2}), table)

    run = on(server, "ingest", dataset, str(log), str(table))
    folder = on(server, "ingest", dataset, str(tmp_path))
    forced = on(server, "ingest", dataset, str(table), "--format", "ndjson")

    assert run.stdout == "ingested 5 events, 0 failed\n", run.stderr
    assert run.stderr.splitlines() == [
        f"{log}: taken for combined; --format says otherwise",
        f"{log}: 1 line not in the format, sent with the whole line as message",
    ]
    assert folder.returncode == 2
    assert "is a directory" in folder.stderr
    assert len(forced.stderr.splitlines()) == 1
    assert "--format parquet" in forced.stderr
    assert server.sql(f'SELECT status, i FROM "{dataset}" ORDER BY i, status') == [
        {"status": None, "i": 1},
        {"status": None, "i": 2},
        {"status": 200, "i": None},
        {"status": 200, "i": None},
        {"status": None, "i": None},
    ]


def test_a_pipe_is_read_as_a_file(server: Server, dataset: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(b'{"i":1}\n{"i":2}\n',))
    writing.start()

    run = on(server, "ingest", dataset, str(pipe), "--format", "ndjson")

    writing.join()
    assert run.stdout == "ingested 2 events, 0 failed\n", run.stderr


@pytest.mark.parametrize(("ended_by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_comes_slowly_is_sent_at_once_and_what_a_signal_ends_is_sent_and_told(
    server: Server, dataset: str, ended_by: signal.Signals, code: int
) -> None:
    def count() -> int:
        return int(server.sql(f'SELECT count(*) AS n FROM "{dataset}"')[0]["n"])

    command = [sys.executable, "-m", "tailrace", "ingest", dataset, "-", "--format", "ndjson"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TAILRACE_DATA": str(server.data)},
    ) as running:
        assert running.stdin is not None
        running.stdin.write('{"i":1}\n')
        running.stdin.flush()
        wait_until(lambda: count() == 1)
        running.stdin.write('{"i":2}\n')
        running.stdin.flush()
        wait_until(lambda: count() == 2)
        running.send_signal(ended_by)
        said, _ = running.communicate(timeout=60)

    assert (running.returncode, said) == (code, "ingested 2 events, 0 failed\n")


@needs_openssl
def test_what_is_wrong_with_tls_is_told_and_a_certificate_can_be_trusted(server: Server, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    with http_receiver() as receiver:
        receiver.server.socket = serving.wrap_socket(receiver.server.socket, server_side=True)
        url = f"https://localhost:{receiver.url.rpartition(':')[2]}"
        given = ["dataset", "list", "--url", url, "--token", "xaat-x"]
        unknown = tailrace(*given)
        trusted = tailrace(*given, "--cafile", str(certificate))
        by_variable = tailrace(*given, env={"SSL_CERT_FILE": str(certificate)})
    plain = tailrace("dataset", "list", "--url", server.url.replace("http:", "https:"), "--token", "xaat-x")
    missing = tailrace(*given, "--cafile", str(tmp_path / "none.pem"))

    assert "is not trusted (self-signed certificate)" in unknown.stderr.replace("self signed", "self-signed")
    assert "--cafile" in unknown.stderr
    assert "answered with status 501" in trusted.stderr  # so it was reached
    assert trusted.stderr == by_variable.stderr
    assert "is it http://?" in plain.stderr
    assert "none.pem" in missing.stderr


def test_a_wrong_query_is_one_clear_line(server: Server) -> None:
    run = on(server, "query", "--sql", "SELECT * FROM absent")
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    assert "absent" in run.stderr


@pytest.mark.parametrize(
    "name", ["found.parquet", "found.csv", "found.ndjson", "found.jsonl", "found.arrow", "found.json"]
)
def test_an_answer_is_written_to_a_file_in_the_format_of_its_name(
    server: Server, dataset: str, tmp_path: Path, name: str
) -> None:
    server.ingest(dataset, [{"n": n, "tags": ["a"]} for n in range(3)])
    env = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.token}
    file = tmp_path / name

    done = tailrace("query", f"['{dataset}'] | project n, tags | order by n asc", "-o", str(file), env=env)

    assert (done.returncode, done.output) == (0, b""), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(".parquet"):
        assert pq.read_table(file)["n"].to_pylist() == [0, 1, 2]
    elif name.endswith(".arrow"):
        assert pa.ipc.open_stream(file.read_bytes()).read_all()["n"].to_pylist() == [0, 1, 2]
    elif name.endswith(".csv"):
        assert file.read_text().splitlines()[:2] == ['"n","tags"', '0,"[""a""]"']
    else:
        assert b'{"n":2,"tags":["a"]}' in file.read_bytes() or b"[0,1,2]" in file.read_bytes()


def test_an_answer_that_is_refused_leaves_the_file_as_it_was(server: Server, dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "found.csv"
    file.write_text("mine")
    env = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.token}

    wrong = tailrace("query", f"['{dataset}'] | where", "-o", str(file), env=env)
    unknown = tailrace("query", f"['{dataset}']", "-o", str(tmp_path / "found.xlsx"), env=env)
    elsewhere = tailrace("query", f"['{dataset}']", "-o", str(tmp_path / "none" / "found.csv"), env=env)

    assert (wrong.returncode, unknown.returncode, elsewhere.returncode) == (1, 2, 1)
    assert "cannot be written: No such file or directory" in elsewhere.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]
    assert file.read_text() == "mine"

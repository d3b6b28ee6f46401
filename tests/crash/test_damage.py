"""What a crash or a bad disk leaves behind, laid out by hand: the server starts, and keeps what is sound."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

UNCOMMITTED = "--commit-age-s=3600"  # so that all stays in the log until the server is told to stop


def filled(make_server: "MakeServer", *marks: str) -> "Server":
    """Return a killed server whose log holds one request for each mark, none of it committed."""
    server = make_server(UNCOMMITTED).start()
    server.create("d")
    for number, mark in enumerate(marks):
        answer: httpx.Response = server.ingest("d", [{"n": number, "mark": mark}])
        assert answer.status_code == 200
    server.kill()
    return server


def segment(server: "Server") -> Path:
    """Return the one segment file that has content."""
    files = sorted((server.data / "log").iterdir(), key=lambda path: path.stat().st_size)
    return files[-1]


def marks(server: "Server") -> list[str]:
    return [row["mark"] for row in server.sql("SELECT mark FROM d ORDER BY n")]


def test_a_torn_last_frame_costs_only_itself(make_server: "MakeServer") -> None:
    server = filled(make_server, "first", "second", "third")
    file = segment(server)
    with file.open("rb+") as opened:
        opened.truncate(file.stat().st_size - 3)

    server.start()
    assert marks(server) == ["first", "second"]
    server.ingest("d", [{"n": 3, "mark": "fourth"}])
    server.kill()
    server.start()
    assert marks(server) == ["first", "second", "fourth"]


def test_a_flipped_byte_costs_only_its_frame(make_server: "MakeServer") -> None:
    server = filled(make_server, "first", "second", "third")
    file = segment(server)
    content = bytearray(file.read_bytes())
    content[content.index(b"second")] ^= 1
    file.write_bytes(content)

    server.start()
    assert marks(server) == ["first", "third"]
    assert "damaged" in server.errors.read_text()
    assert server.stop() == 0
    server.start()
    assert marks(server) == ["first", "third"]


def test_a_missing_segment_is_counted_and_stops_nothing(make_server: "MakeServer") -> None:
    server = make_server(UNCOMMITTED, "--log-segment-bytes=1MiB").start()
    server.create("d")
    for number in range(4):
        assert server.ingest("d", [{"n": number, "mark": "x" * 700_000}]).status_code == 200
    server.kill()
    sorted((server.data / "log").glob("*.seg"))[1].unlink()

    server.start()
    assert server.sql("SELECT count(*) AS c FROM d") == [{"c": 3}]
    figures = server.client.get("/metrics").text
    assert "tailrace_log_damage 1.0" in figures
    assert "tailrace_log_missing_positions 1.0" in figures
    # The first is that of the act of making the dataset.
    assert "positions 3 to 3 are missing" in server.errors.read_text()
    assert server.ingest("d", [{"n": 4}]).status_code == 200


def test_a_file_written_but_not_committed_is_not_counted(make_server: "MakeServer", tmp_path: Path) -> None:
    server = filled(make_server, "first", "second")
    # What a kill between the Parquet file and its Delta commit leaves: the file that a commit of these events writes.
    shutil.copytree(server.data, tmp_path / "copy")
    committing = make_server(UNCOMMITTED, data=tmp_path / "copy").start()
    assert committing.stop() == 0
    written = [path for path in (tmp_path / "copy/lake/d").rglob("*.parquet") if "_delta_log" not in path.parts]
    assert written
    for path in written:
        orphan = server.data / path.relative_to(tmp_path / "copy")
        orphan.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, orphan)

    server.start()
    assert marks(server) == ["first", "second"]
    assert server.stop() == 0
    server.start()
    assert marks(server) == ["first", "second"]


def test_a_kill_after_the_commit_does_not_double_what_the_log_still_holds(make_server: "MakeServer") -> None:
    server = filled(make_server, "first", "second")
    log = server.data / "log"
    kept = server.data.with_name("kept-log")
    shutil.copytree(log, kept)
    server.start()
    assert server.stop() == 0  # commits
    # As if the kill had come before the log was told that it may let go.
    shutil.rmtree(log)
    shutil.copytree(kept, log)

    server.start()
    assert marks(server) == ["first", "second"]


def test_a_dataset_that_cannot_be_opened_is_told_of_everywhere(make_server: "MakeServer") -> None:
    server = filled(make_server, "first")
    (server.data / "lake" / "d" / "_tailrace" / "dataset.json").write_bytes(b"")

    server.launch_unready()
    ready = server.client.get("/readyz")
    assert (ready.status_code, "'d' cannot be used" in ready.json()["message"]) == (503, True)
    by_apl = server.client.post("/v1/datasets/_apl", json={"apl": "d | count"})
    by_sql = server.client.post("/tailrace/v1/sql", json={"sql": "SELECT count(*) FROM d"})
    sent = server.ingest("d", [{"n": 1}])
    for answer in (by_apl, by_sql, sent):
        assert (answer.status_code, "'d' cannot be used" in answer.json()["message"]) == (503, True), answer.text
        assert str(server.data) not in answer.text
    listed = {each["name"]: each for each in server.client.get("/v2/datasets").json()}
    assert (listed["d"]["unavailable"], listed["d"]["canWrite"]) == ("it is damaged or incomplete", False)
    assert "unavailable" not in listed["demo"]
    assert "tailrace_unavailable_datasets 1.0" in server.client.get("/metrics").text
    assert server.ingest("demo", [{"n": 1}]).status_code == 200

    assert server.client.delete("/v2/datasets/d").status_code == 204
    assert server.client.get("/readyz").status_code == 200


def test_a_damaged_parquet_file_makes_its_dataset_unavailable(make_server: "MakeServer") -> None:
    damages: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda content: b"",
        "cut": lambda content: content[:100],
        "shorter": lambda content: content[:-1],
        "zeros": lambda content: content[:4] + bytes(200) + content[204:],  # the first page with its header
    }
    server = make_server("--commit-age-s=0.1").start()
    for name in damages:
        server.create(name)
        server.ingest(name, [{"n": n} for n in range(100)])
    tables = server.data / "lake"
    wait_until(lambda: all(list(tables.glob(f"{name}/_day=*/*.parquet")) for name in damages))
    assert server.stop() == 0
    for name, damage in damages.items():
        [file] = tables.glob(f"{name}/_day=*/*.parquet")
        file.write_bytes(damage(file.read_bytes()))

    server.start()
    for name in damages:
        for answer in (
            server.client.post("/tailrace/v1/sql", json={"sql": f"SELECT sum(n), max(_time) FROM {name}"}),
            server.client.post("/v1/datasets/_apl", json={"apl": f"{name} | summarize sum(n), max(_time)"}),
        ):
            assert (answer.status_code, "cannot be read" in answer.json()["message"]) == (503, True), answer.text
            for engines in (str(server.data), "magic", "TProtocol", "Invalid Input"):
                assert engines not in answer.text
    assert "magic bytes" in server.errors.read_text()
    assert server.sql("SELECT 1 AS one") == [{"one": 1}]


def test_a_spoiled_list_of_dropped_datasets_stops_no_start(make_server: "MakeServer") -> None:
    server = filled(make_server, "first")
    kept = server.data / "lake" / "_tailrace" / "dropped.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"")

    server.start()
    assert marks(server) == ["first"]
    assert "dropped.json is damaged" in server.errors.read_text()
    assert (kept.parent / "dropped.json.damaged").exists()

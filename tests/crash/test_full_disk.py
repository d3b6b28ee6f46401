"""A disk without a free byte: what cannot be kept is refused with the reason, room can be made, a start succeeds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.disks import fill, small_disk
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

OPTIONS = ("--log-min-free-bytes=2MiB", "--log-segment-bytes=1MiB", "--commit-age-s=0.1")
FULL = "no space is left on the disk"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 32) as directory:
        yield directory


def rows(server: "Server", dataset: str) -> int:
    count: int = server.sql(f"SELECT count(*) AS c FROM {dataset}")[0]["c"]
    return count


def made(make_server: "MakeServer", disk: Path, *options: str) -> "Server":
    """Return a server whose data directory is on the disk, and what it prints is not."""
    server = make_server(*OPTIONS, *options, data=disk / "data")
    server.errors = disk.with_name("stderr")
    return server


def filled(make_server: "MakeServer", disk: Path) -> "Server":
    """Return a server with two datasets in tables, on a disk with room."""
    server = made(make_server, disk).start()
    for name in ("kept", "dropped"):
        server.create(name)
        server.ingest(name, [{"n": n, "text": f"{n * 7919} {n}"} for n in range(5000)])
    wait_until(lambda: all(list((server.data / "lake").glob(f"{name}/_day=*/*")) for name in ("kept", "dropped")))
    return server


# In place of # stands the number of the attempt.
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v2/datasets", {"name": "new-#"}),
    ("PUT", "/v2/datasets/kept", {"description": "x" * 4096}),
    ("POST", "/v2/tokens", {"name": "t#", "datasetCapabilities": {"kept": {"ingest": ["create"]}}}),
    ("POST", "/v1/tokens/personal", {"name": "t#"}),
    ("POST", "/tailrace/v1/keys", {"protocol": "moesif", "name": "k#", "dataset": "kept"}),
    ("POST", "/v2/users", {"name": "u", "email": "u#@example.com", "role": "user"}),
    ("POST", "/v2/annotations", {"datasets": ["kept"], "type": "deploy"}),
    ("POST", "/v2/vfields", {"dataset": "kept", "name": "v#", "expression": "n + 1"}),
    ("POST", "/v2/apl-starred-queries", {"kind": "apl", "dataset": "kept", "name": "q#", "query": {"apl": "kept"}}),
    ("POST", "/v2/notifiers", {"name": "n#", "properties": {"email": {"emails": ["a@example.com"]}}}),
    ("PUT", "/v2/datasets/kept/mapfields", ["a" * 1000]),
    ("POST", "/v1/datasets/_apl?saveAsKind=apl", {"apl": "kept | count"}),
)


def test_a_full_disk_refuses_writes_with_the_reason_and_room_can_be_made(make_server: "MakeServer", disk: Path) -> None:
    server = filled(make_server, disk)
    filling = fill(disk)

    for method, path, body in WRITES:
        # Until one is refused: what a file of a database has room for is taken, and so is what the server gave back
        # since, such as a segment of the log that is in the tables.
        for attempt in range(200):
            numbered = json.loads(json.dumps(body).replace("#", str(attempt)))
            answer = server.client.request(method, path, json=numbered)
            if answer.status_code not in (200, 201):
                break
            fill(disk)
        assert answer.status_code == 503, (path, answer.text)
        assert FULL in answer.json()["message"], (path, answer.text)
        assert str(disk) not in answer.text
    sent = server.ingest("kept", [{"n": 1}])
    assert (sent.status_code, "free" in sent.json()["message"]) == (503, True), sent.text
    assert rows(server, "kept") == 5000

    trimmed = server.client.post("/v1/datasets/kept/trim", json={"maxDuration": "1ms"})
    assert (trimmed.status_code, trimmed.json()) == (200, {"numDeleted": 5000}), trimmed.text
    assert rows(server, "kept") == 0
    assert not list((server.data / "lake" / "kept").glob("_day=*/*.parquet"))
    fill(disk)  # with what was set aside, too
    assert server.client.delete("/v2/datasets/dropped").status_code == 204
    assert not (server.data / "lake" / "dropped").exists()

    filling.unlink()
    wait_until(lambda: server.ingest("kept", [{"n": 1}]).status_code == 200)
    assert server.client.get("/readyz").status_code == 200
    assert "Traceback" not in server.errors.read_text()


def test_a_server_that_was_killed_on_a_full_disk_starts_there(make_server: "MakeServer", disk: Path) -> None:
    server = made(make_server, disk, "--commit-age-s=3600").start()
    server.create("kept")
    server.ingest("kept", [{"n": n} for n in range(100)])
    annotation = server.client.post("/v2/annotations", json={"datasets": ["kept"], "type": "deploy"}).json()
    filling = fill(disk)
    server.kill()
    (server.data / "reserve").unlink()
    fill(disk)
    newest = max((server.data / "log").glob("*.seg"))
    with newest.open("rb+") as segment:  # as a kill in the middle of a write leaves it
        segment.truncate(newest.stat().st_size - 3)

    server.launch_unready()
    assert rows(server, "kept") in (0, 100)  # the torn frame may be that of an act in the audit trail
    listed = server.client.get("/v2/annotations")
    assert (listed.status_code, [each["id"] for each in listed.json()]) == (200, [annotation["id"]])
    assert server.ingest("kept", [{"n": 1}]).status_code == 503
    filling.unlink()
    wait_until(lambda: server.ingest("kept", [{"n": 1}]).status_code == 200)
    assert server.stop() == 0


def test_a_server_starts_on_a_full_disk_answers_and_refuses_events(make_server: "MakeServer", disk: Path) -> None:
    server = filled(make_server, disk)
    assert server.stop() == 0
    (server.data / "reserve").unlink(missing_ok=True)  # as one of an earlier version, or one whose room was taken
    filling = fill(disk)

    server.launch_unready()
    assert rows(server, "kept") == 5000
    sent = server.ingest("kept", [{"n": 1}])
    assert (sent.status_code, "free" in sent.json()["message"]) == (503, True), sent.text
    assert server.client.get("/readyz").status_code == 503
    kept = server.client.post("/v2/annotations", json={"datasets": ["kept"], "type": "deploy"})
    assert (kept.status_code, FULL in kept.json()["message"]) == (503, True), kept.text
    assert server.client.delete("/v2/datasets/dropped").status_code == 204

    filling.unlink()
    wait_until(lambda: server.ingest("kept", [{"n": 1}]).status_code == 200)
    assert server.client.post("/v2/annotations", json={"datasets": ["kept"], "type": "deploy"}).status_code == 200
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()

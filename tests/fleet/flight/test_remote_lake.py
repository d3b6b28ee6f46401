"""A lake on another node gives what it gives here: datasets, events, errors; and says so where it cannot be asked."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.flight as flight
import pytest
from support.events import batch
from support.flight import CREDENTIALS, HOST, LakeNode, StatedOwners, remote_lake
from support.lakes import numbers
from support.ports import free_port
from support.waiting import wait_until

from tailrace.events import (
    Conflict,
    DatasetExists,
    DatasetNotFound,
    DatasetUnavailable,
    InvalidName,
    QueryFailed,
)
from tailrace.fleet.flight import connection, deletions, server
from tailrace.fleet.flight.credentials import Credentials, Peer
from tailrace.fleet.flight.errors import OwnerUnavailable, PeerRefused
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.fleet.flight.server import LakeServer, Versions
from tailrace.lake import Lake, Snapshot, table_root
from tailrace.lake.snapshot import Check, no_check
from tailrace.query import AplRequest, DuckDB, QueryLimits, run_apl

TIMEOUT_S = 10.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LakeNode]:
    node = LakeNode(tmp_path / "lake")
    yield node
    node.close()


@pytest.fixture
def owners(node: LakeNode) -> StatedOwners:
    return StatedOwners(node.peer)


@pytest.fixture
def lake(node: LakeNode, owners: StatedOwners, tmp_path: Path) -> Iterator[RemoteLake]:
    with remote_lake(owners, tmp_path / "lake") as lake:
        yield lake


def put(node: LakeNode, position: int, *values: int, dataset: str = "d") -> None:
    node.lake.accept(position, batch([{"n": n} for n in values], dataset))


def read(lake: RemoteLake, name: str = "d") -> list[int]:
    return numbers(lake.snapshot(name, timeout_s=TIMEOUT_S))


def equal(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots have the same files, fields and rows."""
    hot = [
        [(part.rows, part.min_time_us, part.max_time_us, part.columns) for part in each.hot] for each in (one, other)
    ]
    members = ("dataset", "files", "fields", "primary_key", "received", "timespans")
    return hot[0] == hot[1] and all(getattr(one, member) == getattr(other, member) for member in members)


# Datasets


def test_datasets_are_created_changed_found_and_dropped(node: LakeNode, lake: RemoteLake) -> None:
    made = lake.create("d", description="one", who="u", primary_key="id", organisation="o", retention_days=3)

    assert made == node.lake.get("d") == lake.get("d")
    assert (lake.organisation("d"), lake.has("d"), lake.knows("d"), lake.names()) == ("o", True, True, ["d"])
    assert lake.update("d", description="two").description == lake.get("d").description == "two"
    lake.declare("d", {"took": "timespan"})
    wait_until(lambda: lake.get("d").declared == {"took": "timespan"})
    lake.drop("d")
    assert (lake.has("d"), lake.datasets(), lake.organisation("d")) == (False, [], None)
    with pytest.raises(DatasetNotFound):
        lake.get("d")


def test_what_others_create_and_drop_is_known_before_they_are_answered(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake, tmp_path: Path
) -> None:
    with remote_lake(owners, tmp_path / "lake") as other:
        for number in range(20):
            name = f"d{number}"
            other.create(name)
            assert lake.has(name)
            other.drop(name)
            assert not lake.knows(name)


def test_what_the_node_itself_creates_and_drops_is_known_before_it_is_answered(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake, tmp_path: Path
) -> None:
    owners_there = StatedOwners()
    owners_there.own.add("d")
    with remote_lake(owners_there, tmp_path / "lake", own=node) as there:
        there.create("d")
        assert lake.has("d")
        there.drop("d")
        assert not lake.has("d")


def test_what_a_node_has_no_more_is_known_still(node: LakeNode, owners: StatedOwners, lake: RemoteLake) -> None:
    node.lake.create("d")
    wait_until(lambda: lake.has("d"))
    node.lake.drop("d")  # nobody said that it was dropped: it may be another node's
    node.lake.create("e")
    wait_until(lambda: lake.has("e"))

    assert lake.has("d")
    with pytest.raises(DatasetNotFound):
        lake.snapshot("d", timeout_s=TIMEOUT_S)
    assert not lake.has("d")


def test_what_a_node_that_is_not_complete_does_not_have_may_be_there(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake
) -> None:
    with pytest.raises(DatasetNotFound):
        lake.get("d")
    node.is_complete = False
    lake.create("e")
    with pytest.raises(OwnerUnavailable):
        lake.get("d")


def test_what_was_dropped_without_a_word_is_forgotten_once_another_node_would_have_it(tmp_path: Path) -> None:
    former, latter = LakeNode(tmp_path / "lake", "lake-1"), LakeNode(tmp_path / "other", "lake-2")
    owners = StatedOwners(former.peer)
    try:
        with remote_lake(owners, tmp_path / "lake") as lake:
            lake.create("dropped")
            lake.create("moved")
            former.server.close()
            owners.all = [latter.peer]
            former.lake.drop("dropped")

            wait_until(lambda: lake.names() == ["moved"])
            assert (lake.knows("dropped"), lake.knows("moved")) == (False, True)
    finally:
        latter.close()
        former.lake.close()


def test_a_dataset_that_cannot_be_opened_is_known_as_such(node: LakeNode, lake: RemoteLake, tmp_path: Path) -> None:
    broken = LakeNode(_with_broken_dataset(tmp_path / "other"), "lake-2")
    try:
        with remote_lake(StatedOwners(broken.peer), tmp_path / "other") as other:
            wait_until(lambda: other.knows("d"))
            assert ([each.info.name for each in other.unavailable()], other.has("d")) == (["d"], False)
            with pytest.raises(Exception, match="cannot be used"):
                other.get("d")
    finally:
        broken.close()


def _with_broken_dataset(directory: Path) -> Path:
    with_dataset = Lake.open(directory)
    with_dataset.create("d")
    with_dataset.close()
    next((directory / "d" / "_delta_log").glob("*.json")).write_text("{")
    return directory


# Events


def test_a_snapshot_has_files_fields_and_hot_rows(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    put(node, 1, 1, 2)
    node.lake.commit_now("d")
    put(node, 2, 3)
    node.lake.accept(3, batch([{"n": 4, "text": "ä", "nested": {"x.y": [1]}, "ok": True, "f": 0.5}]))

    assert equal(lake.snapshot("d", timeout_s=TIMEOUT_S), node.lake.snapshot("d"))
    assert read(lake) == [1, 2, 3, 4]


def test_a_snapshot_has_what_was_accepted_before_it_each_time(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    for number in range(1, 30):
        put(node, number, number)
        if number % 7 == 0:
            node.lake.commit_now("d")
        assert read(lake) == list(range(1, number + 1))


def test_hot_rows_and_files_are_sent_once(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    put(node, 1, 1)
    node.lake.commit_now("d")
    put(node, 2, 2)
    first, second = (lake.snapshot("d", timeout_s=TIMEOUT_S) for _ in range(2))

    assert (second.hot[0], second.files) == (first.hot[0], first.files)
    assert second.files is first.files
    assert second.fields is first.fields
    assert (lake.cache.hits, lake.cache.misses) == (1, 1)


def test_large_hot_rows_come_in_chunks(
    node: LakeNode, owners: StatedOwners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.fleet.flight.hot_parts.CHUNK_BYTES", 2_000)
    with remote_lake(owners, tmp_path / "lake", cache_bytes=0) as lake:
        lake.create("d")
        node.lake.accept(1, batch([{"n": n, "text": "x" * 100} for n in range(500)]))
        found = lake.snapshot("d", timeout_s=TIMEOUT_S)

    rows = found.hot[0].rows
    assert rows["n"].num_chunks > 10
    assert rows.equals(node.lake.snapshot("d").hot[0].rows)
    assert lake.cache.bytes == 0


def test_hot_rows_that_go_into_a_file_meanwhile_are_asked_for_again(
    node: LakeNode, lake: RemoteLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create("d")
    put(node, 1, 1)
    fetched = connection.PeerConnection.parts
    calls: list[int] = []

    def commit_first(self: connection.PeerConnection, *args: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            monkeypatch.setattr("tailrace.fleet.flight.hot_parts.HELD_S", -1.0)
            node.lake.commit_now("d")
            node.server._parts._held.clear()
            put(node, 2, 2)
        return fetched(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(connection.PeerConnection, "parts", commit_first)
    assert read(lake) == [1, 2]
    assert len(calls) == 2


def test_a_dataset_in_the_own_lake_is_not_asked_for(node: LakeNode, owners: StatedOwners, tmp_path: Path) -> None:
    own = LakeNode(tmp_path / "own", "lake-2")
    owners.own.add("mine")
    try:
        with remote_lake(owners, tmp_path / "lake", own=own) as lake:
            lake.create("mine")
            lake.create("other")
            own.lake.accept(1, batch([{"n": 1}], "mine"))
            assert (own.lake.names(), node.lake.names(), lake.names()) == (["mine"], ["other"], ["mine", "other"])
            assert read(lake, "mine") == [1]
            assert lake.uncommitted("mine") == 1
    finally:
        own.close()


def test_a_dataset_of_which_no_node_tells_is_known_by_its_files(tmp_path: Path) -> None:
    made = Lake.open(tmp_path / "lake")
    made.create("d", organisation="other")
    made.create("broken")
    made.close()
    (tmp_path / "lake" / "broken" / "_tailrace" / "dataset.json").write_text("?")
    with remote_lake(StatedOwners(), tmp_path / "lake", timeout_s=0) as lake:
        assert lake.knows("d")
        assert (lake.organisation("d"), lake.names()) == ("other", ["d"])
        assert not any(map(lake.knows, ("no-such", "../lake/d", "")))
        with pytest.raises(DatasetUnavailable, match="'broken' cannot be read"):
            lake.knows("broken")


def test_a_query_over_another_nodes_lake_reads_files_and_hot_rows(
    node: LakeNode, lake: RemoteLake, tmp_path: Path
) -> None:
    lake.create("d")
    put(node, 1, 1, 2)
    node.lake.commit_now("d")
    put(node, 2, 3)
    engine = DuckDB(table_root(tmp_path / "lake"), tmp_path / "temporary", QueryLimits())
    try:
        result = run_apl(lake, engine, AplRequest(apl="d | summarize sum(n)"), check=lambda name: None)
    finally:
        engine.close()
    assert result.tables[0].rows[0].to_pylist() == [6]


# Changes of files


def test_files_are_committed_trimmed_compacted_and_swept(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    for number in (1, 2):
        put(node, number, number)
        lake.commit_now("d")
    assert len(lake.snapshot("d", timeout_s=TIMEOUT_S).files) == 2
    lake.compact("d")
    assert len(lake.snapshot("d", timeout_s=TIMEOUT_S).files) == 1
    assert lake.trim("d", 2**62) == 2
    assert (read(lake), lake.sweep("d")) == ([], 0)
    lake.commit_now()


def test_events_are_deleted_by_a_filter_that_is_here(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    for number in (1, 2):
        put(node, number, 10 * number, 10 * number + 1)
        lake.commit_now("d")
    asked: list[str] = []

    def first_row(file: object, fields: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        asked.append(threading.current_thread().name)
        return np.array([0])

    counted = lake.delete_where("d", first_row, dry_run=True)
    assert (counted.rows_matched, counted.rows_deleted, len(read(lake))) == (2, 0, 4)
    assert lake.delete_where("d", first_row).rows_deleted == 2
    assert read(lake) == [11, 21]
    assert set(asked) == {threading.current_thread().name}


def test_what_is_under_way_when_the_lake_is_closed_is_done(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    put(node, 1, 1, 2)

    def close(file: object, fields: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        lake.close()
        return np.array([0])

    assert lake.delete_where("d", close).rows_deleted == 1


def test_a_filter_that_fails_deletes_nothing(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    put(node, 1, 1)

    def fails(file: object, fields: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        raise QueryFailed("too slow")

    with pytest.raises(QueryFailed, match="too slow"):
        lake.delete_where("d", fails)
    assert read(lake) == [1]
    assert lake.delete_where("d", lambda file, fields: np.array([0])).rows_deleted == 1


def test_a_deletion_whose_node_says_nothing_any_more_deletes_nothing(
    node: LakeNode, lake: RemoteLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "PATIENCE_S", 0.05)
    lake.create("d")
    put(node, 1, 1)

    def is_late(file: object, fields: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        wait_until(lambda: not _deleting())
        return np.array([0])

    with pytest.raises(deletions.FilterFailed, match="says nothing"):
        lake.delete_where("d", is_late)
    assert read(lake) == [1]


def _deleting() -> bool:
    return any(thread.name == "tailrace-deletion" for thread in threading.enumerate())


# Errors


def test_errors_are_the_lakes_own(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    with pytest.raises(DatasetExists, match="'d' exists already"):
        lake.create("d")
    with pytest.raises(InvalidName):
        lake.create("no/name")
    for ask in (lake.drop, lake.compact, lake.sweep, lake.commit_now, lambda name: lake.trim(name, 0)):
        with pytest.raises(DatasetNotFound, match="'none' not found"):
            ask("none")
    with pytest.raises(DatasetNotFound):
        lake.snapshot("none", timeout_s=TIMEOUT_S)


def test_a_limit_of_the_other_lake_is_told(tmp_path: Path, lake: RemoteLake, node: LakeNode) -> None:
    def full(*_: object, **__: object) -> None:
        raise Conflict("there are 1 datasets, the limit max_datasets")

    node.lake.create = full  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict, match="max_datasets"):
        lake.create("d")


def test_what_goes_wrong_without_words_is_logged_there_and_told_here(
    node: LakeNode, lake: RemoteLake, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    node.lake.sweep = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(OwnerUnavailable, match="its log says why"):
        lake.sweep("d")
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_is_not_understood_is_one_of_a_node_that_is_not_there(node: LakeNode, lake: RemoteLake) -> None:
    node.lake.sweep = lambda name: "many"  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(OwnerUnavailable, match="another way"):
        lake.sweep("d")


def test_a_node_whose_word_is_not_understood_is_asked_again(
    node: LakeNode, owners: StatedOwners, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node.lake.create("d")
    wait, answers = node.server.changes.wait, iter([1, None])
    node.server.changes.wait = lambda asked: next(answers, None) or wait(asked)  # type: ignore[method-assign, assignment, return-value]

    with remote_lake(owners, tmp_path / "node", timeout_s=TIMEOUT_S) as lake:
        assert lake.has("d")
    assert "another way" in caplog.text


def test_an_answer_that_comes_as_its_time_is_up_counts(lake: RemoteLake, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            found = super().result(TIMEOUT_S)
            if timeout is not None:
                raise TimeoutError
            return found

    lake.create("d")
    monkeypatch.setattr(connection, "Future", Late)
    assert lake.sweep("d") == 0


def test_a_version_is_of_one_value_also_after_it_was_forgotten() -> None:
    versions, first, other = Versions(kept=2), object(), object()
    numbers = [versions.number(name, value) for name, value in (("a", first), ("a", first), ("a", other), ("b", first))]
    assert numbers == [1, 1, 2, 3]
    versions.number("c", first)
    assert versions.number("b", first) == 3
    assert versions.number("a", first) == 5


# Owners that are gone


class Ownerless:
    """Reads without an owner, as a test sees it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        self.asked.append(name)
        raise DatasetNotFound("read without an owner")


def test_without_an_owner_reads_go_another_way_and_changes_are_refused(
    node: LakeNode, owners: StatedOwners, tmp_path: Path
) -> None:
    ownerless = Ownerless()
    with remote_lake(owners, tmp_path / "lake", ownerless=ownerless) as lake:
        lake.create("d")
        owners.of["d"] = None
        with pytest.raises(DatasetNotFound, match="without an owner"):
            lake.snapshot("d", timeout_s=TIMEOUT_S)
        assert ownerless.asked == ["d"]
        with pytest.raises(OwnerUnavailable, match="held by no lake node") as refused:
            lake.drop("d")
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)
    assert lake.get("d").name == "d"  # what takes events goes on with them


def test_a_node_that_is_not_to_be_reached_is_named_at_once(tmp_path: Path, node: LakeNode) -> None:
    gone = Peer("lake-9", f"grpc://{HOST}:9")
    with remote_lake(StatedOwners(gone), tmp_path / "lake", timeout_s=0) as lake:
        with pytest.raises(OwnerUnavailable, match="lake-9"):
            lake.snapshot("d", timeout_s=TIMEOUT_S)
        with pytest.raises(OwnerUnavailable, match="held by no lake node"):
            lake.get("d")


def test_a_dataset_that_is_given_to_another_node_is_asked_of_that(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake, tmp_path: Path
) -> None:
    lake.create("d")
    node.given_away.add("d")
    other = LakeNode(tmp_path / "other", "lake-2")
    other.lake.create("d")
    put(other, 1, 7)
    moved = threading.Timer(0.2, lambda: owners.of.update(d=other.peer))
    moved.start()
    try:
        assert read(lake) == [7]
    finally:
        moved.join()
        other.close()


def test_an_owner_that_hangs_is_given_up_once_another_has_the_dataset(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake, tmp_path: Path
) -> None:
    lake.create("d")
    other = LakeNode(tmp_path / "other", "lake-2")
    other.lake.create("d")
    put(other, 1, 7)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(name: str, *, timeout_s: float) -> Snapshot:
        hangs.set()
        goes_on.wait(TIMEOUT_S)
        raise OwnerUnavailable("late")

    node.lake.snapshot = hang  # type: ignore[method-assign, assignment]
    threading.Thread(target=lambda: hangs.wait(TIMEOUT_S) and owners.of.update(d=other.peer)).start()
    try:
        assert read(lake) == [7]
    finally:
        goes_on.set()
        other.close()


def test_a_query_that_is_given_up_waits_no_longer(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    goes_on = threading.Event()
    asked = threading.Event()

    def hang(name: str, *, timeout_s: float) -> Snapshot:
        asked.set()
        goes_on.wait(TIMEOUT_S)
        raise OwnerUnavailable("late")

    def check() -> None:
        if asked.is_set():
            raise QueryFailed("the client hung up")

    node.lake.snapshot = hang  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(QueryFailed, match="hung up"):
            lake.snapshot("d", timeout_s=TIMEOUT_S, check=check)
    finally:
        goes_on.set()


def test_a_time_that_is_up_is_told(node: LakeNode, lake: RemoteLake) -> None:
    lake.create("d")
    goes_on = threading.Event()

    def hang(name: str, *, timeout_s: float) -> Snapshot:
        goes_on.wait(TIMEOUT_S)
        raise OwnerUnavailable("late")

    node.lake.snapshot = hang  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(OwnerUnavailable, match="not answer in time"):
            lake.snapshot("d", timeout_s=0.2)
    finally:
        goes_on.set()


def test_a_node_that_starts_anew_is_known_again(tmp_path: Path) -> None:
    port = free_port()
    node = LakeNode(tmp_path / "lake", port=port)
    with remote_lake(StatedOwners(node.peer), tmp_path / "lake") as lake:
        lake.create("d")
        put(node, 1, 1)
        assert read(lake) == [1]
        node.server.close()
        with pytest.raises(OwnerUnavailable):
            read(lake)
        node.server = served_again(node, port)

        def answers() -> bool:
            try:
                return read(lake) == [1]
            except OwnerUnavailable:
                return False

        wait_until(answers)
    node.close()


def served_again(node: LakeNode, port: int) -> LakeServer:
    return LakeServer(node.lake, node=node.peer.node, host=HOST, port=port, credentials=CREDENTIALS, owns=node.owns)


# Who is no node of the fleet


def test_a_node_with_another_secret_is_told_nothing(node: LakeNode, owners: StatedOwners, tmp_path: Path) -> None:
    node.lake.create("d")
    stranger = Credentials("another secret of sixteen")
    with remote_lake(owners, tmp_path / "lake", credentials=stranger, timeout_s=0) as lake:
        with pytest.raises(PeerRefused, match="does not know the secret"):
            lake.snapshot("d", timeout_s=TIMEOUT_S)
        assert lake.names() == []


def test_what_claims_to_be_a_lake_node_is_asked_nothing(tmp_path: Path, node: LakeNode) -> None:
    seen: list[bytes] = []

    class Pretender(flight.FlightServerBase):  # type: ignore[misc]
        def do_action(self, context: object, action: flight.Action) -> list[bytes]:
            seen.append(action.body.to_pybytes())
            return [b"\x93\xc4\x01s\xc4\x01n\xc4\x01p"]

    pretender = Pretender(f"grpc://{HOST}:0")
    peer = Peer("lake-1", f"grpc://{HOST}:{pretender.port}")
    try:
        with (
            remote_lake(StatedOwners(peer), tmp_path / "lake", timeout_s=0) as lake,
            pytest.raises(PeerRefused, match="does not know the secret"),
        ):
            lake.snapshot("my-dataset", timeout_s=TIMEOUT_S)
    finally:
        pretender.shutdown()
    assert seen
    assert not any(b"my-dataset" in body for body in seen)


def test_a_node_that_does_not_get_its_port_again_tells_it(
    node: LakeNode, lake: RemoteLake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []
    served = node.server._served

    def taken(port: int, credentials: Credentials) -> Any:
        attempts.append(port)
        if len(attempts) < 3:
            raise flight.FlightUnavailableError("the address is in use")
        return served(port, credentials)

    monkeypatch.setattr(server, "LATE_S", 0.0)
    monkeypatch.setattr(node.server, "_served", taken)
    node.server.renew(CREDENTIALS)

    words = f"other nodes cannot ask this one until its port {node.server.port} is free: the address is in use"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [words]
    wait_until(lambda: _creates(lake))


def _creates(lake: RemoteLake) -> bool:
    try:
        lake.create("d")
    except OwnerUnavailable:  # for a moment nobody listens
        return False
    return True

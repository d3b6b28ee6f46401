"""A lake whose tables are in an object store: each event once, whatever becomes of a request."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from bench.fleet_costs import COMMIT_REQUESTS, MERGE_REQUESTS
from support.events import FIRST_TIME_NS, batch
from support.s3 import Fault, Proxy, S3Server
from support.waiting import wait_until

from tailrace.events import DatasetExists, DatasetNotFound, DatasetUnavailable
from tailrace.lake import Lake, LakeSettings, MaintenanceSettings
from tailrace.lake.hashes import damage
from tailrace.lake.object_catalog import ObjectCatalog
from tailrace.storage import object_files
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles, open_s3

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9, keep_removed_s=0))
MIB = 1024 * 1024

pytestmark = [pytest.mark.process, pytest.mark.store]


class Place:
    """A place in the store, whose lake can be opened again and again, on the same cache or on another one."""

    def __init__(self, proxy: Proxy, url: str, directory: Path) -> None:
        self.proxy = proxy
        self.url = url
        self.directory = directory
        self.log: list[tuple[int, Any]] = []
        self.retries = 1
        self._open: list[Lake] = []

    @property
    def store(self) -> ObjectFiles:
        return open_s3(self.url, retries=self.retries)

    def lake(self, cache: str = "cache") -> Lake:
        """Open the lake, and give it again what it was given before."""
        files = FileCache(self.directory / cache, self.store, 64 * MIB, damage)
        lake = Lake.open(ObjectCatalog(self.store, files), BY_HAND)
        self._open.append(lake)
        lake.accept_all(self.log)
        lake.replayed()
        return lake

    def put(self, lake: Lake, n: int, **more: object) -> None:
        self.log.append((n, batch([{"n": n, **more}], first_ns=FIRST_TIME_NS + n * 10**9)))
        lake.accept_all(self.log[-1:])

    def names(self) -> list[str]:
        """Return the datasets that have objects in the store, and marks of such that are none."""
        return sorted({name.removeprefix("_tailrace/incomplete/").partition("/")[0] for name in self.store.names("")})

    def close(self) -> None:
        self.proxy.reset()
        for lake in self._open:
            lake.close(commit=False)


@pytest.fixture
def place(proxy: Proxy, s3: S3Server, tmp_path: Path) -> Iterator[Place]:
    place = Place(proxy, s3.url(), tmp_path)
    yield place
    place.close()


def seen(lake: Lake) -> list[int]:
    """Return the values of `n`, of committed and hot rows."""
    snapshot, cache = lake.snapshot("d"), lake.catalog.cache
    assert cache is not None
    found = [n for part in snapshot.hot for n in part.rows["n"].to_pylist()]
    with cache.hold([f"d/{file.name}" for file in snapshot.files]):
        for file in snapshot.files:
            found += pq.ParquetFile(file.location).read(["n"])["n"].to_pylist()
    return sorted(found)


def commit(lake: Lake) -> None:
    """Commit what there is, which a loaded store may take some attempts to take."""

    def is_committed() -> bool:
        lake.commit_now("d")
        return not lake.uncommitted("d")

    wait_until(is_committed)


def read_elsewhere(url: str) -> list[int]:
    """Return what another engine reads."""
    return sorted(pl.read_delta(f"{url}/d", storage_options=_options())["n"].to_list())


def _options() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def test_events_are_committed_merged_deleted_and_read_by_other_engines(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    for n in range(1, 6):
        place.put(lake, n, kind="x" * n)
        lake.commit_now("d")
    lake.compact("d")
    assert len(lake.snapshot("d").files) == 1
    assert lake.delete_where("d", lambda file, fields: _rows(file.location, lambda n: n == 2)).rows_deleted == 1
    assert lake.trim("d", FIRST_TIME_NS + 2 * 10**9) == 1
    assert lake.sweep("d") >= 5
    place.put(lake, 6)

    assert seen(lake) == [3, 4, 5, 6]
    assert read_elsewhere(place.url) == [3, 4, 5]
    assert {path.name for path in (place.directory / "cache").rglob("*.parquet")} == {
        Path(file.name).name for file in lake.snapshot("d").files
    }
    lake.close()
    assert seen(place.lake("another cache")) == read_elsewhere(place.url) == [3, 4, 5, 6]


def _rows(location: str, is_meant: Callable[[int], bool]) -> Any:
    values = pq.ParquetFile(location).read(["n"])["n"].to_numpy()
    return (values == values.clip()).nonzero()[0][[is_meant(n) for n in values.tolist()]]


def test_the_versions_become_a_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.lake.table.CHECKPOINT_VERSIONS", 3)
    lake = place.lake()
    lake.create("d")
    for n in range(1, 5):
        place.put(lake, n)
        lake.commit_now("d")

    assert lake.commit_failures == 0
    assert "d/_delta_log/_last_checkpoint" in place.store.names("d")
    assert seen(place.lake("another cache")) == read_elsewhere(place.url) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "fault",
    [
        "cut after it was done",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("slow down", "cut", "error after it was done")),
    ],
)
def test_a_commit_whose_requests_fail_is_made_once(place: Place, fault: Fault) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    lake.commit_now("d")
    n, step = 1, 0
    while True:
        n += 1
        place.put(lake, n, **{f"column_{n}": n})
        place.proxy.reset()
        # Each request at a time fails for good, with those that repeat it.
        failing: list[tuple[str, str]] = []
        place.proxy.fault = _from(step, fault, failing)
        lake.commit_now("d")
        place.proxy.reset()
        if not failing:
            break
        step += 1
        commit(lake)
        assert lake.faults() == {}
        assert len(seen(lake)) == n
    assert step >= 4
    assert seen(lake) == read_elsewhere(place.url) == list(range(1, n + 1))
    assert seen(place.lake("another cache")) == list(range(1, n + 1))


def _from(step: int, fault: Fault, failing: list[tuple[str, str]]) -> Callable[[int, str, str], Fault | None]:
    """Return what has the request of a number fail, and each that is the same."""

    def of(number: int, method: str, path: str) -> Fault | None:
        if number == step:
            failing.append((method, path))
        return fault if (method, path) in failing else None

    return of


@pytest.mark.slow
def test_a_commit_whose_answers_come_too_late_is_made_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_files, "READ_TIMEOUT_S", 0.3)
    place.retries = 0
    lake = place.lake()
    lake.create("d")
    answering = threading.Event()
    methods = {"GET", "HEAD", "PUT"}

    def stall(number: int, method: str, path: str) -> None:
        if method in methods:
            answering.wait(30)

    place.proxy.after = stall
    place.put(lake, 1)
    lake.commit_now("d")
    lake.commit_now("d")
    assert "the object store does not answer in time" in lake.faults()["d"]
    methods.intersection_update({"PUT"})
    lake.commit_now("d")
    answering.set()
    lake.commit_now("d")

    assert lake.commit_failures == 3
    assert seen(lake) == read_elsewhere(place.url) == [1]


def test_a_store_that_fails_is_told_in_words_and_asked_again_a_few_times_only(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    place.proxy.reset()
    place.proxy.fault = lambda *_: "slow down"
    lake.commit_now("d")
    lake.commit_now("d")

    assert lake.commit_failures == 2
    assert 4 <= len(place.proxy.requests) <= 8
    assert lake.faults() == {"d": "dataset 'd' cannot be committed, 2 attempts failed: the object store answers 503"}
    with pytest.raises(DatasetUnavailable, match="'e' cannot be stored: the object store answers 503"):
        lake.create("e")
    place.proxy.fault = lambda *_: "refused"
    with pytest.raises(DatasetUnavailable, match="'d' cannot be changed: the object store answers 403 AccessDenied"):
        lake.update("d", description="new")
    place.proxy.reset()
    commit(lake)
    assert seen(lake) == [1]
    assert lake.faults() == {}


def test_a_commit_that_reaches_the_store_after_its_process_has_ended_comes_to_nothing(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    place.proxy.fault = lambda number, method, path: "late" if (method, path[-6:]) == ("PUT", "2.json") else None
    lake.commit_now("d")
    assert lake.commit_failures == 1
    place.put(lake, 2)
    # Another process, which finds both events in the log, and shreds them together.
    place.proxy.reset()
    after = place.lake("another cache")
    assert seen(after) == [1, 2]
    assert set(place.proxy.release_late()) == {412}
    after.commit_now("d")

    assert after.commit_failures == 0
    assert seen(after) == read_elsewhere(place.url) == [1, 2]


def test_a_commit_that_is_only_late_is_not_made_again(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    place.proxy.fault = lambda number, method, path: "late" if (method, path[-6:]) == ("PUT", "2.json") else None
    lake.commit_now("d")
    place.proxy.reset()
    assert set(place.proxy.release_late()) <= {200, 412}
    place.put(lake, 2)
    lake.commit_now("d")

    assert lake.commit_failures == 1
    assert seen(lake) == read_elsewhere(place.url) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["create", "drop"])
def test_a_dataset_is_made_and_dropped_as_a_whole_whatever_step_fails(place: Place, what: str) -> None:
    place.retries = step = 0
    while True:
        lake = place.lake(f"cache-{step}")
        if what == "drop":
            lake.create("d")
        place.proxy.reset()
        place.proxy.fault = _all_from(step)
        is_done = True
        try:
            lake.create("d") if what == "create" else lake.drop("d")
        except DatasetUnavailable:
            is_done = False
        is_last = len(place.proxy.requests) <= step
        place.proxy.reset()
        after = place.lake(f"cache-{step}-after")
        assert after.unavailable() == []
        assert after.knows("d") == (is_done == (what == "create"))
        if after.knows("d"):
            with pytest.raises(DatasetExists):
                after.create("d")
            after.drop("d")
        else:
            after.create("d")
            after.drop("d")
        with pytest.raises(DatasetNotFound):
            after.check("d")
        assert [name for name in place.names() if name != "_tailrace"] == []
        if is_last:
            break
        step += 1
    assert step >= 3


def _all_from(step: int) -> Callable[[int, str, str], Fault | None]:
    return lambda number, method, path: "cut" if number >= step else None


def test_another_engine_may_append(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    lake.commit_now("d")
    rows = pl.read_delta(f"{place.url}/d", storage_options=_options()).with_columns(n=pl.lit(100, pl.Int64))
    rows.write_delta(f"{place.url}/d", mode="append", storage_options=_options())
    place.put(lake, 2)
    lake.commit_now("d")

    assert lake.commit_failures == 0
    assert seen(lake) == read_elsewhere(place.url) == [1, 2, 100]


def test_a_commit_and_a_merge_ask_the_store_as_little_as_the_bench_of_costs_says(place: Place) -> None:
    lake = place.lake()
    lake.create("d")
    place.put(lake, 1)
    lake.commit_now("d")  # the first one stores the fields, too

    def counted(work: Callable[[], object]) -> dict[str, int]:
        place.proxy.reset()
        work()
        methods = [method for method, _ in place.proxy.requests]
        return {method: methods.count(method) for method in sorted(set(methods))}

    place.put(lake, 2)
    commit = counted(lambda: lake.commit_now("d"))
    place.put(lake, 3)
    assert counted(lambda: lake.commit_now("d")) == commit
    merge = counted(lambda: lake.compact("d"))

    assert commit == COMMIT_REQUESTS
    assert merge == MERGE_REQUESTS

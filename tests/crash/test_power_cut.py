"""The power goes at any moment, and what was acknowledged is there, once, and its idempotency key is known."""

import itertools
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from crash.power import Recorder, cut
from support.append import append_now
from support.events import FIRST_TIME_NS, RECEIVED_NS, batch
from support.rounds import ROUNDS, rounds

from tailrace.events import TailraceError
from tailrace.events.idempotency import BatchKey, IdempotencySettings
from tailrace.ingest import IdempotencyKeys
from tailrace.lake import Lake, LakeSettings, MaintenanceSettings, table
from tailrace.lake.catalog import DatasetInfo
from tailrace.log import FileCalls, LocalLog, LogSettings

pytestmark = [pytest.mark.rounds, pytest.mark.timeout(300 * ROUNDS)]

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9, keep_removed_s=0))
SEGMENT_BYTES = 4096
CUTS = 40
FAULTY_CUTS = 20
FLUSHES_FAILED = 0.1
FIRST_FLUSHES = 30
PARTIAL_WRITES = 0.3
PARTIAL_CUTS = 5
READ_ONLY_CUTS = 10
FIRST_READ_ONLY = (80, 200)  # of the calls that write
READ_ONLY = 60  # of them, before it can be written to again
STARTS = 100


class Store:
    """A lake and its log, as the server has them."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake.open(root / "lake", BY_HAND)
        try:
            self.keys = IdempotencyKeys.open(root / "idempotency.keys", IdempotencySettings(), now_ns=RECEIVED_NS)
            self.keys.begin()
            self.lake.subscription.precede(self.keys.observe, self.keys.flush)
            self.log = self._opened(root / "log")
        except OSError:
            self.lake.close(commit=False)
            raise
        first = self.lake.committed_position() + 1
        for position, each in self.log.read(min(first, self.keys.replay_from)):
            self.keys.observe([(position, each)])
            if position >= first:
                self.lake.accept(position, each)
        self.lake.replayed()

    def _opened(self, directory: Path) -> LocalLog:
        return LocalLog.open(
            directory,
            LogSettings(segment_bytes=SEGMENT_BYTES, min_free_bytes=0),
            subscription=self.lake.subscription,
            # At the time of the call, when they may be recorded.
            calls=FileCalls(
                pwritev=lambda *arguments: os.pwritev(*arguments),
                fdatasync=lambda descriptor: os.fdatasync(descriptor),
                fsync=lambda descriptor: os.fsync(descriptor),
                ftruncate=lambda *arguments: os.ftruncate(*arguments),
            ),
        )

    def close(self) -> None:
        self.lake.close(commit=False)
        self.log.close()


def key_of(number: int) -> BatchKey:
    """Return the idempotency key of an event."""
    return BatchKey(number.to_bytes(16), bytes(16), 1)


class History:
    """What was asked for and acknowledged, each with the step at which it was."""

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.sent: dict[int, str] = {}  # the dataset of each event
        self.acknowledged: dict[int, int] = {}
        self.removing: dict[int, int] = {}
        self.removed: dict[int, int] = {}
        self.created: dict[str, int] = {}
        self.failures = 0

    def create(self, store: Store, name: str) -> None:
        if self._done(lambda: store.lake.create(name)) is not None:
            self.created[name] = self._record.now()

    def send(self, store: Store, dataset: str, **more: object) -> int:
        number = next(self._numbers)
        with self._lock:
            self.sent[number] = dataset
        first_ns = FIRST_TIME_NS + number * 10**9
        events = batch([{"n": number, **more}], dataset, first_ns=first_ns, keys=(key_of(number),))
        if store.lake.has(dataset) and self._done(lambda: append_now(store.log, events)) is not None:
            with self._lock:
                self.acknowledged[number] = self._record.now()
        return number

    def trim(self, store: Store, dataset: str, before: int) -> None:
        """Delete the events of a dataset below a number."""
        with self._lock:
            gone = [number for number, where in self.sent.items() if where == dataset and number < before]
        self._remove(gone, lambda: store.lake.trim(dataset, FIRST_TIME_NS + before * 10**9))

    def drop(self, store: Store, dataset: str) -> None:
        with self._lock:
            gone = [number for number, where in self.sent.items() if where == dataset]
        self._remove(gone, lambda: store.lake.drop(dataset))

    def _remove(self, gone: list[int], remove: Callable[[], object]) -> None:
        self.removing.update(dict.fromkeys(gone, self._record.now()))
        if self._done(lambda: (remove(), True)) is not None:
            self.removed.update(dict.fromkeys(gone, self._record.now()))

    def _done(self, act: Callable[[], object]) -> object:
        try:
            return act()
        except (TailraceError, OSError):
            self.failures += 1
            return None

    def faults(self, store: Store, moment: int) -> list[str]:
        """Return what is not as it must be in a store after a cut at a step."""
        found = numbers_in(store)
        unknown = {number for number in self.sent if store.keys.find(key_of(number).digest, RECEIVED_NS) is None}
        wrong = [f"the key of {number} is forgotten" for number in unknown & found.keys()]
        wrong += [
            f"the key of {number} is lost" for number in unknown if self.acknowledged.get(number, moment + 1) <= moment
        ]
        wrong += [f"{number} is there {times} times" for number, times in found.items() if times != 1]
        for number, at in self.acknowledged.items():
            if at <= moment and number not in found and self.removing.get(number, moment + 1) > moment:
                wrong.append(f"{number} is lost, acknowledged at step {at}")
        wrong += [f"{number} has returned" for number, at in self.removed.items() if at <= moment and number in found]
        return wrong


def work(store: Store, history: History) -> None:
    """Do what a server does in its life, in little."""
    history.create(store, "a")
    history.create(store, "b")
    first = history.send(store, "a")
    history.send(store, "b")
    for turn in range(4):
        history.send(store, "a", **{f"column{turn}": "x" * 300})
        store.lake.commit_now()
        history.send(store, "b", text="y" * 500)
    store.lake.commit_now()
    history._done(lambda: store.lake.compact("a"))
    history.trim(store, "a", first + 2)
    history._done(lambda: store.lake.sweep("a"))
    history.send(store, "a", late=True)
    history.drop(store, "b")
    history.create(store, "b")
    history.send(store, "b")
    store.lake.commit_now()
    history._done(lambda: store.lake.update("a", description="x"))
    history.send(store, "a")


def recorded(root: Path, **faults: Callable[[int], bool]) -> tuple[Recorder, History]:
    """Work, recorded from the first start on, with another that sends all the while; `faults` are a recorder's."""
    record = Recorder(root, **faults)
    history = History(record)
    with record.recording():
        store = Store(root)
        done = threading.Event()

        def send() -> None:
            while not done.is_set():
                if store.lake.has("a"):
                    history.send(store, "a")
                done.wait(0.02)

        sending = threading.Thread(target=send)
        sending.start()
        try:
            work(store, history)
        finally:
            done.set()
            sending.join()
            store.close()
        # As after a kill: what the process before did not flush is there to be seen, and the power goes later.
        store = started(root)
        for _ in range(3):
            history.send(store, "a", later=True)
            history.send(store, "b")
            store.lake.commit_now()
        store.close()
    return record, history


def started(root: Path) -> Store:
    """Return a store, started again until the disk lets it."""
    for _ in range(STARTS):
        try:
            return Store(root)
        except OSError:
            continue
    raise AssertionError(f"no start in {STARTS} attempts")


def failing(seed: int) -> Callable[[int], bool]:
    """Return which flushes fail: some, but none of the first, without which there is no store."""
    chance = random.Random(seed)
    return lambda flush: flush > FIRST_FLUSHES and chance.random() < FLUSHES_FAILED


def numbers_in(store: Store) -> Counter[int]:
    """Return the numbers that queries see."""
    numbers: Counter[int] = Counter()
    for info in store.lake.datasets():
        snapshot = store.lake.snapshot(info.name)
        for file in snapshot.files:
            numbers.update(pl.read_parquet(file.location, hive_partitioning=False)["n"].to_list())
        for part in snapshot.hot:
            numbers.update(part.rows["n"].to_pylist())
    return numbers


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come often, and nothing waits for a disk: what a flush does is in the record."""
    monkeypatch.setattr(table, "CHECKPOINT_VERSIONS", 3)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


def check(record: Recorder, history: History, cuts: int, chance: random.Random, scratch: Path) -> None:
    for number in range(cuts):
        moment = chance.randrange(len(record.steps))
        seed = chance.randrange(2**32)
        root = scratch / f"cut-{number}"
        cut(record, moment, random.Random(seed), root)
        store = Store(root)
        told = f"cut after step {moment} of {len(record.steps)}, {record.steps[moment].call!r}, with seed {seed}"
        assert store.lake.unavailable() == [], told
        expected = {name for name, at in history.created.items() if at <= moment}
        infos: list[DatasetInfo] = store.lake.datasets()
        assert "a" in {info.name for info in infos} or "a" not in expected, told
        assert history.faults(store, moment) == [], told
        store.lake.commit_now()
        assert store.lake.commit_failures == 0, told
        assert history.faults(store, moment) == [], told
        for info in infos:
            # Another engine sees what is committed, which is all of it now.
            assert len(pl.read_delta(str(root / "lake" / info.name))) == len(
                [None for file in store.lake.snapshot(info.name).files for _ in range(file.rows)]
            ), told
        store.close()
        shutil.rmtree(root)


def test_what_was_acknowledged_is_there_once_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    record, history = recorded(tmp_path / "data")

    assert history.failures == 0
    assert len(history.acknowledged) > 10
    assert any("checkpoint" in name for step in record.steps[-1:] for names in step.names.values() for name in names)
    check(record, history, rounds(CUTS), random.Random(20261129), tmp_path)


def test_what_was_acknowledged_is_there_once_after_flushes_that_failed_and_a_power_cut(tmp_path: Path) -> None:
    chance = random.Random(20261130)
    per_trace = 10
    for number in range(rounds(FAULTY_CUTS) // per_trace):
        root = tmp_path / f"data-{number}"
        root.mkdir()
        record, history = recorded(root, fails=failing(chance.randrange(2**32)))
        check(record, history, per_trace, chance, tmp_path)


def test_what_was_acknowledged_is_there_once_after_writes_that_were_made_in_part_and_a_power_cut(
    tmp_path: Path,
) -> None:
    chance = random.Random(20261201)
    (tmp_path / "data").mkdir()
    record, history = recorded(tmp_path / "data", short=lambda number: chance.random() < PARTIAL_WRITES)

    assert history.failures == 0
    assert len(history.acknowledged) > 10
    check(record, history, rounds(PARTIAL_CUTS), random.Random(20261202), tmp_path)


def test_what_was_acknowledged_is_there_once_after_the_file_system_was_read_only(tmp_path: Path) -> None:
    chance = random.Random(20261203)
    per_trace = 5
    for number in range(rounds(READ_ONLY_CUTS) // per_trace):
        root = tmp_path / f"data-{number}"
        root.mkdir()
        first = chance.randint(*FIRST_READ_ONLY)
        record, history = recorded(root, read_only=range(first, first + READ_ONLY).__contains__)
        assert record.refused == READ_ONLY
        assert history.failures > 0
        check(record, history, per_trace, chance, tmp_path)

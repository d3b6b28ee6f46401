"""Several lakes that all believe to have a dataset, in any order of things: nothing lost, nothing twice."""

import contextlib
import logging
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.object_stores import DONE, FAILED, LOST, hurried
from support.rounds import rounds
from support.s3 import Fault, Proxy, S3Server
from support.shared_lakes import BY_HAND, LocalObjects, SharedStores, shared_stores, values, values_of
from support.waiting import wait_until

from tailrace.events import DatasetUnavailable, TailraceError
from tailrace.lake import committing, opening
from tailrace.lake.shared_lake import SharedLake
from tailrace.lake.unowned import UnownedDatasets
from tailrace.log import Positions, delete_released
from tailrace.storage import object_files, object_store

LAKES = 2
STEPS = (
    *("append w1", "append w2") * 4,
    *(
        f"{what} {lake}"
        for lake in range(LAKES)
        for what in ("ask", "ask", "commit", "commit", "give", "drop", "compact")
    ),
    *("ask nobody", "release", "fail", "lose"),
)

logger = logging.getLogger(__name__)


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(committing, "COMMIT_RETRY_S", 0.0)
        patch.setattr(opening, "RETRY_S", 0.01)
        yield


class Race:
    """Some lakes over the same stores, and the steps that may happen to them."""

    def __init__(self, stores: SharedStores, fates: list[str]) -> None:
        self.stores = stores
        self.fates = fates  # of the next objects that are created
        first = stores.lake()
        first.create("d")
        self.lakes = [first, *(stores.lake("d") for _ in range(LAKES - 1))]
        self.unowned = UnownedDatasets(first.catalog, stores.logs, BY_HAND)
        self.numbers = iter(range(10**6))

    @property
    def expected(self) -> list[int]:
        return self.stores.expected.get("d", [])

    def step(self, what: str, which: str) -> None:
        match what, which:
            case "append", writer:
                number = next(self.numbers)
                # New fields now and then only, as the number of the registry alone would stop most conflicts.
                fields: dict[str, Any] = {"f": number if number % 12 else str(number)} if number % 6 == 5 else {}
                self.stores.append(writer, number, **fields)
            case "ask", "nobody":
                found = self.unowned.snapshot("d", timeout_s=20)
                assert values_of(self.lakes[0].catalog, found) == self.expected
            case "release", _:
                self.release()
            case (("fail" | "lose"), _):
                self.fates.append(FAILED if what == "fail" else LOST)
            case _:
                self.change(what, self.lakes[int(which)])

    def change(self, what: str, lake: SharedLake) -> None:
        match what:
            case "take":
                lake.take(["d"])
            case "give" | "drop":
                lake.give(["d"], commit=what == "give")
            case _ if not lake.knows("d"):
                lake.take(["d"])
            case "ask":
                with contextlib.suppress(DatasetUnavailable):  # as its table could not be opened at first
                    assert values(lake) == self.expected
            case "commit" | "compact":
                with contextlib.suppress(TailraceError):  # it could not be opened, or another's files were first
                    lake.commit_now("d") if what == "commit" else lake.compact("d")

    def release(self) -> None:
        """Have the objects deleted that nobody needs, where one lake alone has the dataset, as its lease says."""
        having = [lake for lake in self.lakes if lake.knows("d")]
        if len(having) == 1:
            with contextlib.suppress(DatasetUnavailable):
                values(having[0])
            stored: Positions = having[0].stored_positions(len, [1]).get(1, {})
            for writer in self.stores.writers:
                delete_released(self.stores.logs, writer, stored.get(writer, 0))

    def end(self) -> None:
        """See that each lake, a new one, and nobody's answer has each event once, before and after commits."""
        self.fates.clear()
        for lake in (*self.lakes, self.stores.lake("d")):
            lake.take(["d"])
            wait_until(partial(is_open, lake), 20)
            assert values(lake) == self.expected
        for lake in self.lakes:
            lake.commit_now("d")
            assert values(lake) == self.expected
        self.step("ask", "nobody")
        last = self.stores.lake("d").snapshot("d", timeout_s=20)
        assert last.hot == ()
        assert last.received.events == len(self.expected)
        self.unowned.close()


def is_open(lake: SharedLake) -> bool:
    """Whether a lake has opened the dataset, which is tried again where it failed."""
    return not lake.unavailable() and lake.has("d")


def run_steps(steps: list[str]) -> None:
    fates: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)

        def tables() -> LocalObjects:
            return LocalObjects(path / "tables", lambda: fates.pop(0) if fates else DONE)

        with shared_stores(path, tables) as stores:
            race = Race(stores, fates)
            for step in steps:
                what, _, which = step.partition(" ")
                race.step(what, which)
            race.end()


@settings(max_examples=rounds(5), deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=10, max_size=40))
def test_each_event_is_there_once_in_any_order_of_things(steps: list[str]) -> None:
    run_steps(steps)


def race_in_threads(stores: SharedStores, *, appends: int, commits: int) -> None:
    """Have lakes commit, ask, drop and take at the same time, while writers append."""
    race = Race(stores, [])
    errors: list[Exception] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            logger.exception("a thread of the race has failed")
            errors.append(error)

    def append(writer: str) -> None:
        for _ in range(appends):
            race.step("append", writer)

    def change(lake: SharedLake, seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(commits):
            before = set(race.expected)
            with contextlib.suppress(DatasetUnavailable):
                found = values(lake)
                assert len(found) == len(set(found))
                assert before <= set(found)
            what = chosen.choices(("commit", "give", "drop", "compact"), (8, 1, 1, 2))[0]
            with contextlib.suppress(TailraceError):  # such as that it is being opened
                race.change(what, lake)
            race.change("take", lake)

    calls: list[Callable[[], None]] = [partial(append, writer) for writer in ("w1", "w2")]
    calls += [partial(change, lake, seed) for seed, lake in enumerate(race.lakes)]
    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    race.stores.expected["d"].sort()
    race.end()


def test_each_event_is_there_once_where_several_commit_at_the_same_time(tmp_path: Path) -> None:
    with shared_stores(tmp_path) as stores:
        race_in_threads(stores, appends=30, commits=6)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.store
@pytest.mark.parametrize("every", [0, 50])
def test_so_it_is_in_an_object_store_that_fails_now_and_then(
    tmp_path: Path, proxy: Proxy, s3: S3Server, every: int
) -> None:
    """One request in so many fails, before or after it was done."""
    faults: tuple[Fault, ...] = ("slow down", "cut", "cut after it was done", "error after it was done")

    def fault(number: int, method: str, path: str) -> Fault | None:
        return faults[number // every % len(faults)] if every and number % every == every - 1 else None

    proxy.fault = fault
    url = s3.url()
    with shared_stores(
        tmp_path, lambda: object_files.open_s3(f"{url}/tables"), lambda: object_store.open_s3(f"{url}/logs")
    ) as stores:
        race_in_threads(stores, appends=rounds(30), commits=rounds(6))

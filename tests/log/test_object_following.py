"""Following the logs of all writers in an object store: everything that is stored of the datasets asked for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log.kit import make_batch
from support.append import append_now
from support.object_stores import FaultyStore, hurried
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import Batch, ShuttingDown, StorageUnavailable, TailraceError
from tailrace.log import LogSettings, ObjectLog, ObjectLogFollower, Positions, delete_released, object_cursor
from tailrace.log.object_cursor import objects_of
from tailrace.log.object_format import directory_of
from tailrace.log.object_threads import OBJECTS, WRITERS
from tailrace.storage.object_store import ObjectStoreUnavailable

TIMEOUT_S = 20.0
STEPS = ("append 1 a", "append 2 b", "append 1 b", "append 3 a", "a", "b", "poll")


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


class Received:
    """What was delivered: the positions by writer and dataset, each once, as who takes it skips what it has."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[int]] = {}
        self.lock = threading.Lock()
        self.fails = False
        self.positions: Positions = {}

    def __call__(self, writer: str, batches: list[tuple[int, Batch]]) -> None:
        if self.fails:
            raise OSError("no memory")
        with self.lock:
            for position, batch in batches:
                known = self.found.setdefault((writer, batch.dataset), [])
                if not known or position > known[-1]:
                    known.append(position)

    def read(self, positions: Positions) -> None:
        self.positions = positions

    def follow(self, follower: ObjectLogFollower, *datasets: str, behind: Positions | None = None) -> None:
        follower.follow(dict.fromkeys(datasets, behind or {}), self, lambda: None)


@contextmanager
def following(store: FaultyStore, received: Received, **options: Any) -> Iterator[ObjectLogFollower]:
    follower = ObjectLogFollower(store, received, **{"read": received.read, "poll_s": 60.0, "retry_s": 0.01, **options})
    follower.start()
    yield follower
    follower.close()


def open_log(store: FaultyStore, writer: str) -> ObjectLog:
    return ObjectLog.open(store, LogSettings(group_ms=0, put_timeout_s=5.0), writer=writer)


def test_a_question_finds_what_was_answered_before_it_of_writers_that_are_new_too() -> None:
    store, received = FaultyStore(), Received()
    with following(store, received) as follower:
        received.follow(follower, "a")
        with open_log(store, "w1") as first:
            position = append_now(first, make_batch("a"))
            follower.catch_up(TIMEOUT_S)
            assert received.found == {("w1", "a"): [position]}
            with open_log(store, "w2") as second:
                append_now(second, make_batch("b"))
                other = append_now(second, make_batch("a"))
                follower.catch_up(TIMEOUT_S)
            assert received.found == {("w1", "a"): [position], ("w2", "a"): [other]}
            assert received.positions == {"w1": first.durable_position, "w2": second.durable_position}


def test_polls_that_nobody_asked_for_find_it_too() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received, poll_s=0.001) as follower:
        received.follow(follower, "a")
        position = append_now(log, make_batch("a"))
        wait_until(lambda: received.found == {("w1", "a"): [position]}, TIMEOUT_S)


def test_a_question_is_answered_while_a_writer_puts_objects_as_fast_as_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_cursor, "UNBOUNDED_S", 0.01)
    store, received = FaultyStore(), Received()
    is_endless = threading.Event()

    def read_end(name: str, length: int) -> tuple[bytes, int]:
        end = FaultyStore.read_end(store, name, length)
        if is_endless.is_set():
            append_now(log, make_batch("a"))
        return end

    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        store.read_end = read_end  # type: ignore[method-assign]
        is_endless.set()
        try:
            position = append_now(log, make_batch("a"))
            follower.catch_up(TIMEOUT_S)
            assert position in received.found["w1", "a"]
            assert received.positions["w1"] >= position
            received.follow(follower, "b")
        finally:
            is_endless.clear()


def test_questions_share_polls() -> None:
    store, received = FaultyStore(), Received()
    entered, go_on = threading.Semaphore(0), threading.Event()

    def listed() -> list[str]:
        entered.release()
        go_on.wait(TIMEOUT_S)
        return FaultyStore.directories(store)

    with following(store, received) as follower:
        follower.catch_up(TIMEOUT_S)
        store.directories = listed  # type: ignore[method-assign]
        asking = [threading.Thread(target=follower.catch_up, args=(TIMEOUT_S,)) for _ in range(5)]
        asking[0].start()
        assert entered.acquire(timeout=TIMEOUT_S)
        for each in asking[1:]:
            each.start()
        wait_until(lambda: follower._state._waiters.__len__() == 5, TIMEOUT_S)  # type: ignore[attr-defined]
        go_on.set()
        for each in asking:
            each.join()
    looks = 1
    while entered.acquire(blocking=False):
        looks += 1
    assert looks == 2


def test_what_is_behind_is_read_of_the_datasets_taken_and_no_other() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received) as follower:
        taken = [append_now(log, make_batch(name)) for name in ("a", "b", "a", "c", "a")]
        received.follow(follower, "a", behind={"w1": taken[0]})
        assert received.found[("w1", "a")][-2:] == [taken[2], taken[4]]
        assert set(received.found) == {("w1", "a")}
        received.follow(follower, "b")
        assert received.found[("w1", "b")] == [taken[1]]
        follower.unfollow(["a"])
        last = append_now(log, make_batch("a"))
        follower.catch_up(TIMEOUT_S)
        assert last not in received.found[("w1", "a")]


def ask_in_vain(follower: ObjectLogFollower) -> None:
    """Ask once it is known that polls fail, which the first question has found out or not in its time."""
    with suppress(TailraceError):
        follower.catch_up(0.05)
    wait_until(lambda: bool(follower.fault))
    follower.catch_up(0.05)


def test_a_store_that_fails_is_asked_again_and_a_question_says_so_in_time() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        store_of_writer, position = FaultyStore(store.memory), append_now(log, make_batch("a"))
        store.is_dead = True
        with pytest.raises(StorageUnavailable, match="the log cannot be read: the object store fails"):
            ask_in_vain(follower)
        assert follower.fault
        with pytest.raises(ObjectStoreUnavailable):
            received.follow(follower, "b")
        store.is_dead = False
        follower.catch_up(TIMEOUT_S)
        assert (received.found[("w1", "a")], follower.fault) == ([position], "")
        assert store_of_writer.listing("writer-w1")


def test_what_cannot_be_delivered_is_delivered_again() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        positions = [append_now(log, make_batch("a"))]
        received.fails = True
        with pytest.raises(StorageUnavailable, match="no memory"):
            ask_in_vain(follower)
        positions.append(append_now(log, make_batch("a")))
        received.fails = False
        follower.catch_up(TIMEOUT_S)
        assert received.found[("w1", "a")] == positions


def test_objects_that_are_lost_are_told_and_those_that_are_released_are_not() -> None:
    released = [0]
    store, received = FaultyStore(), Received()

    def is_released(writer: str, position: int) -> bool:
        return position <= released[0]

    options = {"is_released": is_released, "list_every_s": 0.0}
    with open_log(store, "w1") as log, following(store, received, **options) as follower:
        received.follow(follower, "a")
        append_now(log, make_batch("a"))
        follower.catch_up(TIMEOUT_S)
        for is_lost in (False, True):
            gone = append_now(log, make_batch("a"))
            store.delete([objects_of(store, "w1")[-1].name])
            there = append_now(log, make_batch("a"))
            released[0] = 0 if is_lost else gone
            follower.catch_up(TIMEOUT_S)
            assert received.found[("w1", "a")][-1] == there
            assert [each.missing_positions for each in follower.damage] == [1] * is_lost


def test_who_follows_again_after_objects_were_deleted_finds_what_comes_at_once() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        append_now(log, make_batch("a"))
        follower.catch_up(TIMEOUT_S)
        follower.unfollow(["a"])
        stored = [append_now(log, make_batch("a")) for _ in range(3)][-1]
        assert delete_released(store, "w1", stored)
        received.follow(follower, "a", behind={"w1": stored})
        last = append_now(log, make_batch("a"))
        follower.catch_up(TIMEOUT_S)
        assert received.found[("w1", "a")][-1] == last
        assert not follower.damage


def test_after_an_object_whose_end_is_damaged_the_next_is_found() -> None:
    store, received = FaultyStore(), Received()
    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        first = append_now(log, make_batch("a"))
        damaged = objects_of(store, "w1")[-1].name
        content = store.read(damaged)
        store.overwrite(damaged, content[:-1])
        second = append_now(log, make_batch("a"))
        follower.catch_up(TIMEOUT_S)
        assert received.found[("w1", "a")] == [first, second]


@pytest.mark.parametrize("unbounded_s", [0.0, 1e9])  # read several at a time, or one after the other
def test_what_is_closed_reads_no_further_in_the_middle_of_much(
    monkeypatch: pytest.MonkeyPatch, unbounded_s: float
) -> None:
    monkeypatch.setattr(object_cursor, "UNBOUNDED_S", unbounded_s)
    store, received = FaultyStore(), Received()
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def read_end(name: str, length: int) -> tuple[bytes, int]:
        begun.release()
        goes_on.wait(TIMEOUT_S)
        return FaultyStore.read_end(store, name, length)

    with open_log(store, "w1") as log, following(store, received) as follower:
        received.follow(follower, "a")
        for _ in range(3 * OBJECTS):
            append_now(log, make_batch("a"))
        store.read_end = read_end  # type: ignore[method-assign]
        with pytest.raises(TailraceError):
            follower.catch_up(0.01)
        assert begun.acquire(timeout=TIMEOUT_S)
        closing = threading.Thread(target=follower.close)
        closing.start()
        wait_until(lambda: follower._closing, TIMEOUT_S)
        goes_on.set()
        closing.join()
        assert len(received.found.get(("w1", "a"), [])) <= 1
        read = 1
        while begun.acquire(blocking=False):
            read += 1
        assert read <= OBJECTS + 1
        assert not [each for each in threading.enumerate() if each.name.startswith(("tailrace-fetch", "tailrace-read"))]


def test_what_is_closed_reads_no_further_behind_what_is_to_be_followed() -> None:
    store, received = FaultyStore(), Received()
    begun, goes_on = threading.Semaphore(0), threading.Event()
    errors: list[Exception] = []

    def read_end(name: str, length: int) -> tuple[bytes, int]:
        begun.release()
        goes_on.wait(TIMEOUT_S)
        return FaultyStore.read_end(store, name, length)

    def follow() -> None:
        try:
            received.follow(follower, "b")
        except ShuttingDown as error:
            errors.append(error)

    with open_log(store, "w1") as log, following(store, received) as follower:
        follower.catch_up(TIMEOUT_S)
        for _ in range(3 * OBJECTS):
            append_now(log, make_batch("a"))
        store.read_end = read_end  # type: ignore[method-assign]
        behind = threading.Thread(target=follow)
        behind.start()
        for _ in range(OBJECTS):
            assert begun.acquire(timeout=TIMEOUT_S)
        closing = threading.Thread(target=follower.close)
        closing.start()
        wait_until(lambda: follower._closing, TIMEOUT_S)
        goes_on.set()
        behind.join()
        closing.join()
        assert errors
        later = 0
        while begun.acquire(blocking=False):
            later += 1
        assert later <= 1


def test_what_is_followed_goes_on_while_much_is_read_behind_other_datasets() -> None:
    store, received = FaultyStore(), Received()
    is_full, goes_on = threading.Semaphore(0), threading.Event()

    def hold(writer: str, batches: list[tuple[int, Batch]]) -> None:
        is_full.release()
        goes_on.wait(TIMEOUT_S)

    logs = [open_log(store, f"w{number}") for number in range(WRITERS + 1)]
    for log in logs:
        append_now(log, make_batch("b"))
    with following(store, received) as follower:
        received.follow(follower, "a")
        behind = threading.Thread(target=follower.follow, args=({"b": {}}, hold, lambda: None))
        behind.start()
        for _ in range(WRITERS):
            assert is_full.acquire(timeout=TIMEOUT_S)
        positions = [append_now(log, make_batch("a")) for log in logs]
        follower.catch_up(TIMEOUT_S / 2)
        assert [received.found[f"w{n}", "a"] for n in range(len(logs))] == [[position] for position in positions]
        goes_on.set()
        behind.join()
    for log in logs:
        log.close()


def test_the_log_of_a_writer_that_is_gone_is_looked_at_seldom_and_whenever_somebody_asks() -> None:
    store, received = FaultyStore(), Received()
    asked: list[str] = []

    def read_end(name: str, length: int) -> tuple[bytes, int]:
        asked.append(name.partition("/")[0])
        return FaultyStore.read_end(store, name, length)

    store.read_end = read_end  # type: ignore[method-assign]
    options = {"poll_s": 0.001, "is_gone": lambda writer: writer == "w1"}
    with open_log(store, "w1") as gone, open_log(store, "w2") as live:
        with following(store, received, **options) as follower:
            received.follow(follower, "a")
            follower.catch_up(TIMEOUT_S)
            asked.clear()
            position = append_now(gone, make_batch("a"))
            wait_until(lambda: asked.count("writer-w2") > 3, TIMEOUT_S)
            other = append_now(live, make_batch("a"))
            wait_until(lambda: received.found.get(("w2", "a")) == [other], TIMEOUT_S)
            assert "writer-w1" not in asked
            follower.catch_up(TIMEOUT_S)
            assert received.found["w1", "a"] == [position]
        with following(store, received, **options, gone_every_s=0.0) as follower:
            received.follow(follower, "a")
            position = append_now(gone, make_batch("a"))
            wait_until(lambda: received.found["w1", "a"][-1] == position, TIMEOUT_S)


def test_a_directory_without_an_object_says_nothing_of_its_writers_positions() -> None:
    store, received = FaultyStore(), Received()
    store.create(f"{directory_of('w1')}/note.txt", b"")
    with following(store, received) as follower:
        follower.catch_up(TIMEOUT_S)
        assert received.positions == {"w1": 0}
        received.follow(follower, "a")
        with open_log(store, "w1") as log:
            position = append_now(log, make_batch("a"))
            follower.catch_up(TIMEOUT_S)
        assert received.found == {("w1", "a"): [position]}


def test_a_question_is_refused_once_it_is_closed() -> None:
    store, received = FaultyStore(), Received()
    with following(store, received) as follower:
        follower.catch_up(TIMEOUT_S)
    with pytest.raises(ShuttingDown):
        follower.catch_up(TIMEOUT_S)


@settings(max_examples=rounds(20), deadline=None)
@given(
    st.lists(st.sampled_from(["append 1 a", "append 2 b", "append 1 b", "append 3 a", "a", "b", "poll"]), max_size=20)
)
def test_each_batch_of_what_is_followed_is_delivered(steps: list[str]) -> None:
    store, received = FaultyStore(), Received()
    logs: dict[str, ObjectLog] = {}
    expected: dict[tuple[str, str], list[int]] = {}
    followed: set[str] = set()
    with following(store, received, poll_s=0.002) as follower:
        for step in steps:
            match step.split():
                case ["append", writer, dataset]:
                    if writer not in logs:
                        logs[writer] = open_log(store, writer)
                    position = append_now(logs[writer], make_batch(dataset))
                    expected.setdefault((writer, dataset), []).append(position)
                case ["poll"]:
                    follower.catch_up(TIMEOUT_S)
                case [dataset] if dataset not in followed:
                    followed.add(dataset)
                    received.follow(follower, dataset)
        follower.catch_up(TIMEOUT_S)
    for log in logs.values():
        log.close()
    assert received.found == {key: value for key, value in expected.items() if key[1] in followed}

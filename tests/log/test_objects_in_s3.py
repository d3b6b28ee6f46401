"""The log on a real S3 server, with errors, slow answers, throttling and cut connections before it."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest
from log.kit import make_batch
from support.append import append_now
from support.object_stores import hurried
from support.rounds import rounds
from support.s3 import Fault, Proxy, S3Server

from tailrace.events import Batch, TailraceError
from tailrace.log import (
    DishonestStore,
    LogSettings,
    ObjectLog,
    ReaderThreads,
    Subscription,
    frames,
    read_behind,
    require_conditional_put,
)
from tailrace.log.damage import FoundDamage
from tailrace.log.object_format import directory_of, encode_object, object_name
from tailrace.log.object_reading import batches_in, fetch_datasets
from tailrace.log.object_threads import OBJECTS
from tailrace.storage.object_store import ObjectStore, StoredObject, open_s3

FAULTS: tuple[Fault, ...] = ("slow down", "cut", "cut after it was done", "error after it was done", "late")
SHARE = 0.4  # of requests that fail, and as many of the others that are slow
SLOW_S = 0.02
THREADS = 4
SETTINGS = LogSettings(group_ms=5, put_timeout_s=5)


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


def test_a_log_on_s3_is_written_read_released_and_reopened(s3: S3Server, proxy: Proxy) -> None:
    store = open_s3(s3.url())
    require_conditional_put(store, 5.0)
    delivered: list[int] = []
    subscription = Subscription(lambda group: delivered.extend(position for position, _ in group))
    with ObjectLog.open(store, SETTINGS, subscription=subscription) as log:
        given_out = [append_now(log, make_batch("ab"[n % 2], size=300_000, n=n)) for n in range(4)]
        log.release(given_out[1])
    assert delivered == given_out
    with ObjectLog.open(store, SETTINGS) as log:
        assert [(position, batch.labels["n"]) for position, batch in log.read(0)] == [
            (given_out[2], 2),
            (given_out[3], 3),
        ]
        assert not log.damage
        newest = store.listing("writer")[-2].name
        found = batches_in(fetch_datasets(store, newest, {"b"}), FoundDamage())
        assert [batch.dataset for _, batch in found] == ["b"]
        assert list(batches_in(fetch_datasets(store, newest, {"a"}), FoundDamage())) == []


def test_a_store_that_puts_over_objects_is_refused(s3: S3Server, proxy: Proxy) -> None:
    proxy.fault = lambda *_: "unconditional"
    with pytest.raises(DishonestStore, match="If-None-Match"):
        require_conditional_put(open_s3(s3.url()), 5.0)


def test_nothing_answered_is_lost_or_doubled_while_the_store_fails(s3: S3Server, proxy: Proxy) -> None:
    _append_while_it_fails(proxy, s3.url(), appends=rounds(12), put_timeout_s=5.0)


@pytest.mark.slow
@pytest.mark.parametrize("put_timeout_s", [0.02, 5.0])  # most puts that fail are given up, or none
def test_nothing_answered_is_lost_or_doubled_while_the_store_fails_for_long(
    s3: S3Server, proxy: Proxy, put_timeout_s: float
) -> None:
    _append_while_it_fails(proxy, s3.url(), appends=75, put_timeout_s=put_timeout_s)


def _append_while_it_fails(proxy: Proxy, url: str, *, appends: int, put_timeout_s: float) -> None:
    """Append from several threads, and open the log again thrice; every third request or so fails in some way."""
    chance = random.Random(appends)
    acknowledged: dict[int, tuple[int, int]] = {}  # by number: the life, and the position in it
    delivered: list[int] = []
    refused: set[int] = set()

    def deliver(group: list[tuple[int, Batch]]) -> None:
        delivered.extend(batch.labels["n"] for _, batch in group)

    def fault(*_: object) -> Fault | None:
        if chance.random() < SHARE:
            return chance.choice(FAULTS)
        if chance.random() < SHARE:
            threading.Event().wait(SLOW_S)
        return None

    for life in range(3):
        proxy.reset()
        log = ObjectLog.open(
            open_s3(url), LogSettings(group_ms=5, put_timeout_s=put_timeout_s), subscription=Subscription(deliver)
        )
        proxy.fault = fault

        def work(thread: int, log: ObjectLog = log, life: int = life) -> None:
            for turn in range(appends):
                number = (life * THREADS + thread) * appends + turn
                try:
                    acknowledged[number] = life, append_now(log, make_batch(f"set-{thread}", n=number))
                except TailraceError:
                    refused.add(number)
                    threading.Event().wait(0.005)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        proxy.reset()
        proxy.release_late()
        if life < 2:
            log.close()
    while log.fault:  # what is not settled when a process ends may be there
        threading.Event().wait(0.01)
    log.close()

    with ObjectLog.open(open_s3(url), SETTINGS) as log:
        found = [(position, batch.labels["n"]) for position, batch in log.read(0)]
        assert not log.damage
    numbers = [number for _, number in found]
    assert len(numbers) == len(set(numbers))
    assert set(acknowledged) <= set(numbers)
    assert {position for _, position in acknowledged.values()} <= {position for position, _ in found}
    assert sorted(delivered) == sorted(acknowledged)
    if put_timeout_s >= 5:
        assert not refused
    else:
        last_life = {number for number in refused if number >= 2 * THREADS * appends}
        assert refused
        assert not last_life & set(numbers)


class Counted(ObjectStore):
    """A store that counts its requests, and how many are under way when one begins."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store._store, store.url)
        self.lists = 0
        self.under_way: list[int] = []  # with each read, of how many reads it is one
        self._now = 0
        self._lock = threading.Lock()

    def listing(self, directory: str, after: str | None = None) -> list[StoredObject]:
        self.lists += 1
        return super().listing(directory, after)

    def read_end(self, name: str, length: int) -> tuple[bytes, int]:
        with self._lock:
            self._now += 1
            self.under_way.append(self._now)
        try:
            return super().read_end(name, length)
        finally:
            with self._lock:
                self._now -= 1


@pytest.mark.slow
def test_many_objects_behind_are_read_several_at_the_same_time(s3: S3Server, proxy: Proxy) -> None:
    direct = open_s3(s3.url())
    payload, objects = frames.prepare(make_batch("a")), 500
    with ThreadPoolExecutor(8) as putting:
        for position in range(1, objects + 1):
            content = encode_object([("a", payload)], first_position=position, last_position=position, session="0" * 32)
            putting.submit(direct.create, object_name(directory_of("w1"), position), content)
    proxy.after = lambda *_: time.sleep(0.03)
    store, threads = Counted(open_s3(direct.url)), ReaderThreads()
    found: list[int] = []
    read_behind(store, {"a": {}}, lambda _, group: found.extend(each for each, _ in group), threads, 5.0)
    threads.close()
    assert found == list(range(1, objects + 1))
    assert (len(store.under_way), store.lists) == (objects, 2)  # one each, and whether there is more
    assert median(store.under_way) >= OBJECTS / 2

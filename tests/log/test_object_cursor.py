"""A cursor delivers what one would who reads one object after the other, however many it fetches at the same time."""

import random
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log.kit import make_batch
from msgspec import Struct
from support.object_stores import FaultyStore, hurried
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import Batch, ShuttingDown
from tailrace.log import ReaderThreads, frames, object_cursor
from tailrace.log.damage import FoundDamage
from tailrace.log.object_cursor import LogReading, ObjectCursor, objects_after, objects_of
from tailrace.log.object_format import END_BYTES, LogObject, directory_of, encode_object, object_name
from tailrace.log.object_reading import WHOLE_BYTES, batches_in, fetch_datasets, missing
from tailrace.log.segments import FILE_HEADER, Damage
from tailrace.storage.object_store import ObjectStoreUnavailable

WRITER = "w1"
SESSION = "0" * 32
TIMEOUT_S = 20.0
LOST, DELETED = "lost", "deleted"  # before it is listed, and since then
FEW_BYTES = END_BYTES + WHOLE_BYTES  # which one object of the largest size exceeds


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture(scope="module")
def several_threads() -> Iterator[Sequence[ReaderThreads]]:
    several = ReaderThreads(objects=1), ReaderThreads(objects=4), ReaderThreads(objects=8, fetched_bytes=FEW_BYTES)
    yield several
    for threads in several:
        threads.close()


class Planned(Struct, frozen=True):
    """An object that a writer puts, and what becomes of it."""

    datasets: str  # of a letter each; without any, it uses positions up
    size_bytes: int  # of the events of each
    fate: str


class Store(FaultyStore):
    """A store of which every so many requests fail, and to which a writer puts objects while it is read."""

    def __init__(self, chance: random.Random, fails: float) -> None:
        super().__init__()
        self.objects: list[tuple[str, bytes]] = []  # still to be put
        self._chance = chance
        self._fails = fails
        self._turn = threading.Lock()

    def _arrive(self) -> None:
        super()._arrive()
        with self._turn:
            if self.objects and self._chance.random() < 0.5:
                self.grow()
            if self._chance.random() < self._fails:
                raise ObjectStoreUnavailable("the object store fails", retry_after_s=1)

    def grow(self) -> None:
        FaultyStore.overwrite(self, *self.objects.pop(0))

    def _put(self, put: Callable[[str, bytes], None], name: str, content: bytes) -> None:
        put(name, content)

    def whole(self) -> FaultyStore:
        return FaultyStore(self.memory)


def encoded(plan: Sequence[Planned], *, without: str = LOST) -> list[tuple[str, bytes]]:
    """Return the objects that are not lost, by name, and without those of another fate."""
    due, found = 1, []
    for each in plan:
        batches = [make_batch(dataset, size=each.size_bytes) for dataset in sorted(each.datasets)]
        last = due + max(len(batches), 1) - 1
        payloads = [(batch.dataset, frames.prepare(batch)) for batch in batches]
        content = bytearray(encode_object(payloads, first_position=due, last_position=last, session=SESSION))
        if each.fate == "end damaged":
            content[-1] ^= 1
        if each.fate == "frame damaged":
            content[FILE_HEADER.size + frames.HEADER_BYTES] ^= 1
        if each.fate not in (LOST, without):
            found.append((object_name(directory_of(WRITER), due), bytes(content)))
        due = last + 1
    return found


class Delivered:
    """The positions of each dataset, each once, in order; fails now and then."""

    def __init__(self, chance: random.Random, fails: float = 0) -> None:
        self.found: dict[str, list[int]] = {}
        self._chance = chance
        self._fails = fails

    def __call__(self, writer: str, batches: list[tuple[int, Batch]]) -> None:
        for position, batch in batches:
            known = self.found.setdefault(batch.dataset, [])
            assert position in known or not known or position > known[-1]
            if position not in known:
                known.append(position)
            if self._chance.random() < self._fails:
                raise OSError("no memory")


def read_one_at_a_time(
    store: FaultyStore, wanted: Collection[str], released: int
) -> tuple[dict[str, list[int]], list[Damage], int | None]:
    """Return what is delivered, what is damaged, and what is due then where a sound object tells it."""
    objects = {each.first_position: each for each in objects_of(store, WRITER)}
    due, follows_batches = min(objects, default=1), False
    delivered, found = Delivered(random.Random(0)), FoundDamage()
    while due <= max(objects, default=0):
        if due not in objects:
            following = min(each for each in objects if each > due)
            if wanted and follows_batches and following - 1 > released:
                found.add([missing(due, objects[following])])
            due = following
        fetched = fetch_datasets(store, objects[due].name, wanted)
        delivered(WRITER, list(batches_in(fetched, found)))
        if fetched.end is not None:
            due, follows_batches = fetched.end.last_position + 1, bool(fetched.end.index.datasets)
        elif due == max(objects):
            return delivered.found, found.ranges, None
        else:
            due, follows_batches = min(each for each in objects if each > due), False
    return delivered.found, found.ranges, due if objects else None


PLANNED = st.builds(
    Planned,
    st.sampled_from(["", "a", "b", "ab", "abc"]),
    st.sampled_from([10, 10, 10, END_BYTES, WHOLE_BYTES]),
    st.sampled_from(["there"] * 6 + [LOST, DELETED, "end damaged", "frame damaged"]),
)


@settings(max_examples=rounds(40), deadline=None)
@given(
    plan=st.lists(PLANNED, min_size=1, max_size=25) | st.lists(PLANNED, min_size=15, max_size=25),
    there=st.sampled_from([0, 8, 15, 25]),
    wanted=st.sampled_from([{"a"}, {"a", "b"}, {"other"}, set()]),
    released=st.sampled_from([0, 0, 8, 20]),
    unbounded_s=st.sampled_from([0.0, 1e9]),
    number=st.integers(0, 2),
    seed=st.integers(0, 100),
    fails=st.sampled_from([0, 0.3]),
)
def test_a_cursor_delivers_and_tells_what_one_object_after_the_other_does(
    several_threads: Sequence[ReaderThreads],
    plan: list[Planned],
    there: int,
    wanted: set[str],
    released: int,
    unbounded_s: float,
    number: int,
    seed: int,
    fails: float,
) -> None:
    chance = random.Random(seed)
    store = Store(chance, fails)
    store.objects = encoded(plan[:there])
    while store.objects:
        store.grow()
    listed = objects_after(store.whole(), WRITER, 0)
    remaining = encoded(plan, without=DELETED)
    store.whole().delete([each.name for each in listed if each.name not in dict(remaining)])
    store.objects = [each for each in remaining if each[0] not in {each.name for each in listed}]
    threads, found, delivered = several_threads[number], FoundDamage(), Delivered(chance, fails / 3)
    cursor = ObjectCursor(
        store,
        WRITER,
        listed,
        0,
        threads,
        found,
        list_every_s=0,
        is_released=lambda writer, position: position <= released,
    )
    reading = LogReading(wanted, delivered, TIMEOUT_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_cursor, "UNBOUNDED_S", unbounded_s)
        is_last = False
        while not is_last:
            is_last = not store.objects  # what is stored by now is found by what begins now
            try:
                cursor.advance(reading)
            except OSError:
                is_last = False

    positions, damage, due = read_one_at_a_time(store.whole(), wanted, released)
    assert delivered.found == positions
    assert sorted(map(str, found.ranges)) == sorted(map(str, damage))
    assert due in (None, cursor.due)
    wait_until(lambda: (threads._readings, threads._bytes) == (0, 0), TIMEOUT_S)


def test_after_a_damaged_newest_object_what_comes_next_is_found() -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    plan = [Planned("a", 10, "there"), Planned("a", 10, "end damaged"), Planned("a", 10, "there")]
    *objects, later = encoded(plan)
    for each in objects:
        store.create(*each)
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(store, WRITER, objects_after(store, WRITER, 0), 0, threads, found, list_every_s=0)
    reading = LogReading({"a"}, delivered, TIMEOUT_S)
    for _ in range(2):
        cursor.advance(reading)
        assert (delivered.found, cursor.position) == ({"a": [1, 2]}, 1)
    store.create(*later)
    cursor.advance(reading)
    assert (delivered.found, cursor.position) == ({"a": [1, 2, 3]}, 3)
    threads.close()


def test_what_is_behind_one_that_is_lost_is_not_waited_for_once_a_listing_has_told_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    first, *later = encoded([Planned("a", 10, fate) for fate in ("there", "there", LOST, "there")])
    store.create(*first)
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(store, WRITER, [], 0, threads, found, list_every_s=1e9)
    reading = LogReading({"a"}, delivered, TIMEOUT_S)
    for _ in range(2):
        cursor.advance(reading)
    for each in later:
        store.create(*each)
    monkeypatch.setattr(object_cursor, "UNBOUNDED_S", 0)
    cursor.advance(reading)
    assert delivered.found == {"a": [1, 2, 4]}
    assert [each.missing_positions for each in found.ranges] == [1]
    threads.close()


@pytest.mark.parametrize("released", [2, 3])
def test_what_is_deleted_since_it_was_listed_is_told_unless_it_was_released(released: int) -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    for each in encoded([Planned("a", 10, "there")] * 4):
        store.create(*each)
    listed = objects_after(store, WRITER, 0)
    store.delete([listed[2].name])
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(
        store, WRITER, listed, 0, threads, found, is_released=lambda writer, position: position <= released
    )
    cursor.advance(LogReading({"a"}, delivered, TIMEOUT_S))
    assert delivered.found == {"a": [1, 2, 4]}
    assert [each.missing_positions for each in found.ranges] == [1] * (released < 3)
    threads.close()


def test_what_is_fetched_ahead_is_not_fetched_again_behind_one_that_is_lost() -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    for each in encoded([Planned("a", 10, fate) for fate in ("there", LOST) * 20]):
        store.create(*each)
    listed = objects_after(store, WRITER, 0)
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(store, WRITER, listed, 0, threads, found, list_every_s=0)
    store.requests = 0
    cursor.advance(LogReading({"a"}, delivered, TIMEOUT_S))
    assert delivered.found == {"a": list(range(1, 40, 2))}
    assert len(found.ranges) == 19
    assert store.requests == 20 + 19 + 2  # each that is there or lost, and whether there are more
    threads.close()


def test_an_object_that_a_listing_misses_is_delivered_in_its_turn() -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    for each in encoded([Planned("a", 10, "there")] * 4):
        store.create(*each)
    first, _, *others = objects_after(store, WRITER, 0)
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(store, WRITER, [first, *others], 0, threads, found)
    cursor.advance(LogReading({"a"}, delivered, TIMEOUT_S))
    assert (delivered.found, found.ranges) == ({"a": [1, 2, 3, 4]}, [])
    threads.close()


def test_an_object_that_changes_while_it_is_fetched_is_fetched_again() -> None:
    store, delivered = FaultyStore(), Delivered(random.Random(0))
    store.create(*encoded([Planned("ab", WHOLE_BYTES, "there")])[0])
    answers = iter([[b""]])
    fetch = store.read_ranges
    store.read_ranges = lambda *arguments: next(answers, None) or fetch(*arguments)  # type: ignore[method-assign]
    threads, found = ReaderThreads(), FoundDamage()
    cursor = ObjectCursor(store, WRITER, objects_after(store, WRITER, 0), 0, threads, found)
    cursor.advance(LogReading({"a"}, delivered, TIMEOUT_S))
    assert (delivered.found, found.ranges, next(answers, None)) == ({"a": [1]}, [], None)
    threads.close()


def test_a_small_object_that_is_listed_takes_one_request() -> None:
    store = FaultyStore()
    for each in encoded([Planned("ab", WHOLE_BYTES // 3, "there"), Planned("ab", WHOLE_BYTES, "there")]):
        store.create(*each)
    objects = objects_of(store, WRITER)
    for stored, requests in zip(objects, (1, 2), strict=True):
        before = store.requests
        fetch_datasets(store, stored.name, {"b"}, size_bytes=stored.size_bytes)
        assert store.requests - before == requests


# Threads


class Fetching:
    """Fetches objects, which takes until it is let go."""

    def __init__(self) -> None:
        self.begun: list[LogObject] = []
        self.goes_on = threading.Semaphore(0)

    def __call__(self, stored: LogObject) -> str:
        self.begun.append(stored)
        assert self.goes_on.acquire(timeout=TIMEOUT_S)
        return stored.name


def sized(*sizes: int) -> list[LogObject]:
    return [LogObject(str(number), number, size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "at_once"), [([1] * 6, 3), ([40, 50, 20, 1], 2), ([500, 1, 1], 1), ([100, 500, 1], 1)]
)
def test_so_many_objects_and_bytes_are_fetched_before_their_turn(sizes: list[int], at_once: int) -> None:
    threads, fetching, objects = ReaderThreads(objects=3, fetched_bytes=100), Fetching(), sized(*sizes)
    with closing(threads.fetched(objects, fetching)) as fetched:
        next(fetched)
        wait_until(lambda: len(fetching.begun) == at_once, TIMEOUT_S)
        assert threads._bytes == sum(sizes[:at_once])
    for _ in objects:
        fetching.goes_on.release()
    wait_until(lambda: threads._bytes == 0, TIMEOUT_S)
    assert len(fetching.begun) == at_once
    with closing(threads.fetched(objects, fetching)) as fetched:
        for _ in objects:
            fetching.goes_on.release()
        assert [(stored, future.result()) for stored, future in fetched] == [(each, each.name) for each in objects]
    threads.close()


def test_two_who_read_share_what_may_be_fetched() -> None:
    threads, one, other = ReaderThreads(objects=8, fetched_bytes=100), Fetching(), Fetching()
    for each in (one, other):
        for _ in range(100):
            each.goes_on.release()
    with closing(threads.fetched(sized(*[10] * 20), one)) as first:
        next(first)
        assert threads._bytes == 80
        with closing(threads.fetched(sized(*[10] * 20), other)) as second:
            next(second)
            assert threads._bytes == 100
            for _ in range(6):
                next(first)
            assert threads._bytes == 60  # four of the first, as half of eight
            next(second)
            assert threads._bytes == 80
    wait_until(lambda: threads._bytes == 0, TIMEOUT_S)
    threads.close()


def test_what_is_not_begun_when_who_reads_gives_up_is_not_fetched() -> None:
    threads, one, other = ReaderThreads(objects=4), Fetching(), Fetching()
    with closing(threads.fetched(sized(*[1] * 8), one)) as first:
        next(first)
        wait_until(lambda: len(one.begun) == 4, TIMEOUT_S)
        with closing(threads.fetched(sized(*[1] * 8), other)) as second:
            next(second)
    for _ in range(4):
        one.goes_on.release()
    threads.close()
    assert (len(one.begun), other.begun, threads._bytes) == (4, [], 0)


def test_who_reads_on_once_the_threads_are_ended_is_told() -> None:
    threads, fetching = ReaderThreads(objects=1), Fetching()
    fetching.goes_on.release()
    with closing(threads.fetched(sized(1, 1), fetching)) as fetched:
        next(fetched)
        threads.close()
        with pytest.raises(ShuttingDown):
            next(fetched)
    assert threads._bytes == 0

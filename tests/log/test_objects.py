"""The log in an object store: in groups, bounded, answered once they are stored; replayed, released, fenced."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import obstore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log.kit import Answers, batches, eventually, fields_of, make_batch
from support.append import append_now
from support.object_stores import DONE, FAILED, LATE, LOST, FaultyStore, hurried
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import Batch, Overloaded, ShuttingDown, TailraceError
from tailrace.log import (
    DishonestStore,
    Log,
    LogSettings,
    LogVersionError,
    LogWriteError,
    ObjectLog,
    Subscription,
    WriterFenced,
    object_names,
    objects,
    require_conditional_put,
    segments,
)
from tailrace.log.damage import FoundDamage
from tailrace.log.object_reading import batches_in, fetch_datasets
from tailrace.storage.object_store import ObjectStoreUnavailable


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


def open_log(store: FaultyStore, **options: Any) -> ObjectLog:
    names = ("subscription", "writer", "observe_put")
    others = {name: options.pop(name) for name in names if name in options}
    return ObjectLog.open(store, LogSettings(**{"group_ms": 0, "put_timeout_s": 5.0, **options}), **others)


def positions(log: Log, from_position: int = 0) -> list[int]:
    return [position for position, _ in log.read(from_position)]


def object_names_of(store: FaultyStore) -> list[str]:
    return [each.name for each in store.listing("writer")]


class Fates:
    """What becomes of the puts to come: each as told, and all done afterwards."""

    def __init__(self, *fates: str) -> None:
        self.coming = list(fates)

    def __call__(self) -> str:
        return self.coming.pop(0) if self.coming else DONE


@settings(max_examples=rounds(10), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(batches(), max_size=6))
def test_what_was_appended_is_read_back_in_order_after_reopening(written: list[Batch]) -> None:
    store = FaultyStore()
    with open_log(store) as log:
        given_out = [append_now(log, batch) for batch in written]

    with open_log(store) as log:
        found = list(log.read(0))
        assert not log.damage

    assert [position for position, _ in found] == given_out == sorted(set(given_out))
    assert [fields_of(batch) for _, batch in found] == [fields_of(batch) for batch in written]


def test_an_object_log_is_a_log() -> None:
    with open_log(FaultyStore()) as log:
        any_log: Log = log
        assert (any_log.fault, list(any_log.damage), list(any_log.read(0))) == ("", [], [])
        assert any_log.size_bytes > 0


def test_what_waits_together_is_one_object_in_which_each_dataset_stands_together() -> None:
    store, answers = FaultyStore(), Answers()
    delivered: list[tuple[int, str, Any]] = []

    def deliver(group: list[tuple[int, Batch]]) -> None:
        assert not answers.given
        delivered.extend((position, batch.dataset, batch.labels["n"]) for position, batch in group)

    with open_log(store, group_ms=60_000, subscription=Subscription(deliver)) as log:
        puts = len(store.puts)
        for number, dataset in enumerate(("b", "a", "b", "a")):
            log.append(make_batch(dataset, n=number), answers)

    assert len(store.puts) == puts + 1
    assert delivered == [(2, "a", 1), (3, "a", 3), (4, "b", 0), (5, "b", 2)]
    assert positions(log) == [2, 3, 4, 5]
    assert {position for position, _ in answers.given} == {2, 3, 4, 5}


def test_as_many_bytes_as_a_group_has_are_put_without_waiting_for_others() -> None:
    answers = Answers()
    with open_log(FaultyStore(), group_ms=60_000, group_bytes=64 * 1024) as log:
        log.append(make_batch(size=64 * 1024), answers)
        answers.wait(1)


def test_a_batch_waits_no_longer_than_it_may() -> None:
    with open_log(FaultyStore(), group_ms=1) as log:
        assert append_now(log, make_batch()) == log.durable_position


def test_each_answer_has_the_position_of_its_own_batch() -> None:
    store = FaultyStore()
    answered: dict[int, int | None] = {}
    with open_log(store, group_ms=20) as log:
        for number in range(50):
            name = "xyz"[number % 3]

            def done(position: int | None, error: TailraceError | None, number: int = number) -> None:
                answered[number] = position

            log.append(make_batch(name, n=number), done)
        wait_until(lambda: len(answered) == 50)
        found = {batch.labels["n"]: position for position, batch in log.read(0)}
    assert found == answered


@pytest.mark.parametrize("fates", [[LOST], [FAILED], [LATE], [FAILED, LOST], [LATE, FAILED, LOST]])
def test_a_put_without_an_answer_is_settled_and_stored_once(fates: list[str]) -> None:
    store = FaultyStore()
    with open_log(store) as log:
        store.fate = Fates(*fates)
        position = append_now(log, make_batch(n=1))
        store.arrive_late()
        assert append_now(log, make_batch(n=2)) == position + 1
        assert positions(log) == [position, position + 1]
        assert log.fault == ""


@pytest.mark.parametrize("fate", [LOST, FAILED, LATE])
def test_what_was_refused_is_not_there_whatever_became_of_its_put(fate: str) -> None:
    store = FaultyStore()
    with open_log(store, put_timeout_s=1e-6) as log:
        store.fate = Fates(fate, FAILED, FAILED)
        with pytest.raises(LogWriteError, match="the log cannot be written: the object store fails"):
            append_now(log, make_batch(n=1))
        assert eventually(lambda: log.fault, lambda fault: not fault) == ""
        store.arrive_late()
        position = append_now(log, make_batch(n=2))

    with open_log(store) as log:
        assert [(found, batch.labels["n"]) for found, batch in log.read(0)] == [(position, 2)]
        assert not log.damage


def test_appends_are_refused_at_once_while_the_store_does_not_answer() -> None:
    store = FaultyStore()
    with open_log(store, put_timeout_s=1e-6) as log:
        store.is_dead = True
        with pytest.raises(LogWriteError):
            append_now(log, make_batch())
        assert "the object store fails" in log.fault
        with pytest.raises(LogWriteError) as refused:
            log.append(make_batch(), lambda *_: None)
        assert refused.value.retryable
        assert refused.value.retry_after_s
        store.is_dead = False
        assert eventually(lambda: append_now(log, make_batch(n=3)), lambda found: isinstance(found, int))
        assert [batch.labels for _, batch in log.read(0)] == [{"n": 3}]


def test_more_waiting_than_allowed_is_refused() -> None:
    answers = Answers()
    with open_log(FaultyStore(), group_ms=60_000, max_queued_bytes=1 << 20) as log:
        log.append(make_batch(size=900_000), answers)
        with pytest.raises(Overloaded, match="log_max_queued_bytes"):
            log.append(make_batch(size=900_000), answers)
        assert log.queued_bytes > 900_000
    assert len(answers.given) == 1  # closing does not wait for others


def test_closing_puts_and_answers_what_waits() -> None:
    answers = Answers()
    store = FaultyStore()
    log = open_log(store, group_ms=60_000)
    for number in range(10):
        log.append(make_batch(n=number), answers)
    log.close()
    log.close()
    assert [error for _, error in answers.given] == [None] * 10
    with pytest.raises(ShuttingDown):
        log.append(make_batch(), answers)
    assert len(positions(log)) == 10


def test_closing_ends_while_the_store_does_not_answer() -> None:
    store, answers = FaultyStore(), Answers()
    log = open_log(store, group_ms=60_000, group_bytes=64 * 1024, put_timeout_s=1e-6)
    store.is_dead = True
    for _ in range(4):
        log.append(make_batch(size=30_000), answers)
    log.release(10)
    log.close()
    assert [type(error) for _, error in answers.given] == [LogWriteError] * 4


def test_what_the_subscriber_raised_for_is_given_again_before_what_follows() -> None:
    delivered: list[int] = []
    failures = iter([True, True, False])

    def subscriber(written: list[tuple[int, Batch]]) -> None:
        if next(failures, False):
            raise MemoryError
        delivered.extend(position for position, _ in written)

    with open_log(FaultyStore(), subscription=Subscription(subscriber)) as log:
        first = [append_now(log, make_batch()) for _ in range(2)]
        wait_until(lambda: delivered == first)
        wait_until(lambda: log.queued_bytes == 0)


def test_released_objects_are_deleted_but_for_the_newest_and_for_new_claims() -> None:
    store = FaultyStore()
    with open_log(store) as log:
        claim = object_names_of(store)
        given_out = [append_now(log, make_batch()) for _ in range(5)]
        log.release(given_out[2])
        wait_until(lambda: len(object_names_of(store)) == 3)
        assert positions(log) == given_out[3:]
        log.release(given_out[4])
        wait_until(lambda: len(object_names_of(store)) == 2)
        assert object_names_of(store)[:1] == claim
        assert positions(log) == given_out[4:]
        size = log.size_bytes
    with open_log(store) as log:
        assert log.size_bytes == size + obstore.head(store.memory, claim[0])["size"]
        assert append_now(log, make_batch()) > given_out[4]


def test_released_objects_are_deleted_once_the_store_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_names, "DELETE_RETRY_S", 0.01)
    store = FaultyStore()
    with open_log(store) as log:
        given_out = [append_now(log, make_batch()) for _ in range(3)]
        store.is_dead = True
        log.release(given_out[1])
        requests = store.requests
        wait_until(lambda: store.requests > requests + 1)
        store.is_dead = False
        wait_until(lambda: len(object_names_of(store)) == 2)


def test_old_claims_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FaultyStore()
    for _ in range(5):
        open_log(store).close()
    monkeypatch.setattr(object_names, "CLAIM_KEPT", timedelta(0))
    with open_log(store) as log:
        log.release(append_now(log, make_batch()))
        wait_until(lambda: len(object_names_of(store)) == 1)


def test_positions_up_to_the_floor_are_never_used() -> None:
    store = FaultyStore()
    with open_log(store, subscription=Subscription(lambda group: None, floor=41)) as log:
        assert append_now(log, make_batch()) == 42
    with open_log(store, subscription=Subscription(lambda group: None, floor=7)) as log:
        assert append_now(log, make_batch()) == 44  # 43 is the claim
        assert positions(log) == [42, 44]
        assert not log.damage


def test_of_two_processes_that_write_as_the_same_writer_the_older_is_refused() -> None:
    older_store = FaultyStore()
    newer_store = FaultyStore(older_store.memory)
    with open_log(older_store) as older:
        first = append_now(older, make_batch(n=1))
        with open_log(newer_store) as newer:
            second = append_now(newer, make_batch(n=2))
            with pytest.raises(WriterFenced, match="another process writes to the log as the only writer"):
                append_now(older, make_batch(n=3))
            with pytest.raises(WriterFenced):
                older.append(make_batch(n=4), lambda *_: None)
            assert "must be stopped" in older.fault
            assert append_now(newer, make_batch(n=5)) == second + 1
            assert [batch.labels["n"] for _, batch in newer.read(0)] == [1, 2, 5]
            assert first < second


def test_a_process_that_was_paused_for_long_finds_that_another_took_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_names, "CLAIM_KEPT", timedelta(0))
    monkeypatch.setattr(object_names, "PROOF_S", -1.0)
    older_store = FaultyStore()
    with open_log(older_store) as older:
        append_now(older, make_batch(n=1))
        for _ in range(2):  # the first claim is deleted by the second
            with open_log(FaultyStore(older_store.memory)) as newer:
                newer.release(append_now(newer, make_batch(n=2)))
        with pytest.raises(WriterFenced):
            append_now(older, make_batch(n=3))


def test_processes_that_claim_at_once_have_one_winner_that_goes_on() -> None:
    memory = FaultyStore().memory
    logs: list[ObjectLog] = []
    threads = [threading.Thread(target=lambda: logs.append(open_log(FaultyStore(memory)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = []
    for log in logs:
        try:
            outcomes.append(append_now(log, make_batch()))
        except WriterFenced:
            continue
    assert len(logs) == 4
    assert len(outcomes) == 1
    for log in logs:
        log.close()


def test_writers_have_positions_of_their_own() -> None:
    store = FaultyStore()
    with open_log(store, writer="a") as a, open_log(store, writer="b") as b, open_log(store) as only:
        assert [append_now(log, make_batch(n=n)) for n, log in enumerate((a, b, only))] == [2, 2, 2]
        assert [[batch.labels["n"] for _, batch in log.read(0)] for log in (a, b, only)] == [[0], [1], [2]]


def test_a_log_whose_store_does_not_answer_is_not_opened() -> None:
    store = FaultyStore()
    store.is_dead = True
    with pytest.raises(ObjectStoreUnavailable, match="the object store fails: dead"):
        open_log(store, put_timeout_s=0.01)


# Reading and damage


@settings(max_examples=rounds(10), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(batches(), min_size=1, max_size=6), st.data())
def test_the_frames_of_some_datasets_are_read_from_an_object_by_its_index(
    written: list[Batch], data: st.DataObject
) -> None:
    store, answers = FaultyStore(), Answers()
    with open_log(store, group_ms=60_000, group_bytes=1 << 30) as log:
        for batch in written:
            log.append(batch, answers)
    name = object_names_of(store)[-1]
    wanted = set(data.draw(st.lists(st.sampled_from([*(batch.dataset for batch in written), "other"]))))

    found = [
        (position, fields_of(batch))
        for position, batch in batches_in(fetch_datasets(store, name, wanted), FoundDamage())
    ]

    everything = [(position, fields_of(batch)) for position, batch in log.read(0)]
    assert sorted(found, key=lambda each: each[0]) == [each for each in everything if each[1][0] in wanted]


def test_of_a_large_object_only_the_ranges_asked_for_are_fetched() -> None:
    store = FaultyStore()
    fetched: list[int] = []
    with open_log(store, group_ms=60_000) as log:
        for dataset in "abc":
            log.append(make_batch(dataset, size=2_000_000), lambda *_: None)
    fetch = store.read_ranges

    def counted(name: str, ranges: Any) -> list[bytes]:
        fetched.extend(length for _, length in ranges)
        return fetch(name, ranges)

    store.read_ranges = counted  # type: ignore[method-assign]
    found = list(batches_in(fetch_datasets(store, object_names_of(store)[-1], {"b"}), FoundDamage()))
    assert [batch.dataset for _, batch in found] == ["b"]
    assert [2_000_000 < length < 2_001_000 for length in fetched] == [True]


def test_an_index_of_many_datasets_is_read_whole() -> None:
    store = FaultyStore()
    with open_log(store, group_ms=60_000) as log:
        for number in range(3000):
            log.append(make_batch(f"a-dataset-with-a-long-name-{number}"), lambda *_: None)
    names = object_names_of(store)
    found = list(batches_in(fetch_datasets(store, names[-1], {"a-dataset-with-a-long-name-1234"}), FoundDamage()))
    assert [batch.dataset for _, batch in found] == ["a-dataset-with-a-long-name-1234"]
    with open_log(store) as log:
        assert append_now(log, make_batch()) == 3003


@settings(max_examples=rounds(40))
@given(st.data())
def test_damage_is_reported_and_costs_what_it_hit_alone(data: st.DataObject) -> None:
    store = FaultyStore()
    with open_log(store) as log:
        given_out = [append_now(log, make_batch(f"set-{n}", n=n)) for n in range(3)]
    name = object_names_of(store)[2]
    content = bytearray(store.read(name))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    obstore.put(store.memory, name, bytes(content))

    with open_log(store) as log:
        found = positions(log)
        assert log.damage
        assert {each.segment for each in log.damage} == {name.rpartition("/")[2]}
        assert set(given_out) - set(found) <= {given_out[1]}
        after = append_now(log, make_batch())
        assert after > given_out[2]
        list(batches_in(fetch_datasets(store, name, {"set-1"}), FoundDamage()))


def test_a_damaged_newest_object_does_not_have_its_positions_used_again() -> None:
    store = FaultyStore()
    with open_log(store) as log:
        last = [append_now(log, make_batch()) for _ in range(3)][-1]
    name = object_names_of(store)[-1]
    obstore.put(store.memory, name, store.read(name)[:50])
    with open_log(store) as log:
        assert append_now(log, make_batch()) > last + 4000


def test_a_missing_object_is_reported_with_its_positions() -> None:
    store = FaultyStore()
    with open_log(store) as log:
        given_out = [append_now(log, make_batch()) for _ in range(3)]
    store.delete([object_names_of(store)[2]])
    with open_log(store) as log:
        assert positions(log) == [given_out[0], given_out[2]]
        assert [(each.missing_positions, each.segment) for each in log.damage] == [(1, f"{given_out[2]:020d}.seg")]


def test_an_object_lost_while_the_log_is_open_is_reported_and_a_released_one_is_not() -> None:
    store = FaultyStore()
    with open_log(store) as log:
        given_out = [append_now(log, make_batch()) for _ in range(4)]
        reading = log.read(0)
        log.release(given_out[0])
        wait_until(lambda: len(object_names_of(store)) == 4)
        store.delete([object_names_of(store)[2]])
        assert [position for position, _ in reading] == [given_out[1], given_out[3]]
        assert [each.reason for each in log.damage] == ["the object was deleted or lost"]


def test_an_object_of_a_format_to_come_is_refused() -> None:
    store = FaultyStore()
    with open_log(store) as log:
        append_now(log, make_batch())
        name = object_names_of(store)[-1]
        obstore.put(store.memory, name, segments.file_header(2, 99) + store.read(name)[segments.FILE_HEADER.size :])
        with pytest.raises(LogVersionError, match="format 99"):
            positions(log)


# Conditional puts


def test_a_store_that_refuses_to_put_over_an_object_is_accepted_and_left_as_it_was() -> None:
    store = FaultyStore(fate=Fates(FAILED, LOST))
    require_conditional_put(store, 5.0)
    assert store.listing("probe") == []


def test_a_store_that_puts_over_an_object_is_refused() -> None:
    store = FaultyStore()
    store.create = store.overwrite  # type: ignore[method-assign]
    with pytest.raises(DishonestStore, match="If-None-Match"):
        require_conditional_put(store, 5.0)


def test_a_store_that_refuses_and_puts_over_an_object_all_the_same_is_refused() -> None:
    store = FaultyStore()
    create = store.create

    def both(name: str, content: bytes) -> None:
        try:
            create(name, content)
        finally:
            store.overwrite(name, content)

    store.create = both  # type: ignore[method-assign]
    with pytest.raises(DishonestStore):
        require_conditional_put(store, 5.0)


def test_what_waits_while_the_store_does_not_answer_is_refused_after_one_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects, "SETTLE_EVERY_S", 60.0)
    store, answers = FaultyStore(), Answers()
    with open_log(store, group_ms=60_000, group_bytes=64 * 1024, put_timeout_s=1e-6) as log:
        store.is_dead = True
        requests = store.requests
        for _ in range(40):
            with contextlib.suppress(LogWriteError):
                log.append(make_batch(size=30_000), answers)
        log.close()
        assert {type(error) for _, error in answers.given} == {LogWriteError}
        assert store.requests <= requests + 2


# What nobody expects


def test_an_error_of_another_kind_is_answered_and_does_not_stop_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FaultyStore()
    create, calls = store.create, iter(range(100))

    def unexpected(name: str, content: bytes) -> None:
        if next(calls) < 3:
            raise MemoryError
        create(name, content)

    with open_log(store) as log:
        monkeypatch.setattr(store, "create", unexpected)
        with pytest.raises(LogWriteError, match=r"^the log cannot be written$"):
            append_now(log, make_batch(n=1))
        position = eventually(lambda: append_now(log, make_batch(n=2)), lambda found: isinstance(found, int))
        assert [(found, batch.labels["n"]) for found, batch in log.read(0)] == [(position, 2)]


def test_a_group_that_cannot_be_encoded_is_answered_and_does_not_stop_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_log(FaultyStore()) as log:
        with monkeypatch.context() as patch:
            patch.setattr(objects, "encode_object", lambda *_, **__: 1 // 0)
            with pytest.raises(LogWriteError):
                append_now(log, make_batch(n=1))
        assert append_now(log, make_batch(n=2)) == 2

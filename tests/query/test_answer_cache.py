"""Answers that are given again: to the same asker, for the same query, over the same events."""

from typing import Any

import pyarrow as pa
import pytest
from query.kit import T0_NS, Desk, ask_apl, put_at

from tailrace.lake.snapshot import HotTable
from tailrace.query.answer_cache import AnswerCache
from tailrace.query.sources import HotRows

COUNT = "logs | summarize n = count() by k"


@pytest.fixture
def filled(desk: Desk) -> Desk:
    put_at(desk, *({"at": n, "k": "ab"[n % 2]} for n in range(10)))
    desk.lake.commit_now()
    return desk


def is_cached(desk: Desk, apl: str = COUNT, asker: str = "one", **more: Any) -> bool:
    return ask_apl(desk, apl, answers_of=asker, **more).status.is_cached


def test_the_same_query_over_the_same_events_is_answered_again(filled: Desk) -> None:
    first = ask_apl(filled, COUNT, answers_of="one")
    second = ask_apl(filled, COUNT, answers_of="one")

    assert (first.status.is_cached, second.status.is_cached) == (False, True)
    assert second.tables[0].rows.equals(first.tables[0].rows)
    assert second.status.rows_matched == first.status.rows_matched == 10
    assert filled.engine.answers.hits > 0


def test_blanks_and_comments_make_no_other_query(filled: Desk) -> None:
    is_cached(filled)

    assert is_cached(filled, "logs\n  | summarize n = count() by k // by letter")


def test_nobody_is_given_the_answer_of_another(filled: Desk) -> None:
    is_cached(filled)

    assert not is_cached(filled, asker="two")
    assert not is_cached(filled, asker="")


def test_new_events_are_in_the_answer(filled: Desk) -> None:
    is_cached(filled)
    put_at(filled, {"at": 20, "k": "c"})

    assert not is_cached(filled)
    assert ask_apl(filled, COUNT, answers_of="one").status.rows_matched == 11


def test_hot_rows_that_stay_the_same_are_no_new_events(filled: Desk) -> None:
    put_at(filled, {"at": 20, "k": "c"})
    is_cached(filled)

    assert is_cached(filled)


def test_a_commit_or_a_deletion_is_another_set_of_files(filled: Desk) -> None:
    put_at(filled, {"at": 20, "k": "c"})
    is_cached(filled)
    filled.lake.commit_now()
    assert not is_cached(filled)
    assert is_cached(filled)

    filled.lake.trim("logs", T0_NS + 5_000_000)

    assert not is_cached(filled)
    assert ask_apl(filled, COUNT, answers_of="one").status.rows_matched == 6


@pytest.mark.parametrize(
    "apl",
    ["logs | where rand() < 0.5 | summarize n = count() by k", "logs | extend t = now() | take 1"],
)
def test_what_differs_each_time_is_computed_each_time(filled: Desk, apl: str) -> None:
    assert [is_cached(filled, apl) for _ in range(3)] == [False] * 3


def test_a_range_that_is_told_is_the_same_range(filled: Desk) -> None:
    times: dict[str, Any] = {"start_ns": T0_NS + 2_500_000, "end_ns": T0_NS + 7_000_000}

    assert [is_cached(filled, **times) for _ in range(2)] == [False, True]
    assert not is_cached(filled, **{**times, "end_ns": T0_NS + 7_500_001})


def test_a_page_of_events_is_answered_again(filled: Desk) -> None:
    assert [is_cached(filled, "logs | take 3") for _ in range(2)] == [False, True]


def test_what_a_query_brings_with_it_is_part_of_it(filled: Desk) -> None:
    def query(letter: str) -> str:
        return f"datatable (k: string) ['{letter}'] | join kind=inner (logs | summarize n = count() by k) on k"

    assert [is_cached(filled, query(letter)) for letter in "aabab"] == [False, True, False, False, False]


def test_without_memory_nothing_is_kept(open_desk: Any) -> None:
    desk = open_desk(answer_cache_bytes=0)
    put_at(desk, {"at": 1, "k": "a"})

    assert [is_cached(desk) for _ in range(2)] == [False, False]


# The cache itself


def table(rows: int) -> pa.Table:
    return pa.table({"a": pa.array(range(rows), pa.int64())})


def test_the_oldest_answers_make_way() -> None:
    cache = AnswerCache(100_000)
    for n in range(20):
        cache.keep("me", f"q{n}", {}, table(1000))
        cache.find("me", "q0", {})

    assert cache.bytes <= 100_000
    assert cache.find("me", "q0", {}) is not None
    assert cache.find("me", "q1", {}) is None


def test_a_large_answer_is_not_kept() -> None:
    cache = AnswerCache(100_000)
    cache.keep("me", "q", {}, table(2000))

    assert cache.find("me", "q", {}) is None
    assert cache.bytes == 0


def test_hot_rows_that_are_gone_are_no_longer_the_same() -> None:
    cache = AnswerCache(100_000)
    rows = pa.table({"_time": pa.array([1, 2], pa.timestamp("us", "UTC"))})
    hot = HotRows((HotTable.of(rows),), rows.schema)
    cache.keep("me", "q", {"hot_0": hot}, table(1))
    assert cache.find("me", "q", {"hot_0": hot}) is not None

    other = HotRows((HotTable.of(rows),), rows.schema)

    assert cache.find("me", "q", {"hot_0": other}) is None

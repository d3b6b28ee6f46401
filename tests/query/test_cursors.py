"""Cursors: texts that sort like events, and pages without a gap or a repeat."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query.kit import T0_NS, Desk, ask_apl, column_of, put_at
from support.rounds import rounds

from tailrace.events import BadRequest, Batch
from tailrace.query import QueryLimits
from tailrace.query.apl.errors import AplError
from tailrace.query.apl_result import AplResult
from tailrace.query.cursors import Cursor, RowCursors, decode, encode

PARTS = rounds(2)  # of 100,000 events each
INT64 = st.integers(-(2**63), 2**63 - 1)
CURSORS = st.builds(Cursor, INT64, INT64, st.integers(0, 2**64 - 1), st.integers(1, 2**31 - 1), st.booleans())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, QueryLimits())
    yield made
    made.close()


def pages(desk: Desk, apl: str, size: int, *, descending: bool = True) -> Iterator[AplResult]:
    """All pages, until one comes back empty."""
    cursor = ""
    while True:
        result = ask_apl(desk, apl, default_limit=size, cursor=cursor)
        if not result.tables[0].rows.num_rows:
            assert result.status.min_cursor == result.status.max_cursor == cursor
            return
        yield result
        cursor = result.status.min_cursor if descending else result.status.max_cursor


@given(CURSORS)
def test_a_cursor_is_read_back_as_it_was(cursor: Cursor) -> None:
    assert decode(encode(cursor)) == cursor


@given(CURSORS, CURSORS)
def test_texts_sort_like_places(one: Cursor, other: Cursor) -> None:
    def key(cursor: Cursor) -> tuple[int, int, int]:
        return (cursor.time_us, cursor.system_time_us, cursor.hash)

    if key(one) != key(other):
        assert (encode(one) < encode(other)) == (key(one) < key(other))


@pytest.mark.parametrize("text", ["x", "0d8q6stroluyo-07c3957e7400015c-0000c875", "a" * 500])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="cursor"):
        decode(text)


def test_equal_rows_are_numbered() -> None:
    def chunked(*values: int) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(values, pa.int64())])

    after = Cursor(9, 9, 9, 2, True)
    cursors = RowCursors(
        chunked(9, 9, 8, 8, 7), chunked(9, 9, 8, 8, 7), chunked(9, 9, 8, 8, 7), descending=True, after=after, skipped=2
    )

    assert [decode(text).number for text in cursors.texts()] == [3, 4, 1, 2, 1]
    assert cursors.texts() == sorted(cursors.texts(), reverse=True)


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize(
    ("apl", "descending"),
    [
        ("logs", True),
        ("logs | order by _time asc", False),
        ("logs | where n % 2 == 0 | project n", True),
        ("logs | extend twice = n * 2 | order by _time desc | project-away same", True),
        ("logs | where n > 5 | take 7", True),
    ],
)
def test_pages_have_every_event_once(desk: Desk, apl: str, descending: bool, size: int) -> None:
    # Of several events a time, as those have that come without one.
    put_at(desk, *[{"at": n // 5 * 1000, "n": n, "same": 1} for n in range(20)])
    desk.lake.commit_now()
    put_at(desk, *[{"at": n // 5 * 1000, "n": n, "other": "x"} for n in range(20, 40)])

    found = [n for page in pages(desk, apl, size, descending=descending) for n in column_of(page, "n")]

    wanted = [n for n in range(40) if ("% 2" not in apl or n % 2 == 0) and ("> 5" not in apl or n > 5)]
    assert sorted(found) == wanted
    assert [n // 5 for n in found] == sorted((n // 5 for n in found), reverse=descending)


def test_equal_events_are_paged_each_once(desk: Desk) -> None:
    put_at(desk, *[{"at": 0, "n": 1}] * 23)

    assert [page.tables[0].rows.num_rows for page in pages(desk, "logs", 5)] == [5, 5, 5, 5, 3]


def test_committing_between_pages_changes_nothing(desk: Desk) -> None:
    events = [{"at": n // 7, "n": n, "x": {"y": [n]}, f"rare{n}": n} for n in range(60)]
    put_at(desk, *events[:30])
    put_at(desk, *events[30:])
    found: list[int] = []
    for number, page in enumerate(pages(desk, "logs", 7)):
        found += column_of(page, "n")
        if number == 2:
            desk.lake.commit_now()

    assert sorted(found) == list(range(60))
    assert len(found) == 60


@settings(max_examples=rounds(15))
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40), st.integers(1, 9))
def test_any_times_and_contents_are_paged_without_gap_or_repeat(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, int]], size: int
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"), QueryLimits())
    try:
        put_at(desk, *[{"at": time, "kind": kind} for time, kind in events])
        found = [kind for page in pages(desk, "logs", size) for kind in column_of(page, "kind")]
        assert sorted(found) == sorted(kind for _, kind in events)
    finally:
        desk.close()


@pytest.mark.costly
def test_events_that_arrive_meanwhile_make_no_gap_and_no_repeat(desk: Desk) -> None:
    put_at(desk, *[{"at": n // 3, "n": n} for n in range(300)])
    stop = threading.Event()

    def write() -> None:
        for n in range(300, 1100, 2):
            if stop.is_set():
                return
            # Newer ones, ones of the same times as are being paged, and a field that nobody has seen.
            put_at(desk, {"at": n, "n": n}, {"at": n % 100, "n": n + 1, f"new{n % 50}": n})
            if n % 100 == 0:
                desk.lake.commit_now("logs")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [n for page in pages(desk, "logs | where n < 300", 11) for n in column_of(page, "n")]
        every = [n for page in pages(desk, "logs", 50) for n in column_of(page, "n")]
    finally:
        stop.set()
        writer.join()

    assert len(found) == 300
    assert sorted(found) == list(range(300))
    assert len(every) == len(set(every))
    assert set(range(300)) <= set(every)


def test_a_cursor_may_be_of_any_row_and_include_it(desk: Desk) -> None:
    put_at(desk, *[{"at": n, "n": n} for n in range(10)])
    result = ask_apl(desk, "logs", include_cursor_field=True)
    names = [field.name for field in result.tables[0].fields]
    cursors = column_of(result, "_cursor")

    assert names[-1] == "_cursor"
    assert (result.status.max_cursor, result.status.min_cursor) == (cursors[0], cursors[-1])
    assert column_of(ask_apl(desk, "logs", cursor=cursors[3]), "n") == [5, 4, 3, 2, 1, 0]
    assert column_of(ask_apl(desk, "logs", cursor=cursors[3], include_cursor=True), "n") == [6, 5, 4, 3, 2, 1, 0]
    ascending = "logs | order by _time asc"
    assert column_of(ask_apl(desk, ascending, cursor=cursors[3]), "n") == [7, 8, 9]
    assert column_of(ask_apl(desk, ascending, cursor=cursors[3], include_cursor=True), "n") == [6, 7, 8, 9]


def test_the_figures_of_a_page_are_of_what_was_read_for_it(desk: Desk) -> None:
    put_at(desk, *[{"at": n, "n": n} for n in range(10)])
    first = ask_apl(desk, "logs | where n > 2", default_limit=2)
    second = ask_apl(desk, "logs | where n > 2", default_limit=2, cursor=first.status.min_cursor)

    assert (first.status.rows_examined, first.status.rows_matched) == (10, 7)
    assert (second.status.rows_examined, second.status.rows_matched) == (9, 5)


def test_only_events_of_equal_times_have_cursors_of_what_they_hold(desk: Desk) -> None:
    put_at(desk, {"at": 0, "n": 0}, {"at": 1, "n": 1}, {"at": 2, "n": 2}, {"at": 3, "n": 3}, {"at": 3, "n": 4})

    def are_alone(apl: str) -> list[bool]:
        result = ask_apl(desk, apl, include_cursor_field=True)
        return [decode(cursor).is_alone for cursor in column_of(result, "_cursor")]

    assert are_alone("logs | order by _time asc | take 2") == [True, True]
    assert are_alone("logs | order by _time asc | take 4") == [False] * 4
    assert are_alone("logs | take 1") == [False]


@pytest.mark.parametrize("is_committed", [False, True])
def test_an_event_that_comes_with_the_times_of_a_cursor_is_at_its_place(desk: Desk, is_committed: bool) -> None:
    put_at(desk, *[{"at": n, "n": n} for n in range(6)])
    cursor = column_of(ask_apl(desk, "logs | take 3", include_cursor_field=True), "_cursor")[-1]
    assert decode(cursor).is_alone
    at_us, system_us = decode(cursor).time_us, decode(cursor).system_time_us
    if is_committed:
        desk.lake.commit_now()
    batch = Batch("logs", b'{"n":30}\n{"n":31}\n', np.array([at_us] * 2, np.int64) * 1000, 2, system_us * 1000)
    desk.lake.accept(2, batch)

    def numbers(apl: str, **options: bool) -> list[int]:
        return column_of(ask_apl(desk, apl, cursor=cursor, **options), "n")

    assert numbers("logs") == [2, 1, 0]
    assert numbers("logs | order by _time asc") == [4, 5]
    assert sorted(numbers("logs", include_cursor=True)[:3]) == [3, 30, 31]
    assert sorted(numbers("logs | order by _time asc", include_cursor=True)[:3]) == [3, 30, 31]


@pytest.mark.parametrize(
    "apl",
    [
        "logs | summarize count()",
        "logs | order by n desc",
        "logs | take 5 | where n > 1",
        "logs | sample 0.5",
        "print 1",
    ],
)
def test_a_cursor_where_there_is_no_order_of_time_is_refused(desk: Desk, apl: str) -> None:
    put_at(desk, *[{"at": n, "n": n} for n in range(10)])
    cursor = ask_apl(desk, "logs").status.min_cursor

    with pytest.raises(AplError, match="in the order of _time"):
        ask_apl(desk, apl, cursor=cursor)
    assert ask_apl(desk, apl).status.min_cursor == ""


@pytest.mark.rounds
def test_very_many_events_are_paged_each_once(desk: Desk) -> None:
    desk.lake.create("logs")
    for part in range(PARTS):
        numbers = range(part * 100_000, (part + 1) * 100_000)
        lines = b"".join(b'{"n":%d}\n' % n for n in numbers)
        times = np.array(numbers, np.int64) // 7 * 1_000 + T0_NS  # seven events a time
        desk.lake.accept(part + 1, Batch("logs", lines, times, len(times), T0_NS))
        if part == PARTS // 2:
            desk.lake.commit_now()
    found = [np.asarray(column_of(page, "n")) for page in pages(desk, "logs | project n", 50_000)]

    assert [len(page) for page in found] == [50_000] * (2 * PARTS)
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(PARTS * 100_000))

"""What a query reads: files by their times, columns by name, and nothing where the table's metadata knows."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query.kit import T0_NS, Desk, ask_apl, column_of, put_at
from support.rounds import rounds

from tailrace.events import DatasetUnavailable
from tailrace.query import QueryLimits
from tailrace.query.apl_request import AplRequest
from tailrace.query.apl_result import AplResult
from tailrace.query.engines.duckdb import DuckDBSession
from tailrace.query.run import sql_of
from tailrace.query.statistics import LOWER_BOUND

MS = 1_000_000
FILES = 8
PER_FILE = 100  # events, one a millisecond


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, QueryLimits())
    yield made
    made.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Yield a dataset `logs` of several files, one after the other in time; event n has `n`, and `rare` in the first
    file.
    """
    made = Desk(tmp_path_factory.mktemp("files"), QueryLimits())
    for file in range(FILES):
        numbers = range(file * PER_FILE, (file + 1) * PER_FILE)
        put_at(made, *[{"at": n, "n": n, "even": n % 2 == 0, **({"rare": "x"} if n < 3 else {})} for n in numbers])
        made.lake.commit_now()
    yield made
    made.close()


def rows(result: AplResult) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in result.tables[0].rows.to_pylist()]


def blocks(result: AplResult) -> tuple[int, int, int]:
    status = result.status
    return status.blocks_examined, status.blocks_matched, status.blocks_skipped


def sql(desk: Desk, apl: str, **more: Any) -> str:
    snapshot = desk.lake.snapshot("logs")
    return sql_of(AplRequest(apl=apl, **more), lambda name: snapshot)


def test_a_narrow_range_of_the_request_reads_only_its_files(files: Desk) -> None:
    result = ask_apl(files, "logs | project n", start_ns=T0_NS + 310 * MS, end_ns=T0_NS + 320 * MS)

    assert sorted(column_of(result, "n")) == list(range(310, 320))
    assert blocks(result) == (FILES, 1, FILES - 1)
    assert (result.status.rows_examined, result.status.rows_matched) == (10, 10)


def test_a_range_over_two_files_reads_both(files: Desk) -> None:
    result = ask_apl(files, "logs | summarize count()", start_ns=T0_NS + 290 * MS, end_ns=T0_NS + 310 * MS)

    assert rows(result) == [(20,)]
    assert blocks(result) == (FILES, 2, FILES - 2)


@pytest.mark.parametrize(
    "condition",
    [
        "_time >= datetime(2026-03-05T10:00:00.310Z) and _time < datetime(2026-03-05T10:00:00.320Z)",
        "_time between (datetime(2026-03-05T10:00:00.310Z) .. datetime(2026-03-05T10:00:00.319Z))",
        "datetime(2026-03-05T10:00:00.309Z) < _time and datetime(2026-03-05T10:00:00.320Z) > _time and n >= 0",
    ],
)
def test_conditions_on_the_time_read_only_the_files_that_can_match(files: Desk, condition: str) -> None:
    result = ask_apl(files, f"logs | where {condition} | project n")

    assert sorted(column_of(result, "n")) == list(range(310, 320))
    assert blocks(result) == (FILES, 1, FILES - 1)
    assert result.status.rows_matched == 10


def test_a_condition_after_a_limit_narrows_nothing(files: Desk) -> None:
    apl = "logs | order by _time asc | take 3 | where _time > datetime(2026-03-05T10:00:00.100Z) | count"

    assert rows(ask_apl(files, apl)) == [(0,)]


def test_alternatives_of_which_one_has_no_time_narrow_nothing(files: Desk) -> None:
    apl = "logs | where _time < datetime(2026-03-05T10:00:00.002Z) or n > 797 | project n"

    assert sorted(column_of(ask_apl(files, apl), "n")) == [0, 1, 798, 799]


def test_only_the_columns_named_are_read(files: Desk) -> None:
    text = sql(files, "logs | where even | summarize count() by even")

    assert '"even"' in text
    assert '"n"' not in text
    assert '"rare"' not in text


def test_files_without_a_field_are_not_asked_for_it(files: Desk) -> None:
    result = ask_apl(files, "logs | where rare == 'x' | project n, rare")

    assert sorted(rows(result)) == [(0, "x"), (1, "x"), (2, "x")]


def test_the_latest_rows_come_from_the_newest_file(files: Desk) -> None:
    result = ask_apl(files, "logs | limit 20 | project n")

    assert column_of(result, "n") == list(range(799, 779, -1))
    assert blocks(result) == (FILES, 1, FILES - 1)
    assert result.status.rows_examined == PER_FILE


def test_the_first_rows_come_from_the_oldest_file(files: Desk) -> None:
    result = ask_apl(files, "logs | order by _time asc | take 20 | project n")

    assert column_of(result, "n") == list(range(20))
    assert blocks(result) == (FILES, 1, FILES - 1)


def test_the_latest_rows_of_a_condition_come_from_as_many_files_as_it_takes(files: Desk) -> None:
    few = ask_apl(files, "logs | where even | limit 20 | project n")
    more = ask_apl(files, "logs | where n % 50 == 0 | limit 5 | project n")
    rare = ask_apl(files, "logs | where rare == 'x' | limit 2 | project n")

    assert column_of(few, "n") == list(range(798, 758, -2))
    assert few.status.blocks_matched == 1
    assert (few.status.rows_examined, few.status.rows_matched) == (PER_FILE, PER_FILE // 2)
    assert LOWER_BOUND in [each.msg for each in few.status.messages]
    assert column_of(more, "n") == [750, 700, 650, 600, 550]
    assert 3 <= more.status.blocks_matched < FILES
    assert column_of(rare, "n") == [2, 1]
    assert (rare.status.blocks_matched, rare.status.rows_matched) == (FILES, 3)
    assert LOWER_BOUND not in [each.msg for each in rare.status.messages]


def test_without_a_condition_all_rows_of_the_range_match_though_few_are_read(files: Desk) -> None:
    plain = ask_apl(files, "logs | limit 20")
    ranged = ask_apl(files, "logs | limit 20", start_ns=T0_NS, end_ns=T0_NS + 350 * MS)

    assert (plain.status.blocks_matched, plain.status.rows_matched) == (1, FILES * PER_FILE)
    assert (ranged.status.blocks_matched, ranged.status.rows_matched) == (1, 350)
    assert LOWER_BOUND not in [each.msg for each in plain.status.messages]


@pytest.mark.parametrize(
    "apl",
    [
        "logs | limit 30",
        "logs | order by _time asc | take 30",
        "logs | where _time >= datetime(2026-03-05T10:00:00.020Z) | limit 30",
        "logs | extend most = toscalar(logs | where even | count) | limit 30",
        "logs | where even | limit 30",
        "logs | where n < 30 | limit 30",
    ],
)
def test_the_last_row_of_a_page_is_the_same_however_it_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, apl: str
) -> None:
    for part in range(3):  # four events at each time, two of them equal, in files that overlap
        numbers = range(part, 240, 3)
        put_at(desk, *[{"at": n // 4, "n": 10 + n // 2, "even": n % 4 == 0} for n in numbers])
        if part < 2:
            desk.lake.commit_now()

    def pages() -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        cursor = ""
        while not found or (found[-1][0] and len(found) < 5):
            answer = ask_apl(desk, apl, cursor=cursor, now_ns=T0_NS + 10**12)
            status = answer.status
            cursor = status.min_cursor if "asc" not in apl else status.max_cursor
            times = [str(time) for time in column_of(answer, "_time")]
            found.append((times, column_of(answer, "n"), status.rows_examined, status.rows_matched, cursor))
        return found

    ordered = pages()
    monkeypatch.setattr("tailrace.query.pages.MAX_ORDERED", 0)

    assert ordered == pages()


def test_the_last_row_of_an_unfiltered_page_is_the_first_in_an_order(
    files: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answer = DuckDBSession.whole

    def whole(session: DuckDBSession, text: str) -> pa.Table:
        asked.append(text)
        return answer(session, text)

    monkeypatch.setattr(DuckDBSession, "whole", whole)

    ask_apl(files, "logs | limit 20 | project n")
    ask_apl(files, "logs | where even | limit 20 | project n")

    assert ["LIST_MIN" in text for text in asked] == [False, False, True, False]


def test_pages_read_no_file_that_lies_before_them(files: Desk) -> None:
    seen: list[int] = []
    cursor = ""
    read = []
    while True:
        result = ask_apl(files, "logs | where even | project n", default_limit=30, cursor=cursor)
        if not result.tables[0].rows.num_rows:
            break
        seen += column_of(result, "n")
        read.append(result.status.blocks_matched)
        cursor = result.status.min_cursor

    assert seen == list(range(798, -1, -2))
    assert max(read) <= 4


def test_the_latest_rows_are_right_where_files_overlap(desk: Desk) -> None:
    put_at(desk, *[{"at": n, "n": n} for n in range(0, 300, 3)])
    desk.lake.commit_now()
    put_at(desk, *[{"at": n, "n": n} for n in range(1, 300, 3)])
    desk.lake.commit_now()
    put_at(desk, {"at": 5000, "n": 5000})
    desk.lake.commit_now()
    put_at(desk, *[{"at": n, "n": n} for n in range(2, 300, 3)])

    assert column_of(ask_apl(desk, "logs | limit 10 | project n"), "n") == [5000, *range(299, 290, -1)]
    assert column_of(ask_apl(desk, "logs | order by _time asc | limit 10 | project n"), "n") == list(range(10))
    assert column_of(ask_apl(desk, "logs | where n % 2 == 0 | limit 4 | project n"), "n") == [5000, 298, 296, 294]


@pytest.mark.parametrize(
    ("apl", "expected"),
    [
        ("logs | count", [(800,)]),
        ("logs | summarize count(), n = count() + 1", [(800, 801)]),
        ("logs | summarize span = max(_time) - min(_time) | project ms = span / 1ms", [(799,)]),
        ("logs | where true | count", [(800,)]),
    ],
)
def test_counts_and_first_and_last_times_open_no_file(files: Desk, apl: str, expected: list[Any]) -> None:
    assert rows(ask_apl(files, apl)) == expected
    assert "parquet" not in sql(files, apl).lower()


def test_counts_of_a_range_open_only_the_files_at_its_ends(files: Desk) -> None:
    apl = "logs | where _time >= datetime(2026-03-05T10:00:00.150Z) | summarize count(), min(_time), max(_time)"
    [(count, first, last)] = rows(ask_apl(files, apl))

    assert (count, first.microsecond, last.microsecond) == (650, 150_000, 799_000)
    assert sql(files, apl).count(".parquet") == 1


def test_counts_of_what_has_a_condition_read_the_files(files: Desk) -> None:
    assert rows(ask_apl(files, "logs | where even | count")) == [(400,)]
    assert rows(ask_apl(files, "logs | summarize countif(even), max(n), count()")) == [(400, 799, 800)]


COMMITS = st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=4)


@settings(max_examples=rounds(15))
@given(COMMITS, st.none() | st.integers(-1, 51), st.none() | st.integers(-1, 51))
def test_what_metadata_knows_is_what_reading_would_tell(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[int]], start: int | None, end: int | None
) -> None:
    desk = Desk(tmp_path_factory.mktemp("known"), QueryLimits())
    try:
        desk.lake.create("logs")
        for number, times in enumerate(commits):
            if times:
                put_at(desk, *[{"at": at, "x": 1} for at in times])
            if number < 3:
                desk.lake.commit_now()
        low, high = (None if each is None else T0_NS + each * MS for each in (start, end))
        apl = "logs | summarize count(), min(_time), max(_time)"
        [(count, first, last)] = rows(ask_apl(desk, apl, start_ns=low, end_ns=high))
        kept = [at for times in commits for at in times if (start is None or at >= start) and (end is None or at < end)]

        assert count == len(kept)
        found = [None if each is None else round(each.timestamp() * 1000) - T0_NS // MS for each in (first, last)]
        assert found == ([min(kept), max(kept)] if kept else [None, None])
    finally:
        desk.close()


def test_the_latest_rows_are_read_from_one_row_group_of_each_cluster(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = ("error", "info", "warn")
    monkeypatch.setattr("tailrace.lake.parquet.group_rows_of", lambda columns: 4_096)
    put_at(desk, *[{"at": n, "n": n, "level": levels[n % 3], "text": f"text {n}"} for n in range(30_000)])
    desk.lake.commit_now()
    [file] = desk.lake.snapshot("logs").files
    first_of_latest = datetime.fromtimestamp(T0_NS / 1e9 + 29.9, UTC)
    content = bytearray(Path(file.location).read_bytes())
    unread = 0
    with pq.ParquetFile(file.location) as opened:
        for group in map(opened.metadata.row_group, range(opened.num_row_groups)):
            chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
            assert chunks["level"].statistics.min == chunks["level"].statistics.max
            if chunks["_time"].statistics.max >= first_of_latest:
                continue
            unread += 1
            for name in ("n", "text", "level", "_sysTime"):  # which then cannot be read
                start = chunks[name].dictionary_page_offset or chunks[name].data_page_offset
                content[start : start + chunks[name].total_compressed_size] = bytes(chunks[name].total_compressed_size)
    Path(file.location).write_bytes(content)

    result = ask_apl(desk, "logs | limit 100")

    assert column_of(result, "n") == list(range(29_999, 29_899, -1))
    assert column_of(result, "level")[0] == "warn"
    assert unread >= 6
    with pytest.raises(DatasetUnavailable):  # as what was to be left unread cannot be read
        ask_apl(desk, "logs | summarize sum(n)")

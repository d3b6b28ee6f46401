"""What metadata answers alone is answered without an engine, and as an engine does."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from query.files_kit import FileDesk, Row, answered, hot_table
from support.rounds import rounds

from tailrace.query import compiled
from tailrace.query.apl_result import AplResult
from tailrace.query.compile import metadata_answer

DAY = 20_000 * 86_400_000_000
HOUR = 3_600_000_000


def by_engine(files: FileDesk, apl: str, **more: Any) -> AplResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "answer_from_metadata", lambda *arguments: None)
        return files.ask(apl, **more)


def asks_engine(files: FileDesk, apl: str, **more: Any) -> bool:
    """Return whether an engine is asked; check that the answer is the same as if it were."""

    def session(*arguments: Any) -> Any:
        raise InterruptedError

    more["now_ns"] = (DAY + 48 * HOUR) * 1000
    expected = answered(by_engine(files, apl, **more))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.engine, "session", session)
        try:
            found = answered(files.ask(apl, **more))
        except InterruptedError:
            return True
    assert found == expected
    return False


def same(count: int, first_us: int = DAY, **values: Any) -> list[Row]:
    """Return rows of the same values, a second apart."""
    return [{"_time": first_us + n * 1_000_000, **values} for n in range(count)]


KNOWN = (
    "logs | count",
    "logs | summarize n = count(), first = min(_time), last = max(_time)",
    "logs | summarize count() by bin(_time, 1h)",
    "logs | summarize n = count() by bin(_time, 1d) | sort by n desc | project-rename rows = n",
    "logs | summarize count() by bin_auto(_time)",
    "logs | summarize max(_time) by bin(_time, 1h), day = bin(_time, 1d)",
    "logs | extend t = bin(_time, 2h) | summarize count() by t",
    "logs | where _time >= datetime(2024-10-04) and _time < datetime(2024-10-05) | count",
)  # fmt: skip
BY_CONSTANT = ("logs | summarize count() by level", "logs | summarize n = count() by bin(_time, 1h), level, flag")
READ = (
    "logs | where level == 'warn' | count",
    "logs | summarize count() by bin(_time, 1s)",
    "logs | summarize count(), dcount(level)",
    "logs | summarize countif(flag)",
    "logs | summarize n = count() * 2",
    "logs | summarize count() by level | take 1",
    "logs | summarize count() by hourofday(_time)",
    "logs | summarize max(level)",
    "logs | take 3",
)


@pytest.mark.parametrize("apl", [*KNOWN, *BY_CONSTANT])
def test_counts_and_times_of_files_are_answered_without_the_engine(files: FileDesk, apl: str) -> None:
    files.write([same(30, level="info"), same(40, DAY + HOUR, level="warn", flag=True)])
    files.write([same(20, DAY + HOUR, level="")])

    assert not asks_engine(files, apl)


@pytest.mark.parametrize("apl", KNOWN)
def test_rows_in_memory_are_counted_by_their_times(files: FileDesk, apl: str) -> None:
    files.write([same(30, level="info")])
    late = [{"_time": DAY + n * 17 * 60_000_000, "level": "warn"} for n in (9, 3, 5, 3, 80, 1)]
    files.hot = (hot_table(late), hot_table(same(1)))

    assert not asks_engine(files, apl)


@pytest.mark.parametrize("apl", BY_CONSTANT)
def test_rows_in_memory_are_read_where_their_values_matter(files: FileDesk, apl: str) -> None:
    files.hot = (hot_table(same(2, level="a")),)

    assert asks_engine(files, apl)


@pytest.mark.parametrize("apl", READ)
def test_what_needs_more_than_metadata_asks_the_engine(files: FileDesk, apl: str) -> None:
    files.write([same(30, level="info"), same(40, DAY + HOUR, level="warn", flag=True)])

    assert asks_engine(files, apl)


@pytest.mark.parametrize("apl", KNOWN)
def test_nothing_is_counted_as_the_engine_counts_it(files: FileDesk, apl: str) -> None:
    assert not asks_engine(files, apl)


def test_a_range_that_ends_between_row_groups_or_among_rows_in_memory_needs_no_engine(files: FileDesk) -> None:
    files.write([same(30), same(40, DAY + HOUR)])
    files.hot = (hot_table(same(10)), hot_table(same(5, DAY + HOUR)))
    until_hour = {"start_ns": DAY * 1000, "end_ns": (DAY + HOUR) * 1000}
    within_hot = {"start_ns": (DAY + 100) * 1000, "end_ns": (DAY + HOUR) * 1000}

    assert not asks_engine(files, "logs | summarize count(), max(_time)", **until_hour)
    assert asks_engine(files, "logs | count", **within_hot)
    files.clear()
    files.hot = (hot_table(same(10)),)
    assert not asks_engine(files, "logs | count", **within_hot)


def test_totals_beside_bins_are_answered_likewise(files: FileDesk) -> None:
    files.write([same(30), same(40, DAY + HOUR)])

    assert not asks_engine(files, "logs | summarize count() by bin(_time, 1h)", totals=True)


def test_answers_from_many_rows_or_of_many_bytes_are_left_to_the_engine(
    files: FileDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write([same(2, DAY + n * HOUR, level="x" * 100) for n in range(20)])
    apl = "logs | summarize count() by bin(_time, 1h), level"
    assert not asks_engine(files, apl)

    monkeypatch.setattr(metadata_answer, "MAX_BYTES", 1000)
    assert asks_engine(files, apl)
    monkeypatch.setattr(metadata_answer, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(metadata_answer, "MAX_KNOWN_ROWS", 10)
    assert asks_engine(files, apl)


def test_an_answer_from_metadata_is_not_one_that_was_given_before(files: FileDesk) -> None:
    files.write([same(3)])

    assert [files.ask("logs | count", answers_of="one").status.is_cached for _ in range(2)] == [False, False]


TIMES = st.builds(lambda hours, us: DAY + hours * HOUR + us, st.integers(-3, 5), st.sampled_from([0, 1, HOUR - 1]))
ROWS = st.lists(st.builds(lambda us, level: {"_time": us, "level": level}, TIMES, st.sampled_from(["a", None])),
                min_size=1, max_size=4)  # fmt: skip
AGGREGATES = st.sampled_from(["n = count()", "n = count(), a = min(_time)", "b = max(_time), a = min(_time)"])
KEYS = st.sampled_from(
    ["", "by bin(_time, 1h)", "by bin(_time, 90m), level", "by level", "by bin(_time, 1d), bin_auto(_time)"]
)
BOUNDS = st.one_of(st.none(), TIMES)


@settings(max_examples=rounds(25), deadline=None, suppress_health_check=[HealthCheck.too_slow],
          phases=(Phase.explicit, Phase.generate))  # fmt: skip
@given(
    groups=st.lists(ROWS, max_size=3),
    hot=st.lists(ROWS, max_size=2),
    aggregates=AGGREGATES,
    keys=KEYS,
    start=BOUNDS,
    end=BOUNDS,
    order=st.sampled_from(["", "| sort by a asc", "| sort by a desc"]),
)
def test_every_answer_is_that_of_the_engine(
    many_files: FileDesk,
    groups: list[list[Row]],
    hot: list[list[Row]],
    aggregates: str,
    keys: str,
    start: int | None,
    end: int | None,
    order: str,
) -> None:
    many_files.clear()
    if groups:
        many_files.write(groups)
    many_files.hot = tuple(hot_table(rows) for rows in hot)
    times = {name: us * 1000 for name, us in (("start_ns", start), ("end_ns", end)) if us is not None}

    asks_engine(many_files, f"logs | summarize {aggregates} {keys} {order if 'a =' in aggregates else ''}", **times)


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileDesk]:
    desk = FileDesk(tmp_path_factory.mktemp("files"))
    yield desk
    desk.close()

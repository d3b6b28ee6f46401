"""Rows that metadata tells of are not read, and answers are those of a full read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from query.files_kit import COLUMNS, FileDesk, Row, answered, hot_table
from support.rounds import rounds

from tailrace.events import DatasetUnavailable
from tailrace.lake.snapshot import FieldsView
from tailrace.query import AplRequest, compiled
from tailrace.query.apl.parser import parse
from tailrace.query.apl_result import AplResult
from tailrace.query.compile import groups, metadata_pushdown
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.request import CompileRequest
from tailrace.query.compiled import CompiledQuery
from tailrace.query.engines.engine import rendered

DAY = 20_000 * 86_400_000_000
HOUR = 3_600_000_000


def fully_read(files: FileDesk, apl: str, **more: Any) -> AplResult:
    """Return the answer with all rows read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "from_metadata", lambda *arguments: None)
        patch.setattr(compiled, "answer_from_metadata", lambda *arguments: None)
        return files.ask(apl, **more)


def same(count: int, first_us: int = DAY, **values: Any) -> list[Row]:
    """Return rows of the same values, a second apart."""
    return [{"_time": first_us + n * 1_000_000, **values} for n in range(count)]


def counted(result: AplResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = result.tables[0].rows.to_pylist()
    return rows


# What is not read


@pytest.mark.parametrize(
    ("apl", "rows"),
    [
        ("logs | count", [{"count": 90}]),
        ("logs | summarize n = count() by level", [{"level": "info", "n": 50}, {"level": "warn", "n": 40}]),
        ("logs | where level == 'warn' | summarize n = count()", [{"n": 40}]),
        ("logs | where level has 'WARN' | summarize n = count()", [{"n": 40}]),
        ("logs | summarize n = countif(level startswith 'i'), k = dcount(level)", [{"n": 50, "k": 2}]),
        ("logs | extend l = strlen(level) | summarize n = count() by l", [{"l": 4, "n": 90}]),
        ("logs | summarize n = count() by hour = hourofday(_time)", [{"hour": 0, "n": 50}, {"hour": 1, "n": 40}]),
        ("logs | summarize low = min(level), high = max(level)", [{"low": "info", "high": "warn"}]),
        ("logs | distinct level", [{"level": "info"}, {"level": "warn"}]),
    ],
)  # fmt: skip
def test_rows_of_constant_columns_are_counted_unread(files: FileDesk, apl: str, rows: list[Row]) -> None:
    file = files.write([same(30, level="info"), same(40, DAY + HOUR, level="warn"), same(20, DAY + 1, level="info")])
    full = answered(fully_read(files, apl))
    files.spoil_data(file)

    found = files.ask(apl)

    assert counted(found) == rows
    assert answered(found) == full


def test_a_histogram_by_level_is_counted_unread(files: FileDesk) -> None:
    apl = "logs | summarize n = count() by bin(_time, 1h), level"
    file = files.write([same(30, level="info"), same(40, DAY + HOUR, level="warn")])
    full = answered(fully_read(files, apl))
    files.spoil_data(file)

    assert answered(files.ask(apl)) == full


@pytest.mark.parametrize("hours", [1, 40])
def test_few_rows_that_stand_for_others_are_written_into_the_query_and_many_are_registered(
    files: FileDesk, hours: int
) -> None:
    apl = "logs | summarize n = count() by level"
    levels = ["it's", "null", "", None]
    file = files.write([same(3, DAY + n * HOUR, level=levels[n % 4]) for n in range(hours)])
    full = answered(fully_read(files, apl))
    files.spoil_data(file)

    assert ("VALUES" in files_sql(files, apl)) is (hours == 1)
    assert answered(files.ask(apl)) == full


def test_the_first_and_the_last_time_by_level_are_known(files: FileDesk) -> None:
    file = files.write([same(30, level="info"), same(40, DAY + HOUR, level="warn")])
    apl = "logs | summarize n = count(), first = min(_time), last = max(_time) by level"
    full = answered(fully_read(files, apl))
    files.spoil_data(file)

    assert answered(files.ask(apl)) == full


def test_a_range_that_cuts_row_groups_reads_those_alone(files: FileDesk) -> None:
    file = files.write([same(30), same(30, DAY + HOUR), same(30, DAY + 2 * HOUR)])

    sql = files_sql(files, "logs | count", start_ns=(DAY + 10_000_000) * 1000, end_ns=(DAY + 2 * HOUR) * 1000)

    assert "file_row_number BETWEEN 0 AND 29" in sql.replace('"', "")
    [row] = counted(files.ask("logs | count", start_ns=(DAY + 10_000_000) * 1000, end_ns=(DAY + 2 * HOUR) * 1000))
    assert row == {"count": 50}
    assert file.rows == 90


def test_what_is_mixed_is_read_beside_what_is_known(files: FileDesk) -> None:
    mixed = [{"_time": DAY + n, "level": "info" if n % 3 else "warn"} for n in range(30)]
    files.write([same(30, level="info"), mixed, same(40, DAY + HOUR, level="warn")])

    sql = files_sql(files, "logs | summarize count() by toupper(level)")

    assert "BETWEEN 30 AND 59" in sql
    assert counted(files.ask("logs | summarize n = count() by level = toupper(level)")) == [
        {"level": "INFO", "n": 50}, {"level": "WARN", "n": 50},
    ]  # fmt: skip


def files_sql(files: FileDesk, apl: str, **more: Any) -> str:
    """Return the SQL of a query with the rows that are known."""
    request = CompileRequest(now_ns=2**62, row_groups=files.engine.row_groups, **more)
    compiler = ProgramCompiler(request, lambda name: files.snapshot(name, timeout_s=1), files.names)
    return rendered(CompiledQuery(compiler, parse(apl), AplRequest(apl=apl, **more)).select().sql)


# What is read


@pytest.mark.parametrize(
    "apl",
    [
        "logs | summarize sum(n) by level",
        "logs | summarize count() by _time",
        "logs | summarize count() by bin(_time, 1s)",
        "logs | where rand() < 2 | summarize count() by level",
        "logs | summarize avg(n) by level",
        "logs | summarize count() by t = bin(_time + 30m, 1h)",
        "logs | take 3 | count",
        "logs | where level in ((logs | project level)) | count",
    ],
)
def test_a_query_that_needs_each_row_reads_them_all(files: FileDesk, apl: str) -> None:
    files.write([same(30, level="info", n=1), same(40, DAY + HOUR, level="warn", n=2)])
    full = answered(fully_read(files, apl))

    assert answered(files.ask(apl)) == full

    assert "known_" not in files_sql(files, apl)


@pytest.mark.parametrize(
    ("apl", "known", "mixed", "is_whole"),
    [
        ("logs | summarize count() by level", 89, 11, True),  # too many are left to group by what is stored
        ("logs | summarize count() by level", 165, 11, False),
        ("logs | where level has 'info' | count", 49, 51, True),  # or to compute anything
        ("logs | where level has 'info' | count", 51, 49, False),
        ("logs | where level has 'info' | summarize count() by flag", 165, 11, True),  # without a value: soon read
        ("logs | summarize max(_time) by flag, level", 51, 49, False),  # but not where the times are read
    ],
)
def test_a_file_of_which_passing_over_rows_saves_little_is_read_whole(
    files: FileDesk, apl: str, known: int, mixed: int, *, is_whole: bool
) -> None:
    rows = [{"_time": DAY + n, "level": "info" if n % 3 else "warn", "flag": n % 2 == 0} for n in range(mixed)]
    files.write([same(known, level="info"), rows])

    sql = files_sql(files, apl)

    assert ("BETWEEN" not in sql) is is_whole
    assert ("known_" not in sql) is is_whole
    assert answered(files.ask(apl)) == answered(fully_read(files, apl))


def test_a_damaged_file_is_no_source_of_counts(files: FileDesk) -> None:
    file = files.write([same(30, level="info")])
    files.files = [msgspec.structs.replace(file, damage="its checksum differs")]

    with pytest.raises(DatasetUnavailable, match="its checksum differs"):
        files.ask("logs | summarize count() by level")


def test_hot_rows_are_counted_beside(files: FileDesk) -> None:
    files.spoil_data(files.write([same(30, level="info")]))
    files.hot = (hot_table(same(5, DAY + HOUR, level="info")), hot_table(same(6, DAY + HOUR, level="warn")))

    assert counted(files.ask("logs | summarize n = count() by level")) == [
        {"level": "info", "n": 35}, {"level": "warn", "n": 6},
    ]  # fmt: skip


def test_current_states_are_read(files: FileDesk) -> None:
    files.write([same(3, level="a", n=1), same(4, DAY + HOUR, level="a", n=2)])
    files.primary_key = "level"

    assert counted(files.ask("logs | summarize n = count() by level")) == [{"level": "a", "n": 1}]


def test_a_field_with_the_name_of_row_numbers_is_no_row_number(files: FileDesk) -> None:
    def write(table: pa.Table, path: Path) -> None:
        pq.write_table(table, path, row_group_size=10)

    [column, *_] = COLUMNS
    named = msgspec.structs.replace(column, name="file_row_number", path="file_row_number", keys=("file_row_number",))
    files.view = FieldsView((*COLUMNS, named))
    file = files.write([same(10, level="a"), same(5, level="b"), same(5, level="c")], write)
    files.files = [msgspec.structs.replace(file, columns=file.columns | {"file_row_number"})]
    with_it = pq.read_table(file.location).append_column("file_row_number", pa.array(["x"] * 20))
    pq.write_table(with_it, file.location, row_group_size=10)

    assert counted(files.ask("logs | summarize n = count() by level")) == [
        {"level": "a", "n": 10}, {"level": "b", "n": 5}, {"level": "c", "n": 5},
    ]  # fmt: skip


# All of it

QUICK = (Phase.explicit, Phase.generate)

LEVELS = st.sampled_from(["info", "warn", None, "", "in\u00e9" * 40])
NUMBERS = st.sampled_from([0, 1, -1, 2**62, None])
FLAGS = st.sampled_from([True, False, None])
REALS = st.sampled_from([0.0, -0.0, 1.5, None, float("nan")])
TIMES = st.builds(lambda hours, us: DAY + hours * HOUR + us, st.integers(0, 30), st.sampled_from([0, 1, HOUR - 1, 7]))


@st.composite
def row_groups(draw: st.DrawFn) -> list[Row]:
    """Draw a row group whose columns are each constant or not."""
    size = draw(st.integers(1, 4))
    columns: dict[str, list[Any]] = {"_time": draw(_column(TIMES, size))}
    for name, values in {
        "level": LEVELS,
        "n": NUMBERS,
        "flag": st.sampled_from([True, False, None]),
        "x": REALS,
    }.items():
        columns[name] = draw(_column(values, size))
    columns["n#string"] = [None if number is not None else draw(LEVELS) for number in columns["n"]]
    rest = draw(st.sampled_from([None, '{"far":1}', '{"level":7}']))
    columns["_rest"] = [None if level is not None else rest for level in columns["level"]]
    return [{name: values[n] for name, values in columns.items()} for n in range(size)]


def _column(values: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[list[Any]]:
    """Draw a column of one value, more often than one of several."""
    same_value = values.map(lambda value: [value] * size)
    return st.one_of(same_value, same_value, st.lists(values, min_size=size, max_size=size))


FILTERS = (
    "level == 'info'", "level != 'warn'", "isnull(level)", "n > 0", "n == 'info'", "isnotnull(n)", "flag", "not(flag)",
    "level has 'info' or n == 1", "level contains 'n'", "x > 1", "far == 1", "_time >= datetime(2024-10-04T02:00:00Z)",
    "_time == datetime(2024-10-04T03:00:00Z) or flag", "_time < datetime(2024-10-04T05:00:00.000001Z) or n == 0",
    "datetime(2024-10-04T04:00:00Z) < _time or level == ''", "hourofday(_time) < 12", "level in ('info', '')",
    "_time between (datetime(2024-10-04T01:00:00Z) .. datetime(2024-10-04T09:00:00Z))",
)  # fmt: skip
KEYS = (
    "level", "n", "flag", "x", "far", "bin(_time, 1h)", "hourofday(_time)", "startofday(_time)", "dayofweek(_time)",
    "bin(_time, 7m)", "bin_auto(_time)", "strlen(level)", "iff(flag, level, 'none')", "week_of_year(_time)",
    "startofweek(_time)", "startofmonth(_time, 1)", "bin(_time, 1w)", "monthofyear(_time)",
    "datetime_part('minute', _time)",
)  # fmt: skip
AGGREGATES = (
    "count()", "countif(level == 'info')", "countif(flag)", "dcount(level)", "dcount(n)", "min(_time)", "max(_time)",
    "min(n)", "max(level)", "min(x)", "dcountif(level, flag)", "countif(_time > datetime(2024-10-04T06:00:00Z))",
    "sum(n)", "avg(n)", "max(_sysTime)", "count() * 2", "minif(n, flag)",
)  # fmt: skip
RANGES = st.sampled_from([None, 0, HOUR, 2 * HOUR + 1, 5 * HOUR, 23 * HOUR, 25 * HOUR])


@st.composite
def queries(draw: st.DrawFn) -> str:
    filters = draw(st.lists(st.sampled_from(FILTERS), max_size=2))
    steps = [f"| where {one}" for one in filters]
    if draw(st.booleans()):
        steps.append("| extend level = tolower(level), hour = bin(_time, 1h)")
    if draw(st.integers(0, 4)) == 0:
        return " ".join(["logs", *steps, "| count"])
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True))
    aggregates = draw(st.lists(st.sampled_from(AGGREGATES), min_size=1, max_size=3, unique=True))
    named = [f"a{n} = {one}" for n, one in enumerate(aggregates)]
    by = f" by {', '.join(f'k{n} = {key}' for n, key in enumerate(keys))}" if keys else ""
    return " ".join(["logs", *steps, f"| summarize {', '.join(named)}{by}"])


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileDesk]:
    desk = FileDesk(tmp_path_factory.mktemp("files"))
    desk.view = FieldsView(COLUMNS, {"far": frozenset({"integer"}), "level": frozenset({"integer"})})
    yield desk
    desk.close()


@settings(max_examples=rounds(40), deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(
    tables=st.lists(st.lists(row_groups(), min_size=1, max_size=4), min_size=1, max_size=3),
    hot=st.lists(row_groups(), max_size=1),
    asked=st.lists(queries(), min_size=1, max_size=3),
    start=RANGES,
    end=RANGES,
    is_always_worth=st.booleans(),
)
def test_answers_are_those_of_a_full_read(
    many_files: FileDesk,
    tables: list[list[list[Row]]],
    hot: list[list[Row]],
    asked: list[str],
    start: int | None,
    end: int | None,
    is_always_worth: bool,
) -> None:
    many_files.clear()
    for table in tables:
        many_files.write(table)
    many_files.hot = tuple(hot_table(rows) for rows in hot)
    times = {name: (DAY + us) * 1000 for name, us in (("start_ns", start), ("end_ns", end)) if us is not None}
    for apl in asked:
        with pytest.MonkeyPatch.context() as patch:
            if is_always_worth:
                patch.setattr(metadata_pushdown, "_is_worth", lambda *arguments: True)
            found = shown(many_files.ask(apl, **times))
        assert found == shown(fully_read(many_files, apl, **times))


def shown(result: AplResult) -> str:
    """Return all of an answer as text; whether -0.0 or 0.0 is the least of both depends on the order of the rows."""
    return repr(answered(result)).replace("-0.0", "0.0")

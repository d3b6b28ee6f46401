"""A text is the same time on ingest, as a literal of a query and in a field that a query reads."""

from datetime import datetime, timedelta
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest
import sqlglot.expressions as exp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query.functions.conftest import Ask

from tailrace.parsing import TimeRule
from tailrace.parsing.times import read_times
from tailrace.query.functions import Context, call
from tailrace.query.values import DATETIME, DYNAMIC, STRING, Value, as_datetime, fn, literal

PAIRS = [
    ("2026-03-07 18:04:07,123", "2026-03-07T18:04:07.123000Z"),
    ("Mar 7, 2026, 6:04:07 PM", "2026-03-07T18:04:07Z"),
    ("4/8/14 22:05", "2014-04-08T22:05:00Z"),
    ("07/03/26 18:04", "2026-07-03T18:04:00Z"),
    ("1772705472", "2026-03-05T10:11:12Z"),
    ("1772705472123", "2026-03-05T10:11:12.123000Z"),
    ("2026-03-07 18:04:07 CET", "2026-03-07T17:04:07Z"),
    ("20260307", "2026-03-07T00:00:00Z"),
    ("epoch", None),
    ("infinity", None),
    ("-infinity", None),
    ("now", None),
    ("today", None),
    ("2026-03-07 (BC)", None),
]


@pytest.mark.parametrize(("text", "expected"), PAIRS)
def test_a_field_a_mixed_field_and_a_literal_are_read_alike(ask: Ask, text: str, expected: str | None) -> None:
    rows = f"datatable(s:string)[{text!r}] | extend m = parse_json(quote(s))"

    assert ask(f"{rows} | project todatetime(s)") == expected
    assert ask(f"{rows} | project todatetime(m)") == expected
    assert ask(f"print todatetime({text!r})") == expected


def test_parse_reads_a_time_as_it_is_read_elsewhere(ask: Ask) -> None:
    line = 'print s = "[2026-03-07 18:04:07,123] ERROR boom" | parse s with "[" t:datetime "] " l " " m'

    assert ask(f"{line} | project t") == "2026-03-07T18:04:07.123000Z"
    assert ask(f"{line} | project strcat(l, '/', m)") == "ERROR/boom"


@pytest.mark.parametrize(
    "condition",
    [
        "s > datetime(2026-03-07 18:04:06)",
        "datetime(2026-03-07T18:04:07.123Z) == s",
        "s between (datetime(2026-03-07) .. 1d)",
        "datetime_diff('day', datetime(2026-03-08), s) == 0",
        "startofday(s) == datetime(2026-03-07)",
        "bin(todatetime(s), 1h) == datetime(2026-03-07T18:00:00Z)",
        "s - datetime(2026-03-07) == 18h + 4m + 7s + 123ms",
    ],
)
def test_a_text_beside_a_time_is_read_as_it_is_elsewhere(ask: Ask, condition: str) -> None:
    assert ask(f'datatable(s:string)["2026-03-07 18:04:07,123"] | where {condition} | count') == 1


def test_a_datatable_and_a_literal_take_the_same_texts(ask: Ask) -> None:
    assert ask('datatable(t:datetime)["Mar 7, 2026, 6:04:07 PM"] | project t') == "2026-03-07T18:04:07Z"
    assert ask("print datetime(Mar 7 2026 18:04:07)") == "2026-03-07T18:04:07Z"
    assert ask("print datetime(1772705472)") == "2026-03-05T10:11:12Z"


def on_ingest(text: str) -> int | None:
    """Return microseconds, or None."""
    found = read_times([msgspec.json.encode(text)], TimeRule(), 0)
    return None if found.unreadable else int(found.ns[0]) // 1000


def as_literal(text: str) -> int | None:
    found: Any = as_datetime(literal(text)).constant
    return found if isinstance(found, int) else None


def in_fields(database: duckdb.DuckDBPyConnection, texts: list[str]) -> list[tuple[int | None, int | None]]:
    """Of a field of strings and of a mixed one."""
    rows = pa.table({"n": range(len(texts)), "s": pa.array(texts, pa.string())})
    plain = call("todatetime", [Value(STRING, exp.column("s"))], Context())
    mixed = call("todatetime", [Value(DYNAMIC, fn("to_json", exp.column("s")))], Context())
    assert plain.type is mixed.type is DATETIME
    shown = ", ".join(fn("epoch_us", value.sql).sql("duckdb") for value in (plain, mixed))
    with database.cursor() as cursor:
        cursor.register("texts", rows)
        return cursor.sql(f"SELECT {shown} FROM texts ORDER BY n").fetchall()


INT64 = range(-(2**63) // 1000 + 1, 2**63 // 1000)  # microseconds that ingest can keep

WORDS = st.sampled_from(
    ["2026", "26", "03", "3", "7", "07", "18", "6", "04", "13", "31", "1772705472", "20260307", "180407", "-", "/", ".",
     ":", ",", " ", " ", "T", "t", "Z", "z", "+", "01:00", "0100", "CET", "UTC", "IST", "GMT", "PM", "am", "Mar", "Sat",
     "Sat,", "(", ")", "[", "]", "'", "at", "epoch", "infinity", "now", "BC", "e5", "123456789", "年", "月", "\u202f"]
)  # fmt: skip
STAMPS = st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2300, 1, 1)).flatmap(
    lambda moment: st.sampled_from(
        ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f+01:00", "%d/%b/%Y:%H:%M:%S -0130",
         "%m/%d/%y %I:%M %p", "%a, %d %b %Y %H:%M:%S CEST", "%a %b %d %H:%M:%S %Y", "%Y%m%d%H%M%S", "%s", "%B %d, %Y",
         "%y%m%d %H:%M:%S", "%Y-%j", "%d.%m.%Y", "%Y:%m:%d %H:%M"]
    ).map(moment.strftime)
)  # fmt: skip
TEXTS = st.one_of(STAMPS, st.lists(WORDS, max_size=12).map("".join), st.text(max_size=20), st.integers().map(str))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=30))
def test_any_text_is_one_time_or_none_everywhere(database: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    alone = [as_literal(text) for text in texts]

    # Often enough that those of one length are read in bulk.
    assert in_fields(database, texts * 13) == [(us, us) for us in alone] * 13
    for text, us in zip(texts, alone, strict=True):
        kept = on_ingest(text)
        assert kept == us or (kept is None and us not in INT64)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
def test_a_time_written_out_is_read_as_itself(moment: datetime) -> None:
    us = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)

    assert as_literal(moment.isoformat() + "Z") == us

"""What DuckDB does that the expressions are built around; where one of these changes, so may they."""

from typing import Any

import duckdb
import pytest

pytestmark = pytest.mark.quirk("duckdb", "2.0.1")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TRY_CAST(JSON '5.7' AS BIGINT)", 6),
        ("TRY_CAST(JSON '\"5\"' AS BIGINT)", 5),
        ("TRY_CAST(CAST(1.5 AS DOUBLE) AS BIGINT)", 2),
        ("CAST(TRY_CAST('NaN' AS JSON) AS VARCHAR)", "NaN"),
        ("CAST(to_json(CAST('nan' AS DOUBLE)) AS VARCHAR)", "NaN"),
        ("CAST(TRY_CAST(' [1]' AS JSON) AS VARCHAR)", " [1]"),
        ("JSON '1' = JSON '1.0'", False),
        ("greatest(NULL, 1)", 1),
        ("list_concat(NULL, [1])", [1]),
        ("-7 // 2", -3),
        ("-7 % 3", -1),
        ("substring('abc', 2, -1)", "a"),
        ("regexp_extract('abc', 'x', 0)", ""),
        ("TRY_CAST('infinity' AS TIMESTAMPTZ) IS NULL", False),
        ("epoch_us(TRY_CAST('infinity' AS TIMESTAMPTZ))", None),
        ("TRY(make_timestamptz(9223372036854775807))", None),
        ("list_extract(list_transform([random()], LAMBDA v : TRY(v * 0)), 1)", 0.0),
        ("list_extract(list_transform(['('], LAMBDA v : TRY(regexp_matches('a', v))), 1)", None),
        ("list_extract(list_transform([1], LAMBDA v : list_extract(list_transform([2], LAMBDA v : v), 1)), 1)", 2),
    ],
)
def test_it_gives(database: duckdb.DuckDBPyConnection, expression: str, expected: Any) -> None:
    assert database.sql(f"SELECT {expression}").fetchall() == [(expected,)]


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("9223372036854775807 + 1", "Overflow"),
        ("1 // 0", "Division by zero"),
        ("TRY(random() * 2)", "volatile"),
        ("TRY((SELECT 1))", "subquery"),
        ("substring('abc', 9223372036854775807)", "outside of supported range"),
        ("array_to_string(['a'], CAST(random() AS VARCHAR))", "constant"),
        ("regexp_extract('a', 'a', 10)", "between 0 and 9"),
        ("make_timestamptz(9223372036854775807)", "out of range"),
        ("abs(CAST(-9223372036854775808 AS BIGINT))", "Overflow"),
        ("rpad('a', 3, '')", "padding"),
        ("url_decode('%ff')", "UTF8"),
    ],
)
def test_it_fails_on(database: duckdb.DuckDBPyConnection, expression: str, error: str) -> None:
    with pytest.raises(duckdb.Error, match=error):
        database.sql(f"SELECT {expression}").fetchall()

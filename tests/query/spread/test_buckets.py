"""Rows with keys that DuckDB takes for the same come into one bucket, however they are encoded."""

import math
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlglot
import sqlglot.expressions as exp
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.query.compile.relation import RenderedQuery
from tailrace.query.engines.engine import rendered
from tailrace.query.spread.buckets import BUCKET, bucket_count, divided, rows_of_bucket, united

BUCKETS = 4
NUMBERS = [0.0, -0.0, 1.0, -1.0, math.nan, -math.nan, math.inf, -math.inf, 2.0**53, 2.0**63, 0.1]
TEXTS = ["", "a", "A", "ä", "a\u0308", "exactly 12 b", "longer than twelve bytes", "longer than twelve bytes "]
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE": st.sampled_from(NUMBERS) | st.floats(),
    "BIGINT": st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
    "VARCHAR": st.sampled_from(TEXTS) | st.text(max_size=20),
    "JSON": st.sampled_from(['{"a":1}', '{"a": 1}', "[1,null]", "1", '"a"', "null"]),
    "BOOLEAN": st.booleans(),
    "TIMESTAMPTZ": st.integers(-(2**40), 2**50),
}
PLAIN = {"DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "BIGINT": pa.int64(), "TIMESTAMPTZ": pa.timestamp("us", "UTC")}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.mark.parametrize("kind", KINDS)
def test_equal_keys_come_into_one_bucket(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    several = f"SELECT key, other FROM rows GROUP BY ALL HAVING count(DISTINCT {BUCKET}) > 1"
    torn = f"SELECT key FROM rows JOIN rows others USING (key, other) WHERE rows.{BUCKET} <> others.{BUCKET}"

    @settings(max_examples=rounds(20), deadline=None)
    @given(st.lists(st.none() | KINDS[kind], min_size=1, max_size=20), st.lists(st.none() | st.integers(0, 2)))
    def check(values: list[Any], others: list[int | None]) -> None:
        others = (others * len(values) + [None] * len(values))[: len(values)]
        encodings = _encodings(values, others, PLAIN.get(kind, pa.string()))
        rows = united([_answered(connection, encoded, kind) for encoded in encodings])
        connection.register("rows", rows)

        assert connection.execute(several).fetchall() == []
        assert connection.execute(torn).fetchall() == []
        assert sum(rows_of_bucket(rows, number, BUCKETS).num_rows for number in range(BUCKETS)) == rows.num_rows

    check()


def _encodings(values: list[Any], others: list[int | None], kind: pa.DataType) -> list[pa.Table]:
    """Return the same rows as parts may have them: in their order or another, as values or as a dictionary."""
    plain = pa.table({"key": pa.array(values, kind), "other": pa.array(others, pa.int64())})
    turned = plain.take(list(range(len(values)))[::-1])
    if not pa.types.is_string(kind):
        return [plain, turned]
    return [plain, turned.set_column(0, "key", turned["key"].dictionary_encode())]


def _answered(connection: duckdb.DuckDBPyConnection, rows: pa.Table, kind: str) -> pa.Table:
    connection.register("given", rows)
    select = sqlglot.parse_one(f"SELECT key::{kind} AS key, other FROM given", dialect="duckdb", into=exp.Select)
    query = divided(RenderedQuery(select), [exp.column("key"), exp.column("other")])
    answer: pa.Table = connection.execute(rendered(query.sql)).to_arrow_table()
    return answer


@pytest.mark.parametrize(
    ("wanted", "most", "count"), [(0, 100, 1), (1, 100, 1), (3, 100, 4), (64, 64, 64), (65, 100, 64), (9, 0, 1)]
)
def test_buckets_are_as_many_as_wanted_and_allowed(wanted: int, most: int, count: int) -> None:
    assert bucket_count(wanted, most) == count


def test_rows_that_are_equal_to_none_are_in_any_bucket(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("given", pa.table({"key": pa.array([None] * 100 + [7] * 100, pa.int64()), "n": range(200)}))
    select = sqlglot.parse_one("SELECT key, n FROM given", dialect="duckdb", into=exp.Select)

    query = divided(RenderedQuery(select), [exp.column("key")], [exp.column("key"), exp.column("n")])
    rows = connection.execute(rendered(query.sql)).to_arrow_table()
    buckets = [rows_of_bucket(rows, number, BUCKETS) for number in range(BUCKETS)]

    assert all(bucket["key"].null_count > 0 for bucket in buckets)
    assert [len(bucket.filter(pc.is_valid(bucket["key"]))) for bucket in buckets if 7 in bucket["key"].to_pylist()] == [
        100
    ]

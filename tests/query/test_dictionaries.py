"""Rows in memory as dictionaries: an engine reads the same from them."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.lake import HotTable
from tailrace.query.dictionaries import MIN_ROWS, assembled, encode, encoded

TIMES = pa.timestamp("us", "UTC")
SCHEMA = pa.schema([("_time", TIMES), ("a", pa.string()), ("n", pa.int64())])
FEW = ["info", "", "Größe", "a%b", None]
CONDITIONS = (
    "true",
    "a = 'info'",
    "a <> 'info'",
    "a IN ('info', '')",
    "a IS NULL",
    "a IS NOT NULL",
    "a LIKE '%n%'",
    "a ILIKE 'INFO'",
    "a > 'b'",
    "length(a) < 2",
    "a = 'info' AND n > 100",
    "a IS NULL OR a = ''",
)


def part(texts: Sequence[str | None] | None, rows: int) -> HotTable:
    """Return rows, whose texts are these again and again; None for no such column."""
    columns = {"_time": pa.array(range(rows), TIMES), "n": pa.array(range(rows), pa.int64())}
    if texts is not None:
        columns["a"] = pa.array([texts[n % len(texts)] for n in range(rows)], pa.string())
    return HotTable.of(pa.table(columns))


def test_few_values_become_a_dictionary_and_many_do_not() -> None:
    few = pa.chunked_array([["a", None] * MIN_ROWS])
    many = pa.chunked_array([[str(n) for n in range(2 * MIN_ROWS)]])
    late = pa.chunked_array([["a"] * MIN_ROWS + [str(n) for n in range(MIN_ROWS)]])
    short = pa.chunked_array([["a"] * (MIN_ROWS - 1)])

    assert encode(few).type == pa.dictionary(pa.int16(), pa.string())
    assert encode(few).to_pylist() == few.to_pylist()
    assert [encode(each).type for each in (many, late, short)] == [pa.string()] * 3


def test_more_values_than_a_number_has_room_for_are_no_dictionary() -> None:
    rows = pa.chunked_array([["a"] * MIN_ROWS, [str(n) for n in range(40_000)], ["b"] * 200_000])

    assert encode(rows).type == pa.string()


def test_a_column_is_encoded_once() -> None:
    rows = part(FEW, 2 * MIN_ROWS)

    first, again = encoded(rows, ["a", "n"]), encoded(rows, ["n", "a"])

    assert first["a"].chunk(0).dictionary.equals(again["a"].chunk(0).dictionary)
    assert first["a"].chunk(0).indices.buffers()[1].address == again["a"].chunk(0).indices.buffers()[1].address


part_texts = st.one_of(
    st.none(),
    st.lists(st.sampled_from(FEW), min_size=1, max_size=6),
    st.just([f"many {n}" for n in range(2 * MIN_ROWS)]),
)


@settings(max_examples=rounds(10))
@given(st.lists(st.tuples(part_texts, st.sampled_from([1, 3, MIN_ROWS - 1, MIN_ROWS, 2 * MIN_ROWS])), max_size=5))
def test_an_engine_reads_the_same(parts: list[tuple[list[str | None] | None, int]]) -> None:
    tables = [part(texts, rows) for texts, rows in parts]
    plain = assembled([table.rows for table in tables], SCHEMA)
    encoded_parts = [encoded(table, [n for n in SCHEMA.names if n in table.columns]) for table in tables]
    with duckdb.connect() as connection:
        connection.register("plain", plain)
        connection.register("encoded", assembled(encoded_parts, SCHEMA))
        for condition in CONDITIONS:
            rows = f"SELECT * FROM {{}} WHERE {condition} ORDER BY ALL"
            groups = f"SELECT a, count(*), min(a), typeof(a) FROM {{}} WHERE {condition} GROUP BY ALL ORDER BY ALL"
            for query in (rows, groups):
                answers = [connection.sql(query.format(name)).fetchall() for name in ("plain", "encoded")]
                assert answers[0] == answers[1], query


@pytest.mark.parametrize("large", [True, False])
def test_a_column_is_a_dictionary_unless_a_large_part_has_many_values(large: bool) -> None:
    many = [f"many {n}" for n in range(2 * MIN_ROWS)]
    tables = [part(FEW, 2 * MIN_ROWS), part(None, 5), part(many, 2 * MIN_ROWS if large else 5)]

    rows = assembled([encoded(table, [n for n in SCHEMA.names if n in table.columns]) for table in tables], SCHEMA)

    assert pa.types.is_dictionary(rows.schema.field("a").type) is not large
    expected = [t.rows["a"].to_pylist() if "a" in t.columns else [None] * 5 for t in tables]
    assert rows["a"].to_pylist() == [text for texts in expected for text in texts]

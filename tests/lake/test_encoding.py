"""Encodings of columns: by what a sample says of their values, and every value as it was."""

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.lake.encoding import (
    FILTER_SHARE,
    LEAST_FILTER_ROWS,
    SAMPLE_ROWS,
    encodings_of,
    filter_bytes,
    most_distinct,
    sample_of,
)
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.rewrite import merged

ROWS = 20_000
TIME = pa.timestamp("us", "UTC")


def events(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"_time": pa.array(np.arange(count), TIME), **columns})


def encodings_in(path: str) -> dict[str, set[str]]:
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        chunks = [group.column(index) for index in range(group.num_columns)]
        return {chunk.path_in_schema: set(chunk.encodings) for chunk in chunks}


def test_each_column_has_the_encoding_that_its_values_ask_for(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = events(
        **{
            "_sysTime": pa.array([5] * ROWS, TIME),
            "http.status": random.choice([200, 404, 500], ROWS),
            "user": random.integers(0, 1 << 40, ROWS),
            "level": random.choice(["info", "warn"], ROWS),
            "trace": [f"{n:032x}" for n in random.integers(0, 1 << 62, ROWS)],
            "did": [f"did:plc:{n}" for n in random.integers(0, 3_000, ROWS)],
            "took": random.random(ROWS),
            "ok": random.random(ROWS) < 0.5,
        }
    )

    [(_, file)] = write_files(LocalTable(tmp_path), in_order(rows))

    found = encodings_in(file.location)
    for name in ("_sysTime", "http.status", "level", "did"):
        assert "RLE_DICTIONARY" in found[name], name
    for name in ("_time", "user"):
        assert found[name] == {"DELTA_BINARY_PACKED", "RLE"}, name
    for name in ("trace", "took", "ok"):
        assert "RLE_DICTIONARY" not in found[name], name
    assert "BYTE_STREAM_SPLIT" not in set().union(*found.values())  # which Spark's vectorized reader refuses


@pytest.mark.parametrize(("drawn", "all_values"), [(8_000, 20_000), (8_000, 500), (1_000, 1_000_000)])
def test_distinct_values_are_foretold_from_a_sample(drawn: int, all_values: int) -> None:
    values = np.random.default_rng(2).integers(0, all_values, 30_000)

    told = most_distinct(drawn, 30_000, len(np.unique(values)) / 30_000)

    assert math.isclose(told, len(np.unique(values[:drawn])), rel_tol=0.1)


def test_a_sample_is_of_all_parts_of_the_rows() -> None:
    rows = pa.table({"n": np.arange(100 * SAMPLE_ROWS)})

    found = sample_of(rows)["n"].to_numpy()

    assert len(found) == SAMPLE_ROWS
    assert found[0] == 0
    assert found[-1] == 100 * SAMPLE_ROWS - 1
    assert np.diff(found).max() < rows.num_rows / 10


def test_a_column_whose_values_are_rarely_there_is_judged_by_those() -> None:
    few = ["a" if n % 40 == 0 else None for n in range(4_000)]
    many = [f"{n}" if n % 40 == 0 else None for n in range(4_000)]

    found = encodings_of(pa.table({"few": few, "many": many}), 30_000)

    assert found.dictionary == ("few",)


INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LAST_US = 253_402_300_799_999_999  # of the year 9999


@settings(max_examples=rounds(25), deadline=None)
@given(
    lines=st.lists(
        st.tuples(
            st.integers(-1_000_000, LAST_US) | st.integers(0, 10),
            st.none() | INTEGERS | st.integers(0, 2),
            st.none() | FLOATS | st.sampled_from([0.0, -0.0, 1.5, math.inf]),
            st.none() | TEXTS | st.sampled_from(["a", "b"]),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=60,
    ),
    repeats=st.sampled_from([1, 50]),
    clustering=st.sampled_from([(), ("s",), ("b", "s", "i")]),
)
def test_what_is_written_is_read_by_every_reader(
    lines: list[tuple[Any, ...]], repeats: int, clustering: tuple[str, ...], tmp_path_factory: Any
) -> None:
    lines = lines * repeats
    kinds = {"_time": TIME, "i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_()}
    columns = {n: pa.array(v, t) for (n, t), v in zip(kinds.items(), zip(*lines, strict=True), strict=True)}
    rows = pa.table({**columns, "row": pa.array(range(len(lines)), pa.int64())})

    added = write_files(LocalTable(tmp_path_factory.mktemp("written")), in_order(rows, clustering))

    def key(line: tuple[Any, ...]) -> tuple[Any, ...]:
        by_name = dict(zip(kinds, line, strict=True))
        values = [(by_name[name] is not None, by_name[name]) for name in clustering]
        return (line[0] // 86_400_000_000, *values, line[0])

    expected = sorted(range(len(lines)), key=lambda row: key(lines[row]))
    paths = [file.location for _, file in added]
    schema = pa.unify_schemas([pq.read_schema(path) for path in paths])
    whole = pa.concat_tables([pq.ParquetFile(path).read() for path in paths], promote_options="default")
    assert whole["row"].to_pylist() == expected
    assert [file.min_time_us for _, file in added] == [
        min(lines[row][0] for row in expected if lines[row][0] // 86_400_000_000 == file.day) for _, file in added
    ]
    ordered = rows.take(pa.array(expected)).select(schema.names)
    assert_same(whole.select(schema.names), ordered)
    by_polars = pl.concat([pl.read_parquet(path) for path in paths], how="diagonal")
    assert_same(by_polars.to_arrow().select(schema.names), ordered)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        by_duckdb = connection.sql("FROM read_parquet($paths, union_by_name=true)", params={"paths": paths})
        assert_same(by_duckdb.to_arrow_table().select(schema.names), ordered)


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Rows in any order, by their numbers; floats bit by bit."""
    found = found.sort_by("row")
    expected = expected.sort_by("row")
    for name in expected.column_names:
        here, there = found[name].cast(expected[name].type), expected[name]
        assert here.null_count == there.null_count, name
        if name == "f":
            here, there = (
                np.asarray(each.fill_null(0.0), np.float64).view(np.int64).tolist() for each in (here, there)
            )
        else:
            here, there = here.to_pylist(), there.to_pylist()
        assert here == there, name


def id_rows(count: int) -> pa.Table:
    """Return events with an id each, some with a second one, and other texts."""
    random = np.random.default_rng(3)
    ids = [f"{n:032x}" for n in random.integers(0, 1 << 62, count)]
    return events(
        trace=ids,
        parent=[text[::-1] if n % 8 == 0 else None for n, text in enumerate(ids)],
        level=random.choice(["info", "warn"], count),
        message=[f"{text} " * 20 for text in ids],
    )


def filters_in(path: str) -> dict[str, int]:
    """Return the bytes of the Bloom filters of each column in the first row group."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT path_in_schema, bloom_filter_length FROM parquet_metadata(?) WHERE row_group_id = 0", [path]
        ).fetchall()
    return {name: size for name, size in rows if size}


def test_ids_have_filters_that_are_small_beside_the_rows(tmp_path: Path) -> None:
    rows = id_rows(LEAST_FILTER_ROWS)

    [(_, file)] = write_files(LocalTable(tmp_path), in_order(rows))

    found = filters_in(file.location)
    assert set(found) == {"trace", "parent"}
    assert sum(found.values()) <= rows.nbytes * FILTER_SHARE * 1.1
    assert filter_bytes(LEAST_FILTER_ROWS) <= found["trace"] <= filter_bytes(LEAST_FILTER_ROWS) + 64  # with a header


def test_sentences_have_no_filters_however_short(tmp_path: Path) -> None:
    rows = id_rows(LEAST_FILTER_ROWS)
    sentences = [
        f"order {text[:12]} shipped" if n % 3 else text[:12] for n, text in enumerate(rows["trace"].to_pylist())
    ]

    [(_, file)] = write_files(LocalTable(tmp_path), in_order(rows.append_column("said", [sentences])))

    assert set(filters_in(file.location)) == {"trace", "parent"}


@pytest.mark.quirk("duckdb", "2.0.1")
def test_duckdb_believes_a_damaged_filter_which_the_hash_of_its_file_tells(tmp_path: Path) -> None:
    rows = id_rows(LEAST_FILTER_ROWS)
    storage = LocalTable(tmp_path)
    [(_, file)] = write_files(storage, in_order(rows))
    path = Path(file.location)
    text = rows["trace"][0].as_py()
    query = "SELECT count(*) FROM read_parquet(?) WHERE trace = ?"
    with duckdb.connect() as connection:
        found = connection.execute(query, [file.location, text]).fetchall()
        [(start, length)] = connection.execute(
            "SELECT bloom_filter_offset, bloom_filter_length FROM parquet_metadata(?) WHERE path_in_schema = 'trace'",
            [file.location],
        ).fetchall()
    content = bytearray(path.read_bytes())
    content[start + 64 : start + length] = bytes(length - 64)  # behind the header, which stays as it is
    path.write_bytes(content)

    with duckdb.connect() as connection:
        hidden = connection.execute(query, [file.location, text]).fetchall()

    assert (found, hidden) == ([(1,)], [(0,)])
    assert storage.damage(file)


def test_few_rows_have_no_filters_and_small_rows_only_such_as_they_can_bear(tmp_path: Path) -> None:
    [(_, few)] = write_files(LocalTable(tmp_path), in_order(id_rows(LEAST_FILTER_ROWS - 1)))
    [(_, small)] = write_files(LocalTable(tmp_path), in_order(id_rows(LEAST_FILTER_ROWS).select(["_time", "trace"])))

    assert filters_in(few.location) == {}
    assert filters_in(small.location) == {}


def test_an_id_is_found_with_a_filter_and_not_where_it_is_not(tmp_path: Path) -> None:
    rows = id_rows(2 * LEAST_FILTER_ROWS)
    [(_, file)] = write_files(LocalTable(tmp_path), in_order(rows))

    with duckdb.connect() as connection:
        for name in ("trace", "parent"):
            query = f"SELECT count(*) FROM read_parquet(?) WHERE {name} = ?"
            texts = [text for text in rows[name].to_pylist()[::97] if text is not None]
            counts = [connection.execute(query, [file.location, text]).fetchone() for text in [*texts, "0" * 32, ""]]
            assert counts == [(1,)] * len(texts) + [(0,), (0,)]


@pytest.mark.quirk("duckdb", "2.0.1")
def test_duckdb_leaves_out_row_groups_by_their_filters(tmp_path: Path) -> None:
    path = str(tmp_path / "filtered.parquet")
    table = pa.table({"id": [f"{n * 7919 % 100_003:032x}" for n in range(50_000)]})
    options = {"id": {"ndv": 1000, "fpp": 0.01}}
    pq.write_table(table, path, row_group_size=1000, use_dictionary=False, bloom_filter_options=options)

    with duckdb.connect() as connection:
        probed = connection.execute(
            "SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, 'id', ?)", [path, f"{7919 * 3:032x}"]
        ).fetchall()

    assert [excludes for (excludes,) in probed].count(False) < 5
    assert not probed[0][0]


def test_merged_files_have_filters_too(tmp_path: Path) -> None:
    storage = LocalTable(tmp_path)
    rows = id_rows(2 * LEAST_FILTER_ROWS)
    halves = [rows.slice(0, LEAST_FILTER_ROWS - 1), rows.slice(LEAST_FILTER_ROWS - 1)]
    files = [file for half in halves for _, file in write_files(storage, in_order(half))]

    one = merged(storage, files, lambda count: None)

    assert one is not None
    assert set(filters_in(one[1].location)) == {"trace", "parent"}

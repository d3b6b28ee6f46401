"""What a rendering reads is given to it: a relation is rendered in any way, and stays what it was."""

import re

import pyarrow as pa
import pytest
from msgspec.structs import astuple

from tailrace.lake.snapshot import DataFile, FieldsView, HotTable, Snapshot
from tailrace.query.apl.parser import parse
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.relation import Emitter, Layer, Reading, Relation, RowLimit
from tailrace.query.compile.request import CompileRequest
from tailrace.query.compile.scan import Scan

NOW_US = 1_000_000
FILES = tuple(
    DataFile(f"{n}.parquet", f"/lake/logs/{n}.parquet", 1, 10, n * 100, n * 100 + 99, frozenset({"_time"}))
    for n in range(3)
)
_TIME = pa.array([300], pa.timestamp("us", "UTC"))
SNAPSHOT = Snapshot("logs", FILES, (HotTable.of(pa.table({"_time": _TIME, "_sysTime": _TIME})),), FieldsView())


def compiled(apl: str) -> Relation:
    compiler = ProgramCompiler(CompileRequest(now_ns=NOW_US * 1000), lambda name: SNAPSHOT, lambda: ["logs"])
    return compiler.program(parse(apl))


def dataset_of(relation: Relation) -> Dataset:
    while isinstance(relation, Layer):
        relation = relation.parent
    assert isinstance(relation, Dataset)
    return relation


def rendered(relation: Relation, reading: Reading | None = None) -> str:
    out = Emitter(reading or Reading())
    return out.finished(relation.emit({column.id for column in relation.listed()}, out)).sql.sql("duckdb")


@pytest.mark.parametrize(
    "scan",
    [
        Scan(start_us=50, end_us=120),
        Scan(files=FILES[1:2]),
        Scan(hot=False),
    ],
)
def test_a_rendering_reads_what_its_scan_says_and_the_next_what_the_query_says(scan: Scan) -> None:
    relation = compiled("logs | project _time | take 5")
    dataset = dataset_of(relation)
    whole = rendered(relation)

    part = rendered(relation, Reading({dataset.hot_name: scan}))

    assert [f"/{n}.parquet" in part for n in range(3)] == [file in scan.files_of(SNAPSHOT) for file in FILES]
    assert ("hot_0" in part) == bool(scan.hot_of(SNAPSHOT))
    assert rendered(relation) == whole


def test_a_rendering_has_the_limit_that_it_is_given() -> None:
    relation = compiled("logs | project _time | take 5")
    assert "LIMIT 5" in rendered(relation)

    assert "LIMIT" not in rendered(relation, Reading(limits={relation: RowLimit()}))
    assert "LIMIT 2 OFFSET 3" in rendered(relation, Reading(limits={relation: RowLimit(2, offset=3)}))

    assert "LIMIT 5" in rendered(relation)


def test_a_count_reads_no_file_that_lies_whole_in_the_range_and_other_rows_of_the_same_dataset_do() -> None:
    relation = compiled("logs | count")

    assert "parquet" not in rendered(relation)
    assert all(file.location in rendered(dataset_of(relation)) for file in FILES)


def test_a_scan_only_narrows() -> None:
    scan = Scan(start_us=100, end_us=300)

    assert astuple(scan.narrowed(50, 400)) == astuple(scan.narrowed(100, 300))
    assert (scan.narrowed(150, None).start_us, scan.narrowed(None, 200).end_us) == (150, 200)
    assert not scan.narrowed(150, None).has_explicit_end
    assert scan.narrowed(None, 200).has_explicit_end


def test_a_rendering_says_which_columns_of_the_rows_in_memory_it_reads() -> None:
    relation = compiled("logs | project _time")
    out = Emitter()
    query = out.finished(relation.emit({column.id for column in relation.listed()}, out))

    assert {name: set(columns) for name, columns in query.hot_columns.items()} == {"hot_0": {"_time"}}


@pytest.mark.parametrize(
    ("start_us", "end_us", "bounded"),
    [
        (None, None, []),
        (50, None, ["0.parquet"]),
        (0, 250, ["2.parquet"]),
        (0, 300, []),
        (0, 301, []),
        (310, None, []),
    ],
)
def test_only_what_reaches_into_the_range_is_compared_with_it(
    start_us: int | None, end_us: int | None, bounded: list[str]
) -> None:
    relation = compiled("logs | project _time")
    dataset_of(relation).narrow(start_us, end_us)

    text = rendered(relation)

    assert re.findall(r"/([0-9].parquet)'\], \S+ := FALSE\) WHERE", text) == bounded
    assert text.count("WHERE") == len(bounded)
    assert ("hot_0" in text) == ((start_us or 0) <= 300 and (end_us is None or end_us > 300))

"""The page about the tables on disk says what is so: its snippets run, and its example is answered."""

import os
import re
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable
from support.events import batch

from tailrace.lake import Lake, LakeSettings, sidecar
from tailrace.lake.catalog import DROPPED
from tailrace.lake.deltalog import UNREADABLE_DIRECTORY
from tailrace.server import layout
from tailrace.storage.database import FILE_NAME as DATABASE_FILE

if TYPE_CHECKING:
    from conftest import Server

PAGE = (Path(__file__).parent.parent / "docs" / "data.md").read_text()
NOT_RUN = "<!-- not run by the tests -->\n"
BEING_WRITTEN = ".new"  # in the name of a file until it is whole
SNIPPETS = re.findall(rf"({re.escape(NOT_RUN)})?```python\n(.*?)```", PAGE, re.DOTALL)
RUN = [code for not_run, code in SNIPPETS if not not_run]

FREQUENT: list[dict[str, Any]] = [
    {"http": {"method": "GET", "status": 200}, "tags": ["a", 1]},
    {"http": {"method": "PUT", "status": "201"}, "tags": []},
] * 150
RARE: list[dict[str, Any]] = [
    {"http": {"method": "PATCH", "request": {"id": "r-1"}, "status": 2.5}, "a b": 1, "big": 2**70, "empty": {}}
]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory where the page's snippets look for it."""
    root = tmp_path / "tailrace-data" / "lake"
    made = Lake.open(root, LakeSettings())
    made.create("demo")
    made.accept(1, batch(FREQUENT, "demo"))
    made.commit_now()
    made.accept(2, batch(RARE, "demo"))
    made.close()
    monkeypatch.chdir(tmp_path)
    return root


def files(lake: Path) -> duckdb.DuckDBPyRelation:
    return duckdb.read_parquet(DeltaTable(lake / "demo").file_uris(), union_by_name=True, hive_partitioning=True)


def test_there_are_snippets_for_duckdb_and_polars() -> None:
    assert sum("import duckdb" in code for code in RUN) == 2
    assert sum("import polars" in code for code in RUN) == 1


@pytest.mark.parametrize("code", RUN, ids=range(len(RUN)))
def test_a_snippet_runs(lake: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "docs/data.md", "exec"), {"__name__": "__main__"})

    sys.stdout.flush()
    printed = capsys.readouterr().out
    assert "PATCH" in printed or "200" in printed or "http.method" in printed
    assert ("http.request.id" not in code) or "r-1" in printed


def test_the_layout_is_as_drawn(lake: Path) -> None:
    dataset = lake / "demo"

    assert sorted(each.name for each in dataset.iterdir()) == ["_day=2026-05-28", "_delta_log", "_tailrace"]
    assert sorted(each.name for each in (dataset / "_tailrace").iterdir()) == ["dataset.json", "fields.json"]
    assert all(re.fullmatch(r"part-.*\.zstd\.parquet", each.name) for each in (dataset / "_day=2026-05-28").iterdir())


def drawn() -> list[tuple[int, str]]:
    """Return the names in the drawing of the data directory, each with its depth."""
    [tree] = re.findall(r"^tailrace-data/\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    found = []
    for line in tree.splitlines():
        names = re.match(r" *(.*?)(?: {2,}|$)", line)
        assert names is not None
        depth = (len(line) - len(line.lstrip())) // 2
        found += [(depth, name.rstrip("/")) for name in names[1].split(", ")]
    return found


def test_every_file_of_a_data_directory_is_drawn(server: "Server") -> None:
    top = {name.partition("/")[0] for depth, name in drawn() if depth == 1}
    own = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    database = {DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"}

    assert top == own | database
    assert {path.name for path in server.data.iterdir() if path.suffix != BEING_WRITTEN} <= top
    beside = {name.rpartition("/")[2] for depth, name in drawn() if depth in (4, 2)}
    sidecars = {sidecar.INFO, sidecar.FIELDS, sidecar.CLUSTERING, sidecar.REMOVED, sidecar.DAMAGED, DROPPED}
    assert {name.rpartition("/")[2] for name in (*sidecars, UNREADABLE_DIRECTORY)} <= beside
    # os.walk, as Path.glob ends with an error where a dataset is dropped meanwhile.
    walked = [each for each in os.walk(server.data / "lake") if Path(each[0]).name == "_tailrace"]
    found = {name for _, directories, files in walked for name in (*directories, *files)}
    assert found
    assert {
        name for name in found if not name.startswith(("sort-", "checkpoint-")) and not name.endswith(BEING_WRITTEN)
    } <= beside


def test_the_columns_are_as_described(lake: Path) -> None:
    fields = {field.name: field for field in DeltaTable(lake / "demo").schema().fields}

    assert list(fields)[:4] == ["_time", "_sysTime", "_rest", "_day"]
    assert set(list(fields)[4:]) == {"http.method", "http.status", "http.status#string", "tags"}
    assert fields["http.status#string"].metadata == {"tailrace.path": "http.status", "tailrace.type": "string"}
    assert fields["tags"].metadata == {"tailrace.path": "tags", "tailrace.type": "array"}
    assert fields["_rest"].metadata == {"tailrace.type": "rest"}
    assert set(files(lake).aggregate("_day").fetchall()) == {(date(2026, 5, 28),)}


def test_the_rest_has_whole_paths_as_keys(lake: Path) -> None:
    [(rest,)] = files(lake).filter("_rest IS NOT NULL").project("_rest").fetchall()

    assert rest == f'{{"http.request.id":"r-1","http.status":2.5,"a b":1,"big":{2**70},"empty":{{}}}}'


def test_the_expression_for_a_whole_field_is_right(lake: Path) -> None:
    [expression] = re.findall(r"^    (coalesce\(.*\))$", PAGE, re.MULTILINE)

    counts = files(lake).aggregate(f"{expression} AS status, count(*) AS n").order("status").fetchall()

    assert counts == [(2.5, 1), (200.0, 150), (201.0, 150)]


@pytest.mark.parametrize("code", RUN, ids=range(len(RUN)))
def test_a_snippet_runs_where_no_event_has_a_rare_field(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Lake.open(tmp_path / "tailrace-data" / "lake", LakeSettings())
    made.create("demo")
    made.accept(1, batch([{"http": {"method": "GET", "status": 200}}] * 3, "demo"))
    made.close()
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "docs/data.md", "exec"), {"__name__": "__main__"})

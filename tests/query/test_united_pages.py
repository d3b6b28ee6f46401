"""The first rows of several datasets together: no more is read than they need, and they are the right ones."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from query.kit import Desk
from support.events import FIRST_TIME_NS, batch

from tailrace.query import AplRequest, AplResult, QueryLimits, run_apl
from tailrace.query.answers import cells
from tailrace.query.compile.union import tallied
from tailrace.query.engines import duckdb

DATASETS = 6
EVENTS = 40  # of a dataset


def events_of(number: int) -> list[dict[str, Any]]:
    if number == DATASETS - 1:
        return [{"n": n, "old": n, "odd": True} for n in range(EVENTS)]
    return [
        {
            "n": n, f"own{number}": [n, f"t{n}", n / 4, True, n][number], "even": n % 2 == 0,
            "odd": [n, f"t{n}", n / 4, {"a": n}, None][number],
        }
        for n in range(EVENTS)
    ]  # fmt: skip


def first_ns_of(number: int) -> int:
    """Return events whose times all differ: those of the last dataset are the oldest, the others take turns."""
    return FIRST_TIME_NS + (number * 100_000 if number < DATASETS - 1 else -(10**15))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(Path(tmp_path_factory.mktemp("united")), QueryLimits())
    for number in range(DATASETS):
        made.lake.create(f"set{number}")
        made.lake.accept(number + 1, batch(events_of(number), f"set{number}", first_ns=first_ns_of(number)))
        if number == 2:
            made.lake.commit_now()  # half of them are files, half in memory
    yield made
    made.close()


def run(desk: Desk, apl: str, limit: int) -> AplResult:
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl, default_limit=limit), check=lambda name: None)


def rows(result: AplResult) -> list[tuple[Any, ...]]:
    listed = [list(column) for column in cells.columns(result.tables[0])]
    return [tuple(bytes(c) if isinstance(c, msgspec.Raw) else c for c in row) for row in zip(*listed, strict=True)]


ALL = DATASETS * EVENTS


@pytest.mark.parametrize("limit", [1, 7, 203])
@pytest.mark.parametrize(
    ("apl", "matched"),
    [
        ("union set*", ALL),
        ("union set* | where even == true", (DATASETS - 1) * EVENTS // 2),
        ("union set* | sort by _time asc", ALL),
        ("union withsource=s set* | where odd == true or n > 37 | project s, _time, odd, own1", 50),
        ("union set* | extend m = n * 2 | project-away odd", ALL),
        ("union set0, (set5 | where n > 3), set4 | project n, old, own4, own0", 3 * EVENTS - 4),
        ("search 'true' or 5", 100 + 20 + 40 + 4 + 2),
        ("search n == 5 or old == 6", 7),
        ("search in (set*) '*' | where n > 30", DATASETS * 9),
    ],
)
def test_the_first_rows_are_those_of_the_whole_answer(desk: Desk, apl: str, matched: int, limit: int) -> None:
    whole, part = run(desk, apl, 50_000), run(desk, apl, limit)

    assert [(field.name, field.type) for field in part.tables[0].fields] == [
        (field.name, field.type) for field in whole.tables[0].fields
    ]
    assert rows(part) == rows(whole)[:limit]
    assert len(rows(whole)) == whole.status.rows_matched == part.status.rows_matched == matched
    assert whole.status.rows_examined == part.status.rows_examined


def test_a_limit_in_the_query_takes_the_same_rows(desk: Desk) -> None:
    whole = rows(run(desk, "union set* | project _time, n", 50_000))

    assert rows(run(desk, "union set* | project _time, n | take 9", 100)) == whole[:9]
    assert rows(run(desk, "union set* | where n > 20 | sort by _time asc | take 9 | project n", 100)) == [
        (n,)
        for n in range(21, 30)  # of the last dataset, whose events are the oldest
    ]
    assert len(rows(run(desk, "union set* | take 9 | where n == 39", 100))) == 5


def test_a_dataset_beyond_the_page_is_not_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    whole = duckdb.DuckDBSession.whole

    def noted(self: duckdb.DuckDBSession, text: str) -> pa.Table:
        asked.append(text)
        return whole(self, text)

    monkeypatch.setattr(duckdb.DuckDBSession, "whole", noted)
    run(desk, "union set* | project n, old", 5)

    assert "hot_4" in asked[-1]
    assert "hot_5" not in asked[-1]


def test_rows_at_random_are_as_many_as_were_asked_for(desk: Desk) -> None:
    assert len(rows(run(desk, "union set* | where rand() < 0.9", 100))) == 100
    assert len(rows(run(desk, "union set* | sample 0.9", 100))) == 100


def test_the_times_of_very_many_rows_take_no_memory_beside_the_answer_of_the_engine() -> None:
    count = 100_000
    offsets = pa.array(np.arange(6, dtype=np.int32) * count)
    times = pa.ListArray.from_arrays(offsets, pa.array(np.arange(5 * count)))
    answer = pa.table({"n": range(5), "rows": [count] * 5, "times": times})

    tracemalloc.start()
    found = tallied(answer)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [(each.rows, int(each.last_us[0]), len(each.last_us)) for each in found.values()] == [
        (count, n * count, count) for n in range(5)
    ]
    assert peak_bytes < 8 * count  # as numbers of Python they would be more than 100 bytes each

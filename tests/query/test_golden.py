"""The golden files give the same answers wherever the data lies: the log, hot, committed, compacted, half of each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from query.golden_kit import Case, all_cases, as_batch, datasets, shown
from support.rounds import ROUNDS

from tailrace.events import TailraceError
from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import AplRequest, DuckDB, QueryLimits, run_apl
from tailrace.query.apl.times import datetime_ns

NOW_NS = datetime_ns("2026-03-02T12:00:00Z")


class Stand:
    """A lake with the golden data and an engine over it."""

    def __init__(self, root: Path, where: str) -> None:
        self.lake = Lake.open(root / "lake", LakeSettings())
        self.engine = DuckDB(table_root(root / "lake"), root / "temporary", QueryLimits())
        position = 0
        for name, lines in datasets().items():
            self.lake.create(name)
            half = len(lines) // 2 if where in ("half of each", "compacted") else len(lines)
            for part in (lines[:half], lines[half:]):
                if not part:
                    continue
                position += 1
                self.lake.accept(position, as_batch(name, part))
                if where == "hot":
                    self.lake.snapshot(name)
                elif where != "in the log" and part is not lines[half:] and half:
                    self.lake.commit_now(name)
            if where == "compacted":
                self.lake.compact(name)
        assert where != "compacted" or self.lake.maintenance.compactions > 0

    def answer(self, query: str) -> str:
        try:
            result = run_apl(self.lake, self.engine, AplRequest(apl=query, now_ns=NOW_NS), check=lambda name: None)
        except TailraceError as error:
            return f"error: {error.message}"
        return shown(result.tables[0])

    def close(self) -> None:
        self.lake.close(commit=False)
        self.engine.close()


# A part in files and a part in memory is where most can go wrong; the others are for the longer rounds.
PLACES = ["half of each", "committed", "in the log", "hot", "compacted"][: None if ROUNDS > 1 else 2]


@pytest.fixture(scope="module", params=PLACES)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    made = Stand(tmp_path_factory.mktemp("golden"), request.param)
    yield made
    made.close()


@pytest.mark.rounds
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_a_query_gives_its_table(stand: Stand, case: Case) -> None:
    assert stand.answer(case.query) == case.expected


def test_titles_tell_cases_apart() -> None:
    names = [case.name for case in all_cases()]

    assert sorted(set(names)) == sorted(names)

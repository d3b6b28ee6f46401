"""`search` over many datasets: each is searched by itself, and only those with a match make rows and columns."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from query.kit import Desk

from tailrace.query import AplRequest, AplResult, QueryLimits, run_apl

DATASETS = 12


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(Path(tmp_path_factory.mktemp("search")), QueryLimits())
    for n in range(DATASETS):
        texts = {f"field{n}_{k}": "a broken pipe" if n in (3, 7) and k == 0 else "fine" for k in range(5)}
        made.put(f"set{n}", {**texts, "n": n}, {"n": n, f"only{n}": True})
    yield made
    made.close()


def run(desk: Desk, apl: str) -> AplResult:
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl), check=lambda name: None)


def test_the_columns_are_those_of_the_datasets_with_a_match(desk: Desk) -> None:
    found = run(desk, 'search "broken" | sort by n asc')

    own = {f"{kind}{n}{more}" for n in (3, 7) for kind, more in (("only", ""), *(("field", f"_{k}") for k in range(5)))}
    assert {field.name for field in found.tables[0].fields} == {"$table", "_time", "_sysTime", "n", *own}
    assert found.tables[0].rows["$table"].to_pylist() == ["set3", "set7"]


def test_every_dataset_counts_as_examined(desk: Desk) -> None:
    found = run(desk, 'search "broken" | count')

    assert found.tables[0].rows["count"].to_pylist() == [2]
    assert found.status.rows_examined == 2 * DATASETS
    assert found.status.rows_matched == 2


def test_nothing_found_is_an_empty_answer(desk: Desk) -> None:
    assert run(desk, 'search "nowhere"').tables[0].rows.num_rows == 0
    assert run(desk, 'search "nowhere" | count').tables[0].rows["count"].to_pylist() == [0]


def test_a_condition_on_a_field_of_one_dataset_is_false_in_the_others(desk: Desk) -> None:
    assert run(desk, "search only5 == true | project n").tables[0].rows["n"].to_pylist() == [5]


def test_the_name_of_a_dataset_is_no_text_of_its_rows_but_may_be_asked_for(desk: Desk) -> None:
    assert run(desk, 'search "set3" | count').tables[0].rows["count"].to_pylist() == [0]
    assert run(desk, 'search $table == "set3" and "fine" | count').tables[0].rows["count"].to_pylist() == [1]

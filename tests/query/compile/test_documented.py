"""Every tabular operator and aggregation is documented, with an example that holds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from query.kit import Desk

from tailrace.query import AplRequest, QueryLimits, run_apl
from tailrace.query.apl.parser import OPERATORS as PARSED
from tailrace.query.arrow_json import is_json
from tailrace.query.compile.aggregations import AGGREGATIONS
from tailrace.query.compile.reference import OPERATORS, aggregations_reference, operators_reference

# The tabular operators and aggregations of Axiom's documentation.
DOCUMENTED_OPERATORS = """
    count distinct extend extend-valid externaldata getschema join limit lookup make-series mv-expand order parse
    parse-kv parse-where project project-away project-keep project-rename project-reorder redact sample sample-distinct
    search sort sort-by summarize take top union where
"""
DOCUMENTED_AGGREGATIONS = """
    any arg_max arg_min avg avgif count countif dcount dcountif histogram histogramif make_list make_list_if make_set
    make_set_if max maxif min minif percentile percentileif percentiles_array percentiles_arrayif phrases rate
    spotlight stdev stdevif sum sumif topk topkif variance varianceif bag_merge
"""
CLIENTS_KNOW = """
    count countif distinct distinctif sum sumif avg avgif min minif max maxif topk topkif percentiles percentilesif
    histogram histogramif stdev stdevif variance varianceif argmin argmax rate makeset makesetif makelist makelistif
    computed spotlight
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(Path(tmp_path_factory.mktemp("documented")), QueryLimits())
    yield made
    made.close()


def rows(desk: Desk, query: str) -> list[list[Any]]:
    table = run_apl(desk.lake, desk.engine, AplRequest(apl=query), check=lambda name: None).tables[0]
    columns = []
    for field in table.rows.schema:
        values = table.rows[field.name].to_pylist()
        columns.append([None if v is None else json.loads(v) for v in values] if is_json(field) else values)
    return [list(row) for row in zip(*columns, strict=True)]


def test_every_documented_operator_is_there() -> None:
    assert set(DOCUMENTED_OPERATORS.split()) <= set(OPERATORS)
    assert set(OPERATORS) | {"mvexpand"} == set(PARSED)


def test_every_documented_aggregation_is_there() -> None:
    assert set(DOCUMENTED_AGGREGATIONS.split()) == set(AGGREGATIONS)


def test_aggregations_go_by_names_that_clients_know() -> None:
    assert {each.shown_as for each in AGGREGATIONS.values()} <= set(CLIENTS_KNOW.split())


@pytest.mark.parametrize("name", [name for name, each in OPERATORS.items() if each.example])
def test_the_example_of_an_operator_holds(desk: Desk, name: str) -> None:
    assert rows(desk, OPERATORS[name].example) == OPERATORS[name].result


@pytest.mark.parametrize("name", [name for name, each in AGGREGATIONS.items() if each.result is not None])
def test_the_example_of_an_aggregation_holds(desk: Desk, name: str) -> None:
    assert rows(desk, AGGREGATIONS[name].example)[0][0] == AGGREGATIONS[name].result


def test_the_page_has_them_all() -> None:
    assert all(f"`{each.syntax.split()[0]}" in operators_reference() for each in OPERATORS.values())
    assert all(f"| `{name}(" in aggregations_reference() for name in AGGREGATIONS)

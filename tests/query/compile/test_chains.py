"""A long chain of comparisons of one field is compiled as one with a list, and means the same."""

from collections.abc import Callable
from typing import Any

import pytest
from query.kit import Desk

from tailrace.lake import Snapshot
from tailrace.lake.snapshot import FieldsView
from tailrace.query import AplRequest, run_apl
from tailrace.query.run import sql_of

EVENTS: list[dict[str, Any]] = [
    {"id": 0, "n": 3, "text": "disk full", "mixed": 3},
    {"id": 1, "n": 900, "text": "DISK", "mixed": "3"},
    {"id": 2, "text": "all is well", "mixed": None},
    {"id": 3, "n": 4, "mixed": "word"},
]


@pytest.fixture
def found(desk: Desk) -> Callable[[str], list[int]]:
    desk.put("logs", *EVENTS)

    def ids(where: str) -> list[int]:
        request = AplRequest(apl=f"logs | where {where} | project id | order by id asc")
        answer = run_apl(desk.lake, desk.engine, request, check=lambda dataset: None)
        rows: list[int] = answer.tables[0].rows["id"].to_pylist()
        return rows

    return ids


def compiled(apl: str) -> str:
    return sql_of(AplRequest(apl=apl), lambda name: Snapshot(name, (), (), FieldsView(rest_overflow=True)))


def chain(operator: str, between: str, *others: str) -> str:
    return f" {between} ".join([*others, *(operator.format(n) for n in range(2_000))])


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (chain("n == {}", "or"), [0, 1, 3]),
        (chain("n == 1{:04}", "or"), []),
        (chain("n != {}", "and"), [2]),
        (chain("n <> {}", "and"), [2]),
        (chain("mixed == {}", "or"), [0]),
        (chain("mixed == '{}'", "or"), [1]),
        (chain("mixed != '{}'", "and"), [0, 2, 3]),
        (chain("text has 'disk{}'", "or", "text has 'disk'"), [0, 1]),
        (chain("text has_cs 'disk{}'", "or", "text has_cs 'disk'"), [0]),
        (chain("text !has 'disk{}'", "and", "text !has 'disk'"), [2, 3]),
        (chain("text has 'is-{}'", "or", "text has 'is-' or text has ' full'"), [0]),
        (chain("text =~ 'disk{}'", "or", "text =~ 'disk'"), [1]),
        (chain("n == {}", "or", "text == 'all is well'"), [0, 1, 2, 3]),
        (chain("n != {}", "and", "id != 2"), []),
    ],
)
def test_a_chain_says_what_its_comparisons_say(found: Callable[[str], list[int]], where: str, ids: list[int]) -> None:
    assert found(where) == ids


def test_a_chain_becomes_one_list() -> None:
    sql = compiled(f"logs | where {chain('n != {}', 'and')}")

    assert sql.count(" IN (") <= 2  # of a whole number also as one beyond 53 bits
    assert "DISTINCT FROM" not in sql


def test_the_terms_of_has_any_become_few_regexes() -> None:
    terms = ",".join(f"'term{n}'" for n in range(2_000))

    assert compiled(f"logs | where text has_any ({terms})").count("REGEXP_MATCHES") < 10


def test_a_list_of_numbers_has_no_casts() -> None:
    assert compiled(f"logs | where n in ({','.join(map(str, range(1_000)))})").count("CAST(") < 100

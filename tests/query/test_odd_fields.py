"""Fields that have no column: numbers of any size, floods of names; one event spoils no other's answer."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from query.kit import Desk
from support.events import FIRST_TIME_NS, RECEIVED_NS

from tailrace.events import Batch, QueryFailed
from tailrace.query import AplRequest, run_apl
from tailrace.query.apl.errors import AplError
from tailrace.query.apl_result import AplTable

DIGITS = "9" * 5000  # more than Python reads as one integer


def table(desk: Desk, apl: str) -> AplTable:
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl), check=lambda name: None).tables[0]


def texts(found: AplTable) -> dict[str, list[Any]]:
    return {field.name: found.rows[place].to_pylist() for place, field in enumerate(found.fields)}


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    made = open_desk(max_cells=1000)
    made.put("logs", *[{"n": n} for n in range(300)])
    return made


def put_raw(desk: Desk, text: str) -> None:
    desk.position += 1
    event = f'{{"n":1000,"rare":{text}}}\n'.encode()
    desk.lake.accept(desk.position, Batch("logs", event, np.array([FIRST_TIME_NS]), 1, RECEIVED_NS))


@pytest.mark.parametrize("text", [DIGITS, f"-{DIGITS}", "1e999999", f"[{DIGITS}]", "123456789012345678901234567890"])
def test_a_number_beyond_all_bounds_is_shown_as_it_came(desk: Desk, text: str) -> None:
    put_raw(desk, text)

    assert texts(table(desk, "logs | where n == 1000"))["rare"] == [text]


def test_rare_fields_stand_in_their_places_by_name(desk: Desk) -> None:
    desk.put("logs", {"n": 1000, "zz": 1, "a": "x", "m": {"b": [1.50], "a": {}}, "none": None})

    found = table(desk, "logs | where n == 1000")

    assert [field.name for field in found.fields] == ["_sysTime", "_time", "a", "m.a", "m.b", "n", "zz"]
    assert texts(found)["m.a"] == ["{}"]
    assert json.loads(texts(found)["m.b"][0]) == [1.5]
    assert {field.name: field.type for field in found.fields}["a"] == "string"


def test_a_flood_of_names_is_refused_by_its_limit_and_what_is_named_is_answered(desk: Desk) -> None:
    desk.put("logs", *[{f"only-{n}": n} for n in range(60)])

    with pytest.raises(QueryFailed, match=r"query_max_cells = 1000; project the fields that you need"):
        table(desk, "logs | where isnull(n) | take 60")
    assert len(table(desk, "logs | where isnull(n) | take 10").fields) == 13
    assert texts(table(desk, "logs | project a = ['only-7'] | where isnotnull(a)"))["a"] == [7]


@pytest.mark.parametrize(
    "apl",
    [
        f"print totimespan('{DIGITS}')",
        f"print timespan({DIGITS})",
        f"print {DIGITS}d",
        f"print toint('{DIGITS}'), todouble('{DIGITS}'), todatetime('{DIGITS}'), tobool('{DIGITS}')",
        f"print parse_bytes('{DIGITS}'), parse_json('[{DIGITS}]'), array_sum(parse_json('[{DIGITS}]'))",
        f"print parse_ipv4('{DIGITS}'), format_ipv4('{DIGITS}'), tohex(parse_json('{DIGITS}'))",
        f"print parse_json('{{\"a\": {DIGITS}}}').a + 1, bin(parse_json('{DIGITS}'), 5)",
        f"print substring('a', {DIGITS})",
        f"print parse_urlquery('a={DIGITS}'), parse_url('http://a:{DIGITS}/')",
        f"print ipv4_is_in_range('1.1.1.1', '1.1.1.1/{DIGITS}')",
    ],
)
def test_digits_without_end_are_a_value_or_an_error_of_the_query(desk: Desk, apl: str) -> None:
    with suppress(AplError, QueryFailed):
        assert table(desk, apl).rows.num_rows == 1

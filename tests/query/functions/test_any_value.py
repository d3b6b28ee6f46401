"""No function and no operator fails for any values of any types."""

import json
from typing import Any

import duckdb
import pytest
import sqlglot.expressions as exp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query.functions.kit import NOW_NS, refused
from support.rounds import rounds

from tailrace.query.functions import FUNCTIONS, CallInvalid, Context, between, binary, call, index, membership, unary
from tailrace.query.functions.operators import ARITHMETIC, COMPARISONS, LOGICAL, MEMBERSHIP, STRING_OPERATORS
from tailrace.query.functions.table import Function
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    MAX_DATETIME_US,
    MAX_LONG,
    MIN_DATETIME_US,
    MIN_LONG,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
    as_dynamic,
    datetime_literal,
    dynamic_literal,
    literal,
    null,
    timespan_literal,
)

CONTEXT = Context(now_ns=NOW_NS, start_ns=NOW_NS - 10**12, end_ns=NOW_NS)

longs = st.integers(MIN_LONG, MAX_LONG) | st.sampled_from(
    [MIN_LONG, MAX_LONG, 0, -1, 1, 2, 2**31, 2**32, -(2**32), 2**53]
)
texts = st.text(max_size=12) | st.sampled_from(
    ["", " ", "(", "[a", "a b", "1", "-1", "1.5", "nan", "inf", "NaN", "null", "true", "{", "[1,", '{"a":1,}', "[NaN]",
     "2020-01-01", "infinity", "epoch", "294247-01-01T00:00:00Z", "1h", "1.00:00:00", "99999999999999999999d",
     "10.0.0.1", "10.0.0.0/8", "::1", "1.2.3.4/99", "http://[::1", "http://a:99999999/", "%ff", "YQ", "\\",
     "\\9", "(?i)é", "\x00", "a" * 300, "١", "select", "1 EB", "99999999999999 EB", "$..a", "$[", "𝔘", "\\u0000"]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
) | st.sampled_from([[], {}, [[]], [None], [1, None, "a"], 10**30, -(10**30), [10**400], {"a": {"b": [1]}}, [1] * 50])

VALUES: dict[Type, st.SearchStrategy[Any]] = {
    BOOL: st.booleans(),
    LONG: longs,
    REAL: st.floats(),
    STRING: texts,
    DATETIME: st.integers(MIN_DATETIME_US, MAX_DATETIME_US) | st.sampled_from([MIN_DATETIME_US, MAX_DATETIME_US, 0]),
    TIMESPAN: longs,
    DYNAMIC: json_values,
}


def as_literal(kind: Type, value: Any) -> Value:
    if value is None:
        return null(kind)
    if kind is DATETIME:
        return datetime_literal(value)
    if kind is TIMESPAN:
        return timespan_literal(value)
    return dynamic_literal(value) if kind is DYNAMIC else literal(value)


def check(instance: duckdb.DuckDBPyConnection, made: Value, columns: dict[str, Value]) -> None:
    """Assert that the value is computed without an error, is JSON if it should be, and a datetime in range."""
    row = ", ".join(f"{value.sql.sql('duckdb')} AS {name}" for name, value in columns.items()) or "1 AS nothing"
    # Not a constant, so that nothing is folded that would not be in a table.
    source = f"FROM (SELECT {row} FROM range(2) AS r(n) WHERE n >= 0)"
    shown = as_dynamic(made).sql.sql("duckdb")
    rows = instance.sql(f"SELECT {made.sql.sql('duckdb')}, CAST({shown} AS VARCHAR) {source}").project("#2").fetchall()
    for (cell,) in rows:
        if cell is not None:
            json.loads(cell, parse_constant=refused)


def column(name: str, kind: Type) -> Value:
    return Value(kind, exp.column(name))


@st.composite
def arguments(draw: st.DrawFn, count: int) -> tuple[list[Value], dict[str, Value]]:
    """Return arguments that are literals, or columns of any types, and the columns."""
    given_arguments, columns = [], {}
    for n in range(count):
        kind = draw(st.sampled_from(list(VALUES)))
        value = as_literal(kind, draw(st.none() | VALUES[kind]))
        if draw(st.booleans()):
            columns[f"c{n}"] = value
            value = column(f"c{n}", kind)
        given_arguments.append(value)
    return given_arguments, columns


PARTS = (
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
    "microsecond",
    "nanosecond",
)


@st.composite
def calls(draw: st.DrawFn, function: Function) -> tuple[list[Value], dict[str, Value]]:
    single = [each for each in function.parameters if not each.many]
    least = sum(not each.optional for each in single) + function.least
    most = len(single) if len(single) == len(function.parameters) else least + 2
    count = draw(st.integers(least, min(most, function.most or most)))
    given_arguments, columns = draw(arguments(count))
    for n, parameter in enumerate(function.parameters[:count]):
        if parameter.kind == "constant":
            given_arguments[n] = literal(draw(st.sampled_from((*PARTS, "string", "nobody_has_it"))))
        elif parameter.name == "groups_and_text" and count == 3:
            given_arguments[1] = dynamic_literal([0])
        elif parameter.name == "group":
            given_arguments[n] = literal(0)
    return given_arguments, columns


pytestmark = [pytest.mark.rounds, pytest.mark.slow]
FEW = settings(max_examples=rounds(4), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_takes_any_values(database: duckdb.DuckDBPyConnection, name: str) -> None:
    @FEW
    @given(calls(FUNCTIONS[name]))
    def run(drawn: tuple[list[Value], dict[str, Value]]) -> None:
        given_arguments, columns = drawn
        try:
            made = call(name, given_arguments, CONTEXT)
        except CallInvalid:
            return  # a literal that can never fit, which is told before the query runs
        check(database, made, columns)

    run()


@pytest.mark.parametrize("operator", [*ARITHMETIC, *COMPARISONS, *LOGICAL, *STRING_OPERATORS])
def test_an_operator_takes_any_values(database: duckdb.DuckDBPyConnection, operator: str) -> None:
    @FEW
    @given(arguments(2))
    def run(drawn: tuple[list[Value], dict[str, Value]]) -> None:
        (left, right), columns = drawn
        try:
            made = binary(operator, left, right)
        except CallInvalid:
            return
        check(database, made, columns)

    run()


@pytest.mark.parametrize("operator", MEMBERSHIP)
def test_membership_takes_any_values(database: duckdb.DuckDBPyConnection, operator: str) -> None:
    @FEW
    @given(arguments(4))
    def run(drawn: tuple[list[Value], dict[str, Value]]) -> None:
        (value, *items), columns = drawn
        check(database, membership(operator, value, items), columns)

    run()


def test_between_negation_and_index_take_any_values(database: duckdb.DuckDBPyConnection) -> None:
    @FEW
    @given(arguments(3))
    def run(drawn: tuple[list[Value], dict[str, Value]]) -> None:
        (value, low, high), columns = drawn
        check(database, between(value, low, high), columns)
        check(database, between(value, low, high, negated=True), columns)
        check(database, unary("-", value), columns)
        check(database, unary("not", value), columns)
        check(database, index(value, low), columns)

    run()

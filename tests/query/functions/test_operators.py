"""Operators: arithmetic, comparison, membership, strings, members."""

from typing import Any

import duckdb
import pytest
import sqlglot.expressions as exp
from query.functions.conftest import Ask
from query.functions.kit import evaluate

from tailrace.query.functions import CallInvalid, Context, binary, call, index, membership
from tailrace.query.functions.operators import STRING_OPERATORS
from tailrace.query.values import (
    DATETIME,
    DYNAMIC,
    LONG,
    STRING,
    Value,
    as_predicate,
    datetime_literal,
    dynamic_literal,
    literal,
    null,
    timespan_literal,
)


@pytest.mark.parametrize(
    ("apl", "expected"),
    [
        ("1 + 2", 3),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7 / 2.0", 3.5),
        ("7.5 % 2", 1.5),
        ("7 / 0", None),
        ("7 % 0", None),
        ("7.0 % 0", None),
        ("9223372036854775807 + 1", None),
        ("9223372036854775807 * 2", None),
        ("-9223372036854775807 - 2", None),
        ("dynamic(2) + 1", 3.0),
        ('dynamic("2") + 1', None),
        ("1h + 30m", "1h30m0s"),
        ("1h * 2", "2h0m0s"),
        ("2 * 1h", "2h0m0s"),
        ("1h * 1.5", "1h30m0s"),
        ("1h / 2", "30m0s"),
        ("1h / 30m", 2.0),
        ("1h / 0s", None),
        ("90m % 1h", "30m0s"),
        ("-1h", "-1h0m0s"),
        ("100000d * 100000", None),
        ("datetime(2020-01-01) + 1h", "2020-01-01T01:00:00Z"),
        ("1h + datetime(2020-01-01)", "2020-01-01T01:00:00Z"),
        ("datetime(2020-01-01) - 1d", "2019-12-31T00:00:00Z"),
        ("datetime(2020-01-02) - datetime(2020-01-01)", "24h0m0s"),
        ("datetime(9999-12-31) + 2d", None),
        ("datetime(2020-01-02) - '2020-01-01'", "24h0m0s"),
        ("now() - ago(90s)", "1m30s"),
    ],
)
def test_arithmetic(ask: Ask, apl: str, expected: Any) -> None:
    assert ask(f"print {apl}") == expected


@pytest.mark.parametrize(
    ("apl", "expected"),
    [
        ("1 == 1.0", True),
        ('1 == "1"', False),
        ('1 != "1"', True),
        ("'a' < 'b'", True),
        ("1 < 'b'", None),
        ("int(null) == 1", False),
        ("int(null) != 1", True),
        ("int(null) < 1", None),
        ("int(null) == int(null)", False),
        ("1 == null", False),
        ("1 != null", True),
        ("datetime(2020-01-01) == '2020-01-01T00:00:00Z'", True),
        ("datetime(2020-01-01) < datetime(2020-01-02)", True),
        ("1s == 1000000000", True),
        ("2s > 1500ms", True),
        ("dynamic(1) == dynamic(1.0)", True),
        ("dynamic(1) == dynamic('1')", False),
        ("dynamic([1, 2]) == dynamic([1, 2])", True),
        ("dynamic(9007199254740993) == 9007199254740993", True),
        ("dynamic(9007199254740993) == 9007199254740992", False),
        ("5 between (1 .. 5)", True),
        ("5 !between (1 .. 5)", False),
        ("int(null) between (1 .. 5)", False),
        ("datetime(2020-01-01 12:00) between (datetime(2020-01-01) .. 1d)", True),
        ("2 in (1, 2)", True),
        ("2 !in (1, 2)", False),
        ('2 in (1, "2")', False),
        ("2 in (dynamic([1, [2]]))", True),
        ("2.0 in (1, 2)", True),
        ('"a" in ("A")', False),
        ('"a" in~ ("A")', True),
        ('"a" !in~ ("A")', False),
        ('"a" in~ (dynamic(["A", 1]))', True),
        ("3.0 in (2, 3)", True),
        ("3 in (0.5, 3.0)", True),
        ("0.5 in (1, 0.5, -0.25)", True),
        ("-0.25 !in (1, 0.5, -0.25)", False),
        ("1e300 in (1e300)", True),
        ("0.1 in (0.1, 7)", True),
        ("0.5 in ('0.5', true)", False),
        ("dynamic(3) in (3.0)", True),
        ("dynamic(0.1) in (0.1)", True),
        ("dynamic([0.1])[0] in (1, 0.2)", False),
        ("real(null) in (0.5, real(nan))", False),
        ("int(null) in (1)", False),
        ("int(null) !in (1)", True),
        ("true and false", False),
        ("false or bool(null)", None),
        ("not(bool(null))", None),
    ],
)
def test_comparison(ask: Ask, apl: str, expected: Any) -> None:
    assert ask(f"print {apl}") is expected


TEXT = "The quick brown-Fox_42 über.alles"


@pytest.mark.parametrize(
    ("operator", "yes", "no"),
    [
        ("=~", TEXT.upper(), "The quick"),
        ("contains", "QUICK BRO", "quickbrown"),
        ("contains_cs", "quick bro", "QUICK"),
        ("startswith", "the Q", "quick"),
        ("startswith_cs", "The", "the"),
        ("endswith", "ALLES", "über"),
        ("endswith_cs", "alles", "ALLES"),
        ("has", "fox", "quic"),
        ("has", "brown-fox", "own-fox"),
        ("has", "ÜBER", "ber"),
        ("has", "42", "4"),
        ("has_cs", "Fox", "fox"),
        ("hasprefix", "QUI", "uick"),
        ("hasprefix_cs", "qui", "QUI"),
        ("hassuffix", "ROWN", "brow"),
        ("hassuffix_cs", "rown", "ROWN"),
        ("matches regex", "F[a-z]x", "^quick"),
        ("has_any", "fox", "fo"),
        ("has_any_cs", "Fox", "fox"),
    ],
)
def test_string_operators(database: duckdb.DuckDBPyConnection, operator: str, yes: str, no: str) -> None:
    text, column = literal(TEXT), Value(STRING, exp.column("c"))
    for part, expected in ((yes, True), (no, False)):
        row = f"FROM (SELECT '{part}' AS c)"
        assert evaluate(database, binary(operator, text, literal(part))) is expected
        assert evaluate(database, binary(operator, text, column), row) is expected
        if f"!{operator}" in STRING_OPERATORS:
            assert evaluate(database, binary(f"!{operator}", text, literal(part))) is not expected
    assert evaluate(database, binary(operator, null(STRING), literal(yes))) is False


def test_numbers_of_mixed_fields_compare_beside_a_column(database: duckdb.DuckDBPyConnection) -> None:
    mixed, column = Value(DYNAMIC, exp.column("m")), Value(LONG, exp.column("c"))
    for number, whole, expected in (("5.7", 5, False), ("5.0", 5, True), ("9007199254740993", 2**53, False)):
        row = f"FROM (SELECT CAST('{number}' AS JSON) AS m, CAST({whole} AS BIGINT) AS c)"
        assert evaluate(database, binary("==", mixed, column), row) is expected
        assert evaluate(database, binary("!=", column, mixed), row) is not expected


def test_there_are_the_documented_string_operators() -> None:
    names = ["contains", "startswith", "endswith", "has", "hasprefix", "hassuffix"]
    assert {*STRING_OPERATORS} == {
        *(["=~", "!~", "has_any", "has_any_cs"]), "matches regex", "!matches regex",
        *(f"{no}{name}{cs}" for name in names for no in ("", "!") for cs in ("", "_cs")),
    }  # fmt: skip


def test_has_any_takes_arrays(ask: Ask) -> None:
    assert ask('print "a b" has_any (dynamic(["x", "b"]))') is True
    assert ask('print "a b" has_any ("x", "y")') is False


def test_string_operators_see_values_of_other_types_written_out(ask: Ask) -> None:
    assert ask('print 12345 contains "34"') is True
    assert ask('print dynamic({"a": ["needle"]}) has "needle"') is True


def test_a_literal_that_is_no_regex_is_refused() -> None:
    with pytest.raises(CallInvalid, match="is not a regular expression"):
        binary("matches regex", literal("a"), literal("("))


def test_a_regex_of_a_row_that_is_none_is_no_match(database: duckdb.DuckDBPyConnection) -> None:
    made = binary("matches regex", literal("a"), Value(STRING, exp.column("c")))
    assert evaluate(database, made, "FROM (SELECT '(' AS c)") is False
    assert evaluate(database, made, "FROM (SELECT '(a)' AS c)") is True


def test_adding_a_string_literal_is_refused() -> None:
    with pytest.raises(CallInvalid, match="strcat"):
        binary("+", literal("a"), literal(1))


@pytest.mark.parametrize(
    ("key", "expected"), [("a/b", 1), ("~", 2), ("", 3), ("none", None), ("0", 4), ('q"$.[', 5), ("é", 6)]
)
def test_members_by_any_name(database: duckdb.DuckDBPyConnection, key: str, expected: int | None) -> None:
    bag = dynamic_literal({"a/b": 1, "~": 2, "": 3, "0": 4, 'q"$.[': 5, "é": 6})
    assert evaluate(database, index(bag, literal(key))) == expected
    by_column = index(bag, Value(STRING, exp.column("c")))
    assert evaluate(database, by_column, f"FROM (SELECT '{key}' AS c)") == expected


def test_elements_by_number(database: duckdb.DuckDBPyConnection) -> None:
    array = dynamic_literal(["a", None, "c"])
    found = [evaluate(database, index(array, literal(n))) for n in (0, 1, 2, 3, -1, -4)]
    assert found == ["a", None, "c", None, "c", None]


def test_a_condition_of_a_column_reaches_the_file(database: duckdb.DuckDBPyConnection) -> None:
    status, time_column = Value(LONG, exp.column("status")), Value(DATETIME, exp.column("t"))
    both = binary(
        "and", binary("==", status, literal(200)), binary(">=", time_column, datetime_literal(0))
    )  # fmt: skip
    assert "COALESCE" not in as_predicate(both).sql("duckdb")
    assert "COALESCE" not in as_predicate(membership("in", status, [literal(1), literal(2)])).sql("duckdb")


def test_a_null_in_a_negated_condition_stays_a_row(database: duckdb.DuckDBPyConnection) -> None:
    """Inside of not(), false and null differ."""
    negated = call("not", [binary("==", Value(LONG, exp.column("c")), literal(1))], Context())
    [(count,)] = database.sql(
        f"SELECT count(*) FROM (SELECT CAST(NULL AS BIGINT) AS c) WHERE {as_predicate(negated).sql('duckdb')}"
    ).fetchall()
    assert count == 1


def test_times_fold_so_that_files_can_be_chosen() -> None:
    now = Context(now_ns=3_600_000_000_000)
    assert call("ago", [timespan_literal(1_800_000_000_000)], now).constant == 1_800_000_000
    assert call("bin", [call("now", [], now), timespan_literal(7 * 10**9)], now).constant == 3_598_000_000
    assert binary("-", call("now", [], now), timespan_literal(10**9)).constant == 3_599_000_000


def test_deep_expressions_grow_with_their_length_only(database: duckdb.DuckDBPyConnection) -> None:
    value = Value(DYNAMIC, exp.column("c"))
    sizes = []
    for _ in range(12):
        value = call("substring", [call("strcat", [value, literal("x")], Context()), literal(-5)], Context())
        sizes.append(len(value.sql.sql("duckdb")))
    assert sizes[-1] < sizes[0] * 15
    assert evaluate(database, value, "FROM (SELECT CAST('\"abc\"' AS JSON) AS c)") == "xxxxx"


def test_a_long_list_of_numbers_is_looked_up_in_any_number(ask: Ask) -> None:
    wholes = ", ".join(map(str, range(1000)))
    reals = ", ".join(f"{n}.25" for n in range(1000))
    row = "datatable(w: long, r: real, m: dynamic)[7, 999.25, dynamic(8.25), 1000, 8.0, dynamic(9)]"

    assert ask(f"{row} | where r in ({wholes}) | project w") == 1000
    assert ask(f"{row} | where r in ({reals}) | project w") == 7
    assert ask(f"{row} | where m in ({wholes}, -5) | project w") == 1000

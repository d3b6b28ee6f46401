"""Terms of texts: runs of letters and digits of any script."""

import unicodedata

import duckdb
import pyarrow as pa
import pytest
import sqlglot.expressions as exp

from tailrace.query.functions import binary
from tailrace.query.functions.terms import OUTSIDE, term_pattern
from tailrace.query.values import STRING, Value, literal


def matching(database: duckdb.DuckDBPyConnection, texts: list[str], operator: str, term: str) -> list[str]:
    """Return the texts in which the operator finds the term."""
    condition = binary(operator, Value(STRING, exp.column("t")), literal(term)).sql.sql("duckdb")
    with database.cursor() as connection:
        connection.register("texts", pa.table({"t": texts}))
        return [text for (text,) in connection.sql(f"SELECT t FROM texts WHERE {condition}").fetchall()]


def test_a_term_that_ends_in_no_letter_has_no_bound_there() -> None:
    assert term_pattern("-a.", starts=True, ends=True) == r"-a\."


@pytest.mark.parametrize(("operator", "beside"), [("has", "{}Error"), ("has_cs", "error{}"), ("hassuffix", "error{}")])
def test_any_letter_or_digit_beside_a_word_makes_it_another(
    database: duckdb.DuckDBPyConnection, operator: str, beside: str
) -> None:
    known = [c for c in map(chr, range(0x11000)) if unicodedata.category(c) not in ("Cn", "Cs")]

    found = matching(database, [beside.format(c) for c in known], operator, "error")

    assert found == [beside.format(c) for c in known if unicodedata.category(c)[0] not in "LN"]


def test_a_term_is_found_beside_one_that_only_holds_it(database: duckdb.DuckDBPyConnection) -> None:
    texts = ["éerror, error", "éerror error", "“error”", "エラーerror", "error—", "terror", "x" * 5000 + " error", ""]

    assert matching(database, texts, "has", "ERROR") == [*texts[:3], *texts[4:5], *texts[6:7]]
    assert matching(database, texts, "hasprefix", "err") == [*texts[:3], *texts[4:5], *texts[6:7]]
    assert matching(database, texts, "hassuffix", "ror") == texts[:7]


def test_the_cases_of_a_letter_are_those_of_regexes(database: duckdb.DuckDBPyConnection) -> None:
    texts = ["—\u212aIS—", "—K\u0130S—", "—k\u0131s—", "—kis—", "—kiſ—"]

    assert matching(database, texts, "has", "kis") == ["—\u212aIS—", "—kis—"]
    assert matching(database, texts, "has_cs", "kis") == ["—kis—"]


def test_a_term_of_another_script_is_found_between_its_bounds(database: duckdb.DuckDBPyConnection) -> None:
    texts = ["ошибка: 5", "ОШИБКА", "ошибками", "безошибка"]

    assert matching(database, texts, "has", "Ошибка") == texts[:2]
    assert matching(database, texts, "hasprefix", "Ошибка") == texts[:3]


def test_what_is_no_letter_is_sought_as_it_is(database: duckdb.DuckDBPyConnection) -> None:
    texts = ["a-(b)-c", "a-b-c", None]

    assert matching(database, [text for text in texts if text], "has", "-(") == texts[:1]
    assert matching(database, [text for text in texts if text], "has", "b)") == texts[:1]
    assert matching(database, ["a", "ab", "ä a"], "has", "a") == ["a", "ä a"]
    assert OUTSIDE not in binary("has", Value(STRING, exp.column("t")), literal("a")).sql.sql("duckdb")

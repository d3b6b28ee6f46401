"""What functions gave is kept for the next block, within bounds."""

import duckdb
import pyarrow as pa
import pytest

from tailrace.query.functions import result_cache
from tailrace.query.functions.result_cache import ResultCache


def results(cache: ResultCache, key: str, *values: str) -> tuple[list[str], list[str]]:
    """Return the results of values, and which of them were computed."""
    computed: list[str] = []

    def compute(some: list[str]) -> list[str]:
        computed.extend(some)
        return [f"{key} of {each}" for each in some]

    return cache.results((key,), [*values], compute), computed


def test_what_is_known_is_not_computed_again() -> None:
    cache = ResultCache()
    assert results(cache, "f", "a", "b") == (["f of a", "f of b"], ["a", "b"])
    assert results(cache, "f", "b", "c", "a") == (["f of b", "f of c", "f of a"], ["c"])
    assert results(cache, "g", "a") == (["g of a"], ["a"])
    assert results(cache, "f", "c") == (["f of c"], [])


def test_values_that_are_ever_others_are_not_looked_up_each_time() -> None:
    cache = ResultCache()
    looks = []
    for block in range(20):
        looks.append(cache.is_worth_a_look(("f",), 10, 100))
        if looks[-1]:
            results(cache, "f", *(f"{block} {n}" for n in range(10)))
    assert looks == [True, True] + [False] * 15 + [True] + [False] * 2
    assert cache.is_worth_a_look(("g",), 10, 100)
    assert not cache.is_worth_a_look(("g",), 10, 10_000)


def test_all_is_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_cache, "MAX_CACHED_BYTES", 1000)
    cache = ResultCache()
    results(cache, "f", "a", "b")
    results(cache, "g", "a", "b")
    assert results(cache, "f", "a") == (["f of a"], [])
    assert results(cache, "g", "c") == (["g of c"], ["c"])
    assert results(cache, "f", "a") == (["f of a"], ["a"])
    assert results(cache, "f", "x" * 1001) == (["f of " + "x" * 1001], ["x" * 1001])
    assert results(cache, "f", "x" * 1001) == (["f of " + "x" * 1001], ["x" * 1001])


def test_blocks_of_a_query_that_share_values_have_each_its_own_result(database: duckdb.DuckDBPyConnection) -> None:
    texts = [f"a {n % 700} b" if n % 5 else None for n in range(9000)]
    database.register("texts", pa.table({"n": range(9000), "t": texts}))
    try:
        rows = database.sql("SELECT apl_totitle(t), apl_parse_csv(t) FROM texts ORDER BY n").fetchall()
    finally:
        database.unregister("texts")
    expected = [
        (None, None) if text is None else (text.replace("a", "A").replace("b", "B"), f'["{text}"]') for text in texts
    ]
    assert rows == expected

"""Functions in Python on a DuckDB that is locked like the server's."""

import json
import subprocess
import sys
import threading
import time

import duckdb
import pyarrow as pa
import pytest
import sqlglot.expressions as exp
from hypothesis import given, settings
from hypothesis import strategies as st
from query.functions.kit import evaluate
from support.rounds import rounds

from tailrace.query.functions import call
from tailrace.query.functions.table import Context
from tailrace.query.functions.udf import CELL_HASH, COLUMN_UDFS, FAILURES, UDFS, Udf, from_json
from tailrace.query.values import BOOL, DYNAMIC, STRING, literal, long, string, to_json


def test_all_are_registered_under_names_of_their_own(database: duckdb.DuckDBPyConnection) -> None:
    found = database.sql("SELECT function_name FROM duckdb_functions() WHERE function_name LIKE 'apl\\_%' ESCAPE '\\'")
    assert {name for (name,) in found.fetchall()} == {*UDFS, *COLUMN_UDFS, CELL_HASH}


def test_a_process_that_imports_the_engine_alone_registers_those_that_the_compiler_calls() -> None:
    script = """
import importlib, pkgutil
import tailrace.query.engines.worker
from tailrace.query.functions.udf import COLUMN_UDFS, UDFS

registered = {*UDFS, *COLUMN_UDFS}
import tailrace.query
for module in pkgutil.walk_packages(tailrace.query.__path__, "tailrace.query."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted({*UDFS, *COLUMN_UDFS} - registered))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_cursor_of_the_instance_knows_them(database: duckdb.DuckDBPyConnection) -> None:
    with database.cursor() as cursor:
        assert cursor.sql("SELECT apl_totitle('a b')").fetchall() == [("A B",)]


def test_rows_whose_values_stand_in_each_others_columns_have_hashes_of_their_own(
    database: duckdb.DuckDBPyConnection,
) -> None:
    rows = database.sql(
        f"SELECT xor({CELL_HASH}('src', src), {CELL_HASH}('dst', dst)),"
        f" xor({CELL_HASH}('n', n), {CELL_HASH}('even', n = 0)) "
        "FROM (VALUES ('a', 'b', 0), ('b', 'a', 1)) AS t(src, dst, n)"
    ).fetchall()
    assert rows[0][0] != rows[1][0]
    assert rows[0][1] != rows[1][1]


def test_null_and_what_fails_are_null_beside_good_rows(database: duckdb.DuckDBPyConnection) -> None:
    rows = database.sql(
        "SELECT apl_parse_ipv4(c) "
        "FROM (VALUES (1, '10.0.0.1'), (2, NULL), (3, 'x'), (4, '0.0.0.2')) AS t(n, c) ORDER BY n"
    )
    assert rows.fetchall() == [(167772161,), (None,), (None,), (2,)]


def test_an_interrupt_stops_them(database: duckdb.DuckDBPyConnection) -> None:
    stopped = threading.Event()
    with database.cursor() as cursor:

        def interrupt() -> None:
            while not stopped.wait(0.05):
                cursor.interrupt()

        thread = threading.Thread(target=interrupt)
        thread.start()
        began = time.monotonic()
        try:
            with pytest.raises(duckdb.InterruptException):
                cursor.sql("SELECT max(apl_parse_url('http://a/' || range)) FROM range(100_000_000)").fetchall()
        finally:
            stopped.set()
            thread.join()
        assert time.monotonic() - began < 10


def test_json_keeps_whole_numbers_of_any_size(database: duckdb.DuckDBPyConnection) -> None:
    text = '{"a":123456789012345678901234567890,"b":[-99999999999999999999]}'
    assert to_json(from_json(text)) == text
    assert evaluate(database, call("array_reverse", [literal(None)], Context())) is None
    assert (
        evaluate(database, call("dynamic_to_json", [call("parse_json", [literal(text)], Context())], Context())) == text
    )


def test_json_that_cannot_be_is_no_value() -> None:
    assert from_json("[NaN]") == [None]
    assert from_json("{") is None
    assert to_json([float("inf"), float("nan")]) == "[null,null]"


def test_results_are_json_of_the_same_form_as_duckdbs(database: duckdb.DuckDBPyConnection) -> None:
    """So that equal values are equal texts, by which they are grouped."""
    [(ours, theirs)] = database.sql(
        "SELECT apl_toarray('[1, 2.0, \"a\"]'), to_json([json '1', '2.0', '\"a\"'])"
    ).fetchall()
    assert ours == theirs == json.dumps([1, 2.0, "a"], separators=(",", ":"))


def test_what_varies_with_two_arguments_is_computed_for_each_pair(database: duckdb.DuckDBPyConnection) -> None:
    rows = "FROM (VALUES ('a,b', 0), ('a,b', 1), (NULL, 1), ('x', NULL), ('a,b', 0)) t(s, n)"
    node = call("indexof", [string(exp.column("s")), literal(","), long(exp.column("n"))], Context()).sql

    found = database.sql(f"SELECT {node.sql('duckdb')} {rows}").fetchall()

    assert [value for (value,) in found] == [1, 1, None, None, 1]


def test_constants_that_differ_from_call_to_call_are_told_apart(database: duckdb.DuckDBPyConnection) -> None:
    def asked(address: str) -> bool:
        node = call("has_ipv4", [string(exp.column("s")), literal(address)], Context()).sql
        [(found,), _] = database.sql(
            f"SELECT {node.sql('duckdb')} FROM (VALUES ('from 10.0.0.1'), ('é 10.0.0.2')) t(s)"
        ).fetchall()
        assert isinstance(found, bool)
        return found

    assert [asked("10.0.0.1"), asked("10.0.0.2"), asked("10.0.0.1")] == [True, False, True]


def test_a_constant_on_either_side_gives_results_of_its_own(database: duckdb.DuckDBPyConnection) -> None:
    rows = database.sql(
        "SELECT apl_series_subtract(x, '[1]'), apl_series_subtract('[1]', x) FROM (VALUES ('[5]'), ('[7]')) t(x)"
    ).fetchall()

    assert rows == [("[4]", "[-4]"), ("[6]", "[-6]")]


_CELL = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 1e300, 2**70, "a", []])
_SERIES = st.lists(st.integers(-3, 3) | st.floats(-3, 3), max_size=4)
_VALUE = _SERIES | _SERIES.filter(bool) | st.lists(_CELL, max_size=4) | _CELL
_ADDRESSES = st.lists(st.sampled_from(["10.0.0.0/8", "1.2.3.4", "x", "10.", "1.2.3.400"]), max_size=3)
_TEXT = st.lists(st.sampled_from(["1.2.3.4", "10.0.0.1", ".", " ", "x", "9", "1.2.3.400"]), max_size=5).map("".join)


def _arguments(function: Udf) -> st.SearchStrategy[list[list[object]]]:
    """Return the columns of some rows, each of which may be the same in all of them."""
    cells = {DYNAMIC: _VALUE | _ADDRESSES, STRING: _TEXT, BOOL: st.booleans()}

    def columns(size: int) -> st.SearchStrategy[list[list[object]]]:
        kinds = [cells.get(kind, st.integers(-2, 5)) for kind in function.parameters]
        if not function.nulls:
            kinds = [kind.filter(lambda cell: cell is not None) for kind in kinds]
        return st.tuples(
            *(st.lists(kind, min_size=size, max_size=size) | kind.map(lambda cell: [cell] * size) for kind in kinds)
        ).map(list)

    return st.integers(1, 20).flatmap(columns)


def _outcome(function: Udf, row: tuple[object, ...]) -> object:
    try:
        return function.row(*row)
    except FAILURES:
        return function.otherwise


@pytest.mark.parametrize("name", sorted(name for name, function in UDFS.items() if function.rows is not None))
@settings(max_examples=rounds(20))
@given(data=st.data())
def test_many_rows_at_once_give_what_each_gives(name: str, data: st.DataObject) -> None:
    function = UDFS[name]
    columns = data.draw(_arguments(function))
    assert function.rows is not None
    try:
        found = function.rows(*columns)
    except FAILURES:
        return  # then they are computed one by one
    expected = [_outcome(function, row) for row in zip(*columns, strict=True)]
    assert to_json(found) == to_json(expected)


def test_rows_after_one_that_fails_are_computed(database: duckdb.DuckDBPyConnection) -> None:
    """Those of a block go on after each failure, whichever ones there are."""
    texts = [f"10.0.{n // 250}.{n % 250}" if n % 7 else f"bad {n}" for n in range(5000)]
    database.register("addresses", pa.table({"n": range(5000), "a": texts}))
    try:
        rows = database.sql("SELECT apl_parse_ipv4(a) FROM addresses ORDER BY n").fetchall()
    finally:
        database.unregister("addresses")
    assert [value for (value,) in rows] == [
        (10 << 24) + (n // 250 << 8) + n % 250 if n % 7 else None for n in range(5000)
    ]


def test_distinct_values_nulls_and_large_numbers_of_a_block_stay_apart(database: duckdb.DuckDBPyConnection) -> None:
    """A block has results that are null, beyond 64 bits, not finite, and text that is not ASCII."""
    cells = [None, "[1e999]", "[170141183460469231731687303715884105728]", '["é\\n"]', "{", "null", "[]"]
    cells += [f"[{n}]" for n in range(500)] + ["[]"]
    database.register("cells", pa.table({"n": range(len(cells)), "c": cells}))
    try:
        found = database.sql("SELECT apl_array_rotate(c, 0) FROM cells ORDER BY n").fetchall()
    finally:
        database.unregister("cells")
    expected = [None, "[null]", cells[2], cells[3], None, None, "[]", *(f"[{n}]" for n in range(500)), "[]"]
    assert [cell for (cell,) in found] == expected


def test_rows_that_are_read_in_whole_columns_stand_among_others_in_their_order(
    database: duckdb.DuckDBPyConnection,
) -> None:
    texts = [None if n % 9 == 0 else f"10.0.{n // 250}.{n % 250}{' ' if n % 7 == 0 else ''}" for n in range(3000)]
    texts += ["host", "1.2.3.4/33", "1.2.3.4/a"]
    database.register("addresses", pa.table({"n": range(len(texts)), "a": texts}))
    try:
        rows = database.sql("SELECT apl_format_ipv4(a, 32), apl_parse_path(a) FROM addresses ORDER BY n").fetchall()
    finally:
        database.unregister("addresses")
    expected = [
        (None, None) if text is None else (UDFS["apl_format_ipv4"].row(text, 32), UDFS["apl_parse_path"].row(text))
        for text in texts[:3000]
    ]
    assert rows[:3000] == expected
    assert [address for address, _ in rows[3000:]] == [None, None, None]

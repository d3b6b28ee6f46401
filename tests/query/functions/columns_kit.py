"""Functions over whole columns, held against their rows."""

from typing import Any

import pyarrow as pa

from tailrace.query.functions.udf import FAILURES, Udf
from tailrace.query.values import DYNAMIC, to_json


def outcome(function: Udf, row: tuple[Any, ...]) -> Any:
    """Return what a row's function gives, in the form in which columns have it."""
    if None in row:
        return function.otherwise
    try:
        return function.row(*row)
    except FAILURES:
        return function.otherwise


def assert_columns_are_rows(function: Udf, arguments: list[Any]) -> None:
    """Raise AssertionError where columns give another result than a row's function; arrays are arguments that vary."""
    assert function.columns is not None
    [size] = {len(each) for each in arguments if isinstance(each, pa.Array)}
    try:
        found = function.columns(*arguments)
    except FAILURES:
        return  # then they are computed one by one
    if found is None:
        return
    results, is_done = found
    columns = [each.to_pylist() if isinstance(each, pa.Array) else [each] * size for each in arguments]
    for result, done, row in zip(results.to_pylist(), is_done, zip(*columns, strict=True), strict=True):
        if done:
            expected = outcome(function, row)
            if function.result is DYNAMIC and not function.returns_json:
                expected = to_json(expected)
            assert result == expected, row

"""Functions that SQL has no good words for, in Python over Arrow arrays, registered on each DuckDB instance.

A row's failure is that row's null: such a function may raise any of FAILURES, and then the row is null. Values of the
types of JSON come and go as JSON text; what cannot be written as JSON is null.
"""

import inspect
import json
from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from duckdb.func import FunctionNullHandling, PythonUDFType
from msgspec import Struct

from tailrace.query.functions.result_cache import ResultCache
from tailrace.query.functions.text_bytes import Found, completed
from tailrace.query.values import (
    BOOL,
    DUCKDB_TYPES,
    DYNAMIC,
    LONG,
    MAX_LONG,
    MIN_LONG,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
    cast,
    fn,
    to_json,
    try_cast,
)

FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)

DECODED_ROWS = 128  # whose lists and dictionaries are there at once: more cost the collector more than the loop
MAX_COLUMN_BYTES = 8 * 1024 * 1024  # that are read in whole columns, which takes several times as much memory
LEAST_ROWS_OF_COLUMNS = 16  # below it the set-up of the vectorised way costs more than it saves

_ARROW = {BOOL: pa.bool_(), LONG: pa.int64(), REAL: pa.float64(), STRING: pa.string(), TIMESPAN: pa.int64(),
          DYNAMIC: pa.string()}  # fmt: skip


class Udf(Struct, frozen=True):
    """`row` gets one row's arguments, none of them None unless `nulls`, and gives the result, or None.

    `otherwise` is the result of a row that has a None argument or fails. A row's result depends on its arguments alone.
    `rows` gets the same arguments of many rows as lists, and gives the list of their results, faster than one by one;
    where it raises, the rows are computed one by one.
    `columns` gets them as Arrow arrays, in which a null may be anything, and what is the same in all rows as it stands;
    it gives an array of results and which of them are right, or None: the others are computed by `row`.
    """

    name: str  # in DuckDB
    parameters: tuple[Type, ...]
    result: Type
    row: Callable[..., Any]
    nulls: bool = False
    otherwise: Any = None
    returns_json: bool = False  # whether the result is JSON text already
    rows: Callable[..., list[Any]] | None = None
    columns: Callable[..., Found | None] | None = None

    def __call__(self, *arguments: Value) -> Value:
        """Return the call as a value; the arguments must be of the declared types already."""
        nodes: list[exp.Expr] = []
        for argument, kind in zip(arguments, self.parameters, strict=True):
            nodes.append(cast(argument.sql, "VARCHAR") if kind is DYNAMIC else argument.sql)
        call = fn(self.name, *nodes)
        return Value(self.result, try_cast(call, "JSON") if self.result is DYNAMIC else call)


class _Block(Struct, frozen=True):
    """Rows of arguments, each another: those that vary, column by column, and those that are the same in all."""

    varying: tuple[int, ...]  # the numbers of the parameters of `rows`
    rows: list[pa.Array]
    constants: tuple[Any, ...]

    def take(self, places: npt.NDArray[np.int64]) -> "_Block":
        return _Block(self.varying, [column.take(pa.array(places)) for column in self.rows], self.constants)


class ColumnUdf(Struct, frozen=True):
    """`columns` gets the arguments of many rows, nulls among them, and gives as many results; it may not raise."""

    name: str  # in DuckDB
    parameters: tuple[str, ...]  # types of DuckDB
    result: str  # a type of DuckDB
    columns: Callable[..., pa.Array]


UDFS: dict[str, Udf] = {}
COLUMN_UDFS: dict[str, ColumnUdf] = {}

CELL_HASH = "apl_cell_hash"
"""A SQL macro: of a name and a value, a UBIGINT that is 0 where the value is null."""


def udf(
    name: str,
    parameters: Iterable[Type],
    result: Type,
    *,
    nulls: bool = False,
    otherwise: Any = None,
    returns_json: bool = False,
    rows: Callable[..., list[Any]] | None = None,
    columns: Callable[..., Found | None] | None = None,
) -> Callable[..., Udf]:
    """Make a row's function one that DuckDB knows by this name; the names begin with `apl_`."""

    def decorate(row: Callable[..., Any]) -> Udf:
        UDFS[name] = Udf(name, tuple(parameters), result, row, nulls, otherwise, returns_json, rows, columns)
        return UDFS[name]

    return decorate


def column_udf(name: str, parameters: Iterable[str], result: str) -> Callable[..., Callable[..., pa.Array]]:
    """Make a function of whole columns one that DuckDB knows by this name; its parameters are Arrow arrays."""

    def decorate(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
        COLUMN_UDFS[name] = ColumnUdf(name, tuple(parameters), result, columns)
        return columns

    return decorate


def register(instance: duckdb.DuckDBPyConnection, others: Iterable[Udf] = ()) -> None:
    """Make every function known to a DuckDB instance and all its cursors, and further ones that a setting brings."""
    cache = ResultCache()
    for each in (*UDFS.values(), *others):
        kinds: list[Any] = ["VARCHAR" if kind is DYNAMIC else DUCKDB_TYPES[kind] for kind in each.parameters]
        result = "VARCHAR" if each.result is DYNAMIC else DUCKDB_TYPES[each.result]
        instance.create_function(
            each.name,
            _over_arrow(each, cache),
            kinds,
            result,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    for column in COLUMN_UDFS.values():
        instance.create_function(
            column.name,
            _with_parameters(_over_whole_arrays(column.columns), len(column.parameters)),
            list(column.parameters),
            column.result,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    # Hashed twice: the hash of two values is the XOR of theirs, so a row's XOR would not tell where each is.
    cell = "CASE WHEN cell IS NULL THEN 0::UBIGINT ELSE hash(hash(name, cell)) END"
    instance.execute(f"CREATE MACRO {CELL_HASH}(name, cell) AS {cell}")


def _over_arrow(function: Udf, cache: ResultCache) -> Callable[..., pa.Array]:
    """Return the function over blocks of rows: what is the same in all rows is read once, each other value computed
    once.
    """

    def run(*columns: pa.ChunkedArray) -> pa.Array:
        size = len(columns[0])
        if not size:
            return pa.array([], _ARROW[function.result])
        distinct = [_one_array(column).dictionary_encode("encode") for column in columns]
        varying = [n for n, column in enumerate(distinct) if len(column.dictionary) > 1]
        if not varying:
            varying = [0]
        constants = tuple(distinct[n].dictionary[0].as_py() for n in range(len(columns)) if n not in varying)
        if len(varying) > 1:
            rows, indices = _distinct_rows([distinct[n] for n in varying])
        else:
            rows, indices = [distinct[varying[0]].dictionary], distinct[varying[0]].indices
        array = _computed(function, cache, _Block(tuple(varying), rows, constants))
        return array if len(array) == size else array.take(indices)

    return _with_parameters(run, len(function.parameters))


def _computed(function: Udf, cache: ResultCache, block: _Block) -> pa.Array:
    """Return the result of each of a block's rows, which are distinct."""
    size = len(block.rows[0])
    found = _of_whole_columns(function, block) if size >= LEAST_ROWS_OF_COLUMNS else None
    if found is not None:
        results, is_done = found
        if is_done.all():
            return results
        left = np.flatnonzero(~is_done)
        others = _row_by_row(function, block.varying, _lists(block.take(left).rows), block.constants)
        return completed(found, others)
    lists = _lists(block.rows)
    # Equal numbers that are not the same, as 0 and -0, are one value to a dictionary.
    if len(lists) > 1 or REAL in function.parameters:
        return _row_by_row(function, block.varying, lists, block.constants)
    key = (function.name, block.varying[0], *block.constants)
    if not cache.is_worth_a_look(key, size, block.rows[0].nbytes):
        return _row_by_row(function, block.varying, lists, block.constants)

    def compute(values: list[Any]) -> list[Any]:
        return _listed(_row_by_row(function, block.varying, [values], block.constants))

    return pa.array(cache.results(key, lists[0], compute), _ARROW[function.result])


def _of_whole_columns(function: Udf, block: _Block) -> Found | None:
    if function.columns is None:
        return None
    if None in block.constants or sum(column.nbytes for column in block.rows) > MAX_COLUMN_BYTES:
        return None
    given, fixed = iter(block.rows), iter(block.constants)
    arguments = []
    for n, kind in enumerate(function.parameters):
        argument = next(given) if n in block.varying else next(fixed)
        arguments.append(from_json(argument) if kind is DYNAMIC and isinstance(argument, str) else argument)
    try:
        found = function.columns(*arguments)
    except FAILURES:
        return None  # of a constant, which the other way finds
    if found is None:
        return None
    results, is_done = found
    for column in block.rows:
        if column.null_count:
            is_done = is_done & column.is_valid().to_numpy(zero_copy_only=False)
    return results, is_done


def _lists(columns: list[pa.Array]) -> list[list[Any]]:
    return [*map(_listed, columns)]


def _listed(column: pa.Array) -> list[Any]:
    if pa.types.is_string(column.type):
        return [*column.to_numpy(zero_copy_only=False)]
    values: list[Any] = column.to_pylist()
    return values


def _row_by_row(
    function: Udf, varying: tuple[int, ...], lists: list[list[Any]], constants: tuple[Any, ...]
) -> pa.Array:
    size = len(lists[0])
    portion = DECODED_ROWS if DYNAMIC in (function.result, *function.parameters) else size
    arrays = [
        _as_arrow(function, _results(function, varying, [cells[n : n + portion] for cells in lists], constants))
        for n in range(0, size, portion)
    ]
    return pa.concat_arrays(arrays)


def _distinct_rows(columns: list[pa.DictionaryArray]) -> tuple[list[pa.Array], pa.Array]:
    """Return the combinations of values there are, column by column, and which of them is where."""
    codes = columns[0].indices.to_numpy().astype(np.int64)
    for column in columns[1:]:
        codes = codes * len(column.dictionary) + column.indices.to_numpy()
        encoded = pa.array(codes).dictionary_encode()  # so that they stay small, whatever the number of columns
        codes = encoded.indices.to_numpy().astype(np.int64)
    _, firsts = np.unique(codes, return_index=True)
    return [column.dictionary.take(column.indices.take(pa.array(firsts))) for column in columns], pa.array(codes)


def _results(function: Udf, varying: tuple[int, ...], cells: list[list[Any]], constants: tuple[Any, ...]) -> list[Any]:
    """Return the results of rows that are given by the cells of the columns that vary, and by what is the same in
    all.
    """
    size = len(cells[0])
    given, fixed = iter(cells), iter(constants)
    columns: list[list[Any]] = []
    for n, kind in enumerate(function.parameters):
        if n in varying:
            listed = next(given)
            columns.append(_decoded(listed) if kind is DYNAMIC else listed)
        else:
            cell = next(fixed)
            columns.append([from_json(cell) if kind is DYNAMIC and cell is not None else cell] * size)
    if function.nulls or not any(None in column for column in columns):
        return _compute_rows(function, columns, size)
    results = [function.otherwise] * size
    present = [n for n, row in enumerate(zip(*columns, strict=True)) if None not in row]
    computed = _compute_rows(function, [[column[n] for n in present] for column in columns], len(present))
    for n, result in zip(present, computed, strict=True):
        results[n] = result
    return results


def _decoded(texts: list[str | None]) -> list[Any]:
    try:
        return [*map(_DECODER.decode, texts)]  # type: ignore[arg-type]
    except (TypeError, msgspec.MsgspecError, RecursionError):
        return [None if text is None else from_json(text) for text in texts]


def _compute_rows(function: Udf, columns: list[list[Any]], size: int) -> list[Any]:
    if function.rows is not None and size:
        try:
            return function.rows(*columns)
        except FAILURES:
            pass  # of some row, which the other way finds
    results: list[Any] = []
    calls = map(function.row, *columns)
    while len(results) < size:
        try:
            results.extend(calls)
        except FAILURES:  # of the row after those that are in the results
            results.append(function.otherwise)
        else:
            break
    if len(results) != size:
        raise RuntimeError(f"{function.name} gave {len(results)} results for {size} rows")
    return results


def _as_arrow(function: Udf, results: list[Any]) -> pa.Array:
    kind = function.result
    try:
        if kind is DYNAMIC and not function.returns_json:
            return _json_array(results)
        return pa.array(results, _ARROW[kind])
    except (*FAILURES, pa.ArrowException):
        return pa.array([_fit_or_default(function, result) for result in results], _ARROW[kind])


def _json_array(values: list[Any]) -> pa.Array:
    """Return values as JSON texts; raise one of FAILURES where a value has to be written by itself."""
    lines = _ENCODER.encode_lines(values)
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    if len(ends) != len(values) or len(lines) > _MAX_ARROW_BYTES:
        raise ValueError("a JSON text has a line break, or all are too long")
    offsets = np.zeros(len(values) + 1, np.int32)
    offsets[1:] = ends - np.arange(len(values))
    there = None
    if None in values:
        there = pa.array([value is not None for value in values]).buffers()[1]
    return pa.Array.from_buffers(
        pa.string(), len(values), [there, pa.py_buffer(offsets), pa.py_buffer(lines.replace(b"\n", b""))]
    )


def _fit_or_default(function: Udf, result: Any) -> Any:
    """Return a result as the function's type; null where it does not fit into it."""
    try:
        return _fit(result, function.result, returns_json=function.returns_json)
    except FAILURES:
        return _fit(function.otherwise, function.result, returns_json=function.returns_json)


def _fit(value: Any, kind: Type, *, returns_json: bool) -> Any:
    if value is None or (kind is DYNAMIC and returns_json):
        return value
    if kind is DYNAMIC:
        return to_json(value)
    if kind is BOOL:
        return bool(value)
    if kind in (LONG, TIMESPAN):
        return value if MIN_LONG <= value <= MAX_LONG else None
    if kind is REAL:
        return float(value)
    if not value.isascii():
        value.encode()  # a lone surrogate is no text
    return value


def _over_whole_arrays(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    def run(*arguments: pa.ChunkedArray) -> pa.Array:
        return columns(*(_one_array(argument) for argument in arguments))

    return run


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _with_parameters(run: Callable[..., pa.Array], count: int) -> Callable[..., pa.Array]:
    """Return the function with so many parameters, as DuckDB counts them."""
    parameters = [inspect.Parameter(f"a{n}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in range(count)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_MAX_ARROW_BYTES = 2**31 - 1  # of the texts of one array


def from_json(text: str) -> Any:
    """JSON text as Python values; None for what is not JSON."""
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def is_number(value: Any) -> bool:
    """Whether a decoded JSON value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)

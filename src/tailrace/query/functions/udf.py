"""Functions that SQL has no good words for, in Python over Arrow arrays, registered on each DuckDB instance.

A row's failure is that row's null: such a function may raise any of FAILURES, and then the row is null. Values of the
types of JSON come and go as JSON text; what cannot be written as JSON is null.
"""

import functools
import inspect
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from duckdb.func import FunctionNullHandling, PythonUDFType
from msgspec import Struct

from tailrace.events.timestamps import TimeMismatch, by_length, read_iso, timestamp_ns
from tailrace.query.values import (
    BOOL,
    DUCKDB_TYPES,
    DYNAMIC,
    LONG,
    MAX_DATETIME_US,
    MAX_LONG,
    MIN_DATETIME_US,
    MIN_LONG,
    NS_PER_US,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
    cast,
    fn,
    parse_timespan,
    timespan_text,
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

MAX_REMEMBERED = 256  # results of a function that stay for the next block of rows
MANY = 128  # rows whose lists and dictionaries are there at once: those of more cost the collector more than the loop
MAX_REMEMBERED_BYTES = 64 * 1024  # of the values on which these results depend

_ARROW = {BOOL: pa.bool_(), LONG: pa.int64(), REAL: pa.float64(), STRING: pa.string(), TIMESPAN: pa.int64(),
          DYNAMIC: pa.string()}  # fmt: skip


class Udf(Struct, frozen=True):
    """`row` gets one row's arguments, none of them None unless `nulls`, and gives the result, or None.

    `otherwise` is the result of a row that has a None argument or fails. A row's result depends on its arguments alone.
    `rows` gets the same arguments of many rows as lists, and gives the list of their results, faster than one by one;
    where it raises, the rows are computed one by one.
    """

    name: str  # in DuckDB
    parameters: tuple[Type, ...]
    result: Type
    row: Callable[..., Any]
    nulls: bool = False
    otherwise: Any = None
    written: bool = False  # whether the result is JSON text already
    rows: Callable[..., list[Any]] | None = None

    def __call__(self, *arguments: Value) -> Value:
        """Return the call as a value; the arguments must be of the declared types already."""
        nodes: list[exp.Expr] = []
        for argument, kind in zip(arguments, self.parameters, strict=True):
            nodes.append(cast(argument.sql, "VARCHAR") if kind is DYNAMIC else argument.sql)
        call = fn(self.name, *nodes)
        return Value(self.result, try_cast(call, "JSON") if self.result is DYNAMIC else call)


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
    written: bool = False,
    rows: Callable[..., list[Any]] | None = None,
) -> Callable[..., Udf]:
    """Make a row's function one that DuckDB knows by this name; the names begin with `apl_`."""

    def register(row: Callable[..., Any]) -> Udf:
        UDFS[name] = Udf(name, tuple(parameters), result, row, nulls, otherwise, written, rows)
        return UDFS[name]

    return register


def column_udf(name: str, parameters: Iterable[str], result: str) -> Callable[..., Callable[..., pa.Array]]:
    """Make a function of whole columns one that DuckDB knows by this name; its parameters are Arrow arrays."""

    def register(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
        COLUMN_UDFS[name] = ColumnUdf(name, tuple(parameters), result, columns)
        return columns

    return register


def register(instance: duckdb.DuckDBPyConnection, others: Iterable[Udf] = ()) -> None:
    """Make every function known to a DuckDB instance and all its cursors, and further ones that a setting brings."""
    for each in (*UDFS.values(), *others):
        kinds: list[Any] = ["VARCHAR" if kind is DYNAMIC else DUCKDB_TYPES[kind] for kind in each.parameters]
        result = "VARCHAR" if each.result is DYNAMIC else DUCKDB_TYPES[each.result]
        instance.create_function(
            each.name,
            _over_arrow(each),
            kinds,
            result,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    for column in COLUMN_UDFS.values():
        instance.create_function(
            column.name,
            _counted(_joined(column.columns), len(column.parameters)),
            list(column.parameters),
            column.result,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    instance.execute(
        f"CREATE MACRO {CELL_HASH}(name, cell) AS CASE WHEN cell IS NULL THEN 0::UBIGINT ELSE hash(name, cell) END"
    )


def _over_arrow(function: Udf) -> Callable[..., pa.Array]:
    """Return the function over blocks of rows: what is the same in all rows is read once, each other value computed
    once.
    """
    # Which parameter varied in the last block and the values of the others, and the results by its values.
    remembered: list[tuple[Any, dict[Any, Any]]] = [((), {})]

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
            rows, places = _distinct_rows([distinct[n] for n in varying])
        else:
            rows, places = [distinct[varying[0]].dictionary], distinct[varying[0]].indices
        few = len(rows[0]) <= MAX_REMEMBERED and len(rows) == 1 and rows[0].nbytes <= MAX_REMEMBERED_BYTES
        if few:
            others = (varying, constants)
            last, known_results = remembered[0]
            if last != others:
                known_results = {}
            cells = rows[0].to_pylist()
            new = [cell for cell in cells if cell not in known_results]
            new_results = dict(zip(new, _results(function, varying, [new], constants), strict=True))
            results = [new_results[cell] if cell in new_results else known_results[cell] for cell in cells]
            remembered[0] = (others, dict(zip(cells, results, strict=True)))
            array = _as_arrow(function, results)
        else:
            lists = [column.to_pylist() for column in rows]
            portion = MANY if DYNAMIC in (function.result, *function.parameters) else len(lists[0])
            arrays = [
                _as_arrow(function, _results(function, varying, [cells[n : n + portion] for cells in lists], constants))
                for n in range(0, len(lists[0]), portion)
            ]
            array = pa.concat_arrays(arrays)
        return array if len(array) == size else array.take(places)

    return _counted(run, len(function.parameters))


def _distinct_rows(columns: list[pa.DictionaryArray]) -> tuple[list[pa.Array], pa.Array]:
    """Return the combinations of values there are, column by column, and which of them is where."""
    codes = columns[0].indices.to_numpy().astype(np.int64)
    for column in columns[1:]:
        codes = codes * len(column.dictionary) + column.indices.to_numpy()
        encoded = pa.array(codes).dictionary_encode()  # so that they stay small, whatever the number of columns
        codes = encoded.indices.to_numpy().astype(np.int64)
    _, firsts = np.unique(codes, return_index=True)
    return [column.dictionary.take(column.indices.take(pa.array(firsts))) for column in columns], pa.array(codes)


def _results(function: Udf, varying: list[int], cells: list[list[Any]], constants: tuple[Any, ...]) -> list[Any]:
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
        return _computed(function, columns, size)
    results = [function.otherwise] * size
    present = [n for n, row in enumerate(zip(*columns, strict=True)) if None not in row]
    computed = _computed(function, [[column[n] for n in present] for column in columns], len(present))
    for n, result in zip(present, computed, strict=True):
        results[n] = result
    return results


def _decoded(texts: list[str | None]) -> list[Any]:
    try:
        return [*map(_DECODER.decode, texts)]  # type: ignore[arg-type]
    except (TypeError, msgspec.MsgspecError, RecursionError):
        return [None if text is None else from_json(text) for text in texts]


def _computed(function: Udf, columns: list[list[Any]], size: int) -> list[Any]:
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
        if kind is DYNAMIC and not function.written:
            return _json_array(results)
        return pa.array(results, _ARROW[kind])
    except (*FAILURES, pa.ArrowException):
        return pa.array([_fitting(function, result) for result in results], _ARROW[kind])


def _json_array(values: list[Any]) -> pa.Array:
    """Values as JSON texts; raises one of FAILURES where a value has to be written by itself."""
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


def _fitting(function: Udf, result: Any) -> Any:
    """Return a result as the function's type; null where it does not fit into it."""
    try:
        return _fitted(result, function.result, written=function.written)
    except FAILURES:
        return _fitted(function.otherwise, function.result, written=function.written)


def _fitted(value: Any, kind: Type, *, written: bool) -> Any:
    if value is None or (kind is DYNAMIC and written):
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


def _joined(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    def run(*arguments: pa.ChunkedArray) -> pa.Array:
        return columns(*(_one_array(argument) for argument in arguments))

    return run


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _counted(run: Callable[..., pa.Array], count: int) -> Callable[..., pa.Array]:
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


def strict_json(text: str) -> Any:
    """JSON text as Python values; of a key that comes twice the last is kept, as on ingest.

    Raise ValueError (msgspec's errors are some) or RecursionError for what is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:  # a number beyond the doubles
        return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def is_number(value: Any) -> bool:
    """Whether a decoded JSON value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


udf("apl_timespan", [STRING], TIMESPAN)(parse_timespan)
udf("apl_timespan_text", [TIMESPAN], STRING)(timespan_text)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@udf("apl_inside", [STRING, STRING, STRING], STRING)
def inside(rest: str, name: str, nesting: str) -> str | None:
    """Return the object of a name out of the JSON text of an event's rest, whose keys are whole paths; null where it
    has none.

    `nesting` is a JSON object: the keys below the name of each path that does not end at its dots.
    """
    tree: dict[str, Any] = {}
    _gather(_members.decode(rest), name, _keys_of(nesting), tree)
    return msgspec.json.encode(tree).decode() if tree else None


@functools.lru_cache(maxsize=16)
def _keys_of(nesting: str) -> dict[str, list[str]]:
    return msgspec.json.decode(nesting, type=dict[str, list[str]])


def _gather(members: dict[str, msgspec.Raw], name: str, nesting: dict[str, list[str]], tree: dict[str, Any]) -> None:
    prefix = name + "."
    for path in sorted(members):  # so that a value stands before what is below its name
        raw = members[path]
        is_object = bytes(raw)[:1] == b"{"
        if path.startswith(prefix):
            _place(tree, nesting.get(path) or path.removeprefix(prefix).split("."), raw)
        elif path == name and is_object:
            for key, value in _members.decode(raw).items():
                _place(tree, [key], value)
        elif is_object and name.startswith(path + "."):  # an event that is kept as it came
            _gather(_members.decode(raw), name.removeprefix(path + "."), nesting, tree)


def _place(tree: dict[str, Any], keys: list[str], raw: msgspec.Raw) -> None:
    for depth, key in enumerate(keys[:-1]):
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            tree[".".join(keys[depth:])] = raw
            return
        tree = below
    tree[keys[-1]] = raw


@column_udf("apl_timestamp", ["VARCHAR"], "TIMESTAMPTZ")
def _timestamps(texts: pa.Array) -> pa.Array:
    """Return the times that texts mean, in microseconds; null for what is none or outside of the years 1 to 9999."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts)]
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    us = np.zeros(len(texts), dtype=np.int64)
    done = np.zeros(len(texts), dtype=np.bool_)
    # An array of texts of one length is read in place where it fills its buffer.
    for rows, columns in by_length(data, starts.astype(np.int64), lengths, least=_FEW, longest=_LONGEST_IN_BULK):
        ns, readable = read_iso(columns)
        us[rows] = ns // NS_PER_US
        done[rows] = readable
    left = np.flatnonzero(~done)
    known: dict[str, int | None] = {}
    for row, text in zip(left.tolist(), texts.take(pa.array(left)).to_pylist(), strict=True):
        if text is None:
            continue
        if text not in known:
            known[text] = _timestamp_us(text)
        moment_us = known[text]
        if moment_us is not None:
            us[row] = moment_us
            done[row] = True
    return pa.array(us, pa.int64(), mask=~done).cast(pa.timestamp("us", "UTC"))


_FEW = 12  # texts; below it the set-up of the vectorised way costs more than it saves
_LONGEST_IN_BULK = 48  # bytes


def _timestamp_us(text: str) -> int | None:
    try:
        us = timestamp_ns(text) // NS_PER_US
    except TimeMismatch:
        return None
    return us if MIN_DATETIME_US <= us <= MAX_DATETIME_US else None


@column_udf("apl_json", ["VARCHAR"], "VARCHAR")
def _jsons(texts: pa.Array) -> pa.Array:
    """JSON texts written anew: the same value is the same text; null for what is no JSON, and for null."""
    return _all_json(texts, otherwise=lambda text: None)


@column_udf("apl_parse_json", ["VARCHAR"], "VARCHAR")
def _jsons_or_texts(texts: pa.Array) -> pa.Array:
    """As `apl_json`, but what is no JSON is a JSON string."""
    return _all_json(texts, otherwise=to_json)


def _all_json(texts: pa.Array, otherwise: Callable[[str], str | None]) -> pa.Array:
    known: dict[str | None, str | None] = {None: None}
    jsons: list[str | None] = []
    for text in texts.to_pylist():
        if text not in known:
            try:
                written = to_json(strict_json(text))
                known[text] = None if written == "null" else written
            except FAILURES:
                known[text] = otherwise(text)
        jsons.append(known[text])
    return pa.array(jsons, pa.string())

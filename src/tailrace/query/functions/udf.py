"""Functions that SQL has no good words for, in Python over Arrow arrays, registered on each DuckDB instance.

A row's failure is that row's null: such a function may raise any of FAILURES, and then the row is null. Values of the
types of JSON come and go as JSON text; what cannot be written as JSON is null.
"""

import functools
import inspect
import itertools
import json
import math
from collections.abc import Callable, Iterable
from functools import partial
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
MAX_REMEMBERED_CHARACTERS = 256  # of a text on which such a result depends

_ARROW = {BOOL: pa.bool_(), LONG: pa.int64(), REAL: pa.float64(), STRING: pa.string(), TIMESPAN: pa.int64(),
          DYNAMIC: pa.string()}  # fmt: skip


class Udf(Struct, frozen=True):
    """`row` gets one row's arguments, none of them None unless `nulls`, and gives the result, or None.

    `otherwise` is the result of a row that has a None argument or fails. A row's result depends on its arguments alone.
    """

    name: str  # in DuckDB
    parameters: tuple[Type, ...]
    result: Type
    row: Callable[..., Any]
    nulls: bool = False
    otherwise: Any = None

    def __call__(self, *arguments: Value) -> Value:
        """The call as a value; the arguments must be of the declared types already."""
        nodes: list[exp.Expr] = []
        for argument, kind in zip(arguments, self.parameters, strict=True):
            nodes.append(cast(argument.sql, "VARCHAR") if kind is DYNAMIC else argument.sql)
        made = fn(self.name, *nodes)
        return Value(self.result, try_cast(made, "JSON") if self.result is DYNAMIC else made)


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
    name: str, parameters: Iterable[Type], result: Type, *, nulls: bool = False, otherwise: Any = None
) -> Callable[..., Udf]:
    """Make a row's function one that DuckDB knows by this name; the names begin with `apl_`."""

    def made(row: Callable[..., Any]) -> Udf:
        UDFS[name] = Udf(name, tuple(parameters), result, row, nulls, otherwise)
        return UDFS[name]

    return made


def column_udf(name: str, parameters: Iterable[str], result: str) -> Callable[..., Callable[..., pa.Array]]:
    """Make a function of whole columns one that DuckDB knows by this name; its parameters are Arrow arrays."""

    def made(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
        COLUMN_UDFS[name] = ColumnUdf(name, tuple(parameters), result, columns)
        return columns

    return made


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
    """The function over blocks of rows: what is the same in all rows is read once, each other value computed once."""
    row, nulls, result = function.row, function.nulls, function.result
    readers = [from_json if kind is DYNAMIC else None for kind in function.parameters]
    fitting = _FITTING.get(result) or partial(_fitting, kind=result)
    otherwise = fitting(function.otherwise)
    remembered: list[tuple[Any, dict[Any, Any]]] = [((), {})]  # the last constants, and results of the last block

    def read(n: int, cell: Any) -> Any:
        reader = readers[n]
        return cell if reader is None or cell is None else reader(cell)

    def run(*columns: pa.ChunkedArray) -> pa.Array:
        lists = [_cells(column) for column in columns]
        size = len(lists[0])
        varying = [n for n, cells in enumerate(lists) if not _is_constant(cells)]
        fixed = tuple((n, cells[0]) for n, cells in enumerate(lists) if size and n not in varying)
        arguments: list[Any] = [None] * len(lists)
        for n, cell in fixed:
            arguments[n] = read(n, cell)

        def computed(cells: tuple[Any, ...]) -> Any:
            try:
                for n, cell in zip(varying, cells, strict=True):
                    arguments[n] = read(n, cell)
                if not nulls and None in arguments:
                    return otherwise
                return fitting(row(*arguments))
            except FAILURES:
                return otherwise

        if not varying:
            return pa.array([computed(())] * size, _ARROW[result])
        alone = lists[varying[0]] if len(varying) == 1 else None
        place = varying[0]
        reader, before, after = readers[place], arguments[:place], arguments[place + 1 :]
        lacking = None in before or None in after

        def computed_alone(cell: Any) -> Any:
            """The same where only one argument varies, as it mostly does."""
            if not nulls and (cell is None or lacking):
                return otherwise
            try:
                if reader is not None and cell is not None:
                    cell = reader(cell)
                    if cell is None and not nulls:
                        return otherwise
                return fitting(row(*before, cell, *after))
            except FAILURES:
                return otherwise

        constants, last = remembered[0]
        known: dict[Any, Any] = dict(last) if constants == fixed else {}
        made: list[Any] = []
        for key in zip(*(lists[n] for n in varying), strict=True) if alone is None else alone:
            found = known.get(key, known)
            if found is known:
                found = known[key] = computed(key) if alone is None else computed_alone(key)
            made.append(found)
        if len(known) <= MAX_REMEMBERED and all(map(_is_short, known)):
            remembered[0] = (fixed, known)
        return pa.array(made, _ARROW[result])

    return _counted(run, len(readers))


def _is_constant(cells: list[Any]) -> bool:
    return len(cells) > 0 and cells[0] == cells[-1] and cells.count(cells[0]) == len(cells)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """The column's values; as to_pylist() gives them, but several times as fast for texts of ASCII."""
    array = _one_array(column)
    listed: list[Any]
    if array.null_count or not pa.types.is_string(array.type) or not len(array):
        listed = array.to_pylist()
        return listed
    ends = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1].tolist()
    data = array.buffers()[2]
    whole = bytes(data[ends[0] : ends[-1]]) if data is not None else b""
    if not whole.isascii():
        listed = array.to_pylist()
        return listed
    text, first = whole.decode(), ends[0]
    return [text[a - first : b - first] for a, b in itertools.pairwise(ends)]


def _joined(columns: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    def run(*arguments: pa.ChunkedArray) -> pa.Array:
        return columns(*(_one_array(argument) for argument in arguments))

    return run


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _counted(run: Callable[..., pa.Array], count: int) -> Callable[..., pa.Array]:
    """The function with so many parameters, as DuckDB counts them."""
    parameters = [inspect.Parameter(f"a{n}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in range(count)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _is_short(key: Any) -> bool:
    cells = key if isinstance(key, tuple) else (key,)
    return all(not isinstance(cell, str) or len(cell) <= MAX_REMEMBERED_CHARACTERS for cell in cells)


def _fitting(value: Any, kind: Type) -> Any:
    if value is None:
        return None
    if kind is DYNAMIC:
        return to_json(value)
    if kind in (LONG, TIMESPAN):
        return value if MIN_LONG <= value <= MAX_LONG else None
    if kind is REAL:
        return float(value)
    if kind is STRING and not value.isascii():
        value.encode()  # a lone surrogate is no text
    return value


def _json_of(value: Any) -> str | None:
    return None if value is None else to_json(value)


def _long_of(value: Any) -> int | None:
    return value if value is None or MIN_LONG <= value <= MAX_LONG else None


def _bool_of(value: Any) -> bool | None:
    return None if value is None else bool(value)


_FITTING: dict[Type, Callable[[Any], Any]] = {BOOL: _bool_of, LONG: _long_of, TIMESPAN: _long_of, DYNAMIC: _json_of}
"""What a row's result becomes, for the types of which it is simple."""

_DECODER = msgspec.json.Decoder()


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

    Raises ValueError (msgspec's errors are some) or RecursionError for what is not JSON.
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


timespan_of = udf("apl_timespan", [STRING], TIMESPAN)(parse_timespan)
text_of_timespan = udf("apl_timespan_text", [TIMESPAN], STRING)(timespan_text)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@udf("apl_inside", [STRING, STRING, STRING], STRING)
def inside(rest: str, name: str, nesting: str) -> str | None:
    """The object of a name out of the JSON text of an event's rest, whose keys are whole paths; null where it has none.

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
    """The times that texts mean, in microseconds; null for what is none or outside of the years 1 to 9999."""
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
        found = known[text]
        if found is not None:
            us[row] = found
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
    made: list[str | None] = []
    for text in texts.to_pylist():
        if text not in known:
            try:
                written = to_json(strict_json(text))
                known[text] = None if written == "null" else written
            except FAILURES:
                known[text] = otherwise(text)
        made.append(known[text])
    return pa.array(made, pa.string())

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
import pyarrow as pa
import sqlglot.expressions as exp
from duckdb.func import FunctionNullHandling, PythonUDFType
from msgspec import Struct

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


UDFS: dict[str, Udf] = {}

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
    instance.execute(
        f"CREATE MACRO {CELL_HASH}(name, cell) AS CASE WHEN cell IS NULL THEN 0::UBIGINT ELSE hash(name, cell) END"
    )


def _over_arrow(function: Udf) -> Callable[..., pa.Array]:
    row, nulls, result = function.row, function.nulls, function.result
    readers = [from_json if kind is DYNAMIC else None for kind in function.parameters]
    otherwise = _fitting(function.otherwise, result)
    remembered: dict[tuple[Any, ...], Any] = {}  # across blocks of rows

    def computed(cells: tuple[Any, ...]) -> Any:
        if not nulls and None in cells:
            return otherwise
        try:
            arguments = [
                cell if reader is None or cell is None else reader(cell)
                for cell, reader in zip(cells, readers, strict=True)
            ]
            if not nulls and None in arguments:
                return otherwise
            return _fitting(row(*arguments), result)
        except FAILURES:
            return otherwise

    def run(*columns: pa.ChunkedArray) -> pa.Array:
        known = dict(remembered)
        made: list[Any] = []
        for cells in zip(*(column.to_pylist() for column in columns), strict=True):
            found = known.get(cells, known)
            if found is known:
                found = known[cells] = computed(cells)
            made.append(found)
        if len(known) <= MAX_REMEMBERED and all(map(_is_short, known)):
            remembered.update(known)
        return pa.array(made, _ARROW[result])

    # DuckDB counts the parameters of what it calls.
    names = [f"a{n}" for n in range(len(readers))]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _is_short(cells: tuple[Any, ...]) -> bool:
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


def from_json(text: str) -> Any:
    """JSON text as Python values; None for what is not JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


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

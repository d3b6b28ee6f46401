"""The scalar functions and operators of APL: a table as data, and how a call becomes a DuckDB expression."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tailrace.query.functions import (
    array,
    conditional,
    conversion,
    datetime,
    genai,
    hashing,
    ip,
    keyvalue_columns,  # noqa: F401 - registers what the operator parse-kv calls
    math,
    metadata,
    pair,
    reports,  # noqa: F401 - registers what the aggregations phrases and spotlight call
    rest_objects,  # noqa: F401 - registers what fields of events call
    rounding,
    series,
    sql,
    string,
    time_texts,  # noqa: F401 - registers what conversions of values call
    types,
)
from tailrace.query.functions.conversion import converted
from tailrace.query.functions.geo import UnusableFile, with_database
from tailrace.query.functions.operators import (
    between,
    binary,
    has_any,
    index,
    membership,
    unary,
)
from tailrace.query.functions.reference_data import ReferenceData, read_reference_data
from tailrace.query.functions.table import CallInvalid, Context, Function, Parameter, Price, find, invoke
from tailrace.query.functions.udf import register
from tailrace.query.values import Value

__all__ = [
    "FUNCTIONS",
    "GROUPS",
    "CallInvalid",
    "Context",
    "Function",
    "Parameter",
    "Price",
    "ReferenceData",
    "UnusableFile",
    "between",
    "binary",
    "call",
    "converted",
    "has_any",
    "index",
    "membership",
    "read_reference_data",
    "register",
    "unary",
    "with_database",
]

GROUPS: Mapping[str, Sequence[Function]] = MappingProxyType(
    {
        group: tuple(module.FUNCTIONS)
        for group, module in (
            ("array", array),
            ("conditional", conditional),
            ("conversion", conversion),
            ("datetime", datetime),
            ("genai", genai),
            ("hash", hashing),
            ("ip", ip),
            ("math", math),
            ("metadata", metadata),
            ("pair", pair),
            ("rounding", rounding),
            ("series", series),
            ("sql", sql),
            ("string", string),
            ("type", types),
        )
    }
)
"""Functions by group, in the order of the reference page."""

FUNCTIONS: Mapping[str, Function] = MappingProxyType({each.name: each for group in GROUPS.values() for each in group})


def call(name: str, arguments: Sequence[Value], context: Context) -> Value:
    """Return the call of a function as a value.

    Raise CallInvalid, whose `argument` says which argument is at fault, for an unknown name, a wrong number of
    arguments, or one that can never fit.
    """
    return invoke(find(FUNCTIONS, name), arguments, context)

"""Tests of what a value is."""

import re

import sqlglot.expressions as exp

from tailrace.query.functions.table import Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    Type,
    Value,
    as_real,
    bool_,
    coalesce,
    fn,
    infix,
    is_not_null,
    json_kind,
    literal,
    not_,
    text_node,
)

FUNCTIONS, _add = table("type")


def _is_kind(kind: Type, json_type: str) -> object:
    def build(context: Context, value: Value) -> Value:
        if value.type is DYNAMIC:
            return bool_(coalesce(infix(exp.EQ, json_kind(value.sql), text_node(json_type)), exp.false()))
        return bool_(is_not_null(value.sql)) if value.type is kind else literal(False)

    return build


def _isreal(context: Context, value: Value) -> Value:
    if value.type not in (DYNAMIC, LONG, REAL):
        return literal(False)
    number = as_real(value).sql
    return bool_(coalesce(not_(fn("isnan", number)), exp.false()))


_SEPARATORS = {ord(" "): None, ord("-"): None}


def _luhn(digits: str) -> bool:
    ascii_digits = digits.encode()
    plain, doubled = ascii_digits[-1::-2].translate(_VALUES), ascii_digits[-2::-2].translate(_DOUBLED)
    return (sum(plain) + sum(doubled)) % 10 == 0


_VALUES = bytes(max(code - 48, 0) for code in range(256))
_DOUBLED = b"".join(bytes([sum(divmod(2 * value, 10)) if value < 10 else 0]) for value in _VALUES)


@udf("apl_iscc", [STRING], BOOL)
def _iscc(text: str) -> bool:
    digits = text.translate(_SEPARATORS)
    return re.fullmatch(r"[0-9]{12,19}", digits) is not None and _luhn(digits)


@udf("apl_isimei", [STRING], BOOL)
def _isimei(text: str) -> bool:
    digits = text.translate(_SEPARATORS)
    return re.fullmatch(r"[0-9]{15}", digits) is not None and _luhn(digits)


# fmt: off
_add("iscc", "value:text", BOOL, lambda c, value: _iscc(value),
     "Whether the value is a credit card number by its digits' check.", 'print iscc("4111 1111 1111 1111")', True)
_add("isimei", "value:text", BOOL, lambda c, value: _isimei(value),
     "Whether the value is an IMEI of 15 digits by its check digit.", 'print isimei("490154203237518")', True)
_add("ismap", "value:any", BOOL, _is_kind(Type.NULL, "OBJECT"),
     "Whether the value is a dictionary.", 'print ismap(dynamic({"a": 1}))', True)
_add("isreal", "value:any", BOOL, _isreal,
     "Whether the value is a number and not NaN.", "print isreal(1.5)", True)
_add("isstring", "value:any", BOOL, _is_kind(STRING, "VARCHAR"),
     "Whether the value is a string.", 'print isstring("a")', True)
_add("isutf8", "value:any", BOOL, _is_kind(STRING, "VARCHAR"),
     "Whether the value is a string of valid UTF-8, as all strings are that were ingested.",
     'print isutf8("é")', True)
# fmt: on

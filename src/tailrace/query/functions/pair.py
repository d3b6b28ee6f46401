"""Functions of pairs of a key and a value, as tags are written."""

from typing import Any

from tailrace.query.functions.table import Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, STRING, Value, dictionary, literal
from tailrace.query.wildcards import wildcard

FUNCTIONS, _add = table("pair")

SEPARATOR = ":"


@udf("apl_parse_pair", [STRING, STRING], DYNAMIC)
def _parse_pair(text: str, separator: str) -> dict[str, str]:
    return _parsed(text, separator)


def _parsed(text: str, separator: str) -> dict[str, str]:
    key, delimiter, value = text.partition(separator) if separator else ("", "", text)
    return {"key": key, "value": value, "separator": separator} if delimiter else _whole(text, separator)


def _whole(text: str, separator: str) -> dict[str, str]:
    return {"key": "", "value": text, "separator": separator}


@udf("apl_find_pair", [DYNAMIC, STRING, STRING, STRING], DYNAMIC)
def _find_pair(values: Any, key: str, value: str, separator: str) -> dict[str, str] | None:
    wanted_key, wanted_value = wildcard(key.split("*")), wildcard(value.split("*"))
    for text in values if isinstance(values, list) else ():
        if isinstance(text, str):
            pair = _parsed(text, separator)
            if wanted_key.fullmatch(pair["key"]) and wanted_value.fullmatch(pair["value"]):
                return pair
    return None


def _pair(context: Context, key: Value, value: Value, separator: Value | None) -> Value:
    return dictionary((("key", key), ("value", value), ("separator", separator or literal(SEPARATOR))))


# fmt: off
_add("pair", "key:text, value:text, separator:text?", DYNAMIC, _pair,
     "A dictionary of key, value and separator.", 'print pair("env", "prod")',
     {"key": "env", "value": "prod", "separator": ":"})
_add("parse_pair", "text:text, separator:text?", DYNAMIC,
     lambda c, text, separator: _parse_pair(text, separator or literal(SEPARATOR)),
     "What a text has before and after its first separator, as key and value; without one all of it is the value.",
     'print parse_pair("env:prod")', {"key": "env", "value": "prod", "separator": ":"})
_add("find_pair", "array:dynamic, key:text, value:text, separator:text?", DYNAMIC,
     lambda c, values, key, value, separator: _find_pair(values, key, value, separator or literal(SEPARATOR)),
     "The first pair of an array of texts whose key and value match; `*` stands for any characters.",
     'print find_pair(dynamic(["host:a1", "env:prod"]), "env", "*")',
     {"key": "env", "value": "prod", "separator": ":"})
# fmt: on

"""Values read from texts of a format, and written as such: sizes in bytes, CSV, JSON, paths."""

import csv
import io
import posixpath
import re

import sqlglot.expressions as exp

from tailrace.query.functions.parsed_json import parse_json
from tailrace.query.functions.string import format_columns
from tailrace.query.functions.string.urls import format_url, parse_url, parse_urlquery
from tailrace.query.functions.table import Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    NULL,
    REAL,
    STRING,
    Type,
    Value,
    bind,
    case,
    fn,
    infix,
    is_null,
    literal,
    string,
    text_node,
    to_json,
)

FUNCTIONS, _add = table("string")

_BYTE_UNITS = ("", "K", "M", "G", "T", "P", "E", "Z", "Y")
_POWERS = {
    f"{each}{end}".lower(): n for n, each in enumerate(_BYTE_UNITS) for end in ("", "B", "i", "iB") if each or not end
} | dict.fromkeys(("b", "byte", "bytes"), 0)
_LARGE_UNIT_NAMES = tuple(f"{each}B" for each in _BYTE_UNITS[2:])
_UNIT_NAMES = {2: ("Bytes", "KB", *_LARGE_UNIT_NAMES), 10: ("Bytes", "kB", *_LARGE_UNIT_NAMES)}
_BYTES = re.compile(r"\s*([+-]?\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


@udf("apl_format_bytes", [REAL, LONG, STRING, LONG], STRING)
def _format_bytes(size: float, precision: int, unit: str, base: int) -> str | None:
    if base not in (2, 10):
        return None
    step = 1024 if base == 2 else 1000
    names = _UNIT_NAMES[base]
    if unit:
        power = _power_of(unit)
        if power is None:
            return None
        name = unit
        if unit[1:2].lower() == "i":
            step = 1024
    else:
        power = 0
        limit = step
        while power + 1 < len(names) and abs(size) >= limit:
            power += 1
            limit *= step
        name = names[power]
    return f"{size / step**power:.{max(0, min(precision, 15))}f} {name}"


def _power_of(unit: str) -> int | None:
    return _POWERS.get(unit.strip().lower())


@udf("apl_parse_bytes", [STRING, LONG], LONG)
def _parse_bytes(text: str, base: int) -> int:
    match = _BYTES.fullmatch(text)
    power = _power_of(match[2]) if match else None
    if match is None or power is None or base not in (2, 10):
        return 0
    step = 1024 if base == 2 or match[2][1:2].lower() == "i" else 1000
    return int(float(match[1]) * step**power) if "." in match[1] else int(match[1]) * step**power


def _is_plain_json(text: str) -> bool:
    """Whether a text, and each part of it, is the same in the quotes of JSON."""
    return '"' not in text and "\\" not in text and text.isprintable()


@udf("apl_parse_csv", [STRING], DYNAMIC, columns=format_columns.parse_csv)
def _parse_csv(text: str) -> list[str]:
    # The reader takes a line break in the middle of a line for a mistake.
    lines = io.StringIO(text, newline="") if "\n" in text or "\r" in text else (text,) if text else ()
    try:
        return next(csv.reader(lines, strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error


@udf("apl_parse_path", [STRING], DYNAMIC, returns_json=True, columns=format_columns.parse_path)
def _parse_path(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    path = rest.replace("\\", "/")
    root = path[:2] if path[1:2] == ":" and re.match(r"[A-Za-z]:(?:/|$)", path) else ""
    directory, _, filename = path.rpartition("/")
    filename, _, stream = filename.partition(":") if root else (filename, "", "")
    extension = posixpath.splitext(filename)[1].removeprefix(".") if "." in filename else ""
    name = directory.rpartition("/")[2]
    if _is_plain_json(text):
        return (
            f'{{"Scheme":"{scheme}","RootPath":"{root}","DirectoryPath":"{directory}","DirectoryName":"{name}",'
            f'"Filename":"{filename}","Extension":"{extension}","AlternateDataStreamName":"{stream}"}}'
        )
    return to_json(
        {
            "Scheme": scheme,
            "RootPath": root,
            "DirectoryPath": rest[: len(directory)],
            "DirectoryName": name,
            "Filename": filename,
            "Extension": extension,
            "AlternateDataStreamName": stream,
        }
    )


def _parse_json(context: Context, value: Value) -> Value:
    if value.type is STRING:
        value = string(bind([value.sql], lambda t: case((infix(exp.NEQ, fn("trim", t), text_node("")), t))))
    return parse_json(value)


_JSON_TYPES = {
    "ARRAY": "array",
    "OBJECT": "dictionary",
    "VARCHAR": "string",
    "BOOLEAN": "bool",
    "BIGINT": "int",
    "UBIGINT": "int",
    "DOUBLE": "real",
}
_TYPE_WORDS = {
    BOOL: "bool",
    LONG: "int",
    REAL: "real",
    STRING: "string",
    Type.DATETIME: "datetime",
    Type.TIMESPAN: "timespan",
}


def _gettype(context: Context, value: Value) -> Value:
    if value.type is NULL:
        return literal("null")
    if value.type is DYNAMIC:
        kinds = [exp.If(this=text_node(kind), true=text_node(word)) for kind, word in _JSON_TYPES.items()]
        return string(exp.Case(this=fn("json_type", value.sql), ifs=kinds, default=text_node("null")))
    return string(case((is_null(value.sql), text_node("null")), otherwise=text_node(_TYPE_WORDS[value.type])))


_ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[@-Z\\-_])"


# fmt: off
_add("format_bytes", "size:real, precision:long?, unit:text?, base:long?", STRING,
     lambda c, size, precision, unit, base: _format_bytes(
         size, precision or literal(0), unit or literal(""), base or literal(2)
     ),
     "A number of bytes for people, in powers of 1024, or of 1000 with base 10.",
     "print format_bytes(1536, 1)", "1.5 KB")
_add("format_url", "parts:dynamic", STRING, lambda c, parts: format_url(parts),
     "A URL of a dictionary with the keys that parse_url() gives; the user may also be called `user`.",
     'print format_url(dynamic({"scheme": "https", "host": "example.com", "path": "/a", "query": {"q": "x y"}}))',
     "https://example.com/a?q=x+y")
_add("gettype", "value:any", STRING, _gettype,
     "The name of the value's type: bool, int, real, string, datetime, timespan, array, dictionary or null.",
     'print gettype(dynamic({"a": 1}))', "dictionary")
_add("parse_bytes", "text:text, base:long?", LONG,
     lambda c, text, base: _parse_bytes(text, base or literal(2)),
     "The number of bytes that a text such as 1.5 KB means, in powers of 1024, or of 1000 with base 10, but never for "
     "KiB; 0 where it means none.",
     'print parse_bytes("1.5 KB")', 1536)
_add("parse_csv", "text:text", DYNAMIC, lambda c, text: _parse_csv(text),
     "The fields of the first record of CSV, in which a quoted field may have line breaks.",
     "print parse_csv('a,\"b,c\"')", ["a", "b,c"])
_add("parse_json", "text:any", DYNAMIC, _parse_json,
     "The value that a JSON text means; a string that is no JSON as it is, null where it is empty.",
     "print parse_json('{\"a\": [1, 2]}')", {"a": [1, 2]}, note="Invalid JSON gives the original string.")
_add("parse_path", "path:text", DYNAMIC, lambda c, text: _parse_path(text),
     "The parts of a path of a file system.", 'print parse_path("/var/log/syslog.1.gz")',
     {"Scheme": "", "RootPath": "", "DirectoryPath": "/var/log", "DirectoryName": "log",
      "Filename": "syslog.1.gz", "Extension": "gz", "AlternateDataStreamName": ""})
_add("parse_url", "url:text", DYNAMIC, lambda c, text: parse_url(text),
     "The parts of a URL; null where it is none.", 'print parse_url("https://u:p@example.com:8080/a?q=1#top")',
     {"scheme": "https", "host": "example.com", "port": "8080", "path": "/a", "username": "u", "password": "p",
      "query": {"q": "1"}, "fragment": "top"}, note="Kusto capitalises the keys.")
_add("parse_urlquery", "query:text", DYNAMIC, lambda c, text: parse_urlquery(text),
     "The parameters of a URL's query; one that is repeated has an array.",
     'print parse_urlquery("a=1&b=2&b=3")', {"a": "1", "b": ["2", "3"]})
_add("strip_ansi_escapes", "text:text", STRING,
     lambda c, text: string(fn("regexp_replace", text.sql, text_node(_ANSI), text_node(""), text_node("g"))),
     "The text without the escape sequences of terminals.",
     'print strip_ansi_escapes(strcat(unicode_codepoints_to_string(dynamic([27])), "[31mred"))', "red")
# fmt: on

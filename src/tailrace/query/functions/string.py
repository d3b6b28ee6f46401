"""String functions."""

import base64
import csv
import io
import posixpath
import re
import urllib.parse
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions import regexes
from tailrace.query.functions.conversion import converted, type_named
from tailrace.query.functions.parsed_json import parse_json
from tailrace.query.functions.regexes import with_regex
from tailrace.query.functions.table import CallInvalid, Context, table
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
    as_text,
    attempt,
    bind,
    bool_,
    case,
    cast,
    coalesce,
    constant_in,
    dynamic,
    fn,
    infix,
    is_null,
    list_transform,
    literal,
    long,
    nan_as_null,
    not_,
    null,
    null_node,
    number_node,
    opaque,
    or_,
    string,
    text_node,
    to_json,
    unified,
)

FUNCTIONS, _add = table("string")

MAX_QUERY_FIELDS = 10_000  # of a URL
MAX_OCCURRENCE = 1000  # of a match that indexof_regex() looks for
MAX_REPEATS = 1024
MAX_REPEATED_BYTES = 256 * 1024  # of strrep()'s result; more is null, as a block of rows has thousands of them


# Encodings


@udf("apl_base64_bytes", [STRING], DYNAMIC, otherwise=[])
def _base64_bytes(text: str) -> list[int]:
    return list(base64.b64decode(text, validate=True))


@udf("apl_base64_text", [STRING], STRING)
def _base64_text(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


@udf("apl_base64_of_bytes", [DYNAMIC], STRING, otherwise="")
def _base64_of_bytes(values: Any) -> str:
    return base64.b64encode(bytes(values)).decode() if isinstance(values, list) else ""


@udf("apl_url_decode", [STRING], STRING)
def _url_decode(text: str) -> str:
    return _unquoted(text, errors="strict") if "%" in text else text


_ASCII_OF_HEX = {f"{n:0{digits}}": chr(n) for n in range(128) for digits in ("2x", "2X")}
_PLAIN_OF_HEX = {digits: character for digits, character in _ASCII_OF_HEX.items() if character not in "&="}


def _unquoted(text: str, *, errors: str = "replace") -> str:
    """As urllib.parse.unquote() gives it, in a fraction of the time where what is encoded is ASCII."""
    first, *others = text.split("%")
    try:
        return first + "".join([_ASCII_OF_HEX[each[:2]] + each[2:] for each in others])
    except KeyError:
        return urllib.parse.unquote(text, errors=errors)


@udf("apl_codepoints", [STRING], DYNAMIC)
def _codepoints(text: str) -> list[int]:
    return list(text.encode()) if text.isascii() else [*map(ord, text)]


@udf("apl_from_codepoints", [DYNAMIC], STRING)
def _from_codepoints(values: Any) -> str:
    return "".join(chr(each) for each in values)


# fmt: off
_add("base64_decode_toarray", "text:text", DYNAMIC, lambda c, text: _base64_bytes(text),
     "The bytes of a Base64 text; an empty array where it is none.",
     'print base64_decode_toarray("YWI=")', [97, 98])
_add("base64_decode_tostring", "text:text", STRING, lambda c, text: _base64_text(text),
     "The UTF-8 text of a Base64 text; null where it is none.",
     'print base64_decode_tostring("aMOp")', "hé")
_add("base64_encode_fromarray", "bytes:dynamic", STRING, lambda c, values: _base64_of_bytes(values),
     "Base64 of an array of bytes, which are numbers from 0 to 255; the empty string for anything else.",
     "print base64_encode_fromarray(dynamic([97, 98]))", "YWI=")
_add("base64_encode_tostring", "text:text", STRING,
     lambda c, text: string(fn("to_base64", fn("encode", text.sql))),
     "Base64 of a text's UTF-8.", 'print base64_encode_tostring("hé")', "aMOp")
_add("url_decode", "text:text", STRING, lambda c, text: _url_decode(text),
     "The text with %XX sequences decoded; null where they are no UTF-8.",
     'print url_decode("a%20b%C3%A9")', "a bé")
_add("url_encode", "text:text", STRING, lambda c, text: string(fn("url_encode", text.sql)),
     "The text with every character but letters, digits and -_.~ as %XX.",
     'print url_encode("a b&é")', "a%20b%26%C3%A9")
_add("unicode_codepoints_from_string", "text:text", DYNAMIC, lambda c, text: _codepoints(text),
     "The code points of a text.", 'print unicode_codepoints_from_string("aé")', [97, 233])
_add("unicode_codepoints_to_string", "codepoints:dynamic", STRING, lambda c, values: _from_codepoints(values),
     "The text of an array of code points; null where one is none.",
     "print unicode_codepoints_to_string(dynamic([97, 233]))", "aé")
_add("quote", "text:text", STRING, lambda c, text: string(cast(fn("to_json", text.sql), "VARCHAR")),
     "The text in double quotes, escaped as in JSON.", 'print quote("a\\"b")', '"a\\"b"')
# fmt: on


# Nulls


def is_empty(value: Value) -> exp.Expr:
    """Whether a value is null or the empty string."""
    if value.type is STRING:
        return coalesce(infix(exp.EQ, value.sql, text_node("")), exp.true())
    if value.type is DYNAMIC:
        return coalesce(infix(exp.EQ, as_text(value).sql, text_node("")), exp.true())
    return is_null(nan_as_null(value).sql)


def _coalesce(context: Context, *arguments: Value) -> Value:
    kind, values = unified(arguments)
    if kind is STRING:
        filled = [fn("nullif", each.sql, text_node("")) for each in values[:-1]]
    elif kind is DYNAMIC:
        filled = [fn("nullif", each.sql, cast(text_node('""'), "JSON")) for each in values[:-1]]
    else:
        filled = [nan_as_null(each).sql for each in values[:-1]]
    return Value(kind, coalesce(*filled, values[-1].sql))


# fmt: off
_add("coalesce", "values:any*", "type of the values", _coalesce,
     "The first value that is neither null nor the empty string, else the last.",
     'print coalesce("", "b", "c")', "b", least=2, most=64)
_add("isempty", "value:any", BOOL, lambda c, value: bool_(is_empty(value)),
     "Whether the value is null or the empty string.", 'print isempty("")', True)
_add("isnotempty notempty", "value:any", BOOL, lambda c, value: bool_(not_(is_empty(value))),
     "Whether the value is neither null nor the empty string.", 'print isnotempty("")', False)
_add("isnull", "value:any", BOOL, lambda c, value: bool_(is_null(nan_as_null(value).sql)),
     "Whether the value is null; the empty string is not.", 'print isnull("")', False)
_add("isnotnull notnull", "value:any", BOOL, lambda c, value: bool_(not_(is_null(nan_as_null(value).sql))),
     "Whether the value is not null.", "print isnotnull(0)", True)
_add("isascii", "text:text", BOOL,
     lambda c, text: bool_(bind([text.sql], lambda t: infix(exp.EQ, fn("strlen", t), fn("length", t)))),
     "Whether all characters are ASCII.", 'print isascii("aé")', False)
# fmt: on


# Search


def _countof(context: Context, search: Value, text: Value) -> Value:
    def counted(part: exp.Expr, whole: exp.Expr) -> exp.Expr:
        left = fn("strlen", fn("replace", whole, part, text_node("")))
        gone = infix(exp.Sub, fn("strlen", whole), left)
        return coalesce(infix(exp.IntDiv, gone, fn("nullif", fn("strlen", part), number_node(0))), case_null(whole))

    return long(bind([search.sql, text.sql], counted))


def case_null(value: exp.Expr) -> exp.Expr:
    """0 where the value is not null."""
    return case((not_(is_null(value)), cast(number_node(0), "BIGINT")))


def _countof_regex(context: Context, regex: Value, text: Value) -> Value:
    return long(with_regex(regex, "countof_regex()", 0, lambda r: fn("len", fn("regexp_extract_all", text.sql, r))))


def _extract(context: Context, regex: Value, group: Value, text: Value, kind: Value | None) -> Value:
    number = constant_in(group, int)
    if number is None or not 0 <= number <= 9:
        raise CallInvalid("group of extract() must be a literal from 0, the whole match, to 9", 1)
    wanted = STRING if kind is None else type_named(kind, "extract()", 3)
    if regex.is_constant and number > regexes.groups(regexes.checked(regex, "extract()", 0)):
        return null(wanted)

    def found(r: exp.Expr) -> exp.Expr:
        def extracted(t: exp.Expr) -> exp.Expr:
            # Without a match the group is empty too.
            empty = case((fn("regexp_matches", t, r), text_node("")))
            return coalesce(fn("nullif", fn("regexp_extract", t, r, number_node(number)), text_node("")), empty)

        return bind([text.sql], extracted)

    return converted(string(with_regex(regex, "extract()", 0, found)), wanted)


def _extract_all(context: Context, regex: Value, *others: Value) -> Value:
    *given, text = others
    if len(given) > 1:
        raise CallInvalid(f"extract_all(regex, groups, text) takes 2 or 3 arguments, not {len(others) + 1}")
    pattern = regexes.checked(regex, "extract_all()", 0) if regex.is_constant else None
    if given and constant_in(given[0], list) != []:
        wanted = constant_in(given[0], list)
        if not wanted or not all(isinstance(each, int) and 0 <= each <= 9 for each in wanted):
            raise CallInvalid("groups of extract_all() must be a literal array of numbers from 0 to 9", 1)
    elif pattern is None:
        raise CallInvalid("extract_all() needs its groups where the regex is no literal", 1)
    else:
        wanted = list(range(1, min(regexes.groups(pattern), 9) + 1)) or [0]
    if pattern is not None and max(wanted) > regexes.groups(pattern):
        return null(DYNAMIC)

    def found(r: exp.Expr) -> exp.Expr:
        lists = [fn("regexp_extract_all", as_text(text).sql, r, number_node(group)) for group in wanted]
        if len(lists) == 1:
            return fn("to_json", lists[0])
        return fn("to_json", list_transform(fn("list_zip", *lists), lambda row: _unzipped(row, len(lists))))

    return dynamic(with_regex(regex, "extract_all()", 0, found))


def _unzipped(row: exp.Expr, count: int) -> exp.Expr:
    return fn("list_value", *(fn("struct_extract", row, number_node(n)) for n in range(1, count + 1)))


@udf("apl_indexof", [STRING, STRING, LONG, LONG, LONG], LONG)
def _indexof_udf(text: str, part: str, start: int, length: int, occurrence: int) -> int:
    begin, end = _window(len(text), start, length)
    found = begin - 1
    for _ in range(min(occurrence, end - begin + 1)):
        found = text.find(part, found + 1, end)
        if found < 0:
            return -1
    return found if occurrence > 0 and found >= begin else -1


def _window(size: int, start: int, length: int) -> tuple[int, int]:
    """Offsets of the part that a search looks at; a negative start counts from the end, a negative length means all."""
    begin = min(start, size) if start >= 0 else max(size + start, 0)
    return begin, size if length < 0 else min(begin + length, size)


def _indexof(
    context: Context, text: Value, part: Value, start: Value | None, length: Value | None, occurrence: Value | None
) -> Value:
    if start is None:
        return long(infix(exp.Sub, fn("strpos", text.sql, part.sql), number_node(1)))
    return _indexof_udf(text, part, start, length or literal(-1), occurrence or literal(1))


def _indexof_regex(
    context: Context, text: Value, regex: Value, start: Value | None, occurrence: Value | None, length: Value | None
) -> Value:
    nth = 1 if occurrence is None else constant_in(occurrence, int)
    if nth is None or nth > MAX_OCCURRENCE:
        raise CallInvalid(f"occurrence of indexof_regex() must be a literal of at most {MAX_OCCURRENCE}", 3)
    if nth < 1:
        return null(LONG)

    def found(t: exp.Expr, r: exp.Expr) -> exp.Expr:
        """Where the regex matches in `t`: the length of what comes before."""
        skipped: list[str | exp.Expr] = ["(?s:.*?)(?:", r, ")"] * (nth - 1)
        whole = _joined("^(", *skipped, "(?s:.*?))(?:", r, ")")
        exact = fn("length", fn("regexp_extract", t, whole, number_node(1)))
        otherwise = case((fn("regexp_matches", t, r if nth == 1 else whole), exact), otherwise=case_minus_one(t))
        if nth > 1:
            return otherwise
        # Splitting is faster, but cuts at empty matches differently.
        before = fn("list_extract", fn("string_split_regex", t, r), number_node(1))
        longer = infix(exp.NEQ, fn("regexp_extract", t, r), text_node(""))
        return case((longer, fn("length", before)), otherwise=otherwise)

    def searched(t: exp.Expr) -> exp.Expr:
        return with_regex(regex, "indexof_regex()", 1, lambda r: found(t, r))

    if start is None:
        return long(bind([text.sql], searched))

    def moved(at: exp.Expr, by: exp.Expr) -> exp.Expr:
        return case((infix(exp.GTE, at, number_node(0)), infix(exp.Add, at, by)), otherwise=at)

    def windowed(t: exp.Expr, begin: exp.Expr, size: exp.Expr) -> exp.Expr:
        wanted = case((infix(exp.EQ, size, number_node(-1)), number_node(_MAX_LENGTH)), otherwise=size)
        part = _substring_sql(t, begin, wanted)
        valid = infix(exp.And, infix(exp.GTE, begin, number_node(0)), infix(exp.GTE, size, number_node(-1)))
        return case((valid, bind([bind([part], searched), _begin(t, begin)], moved)))

    return long(bind([text.sql, start.sql, (length or literal(-1)).sql], windowed))


def _joined(*parts: str | exp.Expr) -> exp.Expr:
    """Texts in one, a literal where all are: DuckDB compiles a regex that is no literal for each row again."""
    nodes = [text_node(part) if isinstance(part, str) else part for part in parts]
    if all(isinstance(node, exp.Literal) for node in nodes):
        return text_node("".join(node.this for node in nodes))
    return fn("concat", *nodes)


def case_minus_one(value: exp.Expr) -> exp.Expr:
    """-1 where the value is not null."""
    return case((not_(is_null(value)), cast(number_node(-1), "BIGINT")))


# fmt: off
_add("countof", "search:text, text:text", LONG, _countof,
     "How often a text occurs in another, without overlaps.", 'print countof("an", "banana")', 2,
     note="Kusto has the text first.")
_add("countof_regex", "regex:text, text:text", LONG, _countof_regex,
     "How often a regex matches, without overlaps.", 'print countof_regex("a.", "banana")', 2)
_add("extract", "regex:text, group:long, text:text, type:constant?", "string, or the type", _extract,
     "What a group of the first match holds, 0 being the whole match, as a string or converted to `typeof(type)`; null "
     "without a match or such a group.",
     'print extract("([0-9]+)ms", 1, "took 25ms")', "25")
_add("extract_all", "regex:text, groups_and_text:any*", DYNAMIC, _extract_all,
     "What the groups of all matches hold: an array of strings for one group, of arrays for several.",
     'print extract_all("([a-z])([0-9])", dynamic([1, 2]), "a1 b2")', [["a", "1"], ["b", "2"]], least=1, most=3)
_add("indexof", "text:text, search:text, start:long?, length:long?, occurrence:long?", LONG, _indexof,
     "Where a text first occurs in another, counted from 0; -1 where it does not.",
     'print indexof("banana", "an", 2)', 3)
_add("indexof_regex", "text:text, regex:text, start:long?, occurrence:long?, length:long?", LONG, _indexof_regex,
     "Where a regex matches, counted from 0; -1 where it does not; null for a start below 0, an occurrence below 1 "
     "or a "
     "length below -1.", 'print indexof_regex("banana", "n.", 3)', 4,
     note="Kusto has the length before the occurrence.")
# fmt: on


# Parsing and formatting


_BYTE_UNITS = ("", "K", "M", "G", "T", "P", "E", "Z", "Y")


@udf("apl_format_bytes", [REAL, LONG, STRING, LONG], STRING)
def _format_bytes(size: float, precision: int, unit: str, base: int) -> str | None:
    if base not in (2, 10):
        return None
    step = 1024 if base == 2 else 1000
    names = _NAMES[base]
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


_POWERS = {
    f"{each}{end}".lower(): n for n, each in enumerate(_BYTE_UNITS) for end in ("", "B", "iB") if each or not end
}
_POWERS |= dict.fromkeys(("b", "byte", "bytes"), 0)
_NAMES = {2: ("Bytes", "KB", *(f"{each}B" for each in _BYTE_UNITS[2:]))}
_NAMES[10] = ("Bytes", "kB", *_NAMES[2][2:])


_BYTES = re.compile(r"\s*([+-]?\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


@udf("apl_parse_bytes", [STRING, LONG], LONG)
def _parse_bytes(text: str, base: int) -> int:
    match = _BYTES.fullmatch(text)
    power = _power_of(match[2]) if match else None
    if match is None or power is None or base not in (2, 10):
        return 0
    step = 1024 if base == 2 or match[2][1:2].lower() == "i" else 1000
    return int(float(match[1]) * step**power) if "." in match[1] else int(match[1]) * step**power


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~ -]*+")


def _quoted(text: str) -> str:
    if " " not in text and _UNRESERVED.fullmatch(text):
        return text
    return urllib.parse.quote(text, safe="")


_URL_NAMES = frozenset(
    ("scheme", "host", "port", "path", "username", "user", "password", "fragment", "query", "query parameters")
)


@udf("apl_format_url", [DYNAMIC], STRING)
def _format_url(parts: Any) -> str | None:
    return _url(parts, **parts) if isinstance(parts, dict) else None


def _url(
    parts: dict[str, Any],
    /,
    scheme: Any = "",
    host: Any = "",
    port: Any = "",
    path: Any = "",
    username: Any = "",
    user: Any = "",
    password: Any = "",
    fragment: Any = "",
    query: Any = "",
    **others: Any,
) -> str:
    """Return the URL of a dictionary's parts, which are the other arguments too."""
    if others and not _URL_NAMES.isdisjoint(map(str.lower, others)):
        named = {key.lower(): value for key, value in parts.items() if value is not None and value != ""}
        other_query = named.pop("query parameters", "")
        named.setdefault("query", other_query)
        return _url(named, **named)
    try:
        "".join((scheme, host, port, path, username, user, password, fragment))
    except TypeError:  # one is no text
        written = map(_written_part, (scheme, host, port, path, username, user, password, fragment))
        scheme, host, port, path, username, user, password, fragment = written
    place = host
    username = username or user
    if username or password:
        login = f"{_quoted(username)}:{_quoted(password)}" if password else _quoted(username)
        place = f"{login}@{place}"
    if port:
        place = f"{place}:{port}"
    query = _formatted_query(query) if isinstance(query, dict) else _written_part(query)
    if not place:
        made: str = urllib.parse.urlunsplit((scheme, place, path, query, fragment))
        return made
    if path and not path.startswith("/"):
        path = "/" + path
    made = f"{scheme}://{place}{path}" if scheme else f"//{place}{path}"
    if query:
        made = f"{made}?{query}"
    return f"{made}#{fragment}" if fragment else made


def _written_part(value: Any) -> str:
    return "" if value is None else str(value)


_UNRESERVED_FIELDS = re.compile(r"[A-Za-z0-9_.~ -]*+=[A-Za-z0-9_.~ -]*+(?:&[A-Za-z0-9_.~ -]*+=[A-Za-z0-9_.~ -]*+)*+")


def _formatted_query(query: dict[str, Any]) -> str:
    """As urllib.parse.urlencode() writes it, in a fraction of the time where nothing but blanks is to be encoded."""
    try:
        made = "&".join(map("=".join, query.items()))
    except TypeError:  # a value is no text
        return urllib.parse.urlencode(query, doseq=True)
    if made.count("=") == len(query) and _UNRESERVED_FIELDS.fullmatch(made):
        return made.replace(" ", "+")
    return urllib.parse.urlencode(query)


_PLAIN_URL = re.compile(
    r"([a-z][a-z0-9+.-]*+)://"
    r"(?:([!$&-.0-9;<=>A-Z^-~]*+)(?::([!$&-.0-;<=>A-Z^-~]*+)|)@|)"  # user name and password
    r"([a-z0-9._~-]*+)(?::([0-9]{1,4}+)|)"  # host and port; a longer port may be out of bounds
    r"(/[!$->@-\[\]-~]*+|)"  # path
    r"(?:\?((?:([!$'-*,-<>@-\[\]-~]++)=([!$%'-*,-<>-\[\]-~]*+)"  # query: a field
    r"(?:&([!$'-*,-<>@-\[\]-~]++)=([!$%'-*,-<>-\[\]-~]*+)|)(?=#|\Z)"  # and perhaps a second one
    r"|[!$-\[\]-~]*+))|)"  # or any
    r"(?:#([!#-\[\]-~]*+)|)"  # fragment
)
"""URLs whose parts are as they stand in the text, and the same in the quotes of JSON."""


@udf("apl_parse_url", [STRING], DYNAMIC, written=True)
def _parse_url(text: str) -> str:
    found = _PLAIN_URL.fullmatch(text)
    if found is None:
        return _parsed_url(text)
    scheme, username, password, host, port, path, query, name, value, other, second, fragment = found.groups("")
    if port[:1] == "0":
        port = str(int(port))
    fields = ""
    if name and name != other:
        fields = f'"{name}":"{value}","{other}":"{second}"' if other else f'"{name}":"{value}"'
        fields = fields.replace("%20", " ")
    if query and (not fields or "%" in fields):
        fields = to_json(_query(query))[1:-1]
    return (
        f'{{"scheme":"{scheme}","host":"{host}","port":"{port}","path":"{path}","username":"{username}",'
        f'"password":"{password}","query":{{{fields}}},"fragment":"{fragment}"}}'
    )


def _parsed_url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    port = parts.port
    return to_json(
        {
            "scheme": parts.scheme,
            "host": parts.hostname or "",
            "port": "" if port is None else str(port),
            "path": parts.path,
            "username": urllib.parse.unquote(parts.username or ""),
            "password": urllib.parse.unquote(parts.password or ""),
            "query": _query(parts.query),
            "fragment": parts.fragment,
        }
    )


def _is_plain_json(text: str) -> bool:
    """Whether a text, and each part of it, is the same in the quotes of JSON."""
    return '"' not in text and "\\" not in text and text.isprintable()


def _query(text: str) -> dict[str, Any]:
    text = text.removeprefix("?")
    if text.count("&") >= MAX_QUERY_FIELDS:
        raise ValueError(f"a query has at most {MAX_QUERY_FIELDS} fields")
    if "+" in text:
        text = text.replace("+", " ")
    if "%20" in text:
        text = text.replace("%20", " ")
    encoded = "%" in text
    if encoded:
        first, *others = text.split("%")
        try:
            text = first + "".join([_PLAIN_OF_HEX[each[:2]] + each[2:] for each in others])
            encoded = False
        except KeyError:
            pass  # something else than ASCII, or one of the characters that part the fields
    parts = text.split("&")
    if not encoded and text.count("=") == len(parts):
        try:
            simple: dict[str, Any] = dict([each.split("=") for each in parts])
        except ValueError:
            simple = {}  # a field has two of them
        if len(simple) == len(parts):
            return simple
    found: dict[str, Any] = {}
    for part in parts:
        if not part:
            continue
        key, _, value = part.partition("=")
        if encoded:
            key, value = urllib.parse.unquote(key), urllib.parse.unquote(value)
        if key not in found:
            found[key] = value
        elif isinstance(found[key], list):
            found[key].append(value)
        else:
            found[key] = [found[key], value]
    return found


@udf("apl_parse_urlquery", [STRING], DYNAMIC)
def _parse_urlquery(text: str) -> dict[str, Any]:
    return _query(text)


@udf("apl_parse_csv", [STRING], DYNAMIC)
def _parse_csv(text: str) -> list[str]:
    # The reader takes a line break in the middle of a line for a mistake.
    lines = io.StringIO(text, newline="") if "\n" in text or "\r" in text else (text,) if text else ()
    try:
        return next(csv.reader(lines, strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error


@udf("apl_parse_path", [STRING], DYNAMIC, written=True)
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
_add("format_url", "parts:dynamic", STRING, lambda c, parts: _format_url(parts),
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
_add("parse_url", "url:text", DYNAMIC, lambda c, text: _parse_url(text),
     "The parts of a URL; null where it is none.", 'print parse_url("https://u:p@example.com:8080/a?q=1#top")',
     {"scheme": "https", "host": "example.com", "port": "8080", "path": "/a", "username": "u", "password": "p",
      "query": {"q": "1"}, "fragment": "top"}, note="Kusto capitalises the keys.")
_add("parse_urlquery", "query:text", DYNAMIC, lambda c, text: _parse_urlquery(text),
     "The parameters of a URL's query; one that is repeated has an array.",
     'print parse_urlquery("a=1&b=2&b=3")', {"a": "1", "b": ["2", "3"]})
_add("strip_ansi_escapes", "text:text", STRING,
     lambda c, text: string(fn("regexp_replace", text.sql, text_node(_ANSI), text_node(""), text_node("g"))),
     "The text without the escape sequences of terminals.",
     'print strip_ansi_escapes(strcat(unicode_codepoints_to_string(dynamic([27])), "[31mred"))', "red")
# fmt: on


# Replacing and trimming


@udf("apl_rewrite", [STRING], STRING)
def _rewrite_udf(rewrite: str) -> str:
    return regexes.rewrite_of(rewrite)


def _replace_regex(context: Context, regex: Value, rewrite: Value, text: Value) -> Value:
    given = rewrite.constant
    known = literal(regexes.rewrite_of(given)) if isinstance(given, str) else _rewrite_udf(rewrite)

    def replaced(r: exp.Expr) -> exp.Expr:
        return fn("regexp_replace", text.sql, r, known.sql, text_node("g"))

    if regex.is_constant and isinstance(known.constant, str):
        pattern = regexes.checked(regex, "replace_regex()", 0)
        problem = regexes.rewrite_fault(pattern, known.constant)
        if problem is not None:
            hint = "; a dollar sign itself is written $$" if "$" in given else ""
            raise CallInvalid(f"replace_regex(): {given!r} cannot replace {pattern!r}: {problem}{hint}", 1)
        return string(replaced(text_node(pattern)))
    if rewrite.is_constant:
        return string(with_regex(regex, "replace_regex()", 0, replaced))
    if regex.is_constant:
        regexes.checked(regex, "replace_regex()", 0)
    return string(opaque(as_text(regex).sql, lambda r: attempt(replaced(r))))


def _translate(context: Context, old: Value, new: Value, text: Value) -> Value:
    def translated(o: exp.Expr, n: exp.Expr, t: exp.Expr) -> exp.Expr:
        last = coalesce(fn("nullif", fn("right", n, number_node(1)), text_node("")), text_node(" "))
        padded = fn("rpad", n, cast(fn("length", o), "INTEGER"), last)
        empty = infix(exp.EQ, n, text_node(""))
        return case((empty, fn("translate", t, o, n)), otherwise=fn("translate", t, o, padded))

    return string(bind([old.sql, new.sql, text.sql], translated))


def _trim_regex(name: str, before: bool, after: bool) -> Any:
    def build(context: Context, regex: Value, text: Value) -> Value:
        if regex.is_constant:
            regexes.checked(regex, f"{name}()", 0)

        def trimmed(r: exp.Expr) -> exp.Expr:
            made = text.sql
            if before:
                made = fn("regexp_replace", made, _joined("^(?:", r, ")"), text_node(""))
            if after:
                made = fn("regexp_replace", made, _joined("(?:", r, ")$"), text_node(""))
            return made

        return string(with_regex(regex, f"{name}()", 0, trimmed))

    return build


_SPACE = r"^[\s\v\pZ]+|[\s\v\pZ]+$"

# fmt: off
_add("replace_regex replace", "regex:text, rewrite:text, text:text", STRING, _replace_regex,
     "The text with all matches of a regex replaced; \\1 in the replacement is the first group, \\0 the match.",
     'print replace_regex("([a-z])([0-9])", @"\\2\\1", "a1 b2")', "1a 2b",
     note="Kusto has the text first.")
_add("replace_string", "search:text, replacement:text, text:text", STRING,
     lambda c, old, new, text: string(fn("replace", text.sql, old.sql, new.sql)),
     "The text with all occurrences of another replaced.", 'print replace_string("a", "o", "banana")', "bonono",
     note="Kusto has the text first.")
_add("translate", "from:text, to:text, text:text", STRING, _translate,
     "The text with each character of `from` replaced by that of `to` in its place; the last one serves for the rest.",
     'print translate("abc", "xy", "aabbcc")', "xxyyyy")
for _name, _function, _where, _shown in (
    ("trim", "trim", "both ends", "value"), ("trim_start", "ltrim", "the start", "value--"),
    ("trim_end", "rtrim", "the end", "--value"),
):
    _add(_name, "characters:text, text:text", STRING,
         lambda c, characters, text, _function=_function: string(fn(_function, text.sql, characters.sql)),
         f"The text without any of these characters at {_where}.", f'print {_name}("-", "--value--")', _shown,
         note="The first argument is a set of characters; Kusto's is a regex.")
for _name, _before, _after, _where, _shown in (
    ("trim_regex", True, True, "both ends", "x"), ("trim_start_regex", True, False, "the start", "x22"),
    ("trim_end_regex", False, True, "the end", "11x"),
):
    _add(_name, "regex:text, text:text", STRING, _trim_regex(_name, _before, _after),
         f"The text without the match of a regex at {_where}.", f'print {_name}("[0-9]+", "11x22")', _shown)
_add("trim_space", "text:text", STRING,
     lambda c, text: string(fn("regexp_replace", text.sql, text_node(_SPACE), text_node(""), text_node("g"))),
     "The text without white space at both ends.", 'print trim_space("  a b ")', "a b")
# fmt: on


# fmt: off
_add("regex_quote", "text:text", STRING, lambda c, text: string(
         fn("regexp_replace", text.sql, text_node(regexes.SPECIAL), text_node(r"\\\0"), text_node("g"))
     ),
     "A regex that matches just this text.", 'print regex_quote("a.b")', "a\\.b")
# fmt: on


# Building and measuring


def _strcat(context: Context, *arguments: Value) -> Value:
    return string(fn("concat", *(coalesce(each.sql, text_node("")) for each in arguments)))


def _strcat_delim(context: Context, delimiter: Value, *arguments: Value) -> Value:
    return string(fn("concat_ws", delimiter.sql, *(coalesce(each.sql, text_node("")) for each in arguments)))


def _strcmp(context: Context, left: Value, right: Value) -> Value:
    def compared(a: exp.Expr, b: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.LT, a, b), number_node(-1)),
            (infix(exp.EQ, a, b), number_node(0)),
            (infix(exp.GT, a, b), number_node(1)),
        )

    return long(cast(bind([left.sql, right.sql], compared), "BIGINT"))


def _strrep(context: Context, text: Value, count: Value, delimiter: Value | None) -> Value:
    def repeated(t: exp.Expr, wanted: exp.Expr, d: exp.Expr) -> exp.Expr:
        n = fn("least", wanted, number_node(MAX_REPEATS))
        size = infix(exp.Add, fn("strlen", t), fn("strlen", d))
        small = infix(exp.LTE, infix(exp.Mul, cast(size, "HUGEINT"), n), number_node(MAX_REPEATED_BYTES))
        fewer = infix(exp.Sub, n, number_node(1))
        made = fn("concat", fn("repeat", fn("concat", t, d), fewer), t)
        return case(
            (or_(is_null(t), is_null(wanted), is_null(d)), null_node("VARCHAR")),
            (infix(exp.LTE, wanted, number_node(0)), text_node("")),
            (small, made),
        )

    return string(bind([text.sql, count.sql, (delimiter or literal("")).sql], repeated))


def _begin(text: exp.Expr, start: exp.Expr) -> exp.Expr:
    """Return the zero-based offset that a start means, a negative one counting from the end."""
    size = fn("length", text)
    # LEAST and GREATEST pass over nulls, so a null start must not come to them.
    return case(
        (infix(exp.GTE, start, number_node(0)), fn("least", start, size)),
        (infix(exp.LT, start, infix(exp.Sub, number_node(0), size)), number_node(0)),
        (infix(exp.LT, start, number_node(0)), infix(exp.Add, size, start)),
    )


def _substring_sql(text: exp.Expr, start: exp.Expr, length: exp.Expr | None) -> exp.Expr:
    """`text` from a zero-based start; a length of None means all of it."""

    def bounded(n: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.LT, n, number_node(0)), number_node(0)),
            (infix(exp.GTE, n, number_node(0)), fn("least", n, number_node(_MAX_LENGTH))),
        )

    def cut(t: exp.Expr, s: exp.Expr, n: exp.Expr) -> exp.Expr:
        first = infix(exp.Add, _begin(t, s), number_node(1))
        return fn("substring", t, first, bounded(n))

    return bind([text, start, length if length is not None else number_node(_MAX_LENGTH)], cut)


_MAX_LENGTH = 2**32 - 1  # that substring() of DuckDB takes


def _substring(context: Context, text: Value, start: Value, length: Value | None) -> Value:
    return string(_substring_sql(text.sql, start.sql, length.sql if length is not None else None))


@udf("apl_totitle", [STRING], STRING)
def _totitle(text: str) -> str:
    return re.sub(r"\S+", lambda word: word[0][:1].upper() + word[0][1:].lower(), text)


# fmt: off
_add("reverse", "text:text", STRING, lambda c, text: string(fn("reverse", text.sql)),
     "The characters in reverse order.", 'print reverse("abc")', "cba")
_add("split", "text:text, delimiter:text", DYNAMIC,
     lambda c, text, delimiter: dynamic(fn("to_json", fn("string_split", text.sql, delimiter.sql))),
     "The parts of a text between delimiters; its characters, for an empty one.",
     'print split("a,b", ",")', ["a", "b"], note="There is no index as in Kusto: write split(text, delimiter)[n].")
_add("strcat", "values:text*", STRING, _strcat,
     "The values, written out, one after the other; a null adds nothing.",
     'print strcat("a", 1, true)', "a1true", least=1, most=64)
_add("strcat_delim", "delimiter:text, values:text*", STRING, _strcat_delim,
     "The values, written out, with a delimiter between them.",
     'print strcat_delim("-", "a", 1, true)', "a-1-true", least=1, most=64)
_add("strcmp", "left:text, right:text", LONG, _strcmp,
     "-1, 0 or 1, as the first text sorts before, like or after the second.", 'print strcmp("a", "b")', -1)
_add("strlen", "text:text", LONG, lambda c, text: long(fn("length", text.sql)),
     "Number of characters.", 'print strlen("héllo")', 5)
_add("string_size", "text:text", LONG, lambda c, text: long(fn("strlen", text.sql)),
     "Number of bytes in UTF-8.", 'print string_size("héllo")', 6)
_add("strrep", "text:text, count:long, delimiter:text?", STRING, _strrep,
     f"The text repeated, at most {MAX_REPEATS} times; null where the result is longer than 256 KiB.",
     'print strrep("ab", 3, "-")', "ab-ab-ab")
_add("substring", "text:text, start:long, length:long?", STRING, _substring,
     "Part of a text from a start counted from 0, or from the end if negative.", 'print substring("abcdef", 2, 3)',
     "cde")
_add("tolower", "text:text", STRING, lambda c, text: string(fn("lower", text.sql)),
     "The text in small letters.", 'print tolower("AÉ")', "aé")
_add("toupper", "text:text", STRING, lambda c, text: string(fn("upper", text.sql)),
     "The text in capitals.", 'print toupper("aé")', "AÉ")
_add("totitle", "text:text", STRING, lambda c, text: _totitle(text),
     "Each word with a capital first and small letters after.", 'print totitle("hello WORLD")', "Hello World")
# fmt: on

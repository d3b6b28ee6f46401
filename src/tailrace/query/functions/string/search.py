"""Where and how often texts and regexes occur in a text, and what groups of regexes hold."""

import sqlglot.expressions as exp

from tailrace.query.functions import regexes
from tailrace.query.functions.conversion import converted, type_named
from tailrace.query.functions.regexes import with_regex
from tailrace.query.functions.string.building import MAX_SUBSTRING_LENGTH, substring, substring_offset
from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    DYNAMIC,
    LONG,
    STRING,
    Value,
    as_text,
    bind,
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
    not_,
    null,
    number_node,
    string,
    text_node,
)

FUNCTIONS, _add = table("string")

MAX_OCCURRENCE = 1000  # of a match that indexof_regex() looks for


def _countof(context: Context, search: Value, text: Value) -> Value:
    def counted(part: exp.Expr, whole: exp.Expr) -> exp.Expr:
        remaining_bytes = fn("strlen", fn("replace", whole, part, text_node("")))
        removed_bytes = infix(exp.Sub, fn("strlen", whole), remaining_bytes)
        times = infix(exp.IntDiv, removed_bytes, fn("nullif", fn("strlen", part), number_node(0)))
        return coalesce(times, _unless_null(0, whole))

    return long(bind([search.sql, text.sql], counted))


def _unless_null(number: int, value: exp.Expr) -> exp.Expr:
    """Return a LONG, null where a value is."""
    return case((not_(is_null(value)), cast(number_node(number), "BIGINT")))


def _countof_regex(context: Context, regex: Value, text: Value) -> Value:
    return long(with_regex(regex, "countof_regex()", 0, lambda r: fn("len", fn("regexp_extract_all", text.sql, r))))


def _extract(context: Context, regex: Value, group: Value, text: Value, kind: Value | None) -> Value:
    number = constant_in(group, int)
    if number is None or not 0 <= number <= 9:
        raise CallInvalid("group of extract() must be a literal from 0, the whole match, to 9", 1)
    result = STRING if kind is None else type_named(kind, "extract()", 3)
    if regex.is_constant and number > regexes.count_groups(regexes.checked_regex(regex, "extract()", 0)):
        return null(result)

    def matched(r: exp.Expr) -> exp.Expr:
        def extracted(t: exp.Expr) -> exp.Expr:
            # Without a match the group is empty too.
            empty = case((fn("regexp_matches", t, r), text_node("")))
            return coalesce(fn("nullif", fn("regexp_extract", t, r, number_node(number)), text_node("")), empty)

        return bind([text.sql], extracted)

    return converted(string(with_regex(regex, "extract()", 0, matched)), result)


def _extract_all(context: Context, regex: Value, *others: Value) -> Value:
    *given, text = others
    if len(given) > 1:
        raise CallInvalid(f"extract_all(regex, groups, text) takes 2 or 3 arguments, not {len(others) + 1}")
    pattern = regexes.checked_regex(regex, "extract_all()", 0) if regex.is_constant else None
    if given and constant_in(given[0], list) != []:
        numbers = constant_in(given[0], list)
        if not numbers or not all(isinstance(each, int) and 0 <= each <= 9 for each in numbers):
            raise CallInvalid("groups of extract_all() must be a literal array of numbers from 0 to 9", 1)
    elif pattern is None:
        raise CallInvalid("extract_all() needs its groups where the regex is no literal", 1)
    else:
        numbers = list(range(1, min(regexes.count_groups(pattern), 9) + 1)) or [0]
    if pattern is not None and max(numbers) > regexes.count_groups(pattern):
        return null(DYNAMIC)

    def matched(r: exp.Expr) -> exp.Expr:
        lists = [fn("regexp_extract_all", as_text(text).sql, r, number_node(group)) for group in numbers]
        if len(lists) == 1:
            return fn("to_json", lists[0])
        return fn("to_json", list_transform(fn("list_zip", *lists), lambda row: _list_of_row(row, len(lists))))

    return dynamic(with_regex(regex, "extract_all()", 0, matched))


def _list_of_row(row: exp.Expr, count: int) -> exp.Expr:
    return fn("list_value", *(fn("struct_extract", row, number_node(n)) for n in range(1, count + 1)))


@udf("apl_indexof", [STRING, STRING, LONG, LONG, LONG], LONG)
def _indexof_udf(text: str, part: str, start: int, length: int, occurrence: int) -> int:
    begin, end = _window(len(text), start, length)
    position = begin - 1
    for _ in range(min(occurrence, end - begin + 1)):
        position = text.find(part, position + 1, end)
        if position < 0:
            return -1
    return position if occurrence > 0 and position >= begin else -1


def _window(size: int, start: int, length: int) -> tuple[int, int]:
    """Return offsets of the part that a search looks at; a negative start counts from the end, a negative length means
    all.
    """
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

    def position(t: exp.Expr, r: exp.Expr) -> exp.Expr:
        """Return where the regex matches in `t`: the length of what comes before."""
        skipped: list[str | exp.Expr] = ["(?s:.*?)(?:", r, ")"] * (nth - 1)
        whole = regexes.concat("^(", *skipped, "(?s:.*?))(?:", r, ")")
        exact = fn("length", fn("regexp_extract", t, whole, number_node(1)))
        otherwise = case((fn("regexp_matches", t, r if nth == 1 else whole), exact), otherwise=_unless_null(-1, t))
        if nth > 1:
            return otherwise
        # Splitting is faster, but cuts at empty matches differently.
        before = fn("list_extract", fn("string_split_regex", t, r), number_node(1))
        longer = infix(exp.NEQ, fn("regexp_extract", t, r), text_node(""))
        return case((longer, fn("length", before)), otherwise=otherwise)

    def searched(t: exp.Expr) -> exp.Expr:
        return with_regex(regex, "indexof_regex()", 1, lambda r: position(t, r))

    if start is None:
        return long(bind([text.sql], searched))

    def moved(at: exp.Expr, by: exp.Expr) -> exp.Expr:
        return case((infix(exp.GTE, at, number_node(0)), infix(exp.Add, at, by)), otherwise=at)

    def windowed(t: exp.Expr, begin: exp.Expr, size: exp.Expr) -> exp.Expr:
        most = case((infix(exp.EQ, size, number_node(-1)), number_node(MAX_SUBSTRING_LENGTH)), otherwise=size)
        part = substring(t, begin, most)
        valid = infix(exp.And, infix(exp.GTE, begin, number_node(0)), infix(exp.GTE, size, number_node(-1)))
        return case((valid, bind([bind([part], searched), substring_offset(t, begin)], moved)))

    return long(bind([text.sql, start.sql, (length or literal(-1)).sql], windowed))


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

"""Functions of arrays and dictionaries."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions.operators.members import pointer
from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.functions.udf import is_number, udf
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    STRING,
    Value,
    and_,
    array,
    as_dynamic,
    as_long,
    as_real,
    as_text,
    bind,
    bool_,
    case,
    cast,
    coalesce,
    dictionary,
    dynamic,
    dynamic_literal,
    elements,
    fn,
    infix,
    is_not_null,
    json_kind,
    json_text,
    list_transform,
    literal,
    long,
    number_node,
    string,
    text_node,
    try_cast,
    whole_of_json,
)

FUNCTIONS, _add = table("array")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, but not true."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not an array")
    return value


@udf("apl_array_extract", [DYNAMIC, STRING], DYNAMIC)
def _array_extract(value: Any, path: str) -> list[Any]:
    return list(_at_path(value, _steps(path)))


@udf("apl_array_part", [DYNAMIC, LONG, LONG], DYNAMIC)
def _array_part(values: Any, start: int, count: int) -> list[Any]:
    start = max(start, 0)
    return _items(values)[start : start + max(count, 0)]


def _extracted(context: Context, value: Value, place: Value, count: Value | None) -> Value:
    if count is not None or place.type is LONG:
        return _array_part(value, as_long(place), count or literal(2**31))
    return _array_extract(value, as_text(place))


_STEP = re.compile(r"\.\.|\.?([A-Za-z_$][\w$-]*)|\.\*|\[\*\]|\[(-?\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")


@functools.lru_cache(maxsize=256)
def _steps(path: str) -> list[str | int | None]:
    """Return the steps of a JSONPath after `$`: a key (after a NUL), an index, None for all, ".." for any depth."""
    steps: list[str | int | None] = []
    end = 1 if path.startswith("$") else 0
    while end < len(path):
        match = _STEP.match(path, end)
        if match is None or (path[end : end + 2] == "..") is not (match[0] == ".."):
            raise ValueError(f"not a path: {path!r}")
        if match[0] == "..":
            steps.append("..")
        elif match[0] in (".*", "[*]"):
            steps.append(None)
        elif match[2] is not None:
            steps.append(int(match[2]))
        else:
            steps.append("\0" + next(each for each in (match[1], match[3], match[4]) if each is not None))
        end = match.end()
    return steps


def _at_path(value: Any, steps: list[str | int | None]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if step == "..":
        yield from _at_path(value, rest)
        for each in inside:
            yield from _at_path(each, steps)
    elif step is None:
        for each in inside:
            yield from _at_path(each, rest)
    elif isinstance(step, int):
        if isinstance(value, list) and -len(value) <= step < len(value):
            yield from _at_path(value[step], rest)
    elif isinstance(value, dict) and step[1:] in value:
        yield from _at_path(value[step[1:]], rest)


@udf("apl_array_iff", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _array_iff(conditions: Any, then: Any, otherwise: Any) -> list[Any]:
    def at(choice: Any, n: int) -> Any:
        if not isinstance(choice, list):
            return choice
        return choice[n] if n < len(choice) else None

    def true(condition: Any) -> bool:
        return condition is True or (is_number(condition) and condition != 0)

    return [at(then if true(each) else otherwise, n) for n, each in enumerate(_items(conditions))]


@udf("apl_array_index_of", [DYNAMIC, DYNAMIC, LONG, LONG, LONG], LONG)
def _array_index_of(values: Any, wanted: Any, start: int, length: int, occurrence: int) -> int:
    size = len(_items(values))
    begin = start if start >= 0 else max(size + start, 0)
    end = size if length < 0 else min(begin + length, size)
    for n in range(min(begin, size), end):
        if same(values[n], wanted):
            occurrence -= 1
            if occurrence == 0:
                return n
    return -1


def _index_of(
    context: Context, values: Value, wanted: Value, start: Value | None, length: Value | None, occurrence: Value | None
) -> Value:
    return _array_index_of(values, wanted, start or literal(0), length or literal(-1), occurrence or literal(1))


@udf("apl_array_rotate", [DYNAMIC, LONG], DYNAMIC)
def _array_rotate(values: Any, count: int) -> list[Any]:
    by = count % len(_items(values)) if values else 0
    return [*values[by:], *values[:by]]


@udf("apl_array_select_dict", [DYNAMIC, STRING, DYNAMIC], DYNAMIC)
def _array_select_dict(values: Any, key: str, wanted: Any) -> Any:
    dictionaries = (each for each in _items(values) if isinstance(each, dict))
    return next((each for each in dictionaries if key in each and same(each[key], wanted)), None)


@udf("apl_array_slice", [DYNAMIC, LONG, LONG], DYNAMIC)
def _array_slice(values: Any, start: int, end: int) -> list[Any]:
    return _items(values)[start:end]


def _rank(value: Any) -> tuple[int, Any]:
    """Put numbers before strings, these before everything else."""
    if is_number(value):
        return 0, value
    return (1, value) if isinstance(value, str) else (2, 0)


def _sorted(values: Any, *, reverse: bool) -> list[Any]:
    if not isinstance(values, list):
        return []
    there = [each for each in values if each is not None]
    return sorted(there, key=_rank, reverse=reverse) + [None] * (len(values) - len(there))


@udf("apl_array_sort_asc", [DYNAMIC], DYNAMIC, nulls=True)
def _array_sort_asc(values: Any) -> list[Any]:
    return _sorted(values, reverse=False)


@udf("apl_array_sort_desc", [DYNAMIC], DYNAMIC, nulls=True)
def _array_sort_desc(values: Any) -> list[Any]:
    return _sorted(values, reverse=True)


@udf("apl_array_split", [DYNAMIC, DYNAMIC], DYNAMIC)
def _array_split(values: Any, places: Any) -> list[list[Any]]:
    size, done = len(_items(values)), 0
    parts: list[list[Any]] = []
    for place in places if isinstance(places, list) else [places]:
        if not is_number(place):
            raise TypeError("a place is a number")
        at = int(place)
        if place < 0:
            at = max(size + at, 0)
        end = max(min(at, size), done)
        parts.append(values[done:end])
        done = end
    parts.append(values[done:])
    return parts


@udf("apl_bag_has_key", [DYNAMIC, STRING], BOOL, otherwise=False)
def _bag_has_key(bag: Any, key: str) -> bool:
    if not isinstance(bag, dict):
        return False
    return key in bag or (key.startswith("$") and _has_path(bag, _steps(key)))


def _has_path(value: Any, steps: list[str | int | None]) -> bool:
    for n, step in enumerate(steps):
        if type(step) is not str or step == "..":
            return next(_at_path(value, steps[n:]), _MISSING) is not _MISSING
        name = step[1:]
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


_MISSING = object()


@udf("apl_bag_zip", [DYNAMIC, DYNAMIC], DYNAMIC)
def _bag_zip(keys: Any, values: Any) -> dict[str, Any]:
    return {str(key): value for key, value in zip(_items(keys), _items(values), strict=False)}


@udf("apl_bag_merge", [DYNAMIC], DYNAMIC)
def merged(bags: Any) -> dict[str, Any] | None:
    """One dictionary of an array of them, in which of equal keys the last one counts; null where there is none."""
    found = [bag for bag in bags if isinstance(bag, dict)]
    return {key: value for bag in found for key, value in bag.items()} if found else None


def _pairs(context: Context, *arguments: Value) -> Value:
    if not arguments:
        return dynamic_literal({})
    if len(arguments) % 2:
        raise CallInvalid("a dictionary is packed from pairs of a key and a value")
    keys = arguments[::2]
    if all(isinstance(key.constant, str) for key in keys):
        last = {str(key.constant): value for key, value in zip(keys, arguments[1::2], strict=True)}
        return dictionary(last.items())
    parts = [
        part
        for key, value in zip(keys, arguments[1::2], strict=True)
        for part in (coalesce(as_text(key).sql, text_node("")), as_dynamic(value).sql)
    ]
    # Written anew, as keys that are computed may be the same.
    return dynamic(try_cast(fn("apl_json", cast(fn("json_object", *parts), "VARCHAR")), "JSON"))


def _has_key(context: Context, bag: Value, key: Value) -> Value:
    name = key.constant
    if not isinstance(name, str) or name.startswith("$"):
        return _bag_has_key(bag, key)

    def has(v: exp.Expr) -> exp.Expr:
        there = fn("json_exists", v, text_node(pointer(name)))
        return case((infix(exp.EQ, json_kind(v), text_node("OBJECT")), there), otherwise=exp.false())

    return bool_(coalesce(bind([bag.sql], has), exp.false()))


def _packed_array(context: Context, *values: Value) -> Value:
    return array(values) if values else dynamic_literal([])


def _bag_keys(context: Context, bag: Value) -> Value:
    def keys(v: exp.Expr) -> exp.Expr:
        return case((infix(exp.EQ, json_kind(v), text_node("OBJECT")), fn("to_json", fn("json_keys", v))))

    return dynamic(bind([bag.sql], keys))


def _concat(context: Context, *arrays: Value) -> Value:
    parts = [elements(each) for each in arrays]

    def joined(*lists: exp.Expr) -> exp.Expr:
        array = lists[0]
        for part in lists[1:]:
            # The operator is null where a side is, list_concat() is not.
            array = infix(exp.DPipe, array, part)
        return fn("to_json", array)

    return dynamic(joined(*parts))


def _length(context: Context, values: Value) -> Value:
    return long(
        bind([values.sql], lambda v: case((json_kind(v).eq("ARRAY"), cast(fn("json_array_length", v), "BIGINT"))))
    )


def _len(context: Context, value: Value) -> Value:
    if value.type is not DYNAMIC:
        return long(fn("length", as_text(value).sql))

    def measured(v: exp.Expr) -> exp.Expr:
        return exp.Case(
            this=json_kind(v),
            ifs=[
                exp.If(this=text_node("ARRAY"), true=cast(fn("json_array_length", v), "BIGINT")),
                exp.If(this=text_node("OBJECT"), true=fn("len", fn("json_keys", v))),
            ],
            default=fn("length", json_text(v)),
        )

    return long(bind([value.sql], measured))


def _sum(context: Context, values: Value) -> Value:
    def summed(items: exp.Expr) -> exp.Expr:
        reals = list_transform(items, lambda v: as_real(dynamic(v)).sql)
        wholes = list_transform(items, lambda v: cast(whole_of_json(v), "HUGEINT"))
        whole = and_(is_not_null(items), infix(exp.EQ, fn("list_count", reals), fn("list_count", wholes)))
        exact = case((whole, try_cast(coalesce(fn("list_sum", wholes), number_node(0)), "BIGINT")))
        return coalesce(fn("to_json", exact), fn("to_json", fn("list_sum", reals)))

    return dynamic(bind([elements(values)], summed))


def _reverse(context: Context, values: Value) -> Value:
    return dynamic(fn("to_json", fn("list_reverse", elements(values))))


@udf("apl_join", [DYNAMIC, STRING], STRING)
def _join(texts: Any, delimiter: str) -> str:
    return delimiter.join(texts)


def _strcat_array(context: Context, values: Value, delimiter: Value | None) -> Value:
    texts = list_transform(elements(values), lambda v: coalesce(json_text(v), text_node("")))
    if delimiter is None or isinstance(delimiter.constant, str):
        return string(fn("array_to_string", texts, (delimiter or literal("")).sql))
    return _join(dynamic(fn("to_json", texts)), delimiter)


def _isarray(context: Context, value: Value) -> Value:
    if value.type is not DYNAMIC:
        return literal(False)
    return bool_(coalesce(infix(exp.EQ, json_kind(value.sql), text_node("ARRAY")), exp.false()))


def _rotate_right(context: Context, values: Value, count: Value) -> Value:
    def turned(n: exp.Expr) -> exp.Expr:
        return case((infix(exp.GT, n, number_node(-(2**62))), infix(exp.Sub, number_node(0), n)))

    return _array_rotate(values, long(bind([count.sql], turned)))


# fmt: off
_add("array_concat", "arrays:dynamic*", DYNAMIC, _concat, "The elements of all arrays in one.",
     "print array_concat(dynamic([1, 2]), dynamic([3]))", [1, 2, 3], least=1)
_add("array_extract", "value:dynamic, path:any, count:long?", DYNAMIC, _extracted,
     "Everything at a JSONPath, as an array; with an index in place of the path so many elements from there.",
     'print array_extract(dynamic([{"a": 1}, {"a": 2}]), "$[*].a")', [1, 2])
_add("array_iff array_iif", "conditions:dynamic, then:value, else:value", DYNAMIC,
     lambda c, conditions, then, otherwise: _array_iff(conditions, then, otherwise),
     "For each condition the element of one array or the other; a single value stands for all elements.",
     "print array_iff(dynamic([true, false]), dynamic([1, 2]), dynamic([3, 4]))", [1, 4])
_add("array_index_of", "array:dynamic, value:value, start:long?, length:long?, occurrence:long?", LONG, _index_of,
     "Where an array has an element, counted from 0; -1 where it has not.",
     'print array_index_of(dynamic(["a", "b"]), "b")', 1)
_add("array_length", "array:dynamic", LONG, _length, "Number of elements; null where it is no array.",
     "print array_length(dynamic([1, 2]))", 2)
_add("array_reverse", "array:dynamic", DYNAMIC, _reverse, "The elements in reverse order.",
     "print array_reverse(dynamic([1, 2]))", [2, 1])
_add("array_rotate_left", "array:dynamic, count:long", DYNAMIC, lambda c, values, count: _array_rotate(values, count),
     "The elements moved to the left, the first ones to the end.",
     "print array_rotate_left(dynamic([1, 2, 3]), 1)", [2, 3, 1])
_add("array_rotate_right", "array:dynamic, count:long", DYNAMIC, _rotate_right,
     "The elements moved to the right, the last ones to the start.",
     "print array_rotate_right(dynamic([1, 2, 3]), 1)", [3, 1, 2])
_add("array_select_dict", "array:dynamic, key:text, value:value", DYNAMIC,
     lambda c, values, key, value: _array_select_dict(values, key, value),
     "The first dictionary of an array that has a value under a key; null without one.",
     'print array_select_dict(dynamic([{"k": 1}, {"k": 2, "v": 3}]), "k", 2)', {"k": 2, "v": 3})
_add("array_shift_left", "array:dynamic, count:long", DYNAMIC, lambda c, values, count: _array_rotate(values, count),
     "The elements moved to the left, the first ones to the end.",
     "print array_shift_left(dynamic([1, 2, 3]), 1)", [2, 3, 1], note="Kusto fills up with nulls.")
_add("array_shift_right", "array:dynamic, count:long?", DYNAMIC,
     lambda c, values, count: _rotate_right(c, values, count or literal(1)),
     "The elements moved to the right, by one if no count is given, the last ones to the start.",
     "print array_shift_right(dynamic([1, 2, 3]))", [3, 1, 2], note="Kusto fills up with nulls.")
_add("array_slice", "array:dynamic, start:long, end:long?", DYNAMIC,
     lambda c, values, start, end: _array_slice(values, start, end or literal(2**62)),
     "The elements from a start to an end, which is not included; negative ones count from the end.",
     "print array_slice(dynamic([1, 2, 3, 4]), 1, 3)", [2, 3], note="Kusto includes the end.")
_add("array_sort_asc", "array:dynamic", DYNAMIC, lambda c, values: _array_sort_asc(values),
     "The elements in rising order, numbers before strings, nulls last; an empty array where it is none.",
     "print array_sort_asc(dynamic([3, 1, 2]))", [1, 2, 3], note="Kusto takes several arrays.")
_add("array_sort_desc", "array:dynamic", DYNAMIC, lambda c, values: _array_sort_desc(values),
     "The elements in falling order, nulls last; an empty array where it is none.",
     "print array_sort_desc(dynamic([3, 1, 2]))", [3, 2, 1], note="Kusto takes several arrays.")
_add("array_split", "array:dynamic, places:value", DYNAMIC, lambda c, values, places: _array_split(values, places),
     "The array cut at an index, or at each of several.",
     "print array_split(dynamic([1, 2, 3, 4]), dynamic([1, 3]))", [[1], [2, 3], [4]])
_add("array_sum", "array:dynamic", DYNAMIC, _sum,
     "The sum of the numbers of an array, whole where all of them are; 0 where it has none.",
     "print array_sum(dynamic([1, 2.5]))", 3.5)
_add("bag_has_key", "bag:dynamic, key:text", BOOL, _has_key,
     "Whether a dictionary has a key, or a value at a JSONPath.",
     'print bag_has_key(dynamic({"a": {"b": 1}}), "$.a.b")', True)
_add("bag_keys", "bag:dynamic", DYNAMIC, _bag_keys, "The keys of a dictionary; null where it is none.",
     'print bag_keys(dynamic({"a": 1, "b": 2}))', ["a", "b"])
_add("bag_merge", "bags:dynamic*", DYNAMIC, lambda c, *bags: merged(array(bags)),
     "One dictionary of several, in which of equal keys the last one counts; what is no dictionary is left out, null "
     "where none is.", 'print bag_merge(dynamic({"a": 1, "b": 2}), dynamic({"b": 3}))', {"a": 1, "b": 3}, least=1,
     note="Kusto keeps the first of equal keys.")
_add("bag_pack pack pack_dictionary", "pairs:any*", DYNAMIC, _pairs,
     "A dictionary of keys and values in turn; `bag_pack(*)` has all columns of the row by their names.",
     'print bag_pack("a", 1, "b", "x")', {"a": 1, "b": "x"}, least=0, star="pairs")
_add("bag_zip", "keys:dynamic, values:dynamic", DYNAMIC, lambda c, keys, values: _bag_zip(keys, values),
     "A dictionary of an array of keys and one of values, as long as the shorter one.",
     'print bag_zip(dynamic(["a", "b"]), dynamic([1, 2, 3]))', {"a": 1, "b": 2})
_add("isarray", "value:any", BOOL, _isarray, "Whether the value is an array.", "print isarray(dynamic([]))", True)
_add("len", "value:any", LONG, _len, "Number of characters, elements or keys; null of null.",
     "print len(dynamic([1, 2]))", 2)
_add("pack_array", "values:any*", DYNAMIC, _packed_array,
     "An array of the values; `pack_array(*)` has all columns of the row.", 'print pack_array(1, "a")', [1, "a"])
_add("strcat_array", "array:dynamic, delimiter:text?", STRING, _strcat_array,
     "The elements, written out, with a delimiter between them.", 'print strcat_array(dynamic([1, "a"]), "-")', "1-a")
# fmt: on

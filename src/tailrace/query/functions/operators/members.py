"""Members of dictionaries and elements of arrays: `value[key]`."""

import sqlglot.expressions as exp

from tailrace.query.values import (
    DYNAMIC,
    NUMBERS,
    Value,
    as_long,
    as_string,
    as_text,
    bind,
    coalesce,
    dynamic,
    fn,
    not_json_null,
    null,
    text_node,
)


def index(value: Value, key: Value) -> Value:
    """Return `value[key]`: a dictionary's member by name, an array's element by number, negative ones from the end."""
    if value.type is not DYNAMIC:
        return null(DYNAMIC)
    if isinstance(key.constant, str):
        return dynamic(not_json_null(fn("json_extract", value.sql, text_node(pointer(key.constant)))))
    if key.type is DYNAMIC:

        def by_name_or_number(container: exp.Expr, key: exp.Expr) -> exp.Expr:
            name, number = as_string(dynamic(key)), as_long(dynamic(key))
            return coalesce(index(dynamic(container), name).sql, index(dynamic(container), number).sql)

        return dynamic(bind([value.sql, key.sql], by_name_or_number))
    if key.type in NUMBERS:
        return dynamic(not_json_null(fn("json_extract", value.sql, as_long(key).sql)))
    escaped_key = fn("replace", as_text(key).sql, text_node("~"), text_node("~0"))
    path = fn("concat", text_node("/"), fn("replace", escaped_key, text_node("/"), text_node("~1")))
    return dynamic(not_json_null(fn("json_extract", value.sql, path)))


def pointer(key: str) -> str:
    """Return the JSON pointer to a member of this name."""
    return "/" + key.replace("~", "~0").replace("/", "~1")

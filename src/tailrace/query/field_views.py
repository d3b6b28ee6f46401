"""As what a field of several types is read where it stands in a SQL statement, so that its numbers count by value."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp
from sqlglot.optimizer.scope import Scope

from tailrace.events import QueryInvalid
from tailrace.query.fields import FieldReader, View, key_of

Meaning = Callable[[exp.Column], tuple[FieldReader, str] | None]
"""The field that a column surely means, with the reader of its dataset."""

Read = Callable[[View], exp.Column]
"""A column for the same field in another view."""

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_EXACT_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.IntDiv, exp.Mod, exp.Neg, exp.Abs, exp.Round, exp.Floor, exp.Ceil)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Pow)
_REAL_FUNCTIONS = (exp.Div, exp.Pow, exp.Sum, exp.Avg, exp.Sqrt, exp.Ln, exp.Stddev, exp.StddevSamp, exp.StddevPop,
                   exp.Variance, exp.VariancePop, exp.Median, exp.Quantile, exp.PercentileCont, exp.PercentileDisc,
                   exp.ApproxQuantile)  # fmt: skip
_TEXT_OPERATORS = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpFullMatch, exp.SimilarTo, exp.Lower, exp.Upper,
                   exp.Substring, exp.StartsWith, exp.EndsWith, exp.Contains, exp.Trim, exp.Length)  # fmt: skip
_AS_SENT = (exp.Cast, exp.TryCast, exp.Concat, exp.ConcatWs, exp.DPipe, exp.Typeof, exp.Count)
_BY_TYPE = (exp.Greatest, exp.Least, exp.Nullif, exp.Tuple)  # which compare VARIANTs by their types


def resolve_aliases(scope: Scope, meaning: Meaning) -> None:
    """Replace the place or the alias of a field of several types, or of its extreme, by the field that is meant."""
    select = scope.expression
    if not isinstance(select, exp.Select):
        return
    order, shown = select.args.get("order"), select.expressions
    if order is not None and any(isinstance(item.this, exp.Var) for item in order.expressions) and not select.is_star:
        [every] = order.expressions  # ORDER BY ALL
        order.set("expressions", [_with(every, exp.Literal.number(number + 1)) for number in range(len(shown))])
    for item in order.expressions if order is not None else ():
        value = _target(item.this, shown)
        if value is not None and _is_mixed(value, meaning):
            item.this.pop()
            item.set("this", value.copy())
    aliases = {item.alias.casefold(): item.this for item in shown if isinstance(item, exp.Alias)}
    for column in list(scope.find_all(exp.Column)):
        value = aliases.get(column.name.casefold())
        is_alias = not column.table and meaning(column) is None
        if value is not None and is_alias and not _is_in_group(column) and _is_mixed(value, meaning):
            column.replace(value.copy())


def _is_mixed(value: exp.Expr, meaning: Meaning) -> bool:
    """Whether a value is a field of several types, or the largest or smallest of its values."""
    column = value.this if isinstance(value, (exp.Max, exp.Min)) and not value.expressions else value
    known = meaning(column) if isinstance(column, exp.Column) else None
    return known is not None and known[0].is_mixed(known[1])


def _with(ordered: exp.Expr, node: exp.Expr) -> exp.Expr:
    copied = ordered.copy()
    copied.set("this", node)
    return copied


def _target(node: exp.Expr, shown: Sequence[exp.Expr]) -> exp.Expr | None:
    """Return the value in a select list that an item of ORDER BY means by place or alias."""
    if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
        number = int(node.this)
        if not 1 <= number <= len(shown) or any(item.is_star for item in shown[:number]):
            return None
        return shown[number - 1].unalias()
    if isinstance(node, exp.Column) and not node.table:
        for item in shown:
            if item.alias_or_name.casefold() == node.name.casefold():
                return item.unalias()
    return None


def sorts_the_star(statement: exp.Expr) -> bool:
    """Whether rows are sorted by what `*` gives beyond the columns of the system, which come first."""
    if not isinstance(statement, exp.Select) or not statement.is_star or not (order := statement.args.get("order")):
        return False
    starts_otherwise = not isinstance(statement.expressions[0], exp.Star) or any(statement.expressions[0].args.values())
    for item in order.expressions:
        if isinstance(item.this, (exp.Var, exp.Columns, exp.Star)):
            return True
        if isinstance(item.this, exp.Literal) and (starts_otherwise or item.this.this not in ("1", "2", "3")):
            return True
    return False


def compares_by_type(column: exp.Expr) -> bool:
    """Whether VARIANTs would be compared by their types where a column stands."""
    node, parent = _around(column)
    if isinstance(parent, (*_COMPARISONS, exp.Between, exp.In)):
        others = [other for other in parent.iter_expressions() if other is not node]
        return not others or not all(_is_text(other) for other in others)
    if isinstance(parent, exp.Case):
        return node.arg_key == "this"
    return isinstance(parent, (exp.Ordered, exp.Max, exp.Min, *_BY_TYPE))


def is_shown(column: exp.Column) -> bool:
    """Whether a column is an item of a select list."""
    return _is_item(_around(column)[0])


def sorted_by(scope: Scope) -> list[exp.Expr]:
    """Return what the rows of a query are sorted by, with places and aliases replaced by what they mean."""
    order = scope.expression.args.get("order")
    selects = scope.expression.selects if isinstance(scope.expression, exp.Query) else []
    return [_target(item.this, selects) or item.this for item in order.expressions] if order else []


def name_of(column: exp.Column) -> str:
    """Return the name that the statement had for a column."""
    return str(column.meta.get("named", column.name))


def place(column: exp.Column, scope: Scope, reader: FieldReader, field: str, meaning: Meaning, read: Read) -> View:
    """As what a column is wanted where it stands; the statement around it may be rewritten.

    Raise QueryInvalid where DuckDB would compare the values by type.
    """
    select = column.find_ancestor(exp.Select)
    node, parent = _around(column)
    is_output = scope.is_root and select is scope.expression and _is_item(node)
    if not reader.is_split(field):
        return _of_one_kind(column, parent, reader, field, meaning, is_output=is_output and not _groups(select))
    numeric = reader.is_numeric(field)
    if select is not None and _groups(select) and _is_after(column, select):
        view = _of_group(column, scope, select, field, read, numeric=numeric)
        if view is not None:
            return view
    if is_output and not _is_alias_used(node, column, select):
        return "exact"
    if _is_item(node) and select is not None and isinstance(_around(select)[1], exp.SetOperation):
        return "plain" if numeric else "group"
    if isinstance(parent, exp.Ordered):
        return _ordered(parent)
    if isinstance(parent, exp.Window):
        return "key"  # PARTITION BY
    if isinstance(parent, exp.Distinct) and isinstance(parent.parent, exp.Count) and len(parent.expressions) == 1:
        return "key"
    if isinstance(parent, (exp.ArgMax, exp.ArgMin)) and node.arg_key == "expression":
        return "key"
    if isinstance(parent, (exp.Max, exp.Min)) and not parent.expressions:
        return _extreme(column, parent, scope, select, field, read, numeric=numeric)
    if isinstance(parent, exp.Anonymous) and parent.name == "to_json":
        return "sent"
    if isinstance(parent, _AS_SENT) or (isinstance(parent, exp.Is) and isinstance(parent.expression, exp.Null)):
        return "sent"
    if isinstance(parent, _REAL_FUNCTIONS):
        return "double"
    if isinstance(parent, _EXACT_ARITHMETIC):
        return "double" if any(_is_real(other) for other in parent.iter_expressions()) else "number"
    if isinstance(parent, _TEXT_OPERATORS):
        return "text"
    if isinstance(parent, (*_COMPARISONS, exp.Between, exp.In)):
        view = _compared(node, parent, meaning, read, numeric=numeric)
        if view == "plain" and reader.is_varied(field):
            raise refused(field)
        return view
    if reader.is_varied(field) and (
        isinstance(parent, _BY_TYPE) or (isinstance(parent, exp.Case) and node.arg_key == "this")
    ):
        raise refused(field)
    return "plain"


def refused(field: str) -> QueryInvalid:
    """Return the error of a place where values of several types would be compared by type."""
    name = exp.to_identifier(field).sql("duckdb")
    return QueryInvalid(
        f"SQL: field {field!r} has numbers beside values of other types, which cannot be compared here: where it is "
        f"read from the dataset, write TRY_CAST({name} AS DOUBLE) for its numbers or CAST({name} AS VARCHAR) for its "
        "values as texts"
    )


def _of_one_kind(
    column: exp.Column, parent: exp.Expr | None, reader: FieldReader, field: str, meaning: Meaning, *, is_output: bool
) -> View:
    """Return a field of one type, or of types among which there is nothing to convert."""
    if isinstance(parent, _COMPARISONS) and any(_is_split(other, meaning) for other in parent.iter_expressions()):
        return "key"
    if not reader.is_mixed(field):
        return "plain"
    if is_output:
        return "exact"
    if isinstance(parent, exp.Ordered) and isinstance(parent.parent, exp.Order):
        sorts_rows = isinstance(parent.parent.parent, exp.Select) and not _groups(parent.parent.parent)
        return "key" if sorts_rows else "plain"
    if isinstance(parent, (*_REAL_FUNCTIONS, *_EXACT_ARITHMETIC)):
        return "number"
    if isinstance(parent, _TEXT_OPERATORS):
        return "text"
    if isinstance(parent, (*_COMPARISONS, exp.Between, exp.In)):
        others = [other for other in parent.iter_expressions() if id(other) != id(column)]
        if others and all(_is_number(other) for other in others):
            return "number"
        if others and all(_is_text(other) for other in others):
            return "text"
    return "plain"


def _of_group(
    column: exp.Column, scope: Scope, select: exp.Select, field: str, read: Read, *, numeric: bool
) -> View | None:
    """Return a column that is read after equal values became one row; None where it is not one of the groups."""
    node, parent = _around(column)
    group = select.args.get("group")
    if group is None:
        if _is_item(node):
            merged: View = "group" if scope.is_root and select is scope.expression else "plain"
            return merged if numeric and not _is_alias_used(node, column, select) else "plain" if numeric else "group"
        return "key" if _is_in_distinct(node) else None
    if not _is_group_of(column, select, group):
        return None
    unusual = any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets")) or group.find(
        exp.Rollup, exp.Cube, exp.GroupingSets
    )
    exact = scope.is_root and select is scope.expression and not unusual and _is_only_shown(column, select)
    if numeric and not exact:
        return "plain"
    if isinstance(parent, exp.Ordered):
        if unusual:
            raise refused(field)
        # All values of a group have the same key.
        parent.set("this", exp.AnyValue(this=read("key")))
        return "key"
    if not (_is_item(node) or _is_in_group(node) or isinstance(parent, (*_AS_SENT, exp.Is, exp.Window))):
        raise refused(field)
    return "group"


def _is_group_of(column: exp.Column, select: exp.Select, group: exp.Expr) -> bool:
    """Whether the column itself is one of the groups, not only part of one."""
    bare = {name_of(each).casefold() for each in group.find_all(exp.Column) if _is_in_group(_around(each)[0])}
    name = name_of(column).casefold()
    if name in bare:
        return True
    by_place = bool(group.args.get("all")) or any(isinstance(each, exp.Literal) for each in group.expressions)
    return any(
        isinstance(item.unalias(), exp.Column)
        and name_of(item.unalias()).casefold() == name
        and (by_place or item.alias.casefold() in bare)
        for item in select.expressions
    )


def _is_only_shown(column: exp.Column, select: exp.Select) -> bool:
    """Whether a group stands nowhere in an expression."""
    name = name_of(column).casefold()
    aliases = {
        item.alias.casefold()
        for item in select.expressions
        if isinstance(item, exp.Alias) and isinstance(item.this, exp.Column) and name_of(item.this).casefold() == name
    }
    for other in select.find_all(exp.Column):
        if name_of(other).casefold() not in {name, *aliases} or not _is_after(other, select):
            continue
        node, parent = _around(other)
        if isinstance(parent, exp.AnyValue):
            continue  # of what is sorted by
        if not (_is_item(node) or _is_in_group(node) or isinstance(parent, exp.Ordered)):
            return False
    return True


def _is_alias_used(node: exp.Expr, column: exp.Column, select: exp.Expr | None) -> bool:
    """Whether the statement names an item of a select list again."""
    item = node.parent if isinstance(node.parent, exp.Alias) else None
    if item is None or select is None or item.alias.casefold() == name_of(column).casefold():
        return False
    alias = item.alias.casefold()
    return any(not each.table and name_of(each).casefold() == alias for each in select.find_all(exp.Column))


def _ordered(parent: exp.Expr) -> View:
    if parent.find_ancestor(exp.WithinGroup, exp.Select) is not parent.find_ancestor(exp.Select):
        return "double"
    window = parent.parent.parent if parent.parent is not None else None
    spec = window.args.get("spec") if isinstance(window, exp.Window) else None
    if spec is not None and any(isinstance(spec.args.get(end), exp.Expr) for end in ("start", "end")):
        return "number" if str(spec.args.get("kind")).upper() == "RANGE" else "key"
    return "key"


def _extreme(
    column: exp.Column,
    parent: exp.Expr,
    scope: Scope,
    select: exp.Expr | None,
    field: str,
    read: Read,
    *,
    numeric: bool,
) -> View:
    """Return the largest or the smallest value, as it was sent."""
    node, around = _around(parent)
    if isinstance(around, exp.Ordered):
        return "key"
    if isinstance(around, _COMPARISONS):
        if not numeric:
            raise refused(field)
        for other in list(around.iter_expressions()):
            if other is not node:
                _replace(other, key_of)
        return "key"
    if isinstance(around, exp.Filter):
        node, around = _around(around)
    shown = scope.is_root and select is scope.expression and _is_item(node) and not _is_alias_used(node, column, select)
    if numeric and not shown:
        return "plain"
    function = "arg_max" if isinstance(parent, exp.Max) else "arg_min"
    parent.replace(exp.Anonymous(this=function, expressions=[column, read("key")]))
    return "sent"


def _compared(node: exp.Expr, parent: exp.Expr, meaning: Meaning, read: Read, *, numeric: bool) -> View:
    others = [other for other in parent.iter_expressions() if other is not node]
    if others and all(_is_whole(other) or isinstance(other, exp.Null) for other in others):
        _by_parts(node, parent, read, {"whole": others, "real": others})
        return "whole"
    if others and all(_is_number(other) and not other.find(exp.Column) for other in others):
        return "double"
    if others and all(_is_text(other) for other in others):
        return "text"
    if isinstance(parent, exp.In) and node.arg_key == "this":
        if others and all(_is_text(other) or _is_whole(other) for other in others):
            numbers, texts = [o for o in others if _is_whole(o)], [o for o in others if _is_text(o)]
            _by_parts(node, parent, read, {"whole": numbers, "real": numbers, "text": texts})
            return "whole"
        query = parent.args.get("query")
        if query is not None and others == [query]:
            names = exp.TableAlias(this=exp.to_identifier("q"), columns=[exp.to_identifier("v")])
            rows = exp.From(this=exp.Subquery(this=query.this, alias=names))
            keys = exp.Select(expressions=[key_of(exp.column("v", "q"))], from_=rows)
            parent.set("query", exp.Subquery(this=keys))
            return "key"
    if not numeric and all(_is_number(other) for other in others):
        return "number"
    if isinstance(parent, _COMPARISONS) and not isinstance(others[0], (exp.Any, exp.All)):
        if not (isinstance(others[0], exp.Column) and meaning(others[0])):
            _replace(others[0], key_of)
        return "key"
    return "plain"


def _by_parts(node: exp.Expr, parent: exp.Expr, read: Read, operands: dict[View, list[exp.Expr]]) -> None:
    """Compare the whole numbers as such, others as doubles, texts as texts."""
    branches = []
    for view, others in operands.items():
        compared = parent.copy()
        if isinstance(parent, exp.In):
            compared.set("expressions", [other.copy() for other in others])
        column = read(view)
        [mine] = [each for each in compared.iter_expressions() if each.arg_key == node.arg_key and not each.index]
        mine.replace(column.copy())
        branches.append(exp.If(this=exp.Not(this=exp.Is(this=column, expression=exp.null())), true=compared))
    _replace(parent, lambda _: exp.Paren(this=exp.Case(ifs=branches)))


def _replace(node: exp.Expr, build: Callable[[exp.Expr], exp.Expr]) -> None:
    mark = exp.Null()
    node.replace(mark)
    mark.replace(build(node))


def _around(node: exp.Expr) -> tuple[exp.Expr, exp.Expr | None]:
    """Return an expression with its parentheses, and what it stands in."""
    while isinstance(node.parent, (exp.Paren, exp.Subquery)):
        node = node.parent
    return node, node.parent


def _is_item(node: exp.Expr) -> bool:
    """Whether it is an item of a select list, with or without an alias."""
    item = node.parent if isinstance(node.parent, exp.Alias) else node
    return isinstance(item.parent, exp.Select) and item.arg_key == "expressions"


def _is_in_group(node: exp.Expr) -> bool:
    parent = node.parent.parent if isinstance(node.parent, exp.Tuple) else node.parent
    return isinstance(parent, (exp.Group, exp.Rollup, exp.Cube, exp.GroupingSets))


def _is_in_distinct(node: exp.Expr) -> bool:
    parent = node.parent.parent if isinstance(node.parent, exp.Tuple) else node.parent
    return isinstance(parent, exp.Distinct) and isinstance(parent.parent, exp.Select)


def _groups(select: exp.Expr | None) -> bool:
    """Whether equal values of a select list become one row."""
    return select is not None and bool(select.args.get("group") or select.args.get("distinct"))


def _is_after(column: exp.Column, select: exp.Select) -> bool:
    """Whether a column is read once there are groups."""
    node: exp.Expr = column
    while node.parent is not None and node.parent is not select:
        node = node.parent
        if isinstance(node, exp.AggFunc):
            return False
    return node.arg_key in ("expressions", "having", "qualify", "order", "group", "distinct")


def _is_split(node: exp.Expr, meaning: Meaning) -> bool:
    known = meaning(node) if isinstance(node, exp.Column) else None
    return known is not None and known[0].is_split(known[1])


def _is_number(node: exp.Expr) -> bool:
    node = _unsigned(node)
    return (isinstance(node, exp.Literal) and not node.is_string) or isinstance(node, _ARITHMETIC)


def _is_whole(node: exp.Expr) -> bool:
    node = _unsigned(node)
    return isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit()


def _is_real(node: exp.Expr) -> bool:
    node = _unsigned(node)
    return isinstance(node, exp.Literal) and not node.is_string and not node.this.isdigit()


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


def _unsigned(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Neg, exp.Paren)):
        node = node.this
    return node

"""As what a field of several types is read where it stands in a SQL statement, so that its numbers count by value."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp
from msgspec import Struct
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


class _Occurrence(Struct, frozen=True, eq=False):
    """A column where it stands in a statement, and the field that it means."""

    column: exp.Column
    scope: Scope
    reader: FieldReader
    field: str
    meaning: Meaning
    read: Read
    node: exp.Expr  # the column with its parentheses
    parent: exp.Expr | None  # what that stands in
    select: exp.Select | None  # around it

    @property
    def is_in_answer(self) -> bool:
        """Whether the SELECT that it stands in makes the rows of the answer."""
        return self.scope.is_root and self.select is self.scope.expression

    @property
    def is_numeric(self) -> bool:
        """Whether the field has numbers alone."""
        return self.reader.is_numeric(self.field)


def view_of(column: exp.Column, scope: Scope, reader: FieldReader, field: str, meaning: Meaning, read: Read) -> View:
    """Return the form in which a column is read in its place; the statement around it may be rewritten.

    Raise QueryInvalid where DuckDB would compare the values by type.
    """
    node, parent = _around(column)
    at = _Occurrence(column, scope, reader, field, meaning, read, node, parent, column.find_ancestor(exp.Select))
    if not reader.is_split(field):
        return _of_one_kind(at)
    return _of_group(at) or _of_select_list(at) or _of_order(at) or _of_operation(at)


def refused(field: str) -> QueryInvalid:
    """Return the error of a place where values of several types would be compared by type."""
    name = exp.to_identifier(field).sql("duckdb")
    return QueryInvalid(
        f"SQL: field {field!r} has numbers beside values of other types, which cannot be compared here: where it is "
        f"read from the dataset, write TRY_CAST({name} AS DOUBLE) for its numbers or CAST({name} AS VARCHAR) for its "
        "values as texts"
    )


def _of_one_kind(at: _Occurrence) -> View:
    """Return the view of a field of one type, or of types among which there is nothing to convert."""
    parent, meaning = at.parent, at.meaning
    if isinstance(parent, _COMPARISONS) and any(_is_split(other, meaning) for other in parent.iter_expressions()):
        return "key"
    if not at.reader.is_mixed(at.field):
        return "plain"
    if at.is_in_answer and _is_item(at.node) and not _groups(at.select):
        return "exact"
    if isinstance(parent, exp.Ordered) and isinstance(parent.parent, exp.Order):
        sorts_rows = isinstance(parent.parent.parent, exp.Select) and not _groups(parent.parent.parent)
        return "key" if sorts_rows else "plain"
    if isinstance(parent, (*_REAL_FUNCTIONS, *_EXACT_ARITHMETIC)):
        return "number"
    if isinstance(parent, _TEXT_OPERATORS):
        return "text"
    if isinstance(parent, (*_COMPARISONS, exp.Between, exp.In)):
        others = [other for other in parent.iter_expressions() if id(other) != id(at.column)]
        if others and all(_is_number(other) for other in others):
            return "number"
        if others and all(_is_text(other) for other in others):
            return "text"
    return "plain"


def _of_group(at: _Occurrence) -> View | None:
    """Return the view of a column that is read after equal values became one row; None where it is not one of the
    groups.
    """
    column, select, node, parent = at.column, at.select, at.node, at.parent
    if select is None or not _groups(select) or not _is_after(column, select):
        return None
    group = select.args.get("group")
    if group is None:
        return _of_distinct(at, select)
    if not _is_group_of(column, select, group):
        return None
    unusual = any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets")) or group.find(
        exp.Rollup, exp.Cube, exp.GroupingSets
    )
    exact = at.is_in_answer and not unusual and _is_only_shown(column, select)
    if at.is_numeric and not exact:
        return "plain"
    if isinstance(parent, exp.Ordered):
        if unusual:
            raise refused(at.field)
        # All values of a group have the same key.
        parent.set("this", exp.AnyValue(this=at.read("key")))
        return "key"
    if not (_is_item(node) or _is_in_group(node) or isinstance(parent, (*_AS_SENT, exp.Is, exp.Window))):
        raise refused(at.field)
    return "group"


def _of_distinct(at: _Occurrence, select: exp.Select) -> View | None:
    if not _is_item(at.node):
        return "key" if _is_in_distinct(at.node) else None
    if not at.is_numeric:
        return "group"
    return "group" if at.is_in_answer and not _is_alias_used(at.node, at.column, select) else "plain"


def _of_select_list(at: _Occurrence) -> View | None:
    """Return the view of an item of a select list whose values are the answer's, or are compared with others'."""
    node, select = at.node, at.select
    if select is None or not _is_item(node):
        return None
    if at.is_in_answer and not _is_alias_used(node, at.column, select):
        return "exact"
    if isinstance(_around(select)[1], exp.SetOperation):
        return "plain" if at.is_numeric else "group"
    return None


def _of_order(at: _Occurrence) -> View | None:
    """Return the view of what sorts, parts or tells apart."""
    node, parent = at.node, at.parent
    if isinstance(parent, exp.Ordered):
        return _ordered(parent)
    if isinstance(parent, exp.Window):
        return "key"  # PARTITION BY
    if isinstance(parent, exp.Distinct) and isinstance(parent.parent, exp.Count) and len(parent.expressions) == 1:
        return "key"
    if isinstance(parent, (exp.ArgMax, exp.ArgMin)) and node.arg_key == "expression":
        return "key"
    if isinstance(parent, (exp.Max, exp.Min)) and not parent.expressions:
        return _extreme(at, parent)
    return None


def _of_operation(at: _Occurrence) -> View:
    """Return the view of an operand or an argument."""
    node, parent = at.node, at.parent
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
        view = _compared(node, parent, at.meaning, at.read, numeric=at.is_numeric)
        if view == "plain" and at.reader.is_varied(at.field):
            raise refused(at.field)
        return view
    by_type = isinstance(parent, _BY_TYPE) or (isinstance(parent, exp.Case) and node.arg_key == "this")
    if by_type and at.reader.is_varied(at.field):
        raise refused(at.field)
    return "plain"


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


def _extreme(at: _Occurrence, call: exp.Expr) -> View:
    """Return the view of a column whose largest or smallest value is asked for, as it was sent."""
    node, around = _around(call)
    if isinstance(around, exp.Ordered):
        return "key"
    if isinstance(around, _COMPARISONS):
        if not at.is_numeric:
            raise refused(at.field)
        for other in list(around.iter_expressions()):
            if other is not node:
                _replace(other, key_of)
        return "key"
    if isinstance(around, exp.Filter):
        node, around = _around(around)
    shown = at.is_in_answer and _is_item(node) and not _is_alias_used(node, at.column, at.select)
    if at.is_numeric and not shown:
        return "plain"
    function = "arg_max" if isinstance(call, exp.Max) else "arg_min"
    call.replace(exp.Anonymous(this=function, expressions=[at.column, at.read("key")]))
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

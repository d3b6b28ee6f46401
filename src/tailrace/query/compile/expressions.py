"""Scalar expressions: names to columns, calls to functions, operators to values."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp

from tailrace.query import functions
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError, suggestion
from tailrace.query.compile.aggregations import AGGREGATIONS
from tailrace.query.compile.any_column import SEPARATOR, holds_for_any, joined_texts
from tailrace.query.compile.chains import as_lists
from tailrace.query.compile.columns import everything, names_in
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.expression_size import are_small, is_shallow
from tailrace.query.compile.relation import Columns, Derived, Empty, Layer, Relation, identifier, references
from tailrace.query.compile.search_terms import has_term
from tailrace.query.compile.subqueries import first_column, first_value, is_among
from tailrace.query.functions import CallInvalid, Context
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    NULL,
    NUMBERS,
    STRING,
    TIMESPAN,
    TYPE_NAMES,
    Type,
    Value,
    as_bool,
    as_predicate,
    datetime_literal,
    dynamic_literal,
    from_parts,
    literal,
    null,
    timespan_literal,
)

SHORT_CHAIN = 8  # operands; DuckDB takes time of the square, or worse, of the length of a long one
INSIDE = ("has", "hasprefix", "hassuffix", "contains")  # operators that do not look at where the text begins or ends
SYSTEM = ("_time", "_sysTime")

Calls = Callable[[tree.Call], Value | None]
"""Compiles calls that only some places have, such as aggregations; None for any other."""


class Expressions:
    """Compiles expressions over one relation, to which columns may be added on the way."""

    def __init__(
        self, compiler: Compiler, relation: Relation, calls: Calls | None = None, *, searching: str | None = None
    ) -> None:
        self.compiler = compiler
        self.relation = relation
        self.calls = calls
        self._searching = searching  # inside of search what ends the names of its operators: "" or "_cs"
        self._context: Context | None = None
        self._added: Layer | None = None  # the last layer of columns that no name finds

    @property
    def context(self) -> Context:
        if self._context is None:
            self._context = self.compiler.context(Columns(self.relation))
        return self._context

    def value(self, node: tree.Expression) -> Value:
        """Raise AplError, with the place; QueryFailed where the query is to stop."""
        self.compiler.request.check()
        try:
            return _COMPILERS[type(node)](self, node)
        except AplError as error:
            if error.at is None:
                error.at = node.at
            raise

    def values(self, nodes: Sequence[tree.Expression]) -> list[Value]:
        return [self.value(node) for node in nodes]

    def predicate(self, node: tree.Expression) -> exp.Expr:
        """Return a condition for rows; what is no boolean is false. Raise AplError."""
        return self.condition(self.value(node), node)

    def condition(self, value: Value, node: tree.Expression) -> exp.Expr:
        """Return the same of what is compiled already."""
        if value.type not in (BOOL, DYNAMIC, NULL):
            raise AplError(f"a condition is expected here, this is a {value.type.value}", node.at, kind="type")
        return as_predicate(value)

    def constant(self, node: tree.Expression, what: str) -> Value:
        """Return a value that no row changes, as a literal: one, or what has one value before any row is read."""
        if all(map(self._is_let, names_in(node))):
            alone = Expressions(self.compiler, Empty())
            value = self.compiler.settled(alone.value(node), alone.relation)
        else:
            value = self.value(node)
        if not value.is_constant:
            raise AplError(f"{what} must have one value for all rows", node.at, kind="type")
        return value

    def _is_let(self, name: str) -> bool:
        return self.relation.find(name) is None and self.compiler.scalar(name) is not None

    def whole_number(self, node: tree.Expression, what: str, *, least: int = 0, most: int = 2**62) -> int:
        number = self.constant(node, what).constant
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise AplError(f"{what} must be a whole number of {least} to {most}", node.at, kind="type")
        return number

    # Names

    def name(self, node: tree.Name) -> Value:
        column = self.relation.find(node.name)
        if column is not None:
            return column.value
        bound = self.bound(node.name)
        if bound is not None:
            return bound
        if not node.quoted and node.name in TYPE_NAMES:
            return literal(node.name)  # as in typeof(string)
        return self.unknown(node.name, node.at)

    def bound(self, name: str) -> Value | None:
        """Return the value of a `let`."""
        meaning = self.compiler.scalar(name)
        return meaning if meaning is None or isinstance(meaning, Value) else self.value(meaning)

    def unknown(self, name: str, at: int) -> Value:
        """Return null for a field that nobody has seen yet; raise AplError where columns are fixed."""
        known = list(dict.fromkeys(self.relation.known()))
        is_system = name in SYSTEM and not isinstance(self.relation, Empty)
        if is_system or (self.relation.is_open and self.relation.hides(name)):
            self.compiler.warn("missing_column", f"the query has left out {name!r} before it is used: it is null")
            return null(DATETIME if is_system else DYNAMIC)
        if self.relation.is_open:
            hint = suggestion(name, known)
            self.compiler.warn("missing_column", f"no event has a field {name!r} so far{hint}")
            return null(DYNAMIC)
        names = ", ".join(map(repr, known[:10])) + (", …" if len(known) > 10 else "")
        hint = suggestion(name, known)
        raise AplError(
            f"there is no column {name!r} here{hint}" + (f"; there are {names}" if known else ""), at, kind="name"
        )

    def member(self, node: tree.Member) -> Value:
        keys: list[str] = []
        base: tree.Expression = node
        while isinstance(base, tree.Member):
            keys.append(base.key)
            base = base.of
        keys.reverse()
        if not isinstance(base, tree.Name):
            return self._indexed(self.value(base), keys)
        if base.name in ("$left", "$right"):
            raise AplError(f"{base.name} has a meaning only after `on` of a join", base.at)
        for n in range(len(keys), -1, -1):
            column = self.relation.find(".".join([base.name, *keys[:n]]))
            if column is not None:
                return self._indexed(column.value, keys[n:])
        bound = self.bound(base.name)
        if bound is not None:
            return self._indexed(bound, keys)
        return self.unknown(".".join([base.name, *keys]) if self.relation.is_open else base.name, base.at)

    def _indexed(self, value: Value, keys: Sequence[str]) -> Value:
        for key in keys:
            value = functions.index(value, literal(key))
        return value

    def index(self, node: tree.Index) -> Value:
        return functions.index(self.operand(node.of), self.operand(node.index))

    # Calls and operators

    def call(self, node: tree.Call) -> Value:
        if self.calls is not None:
            value = self.calls(node)
            if value is not None:
                return value
        if node.name == "toscalar" and len(node.arguments) == 1 and isinstance(node.arguments[0], tree.Subquery):
            return self._scalar_subquery(node.arguments[0])
        if node.name not in functions.FUNCTIONS:
            raise unknown_function(node)
        arguments: list[Value] = []
        for argument in node.arguments:
            if isinstance(argument, tree.Star):
                pairs = functions.FUNCTIONS[node.name].star == "pairs"
                for column in everything(self.compiler, self.relation):
                    arguments += [literal(column.name), column.value] if pairs else [column.value]
            else:
                arguments.append(self.operand(argument))
        try:
            context = self.context
            if node.name == "bin_auto":
                context = self.compiler.context(Columns(self.relation), with_range=True)
            return functions.call(node.name, arguments, context)
        except CallInvalid as error:
            index = error.argument
            if error.at is None:
                plain = index is not None and index < len(node.arguments)
                error.at = node.arguments[index].at if plain and index is not None else node.at
            raise

    def operand(self, node: tree.Expression) -> Value:
        """Return the value of an expression of which more is to be made."""
        return self.prepared(self.value(node))

    def prepared(self, value: Value) -> Value:
        """Return the value as a column of its own, or its parts as some, where each way to read it would compute it
        again, or DuckDB would take long to bind more around it.
        """
        if value.is_constant or isinstance(value.sql, exp.Column):
            return value
        if value.type is not DYNAMIC:
            return value if is_shallow(value.sql) else self.add(value.type, value.sql)
        if value.parts is None:
            return self.add(value.type, value.sql)
        return value if are_small(value.parts.expressions()) else self.stored(value)

    def stored(self, value: Value) -> Value:
        """Return the value, or the parts of a DYNAMIC, as columns."""
        if value.parts is None:
            return value if value.is_constant or isinstance(value.sql, exp.Column) else self.add(value.type, value.sql)
        parts = value.parts.map_computed(lambda kind, node: self.add(kind, node).sql)
        if isinstance(value.sql, exp.Column):
            return Value(DYNAMIC, value.sql, parts=parts)
        return from_parts(parts, self.add(DYNAMIC, value.sql).sql if parts.incomplete else None)

    def unary(self, node: tree.Unary) -> Value:
        return functions.unary(node.operator, self.operand(node.of))

    def binary(self, node: tree.Binary) -> Value:
        operator = node.operator
        if operator in ("and", "or"):
            return self._chain(node)
        if isinstance(node.left, tree.Star):
            right = self.value(node.right)
            return self._any_column(operator, right)
        if operator == ":":
            return self._searched_field(node)
        try:
            left, right = self.operand(node.left), self.operand(node.right)
            self._check_types(operator, left, right)
            return functions.binary(operator, left, right)
        except CallInvalid as error:
            error.at = node.at if error.at is None else error.at
            raise

    def _chain(self, node: tree.Binary) -> Value:
        """Return a long `a or b or c` without a recursion for each, as a tree of little depth."""
        operands: list[tree.Expression] = []
        left: tree.Expression = node
        while isinstance(left, tree.Binary) and left.operator == node.operator:
            operands.append(left.right)
            left = left.left
        operands.append(left)
        if len(operands) > SHORT_CHAIN and self._searching is None:
            operands = as_lists(node.operator, operands)
        values = [self._operand(operand) for operand in reversed(operands)]
        while len(values) > 1:
            pairs = [values[n : n + 2] for n in range(0, len(values), 2)]
            values = [functions.binary(node.operator, *pair) if len(pair) > 1 else pair[0] for pair in pairs]
        return values[0]

    def _operand(self, node: tree.Expression) -> Value:
        if self._searching is not None:
            return self.searched(node)
        value = self.value(node)
        if value.type not in (BOOL, DYNAMIC, NULL):
            raise AplError(f"a condition is expected here, this is a {value.type.value}", node.at, kind="type")
        return value

    def _check_types(self, operator: str, left: Value, *others: Value) -> None:
        """Raise AplError for types that do not fit exactly, where the query sets stricttypes."""
        if not self.compiler.scope.is_strict:
            return
        for right in others:
            kinds = {value.type for value in (left, right) if value.constant is not None} - {NULL}
            spans = {DATETIME, TIMESPAN} if operator in ("+", "-") else {TIMESPAN, *NUMBERS} if operator in "*/" else ()
            if len(kinds) > 1 and not kinds <= set(NUMBERS) and not kinds <= set(spans):
                types = " and ".join(sorted(f"a {kind.value}" for kind in kinds))
                raise AplError(f"with stricttypes {operator!r} does not take {types}; convert one of them", kind="type")

    def between(self, node: tree.Between) -> Value:
        of, low, high = self.operand(node.of), self.operand(node.low), self.operand(node.high)
        if not (high.type is TIMESPAN and DATETIME in (of.type, low.type)):
            self._check_types("between", of, high)
        self._check_types("between", of, low)
        return functions.between(of, low, high, negated=node.negated)

    def membership(self, node: tree.Membership) -> Value:
        operator = node.operator
        if len(node.items) == 1:
            query = self._as_query(node.items[0])
            if query is not None:
                return self._in_subquery(node, query)
        items = [self.operand(item) for item in node.items]
        name = operator.removeprefix("!")
        if name in ("has_any", "has_any_cs", "has_all"):
            of = self.value(node.of)
            cased = name.endswith("_cs")
            holds = self._has_all(of, items) if name == "has_all" else functions.has_any(of, items, cased=cased)
            return functions.unary("not", holds) if operator.startswith("!") else holds
        if isinstance(node.of, tree.Star):
            return self.any_of(lambda value: functions.membership(name, value, items), negated=operator != name)
        try:
            of = self.operand(node.of)
            self._check_types(operator, of, *_elements(items))
            return functions.membership(operator, of, items)
        except CallInvalid as error:
            error.at = node.at if error.at is None else error.at
            raise

    def _has_all(self, of: Value, items: Sequence[Value]) -> Value:
        holds = literal(True)
        for item in _elements(items):
            holds = functions.binary("and", holds, functions.binary("has", of, item))
        return holds

    # Any column

    def _any_column(self, operator: str, right: Value) -> Value:
        negated = operator.startswith("!")
        bare = {"!=": "==", "!~": "=~"}.get(operator, operator.removeprefix("!"))
        joined = bare.removesuffix("_cs") in INSIDE and SEPARATOR not in str(right.constant)
        return self.any_of(lambda value: functions.binary(bare, value, right), negated=negated, joined=joined)

    def any_of(self, test: Callable[[Value], Value], *, negated: bool = False, joined: bool = False) -> Value:
        """Whether a test holds for any column, the fields without columns included.

        With `joined` it is made once, of all texts together with separators between them, as it can be where it looks
        for something that no separator is part of.
        """
        if not joined:
            return holds_for_any(self.relation, test, negated=negated)
        texts = joined_texts(self.relation)
        holds = as_bool(test(literal("") if texts is None else self.add(STRING, texts)))
        return functions.unary("not", holds) if negated else holds

    # Search

    def searched(self, node: tree.Expression) -> Value:
        """Return a predicate of `search`, in which a text alone is looked for in every column."""
        if isinstance(node, tree.Binary) and node.operator in ("and", "or"):
            return self._chain(node)
        if isinstance(node, tree.Star):
            return literal(True)
        if isinstance(node, tree.Constant) and node.kind == "string" and node.value is not None:
            if node.value.strip("*") == "":
                return literal(True)
            return self._anywhere(node.value)
        if isinstance(node, tree.Constant) and node.kind in ("long", "real"):
            return self._anywhere(str(node.value))
        if isinstance(node, tree.Call) and node.name == "not" and len(node.arguments) == 1:
            return functions.unary("not", self.searched(node.arguments[0]))
        value = self.value(node)
        if value.type not in (BOOL, DYNAMIC, NULL):
            raise AplError('search takes texts in quotes, field:"text", conditions, and, or, not()', node.at)
        return value

    def _anywhere(self, pattern: str) -> Value:
        inner = pattern.strip("*")
        plain = not set(inner) & {"*", "?", SEPARATOR}
        return self.any_of(lambda value: has_term(value, pattern, self._searching or ""), joined=plain)

    def _searched_field(self, node: tree.Binary) -> Value:
        right = node.right
        if isinstance(right, tree.Constant) and right.kind in ("string", "long", "real"):
            text = str(right.value)
            if text.strip("*") == "" and text:
                return functions.call("isnotempty", [self.value(node.left)], self.context)
            return has_term(self.value(node.left), text, self._searching or "")
        raise AplError("after ':' a text in quotes is expected", right.at)

    # Sub-queries

    def _as_query(self, item: tree.Expression) -> tree.Query | None:
        if isinstance(item, tree.Subquery):
            return item.query
        if isinstance(item, tree.Name) and self.relation.find(item.name) is None and self.compiler.is_table(item.name):
            return tree.Query(item.at, tree.Table(item.at, tree.Pattern(item.at, (item.name,))))
        return None

    def add(self, kind: Type, definition: exp.Expr | Derived) -> Value:
        """Return a new column of the relation that no name finds."""
        target = self.compiler.ids.fresh()
        if isinstance(definition, exp.Expr) and isinstance(self.relation, Dataset) and self.compiler.scope.in_virtual:
            self.relation.compute(identifier(target), definition)
            return Value(kind, target)
        layer = self._added
        if layer is None or layer is not self.relation or not references([definition]).isdisjoint(layer.defines):
            layer = self._added = Layer(self.relation)
            self.relation = layer
            self._context = None
        layer.defines[identifier(target)] = definition
        return Value(kind, target)

    def _in_subquery(self, node: tree.Membership, query: tree.Query) -> Value:
        """Return `x in (query)`: whether x is among the values of the query's first column."""
        name = node.operator.removeprefix("!")
        rows = self.compiler.subquery(query)
        first = first_column(rows, query.at)
        of = self.operand(node.of)
        if name in ("has_any", "has_any_cs", "has_all"):
            raise AplError(f"{name} takes a list, no sub-query", node.at)
        holds = self.add(BOOL, is_among(rows, first, of, any_case=name == "in~"))
        return functions.unary("not", holds) if node.operator.startswith("!") else holds

    def _scalar_subquery(self, node: tree.Subquery) -> Value:
        rows = self.compiler.subquery(node.query)
        first = first_column(rows, node.at)
        return self.add(first.type, first_value(rows, first))

    # Literals

    def literal(self, node: tree.Constant) -> Value:
        value = node.value
        if value is None:
            return literal(None) if node.kind == "null" else null(TYPE_NAMES[node.kind])
        if node.kind == "datetime":
            return datetime_literal(value // 1000)
        if node.kind == "timespan":
            return timespan_literal(value)
        return dynamic_literal(value) if node.kind == "dynamic" else literal(value)

    def star(self, node: tree.Star) -> Value:
        raise AplError("'*' has no meaning here", node.at)

    def subquery(self, node: tree.Subquery) -> Value:
        raise AplError("a query has no meaning here; it may stand after `in`, or in toscalar()", node.at)


def _elements(items: Sequence[Value]) -> list[Value]:
    """Return values, of a literal array its elements."""
    values: list[Value] = []
    for item in items:
        values += [literal(element) for element in item.constant] if isinstance(item.constant, list) else [item]
    return values


def unknown_function(node: tree.Call) -> AplError:
    """Return the error for a call of what is no function."""
    name = node.name
    if name in AGGREGATIONS:
        return AplError(f"{name}() is an aggregation; it stands in summarize or make-series", node.at, kind="name")
    hint = suggestion(name, [*functions.FUNCTIONS, *AGGREGATIONS])
    return AplError(f"unknown function {name!r}{hint}", node.at, kind="name")


_COMPILERS: dict[type, Callable[[Expressions, "tree.Expression"], Value]] = {
    tree.Constant: Expressions.literal,  # type: ignore[dict-item]
    tree.Name: Expressions.name,  # type: ignore[dict-item]
    tree.Star: Expressions.star,  # type: ignore[dict-item]
    tree.Member: Expressions.member,  # type: ignore[dict-item]
    tree.Index: Expressions.index,  # type: ignore[dict-item]
    tree.Call: Expressions.call,  # type: ignore[dict-item]
    tree.Unary: Expressions.unary,  # type: ignore[dict-item]
    tree.Binary: Expressions.binary,  # type: ignore[dict-item]
    tree.Between: Expressions.between,  # type: ignore[dict-item]
    tree.Membership: Expressions.membership,  # type: ignore[dict-item]
    tree.Subquery: Expressions.subquery,  # type: ignore[dict-item]
}

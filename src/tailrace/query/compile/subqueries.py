"""What expressions read of the queries inside of them: whether a value is among theirs, and their first value."""

import sqlglot.expressions as exp

from tailrace.query.apl.errors import AplError
from tailrace.query.compile.equality import comparable
from tailrace.query.compile.relation import Derived, Emitter, Layer, Relation, RowLimit, references
from tailrace.query.values import Value, as_text, coalesce, fn, is_not_null


def first_column(rows: Relation, at: int) -> Value:
    """Return the values of the first column. Raise AplError."""
    columns = rows.listed()
    if not columns:
        raise AplError("the sub-query has no column", at)
    return columns[0].value


def is_among(rows: Relation, column: Value, of: Value, *, any_case: bool) -> Derived:
    """Return whether a value is among those of a column, as texts in lower case with `any_case`."""
    left, right = comparable(of, column)
    if any_case:
        left, right = fn("lower", as_text(of).sql), fn("lower", as_text(column).sql)

    def build(out: Emitter) -> exp.Expr:
        target = exp.Alias(this=right, alias=exp.to_identifier("value"))
        source = out.table(rows.emit(references([right]), out))
        values = exp.Select(expressions=[target], from_=exp.From(this=source), where=exp.Where(this=is_not_null(right)))
        return coalesce(exp.Paren(this=exp.In(this=left, query=exp.Subquery(this=values))), exp.false())

    return Derived((left,), build)


def first_value(rows: Relation, column: Value) -> Derived:
    """Return the value of a column in the first row."""
    first = Layer(rows)
    first.limit = RowLimit(1, rows.order)

    def build(out: Emitter) -> exp.Expr:
        return exp.Subquery(this=first.emit(references([column.sql]), out))

    return Derived((), build)

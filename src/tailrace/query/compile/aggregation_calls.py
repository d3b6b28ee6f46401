"""Calls of aggregations in an operator, compiled into the layer of its groups."""

import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import walk
from tailrace.query.compile.aggregation_builders import AggregationCall, predicate_of
from tailrace.query.compile.aggregations import AGGREGATIONS, AggregationFunction, check_arguments
from tailrace.query.compile.columns import (
    add_definition,
    everything,
    name_of,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.notes import AggregateNote
from tailrace.query.compile.relation import Derived, Emitter, Layer, references
from tailrace.query.functions import FUNCTIONS
from tailrace.query.values import (
    REAL,
    Type,
    Value,
    fn,
    from_parts,
    nan_as_null,
)


class AggregateColumn(Struct, frozen=True, eq=False):
    """A column of an aggregation, and how it came to be."""

    name: str
    value: Value
    note: AggregateNote


class AggregationCalls:
    """Compiles the aggregations of one summarize into its layer."""

    def __init__(self, compiler: Compiler, inner: Expressions, groups: Layer, seconds: exp.Expr | None) -> None:
        self.compiler = compiler
        self.inner = inner
        self.groups = groups
        self.seconds = seconds

    def __call__(self, node: tree.Call) -> Value | None:
        aggregation = aggregation_of(node)
        if aggregation is None:
            return None
        value = self._built(aggregation, node)
        if value.parts is not None and not value.parts.incomplete:
            return from_parts(value.parts.map_computed(self._add))
        return Value(value.type, self._add(value.type, value.sql))

    def _add(self, kind: Type, node: exp.Expr) -> exp.Expr:
        return add_definition(self.compiler, self.groups, Value(kind, node)).sql

    def _built(self, aggregation: AggregationFunction, node: tree.Call) -> Value:
        check_arguments(aggregation, len(node.arguments))
        try:
            return aggregation.build(self._call(aggregation, node))
        except AplError as error:
            error.at = node.at if error.at is None else error.at
            raise

    def _call(self, aggregation: AggregationFunction, node: tree.Call) -> AggregationCall:
        predicate: exp.Expr | None = None
        arguments: list[Value] = []
        nodes: list[tree.Expression] = []
        names: list[str] = []
        for index, argument in enumerate(node.arguments):
            if index == aggregation.predicate:
                predicate = predicate_of(self.inner.operand(argument))
            elif isinstance(argument, tree.Star):
                for column in everything(self.compiler, self.inner.relation):
                    arguments.append(column.value)
                    nodes.append(argument)
                    names.append(column.name)
            else:
                name = name_of(argument) or ""
                source = self.inner.relation.find(name)
                value = self.inner.operand(argument)
                arguments.append(value if source is not None and source.types else nan_as_null(value))
                nodes.append(argument)
                names.append(name)
        order = self.inner.relation.order if self.inner.relation.settled else ()
        seconds = self.seconds if aggregation.name == "rate" else None

        def settle(index: int, what: str) -> Value:
            return self.inner.constant(nodes[index], what)

        return AggregationCall(
            aggregation.name, tuple(arguments), tuple(names), settle, predicate, order, seconds, self._extremes
        )

    def _extremes(self, number: exp.Expr, predicate: exp.Expr | None) -> tuple[exp.Expr, exp.Expr]:
        """Return the least and the greatest of a number over all rows, which are read once more for them."""
        rows = self.inner.relation

        def extreme(function: str) -> exp.Expr:
            aggregate = fn(function, number)
            if predicate is not None:
                aggregate = exp.Filter(this=aggregate, expression=exp.Where(this=predicate))

            def build(out: Emitter) -> exp.Expr:
                source = out.table(rows.emit(references([aggregate]), out))
                cell = exp.Alias(this=aggregate, alias=exp.to_identifier("value"))
                return exp.Subquery(this=exp.Select(expressions=[cell], from_=exp.From(this=source)))

            return self.inner.add(REAL, Derived((), build, (rows, aggregate))).sql

        return extreme("min"), extreme("max")


def aggregation_of(node: object) -> AggregationFunction | None:
    """Return the aggregation that is called; a name that is a function's too means it with one argument."""
    if not isinstance(node, tree.Call) or (node.name in FUNCTIONS and len(node.arguments) != 1):
        return None
    return AGGREGATIONS.get(node.name)


def refuse_nested(node: tree.Call) -> Value | None:
    if aggregation_of(node) is not None and node.name not in FUNCTIONS:
        raise AplError(f"{node.name}() cannot stand inside of another aggregation, nor after by", node.at)
    return None


def has_aggregation(node: tree.Expression) -> bool:
    return any(aggregation_of(inner) is not None for inner in walk(node))

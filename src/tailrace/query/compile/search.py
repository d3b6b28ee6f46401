"""search: the rows that have a text in any of their columns, of one dataset or of several."""

from tailrace.query.apl import tree
from tailrace.query.compile.columns import define
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import Layer, Relation
from tailrace.query.compile.union import united
from tailrace.query.values import (
    literal,
)

FEW_DATASETS = 4  # of a search; of more only those with a match go into its rows, whose columns are those of all
SOURCE = "$table"  # the column that says from which dataset a row of a search is


def search(compiler: Compiler, relation: Relation, operator: tree.Search) -> Relation:
    expressions = Expressions(compiler, relation, searching="_cs" if operator.case_sensitive else "")
    predicate = expressions.searched(operator.predicate)
    if predicate.constant is True:
        return expressions.relation
    compiler.notes.filtered = True
    layer = Layer(expressions.relation)
    layer.where.append(expressions.condition(predicate, operator.predicate))
    return layer


def search_source(compiler: Compiler, operator: tree.Search) -> Relation:
    """Search the datasets named, or all; a column `$table` says where a row is from.

    Each dataset is searched by itself: together they may have thousands of columns.
    """
    members: list[tuple[str, Relation]] = []
    for pattern in operator.tables or (tree.Pattern(operator.at, ("", "")),):
        members += compiler.tables(pattern)
    searched: list[tuple[str, Relation]] = []
    for name, relation in members:
        layer = Layer(relation)
        define(compiler, layer, SOURCE, literal(name))
        searched.append((name, search(compiler, layer, operator)))
    return united(compiler, searched, SOURCE, only_occupied=len(searched) > FEW_DATASETS)

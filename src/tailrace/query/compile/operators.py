"""The tabular operators and the sources of rows by their nodes in the tree."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tailrace.query.apl import tree
from tailrace.query.compile.column_operators import (
    extend,
    project,
    project_away,
    project_keep,
    project_rename,
    project_reorder,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.inline import datatable, getschema, print_row, range_rows
from tailrace.query.compile.join import join
from tailrace.query.compile.make_series import make_series
from tailrace.query.compile.mv_expand import mv_expand
from tailrace.query.compile.redact import redact
from tailrace.query.compile.relation import Relation
from tailrace.query.compile.row_operators import order, sample, sample_distinct, take, top, where
from tailrace.query.compile.search import search, search_source
from tailrace.query.compile.summarize import count, distinct, summarize
from tailrace.query.compile.text_operators import parse, parse_kv
from tailrace.query.compile.union import union, union_source


def apply(compiler: Compiler, relation: Relation, operator: tree.Operator) -> Relation:
    """Return the rows that an operator makes of others. Raise AplError."""
    return _OPERATORS[type(operator)](compiler, relation, operator)


def from_source(compiler: Compiler, source: tree.Source) -> Relation:
    """Return the rows of a source that is no query and no name. Raise AplError."""
    return _SOURCES[type(source)](compiler, source)


_OPERATORS: Mapping[type, Callable[[Compiler, Relation, Any], Relation]] = MappingProxyType({
    tree.Count: count,
    tree.Distinct: distinct,
    tree.Extend: extend,
    tree.Getschema: getschema,
    tree.Join: join,
    tree.MakeSeries: make_series,
    tree.MvExpand: mv_expand,
    tree.Order: order,
    tree.Parse: parse,
    tree.ParseKv: parse_kv,
    tree.Project: project,
    tree.ProjectAway: project_away,
    tree.ProjectKeep: project_keep,
    tree.ProjectRename: project_rename,
    tree.ProjectReorder: project_reorder,
    tree.Redact: redact,
    tree.Sample: sample,
    tree.SampleDistinct: sample_distinct,
    tree.Search: search,
    tree.Summarize: summarize,
    tree.Take: take,
    tree.Top: top,
    tree.Union: union,
    tree.Where: where,
})  # fmt: skip

_SOURCES: Mapping[type, Callable[[Compiler, Any], Relation]] = MappingProxyType({
    tree.Datatable: datatable,
    tree.Print: print_row,
    tree.Range: range_rows,
    tree.Search: search_source,
    tree.Union: union_source,
})  # fmt: skip

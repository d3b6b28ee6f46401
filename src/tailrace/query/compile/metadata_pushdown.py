"""Aggregates that a table's metadata knows: the number of events and their first and last time, file by file."""

from collections.abc import Mapping

import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.relation import Definition, Reading, Relation, identifier
from tailrace.query.compile.scan import Scan
from tailrace.query.values import datetime_literal, fn, infix, number_node


class PartialAggregates(Struct, frozen=True, eq=False):
    """Aggregates over a dataset of which some files are known already and need not be read."""

    hot_name: str  # of the dataset
    scan: Scan  # what is left to read: the files about which not enough is known
    defines: dict[str, exp.Expr]


def from_metadata(parent: Relation, aggregates: Mapping[str, Definition], reading: Reading) -> PartialAggregates | None:
    """Return the aggregates with what the files that lie whole in the range add to them; None where that helps nothing.

    `wanted` are aggregates without groups over all rows of `parent`. Times in the metadata are exact, as they are whole
    microseconds.
    """
    if not isinstance(parent, Dataset) or parent.snapshot.primary_key or not aggregates:
        return None
    scan = parent.scan_of(reading)
    if scan.condition is not None:
        return None
    files = scan.files_of(parent.snapshot)
    whole = [file for file in files if scan.is_within(file)]
    if not whole:
        return None
    rows = sum(file.rows for file in whole)
    first = min(file.min_time_us for file in whole)
    last = max(file.max_time_us for file in whole)
    defines: dict[str, exp.Expr] = {}
    for name, node in aggregates.items():
        complete = _with_metadata(node, parent, rows, first, last)
        if complete is None:
            return None
        defines[name] = complete
    unread = tuple(file for file in files if not scan.is_within(file))
    return PartialAggregates(parent.hot_name, replace(scan, files=unread), defines)


def _with_metadata(node: Definition, dataset: Dataset, rows: int, first_us: int, last_us: int) -> exp.Expr | None:
    if isinstance(node, exp.Cast):
        inner = _with_metadata(node.this, dataset, rows, first_us, last_us)
        return exp.Cast(this=inner, to=node.args["to"]) if inner is not None else None
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        return infix(exp.Add, node, number_node(rows))
    if isinstance(node, exp.Anonymous) and node.this in ("min", "max"):
        [argument] = node.expressions
        if isinstance(argument, exp.Column) and identifier(argument) == dataset.event_time.id:
            # DuckDB's least() and greatest() pass over nulls, which an aggregate over no row gives.
            if node.this == "min":
                return fn("least", node, datetime_literal(first_us).sql)
            return fn("greatest", node, datetime_literal(last_us).sql)
    return None

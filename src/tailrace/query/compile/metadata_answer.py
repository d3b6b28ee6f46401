"""Answers that metadata gives alone: counts, first and last times, by bins of time and by columns with one value.

Where all files are known as `metadata_pushdown` knows them, and of the rows in memory the times are enough, these few
sums are made here, and no engine is asked.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query import sources
from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.groups import Groups
from tailrace.query.compile.metadata_pushdown import (
    EXTREMES,
    KnownRows,
    MetadataRead,
    is_count,
    layers_of,
    metadata_read,
    unknown_ranges,
)
from tailrace.query.compile.relation import Definition, Key, Layer, Reading, Relation, identifier
from tailrace.query.values import MIN_DATETIME_US, step_of

MAX_KNOWN_ROWS = 5000  # that stand for others; an engine adds up more in less time
MAX_HOT_ROWS = 500_000  # whose times are looked at one by one
MAX_BYTES = 1_000_000  # of an answer; of larger ones an engine looks after the limits

COUNT, TOTAL = "count", "total"  # of a group, and of all; beside EXTREMES

Cell = Any
"""A text, a whole number, a boolean, or none."""

Row = tuple[int, int, tuple[Cell, ...]]
"""A time in microseconds, how many rows it stands for, and the values of the keys."""


class _Bin(Struct, frozen=True):
    """The time at which a step begins, as a key."""

    size_us: int


class _Question(Struct, frozen=True, eq=False):
    """What is asked of a dataset's rows, by identifiers."""

    dataset: Dataset
    read: MetadataRead
    keys: dict[str, _Bin | str]  # a stored column is named
    aggregates: dict[str, str]


class _Group(Struct):
    count: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, time_us: int, rows: int) -> None:
        self.count += rows
        self.first_us = time_us if self.first_us is None else min(self.first_us, time_us)
        self.last_us = time_us if self.last_us is None else max(self.last_us, time_us)


def answer_from_metadata(
    relation: Relation, needed: Collection[str], order: Sequence[Key], most: int
) -> pa.Table | None:
    """Return the columns of these identifiers, at most so many rows in an order; None where rows must be read."""
    question = _question(relation, set(needed))
    rows = None if question is None else _rows(question)
    if question is None or rows is None:
        return None
    groups: dict[tuple[Cell, ...], _Group] = {} if question.keys else {(): _Group()}
    for time_us, count, values in rows:
        groups.setdefault(values, _Group()).add(time_us, count)
    columns = _columns(question, groups)
    places = _sorted_places(columns, order, len(groups))[:most]
    answer = pa.table(
        {name: pa.array([columns[name][place] for place in places], _kind(question, name)) for name in needed}
    )
    return answer if answer.nbytes <= MAX_BYTES else None


def _question(relation: Relation, needed: set[str]) -> _Question | None:
    """Return what is asked; None where that is more than counts and times of groups."""
    while type(relation) is Layer and _only_passes(relation, needed):
        relation = relation.parent
    if not isinstance(relation, Groups) or relation.where or not relation.limit.is_all:
        return None
    needed = needed | relation.always
    by = [identifier(key) for key in relation.group or ()]
    nodes = {name: relation.defines.get(name) for name in (*by, *needed)}
    layers, dataset = layers_of(relation.parent)
    if not isinstance(dataset, Dataset) or dataset.snapshot.primary_key or any(layer.where for layer in layers):
        return None
    resolve = _resolver(layers)
    aggregates = {name: _aggregate(nodes[name], dataset, resolve) for name in sorted(needed.difference(by))}
    keys = {name: _key(nodes[name], dataset, resolve) for name in by}
    known_aggregates = {name: kind for name, kind in aggregates.items() if kind is not None}
    known_keys = {name: key for name, key in keys.items() if key is not None}
    if len(known_aggregates) < len(aggregates) or len(known_keys) < len(keys):
        return None
    key_nodes = {name: node for name in by if isinstance(node := nodes[name], exp.Expr)}
    aggregate_nodes = {name: node for name in aggregates if isinstance(node := nodes[name], exp.Expr)}
    read = metadata_read(layers, dataset, key_nodes, aggregate_nodes, Reading())
    return None if read is None else _Question(dataset, read, known_keys, known_aggregates)


def _only_passes(layer: Layer, needed: set[str]) -> bool:
    """Return whether a layer has the same rows as what it reads, and these columns from there."""
    return (
        not layer.where
        and layer.group is None
        and layer.limit.is_all
        and not layer.always
        and needed.isdisjoint(layer.defines)
    )


def _resolver(layers: Sequence[Layer]) -> Callable[[object], object]:
    """Return a function that follows references to what they refer to beneath layers."""
    defines: dict[str, Definition] = {}
    for layer in layers:
        defines.update(layer.defines)

    def resolve(node: object) -> object:
        while isinstance(node, exp.Column) and identifier(node) in defines:
            node = defines[identifier(node)]
        return node

    return resolve


def _aggregate(node: object, dataset: Dataset, resolve: Callable[[object], object]) -> str | None:
    """Return which of the aggregates a definition is; None where it is none of them."""
    if isinstance(node, exp.Cast):
        if not node.to.is_type("BIGINT"):
            return None
        node = node.this
        if not (is_count(node) or isinstance(node, exp.Window)):
            return None
    if is_count(node):
        return COUNT
    if isinstance(node, exp.Window):
        is_plain = not node.args.get("partition_by") and not node.args.get("order")
        summed = node.this
        is_sum = isinstance(summed, exp.Anonymous) and summed.this == "sum" and len(summed.expressions) == 1
        return TOTAL if is_plain and is_sum and is_count(summed.expressions[0]) else None
    if isinstance(node, exp.Anonymous) and node.this in EXTREMES and len(node.expressions) == 1:
        kind: str = node.this
        return kind if _is_time(node.expressions[0], dataset, resolve) else None
    return None


def _key(node: object, dataset: Dataset, resolve: Callable[[object], object]) -> _Bin | str | None:
    """Return the bin or the stored column that a definition is; None where it is neither."""
    node = resolve(node)
    if not isinstance(node, exp.Expr):
        return None
    step = step_of(node)
    if step is not None:
        return _Bin(step.size_us) if step.is_start and _is_time(step.of, dataset, resolve) else None
    if not isinstance(node, exp.Column):
        return None
    stored = dataset.reads({identifier(node)}).nodes.get(identifier(node))
    return stored.name if isinstance(stored, exp.Column) and stored.name not in sources.SYSTEM_TYPES else None


def _is_time(node: object, dataset: Dataset, resolve: Callable[[object], object]) -> bool:
    node = resolve(node)
    return isinstance(node, exp.Column) and identifier(node) == dataset.event_time.id


# Rows


def _rows(question: _Question) -> list[Row] | None:
    """Return rows that stand for all that are asked about; None where these are too many, or must be read."""
    known = KnownRows(question.read.kinds)
    for file in question.read.scan.files_of(question.dataset.snapshot):
        if unknown_ranges(file, question.read, known) != () or len(known.times) > MAX_KNOWN_ROWS:
            return None
    hot = question.read.scan.hot_of(question.dataset.snapshot)
    stored = [key for key in question.keys.values() if isinstance(key, str)]
    if any(not part.columns.isdisjoint(stored) for part in hot):
        return None
    if sum(part.rows.num_rows for part in hot) > MAX_HOT_ROWS:
        return None
    for part in hot:
        if question.read.scan.is_within(part) and not question.read.steps.sizes_us:
            known.add(part.min_time_us, part.rows.num_rows - 1, {})
            known.add(part.max_time_us, 1, {})
        else:
            _add_steps(known, part.rows[TIME], question.read)
        if len(known.times) > MAX_KNOWN_ROWS:
            return None
    bins = [key.size_us for key in question.keys.values() if isinstance(key, _Bin)]
    if any(time_us // size * size < MIN_DATETIME_US for size in bins for time_us in known.times):
        return None
    return list(_with_keys(known, question.keys))


def _add_steps(known: KnownRows, times: pa.ChunkedArray, read: MetadataRead) -> None:
    """Add, for each step in which rows in memory lie, the first and the last of them."""
    values = np.sort(times.cast(pa.int64()).to_numpy())
    start = 0 if read.scan.start_us is None else int(np.searchsorted(values, read.scan.start_us))
    stop = len(values) if read.scan.end_us is None else int(np.searchsorted(values, read.scan.end_us))
    values = values[start:stop]
    size = math.gcd(*read.steps.sizes_us)
    changes = np.flatnonzero(np.diff(values // size)) + 1 if size else np.zeros(0, np.int64)
    for first, last in zip((0, *changes.tolist()), (*changes.tolist(), len(values)), strict=True):
        if first < last:
            known.add(int(values[first]), last - first - 1, {})
            known.add(int(values[last - 1]), 1, {})


def _with_keys(known: KnownRows, keys: Mapping[str, _Bin | str]) -> Iterator[Row]:
    for n, (time_us, count) in enumerate(zip(known.times, known.weights, strict=True)):
        yield (
            time_us,
            count,
            tuple(
                known.values[key][n] if isinstance(key, str) else time_us // key.size_us * key.size_us
                for key in keys.values()
            ),
        )


# Columns


def _columns(question: _Question, groups: Mapping[tuple[Cell, ...], _Group]) -> dict[str, list[Cell]]:
    columns: dict[str, list[Cell]] = {name: [values[n] for values in groups] for n, name in enumerate(question.keys)}
    total = sum(group.count for group in groups.values())
    for name, kind in question.aggregates.items():
        if kind == COUNT:
            columns[name] = [group.count for group in groups.values()]
        elif kind == TOTAL:
            columns[name] = [total] * len(groups)
        else:
            columns[name] = [group.first_us if kind == "min" else group.last_us for group in groups.values()]
    return columns


def _sorted_places(columns: Mapping[str, Sequence[Cell]], order: Sequence[Key], count: int) -> list[int]:
    """Return the numbers of the rows in an order, whose last keys only break ties of the first."""
    places = list(range(count))
    for key in reversed(order):
        values = columns.get(identifier(key.value.sql))
        if values is None:
            continue
        present = [place for place in places if values[place] is not None]
        missing = [place for place in places if values[place] is None]
        present.sort(key=values.__getitem__, reverse=key.descending)
        places = missing + present if key.nulls_first else present + missing
    return places


def _kind(question: _Question, name: str) -> pa.DataType:
    key = question.keys.get(name)
    if isinstance(key, str):
        return question.read.kinds[key]
    is_time = isinstance(key, _Bin) or question.aggregates.get(name) in EXTREMES
    return sources.SYSTEM_ARROW_TYPES[TIME] if is_time else pa.int64()

"""The tabular answer of Axiom's query routes: tables whose values come by columns, or by rows."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tailrace.events.times import rfc3339
from tailrace.query.answers import cells, status
from tailrace.query.apl_request import FieldOrder
from tailrace.query.apl_result import AplField, AplResult, AplTable


class TabularAggregation(Struct, frozen=True, omit_defaults=True):
    """How an aggregate column came to be."""

    name: str
    fields: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()


class TabularField(Struct, frozen=True):
    """A column."""

    name: str
    type: str
    agg: TabularAggregation | UnsetType = UNSET


class TabularName(Struct, frozen=True):
    """A dataset, or a column to group by."""

    name: str


class TabularRange(Struct, frozen=True):
    """The time that a table covers, RFC 3339, end exclusive."""

    field: str
    start: str
    end: str


class TabularBuckets(Struct, frozen=True):
    """The bins of a group; nanoseconds where the field is a time."""

    field: str
    size: int | float


class TabularTable(Struct, frozen=True):
    """One table: exactly these members, which Axiom's Go client decodes strictly."""

    name: str
    sources: list[TabularName]
    fields: list[TabularField]
    order: tuple[FieldOrder, ...]
    groups: list[TabularName]
    range: TabularRange | UnsetType = UNSET
    buckets: TabularBuckets | UnsetType = UNSET
    # One array a field even where there is no row: the JavaScript client reads the length of the first.
    columns: list[cells.Column] | UnsetType = UNSET
    rows: Sequence[Sequence[Any]] | UnsetType = UNSET


class TabularAnswer(Struct, frozen=True, rename="camel"):
    """The whole answer."""

    format: str
    status: status.Status
    tables: list[TabularTable]
    dataset_names: tuple[str, ...]
    fields_meta_map: dict[str, list[Any]] = {}


def to_tabular(result: AplResult) -> bytes:
    """Return `format=tabular`: an array of values for each field."""
    return _answer("tabular", result, [_table(table, by_rows=False) for table in result.tables])


def to_tabular_rows(result: AplResult) -> bytes:
    """Return `format=tabular-rows`: `rows` in place of `columns`, an array of values for each row."""
    return _answer("tabular-rows", result, [_table(table, by_rows=True) for table in result.tables])


def _answer(form: str, result: AplResult, tables: list[TabularTable]) -> bytes:
    answer = TabularAnswer(form, status.to_status(result.status), tables, result.datasets)
    return msgspec.json.encode(answer)


def _table(table: AplTable, *, by_rows: bool) -> TabularTable:
    return TabularTable(
        name=table.name,
        sources=[TabularName(name) for name in table.sources],
        fields=[_field(field) for field in table.fields],
        order=table.order,
        groups=[TabularName(name) for name in table.groups],
        range=UNSET
        if table.range is None
        else TabularRange(table.range.field, rfc3339(table.range.start_ns), rfc3339(table.range.end_ns)),
        buckets=UNSET if table.buckets is None else TabularBuckets(table.buckets.field, table.buckets.size),
        columns=UNSET if by_rows or not table.fields else [cells.encoded(column) for column in cells.columns(table)],
        rows=list(_rows(table)) if by_rows else UNSET,
    )


def _field(field: AplField) -> TabularField:
    agg = field.agg
    return TabularField(
        field.name, field.type, UNSET if agg is None else TabularAggregation(agg.name, agg.fields, agg.args)
    )


def _rows(table: AplTable) -> Iterator[Sequence[Any]]:
    if not table.fields:
        yield from itertools.repeat((), table.rows.num_rows)
        return
    for part in cells.slices(table):
        for row in zip(*cells.columns(part), strict=True):
            yield cells.encoded(row)

"""Strict decoders of the query API's answers: any member outside of the lists that Axiom's clients know is refused."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

Unsigned = int
AGGREGATIONS = frozenset(
    [
        "count",
        "countif",
        "distinct",
        "distinctif",
        "sum",
        "sumif",
        "avg",
        "avgif",
        "min",
        "minif",
        "max",
        "maxif",
        "topk",
        "topkif",
        "percentiles",
        "percentilesif",
        "histogram",
        "histogramif",
        "stdev",
        "stdevif",
        "variance",
        "varianceif",
        "argmin",
        "argmax",
        "rate",
        "makeset",
        "makesetif",
        "makelist",
        "makelistif",
        "computed",
        "spotlight",
    ]
)
TYPES = frozenset(["datetime", "string", "integer", "float", "boolean", "array", "map", "timespan", "unknown"])


class Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    """A struct that takes nothing else."""


class Message(Strict):
    priority: Literal["trace", "debug", "info", "warn", "error", "fatal"]
    count: Unsigned
    code: str
    msg: str


class Status(Strict):
    elapsed_time: Unsigned
    blocks_examined: Unsigned
    rows_examined: Unsigned
    rows_matched: Unsigned
    num_groups: Unsigned
    is_partial: bool
    min_block_time: str
    max_block_time: str
    messages: list[Message]
    blocks_cached: Unsigned = 0
    blocks_matched: Unsigned = 0
    blocks_skipped: Unsigned = 0
    is_estimate: bool = False
    cache_status: Unsigned = 0
    min_cursor: str | UnsetType = UNSET
    max_cursor: str | UnsetType = UNSET
    continuation_token: str | UnsetType = UNSET


class Agg(Strict):
    name: str
    fields: list[str] | UnsetType = UNSET
    args: list[Any] | UnsetType = UNSET


class Field(Strict):
    name: str
    type: str
    agg: Agg | UnsetType | None = UNSET


class Named(Strict):
    name: str


class Order(Strict):
    field: str
    desc: bool


class Range(Strict):
    field: str
    start: str
    end: str


class Bucket(Strict):
    field: str
    size: int | float


class Table(Strict):
    name: str
    sources: list[Named]
    fields: list[Field]
    order: list[Order]
    groups: list[Named]
    range: Range | UnsetType | None = UNSET
    buckets: Bucket | UnsetType | None = UNSET
    columns: list[list[Any]] | UnsetType = UNSET

    def rows(self) -> list[dict[str, Any]]:
        """Each row as a mapping."""
        columns = [] if self.columns is UNSET else self.columns
        names = [field.name for field in self.fields]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


class RowTable(Table):
    rows_: list[list[Any]] = msgspec.field(name="rows", default_factory=list)


class Tabular(Strict):
    format: Literal["tabular"]
    status: Status
    tables: list[Table]
    dataset_names: list[str]
    fields_meta_map: dict[str, list[Any]]


class TabularRows(Strict):
    format: Literal["tabular-rows"]
    status: Status
    tables: list[RowTable]
    dataset_names: list[str]
    fields_meta_map: dict[str, list[Any]]


class Match(Strict):
    time: str = msgspec.field(name="_time")
    system_time: str = msgspec.field(name="_sysTime")
    row_id: str = msgspec.field(name="_rowId")
    data: dict[str, Any]


class Aggregated(Strict):
    op: str
    value: Any


class Group(Strict):
    id: Unsigned
    group: dict[str, Any]
    aggregations: list[Aggregated]


class Interval(Strict):
    start_time: str
    end_time: str
    groups: list[Group]


class Buckets(Strict):
    series: list[Interval]
    totals: list[Group]


class Legacy(Strict):
    """Of an APL query."""

    format: Literal["legacy"]
    status: Status
    matches: list[Match]
    buckets: Buckets
    dataset_names: list[str]
    fields_meta_map: dict[str, list[Any]]


class Structured(Strict):
    """Of a structured query."""

    format: Literal["legacy"]
    status: Status
    matches: list[Match]
    buckets: Buckets
    fields_meta: list[Any]


def tabular(content: bytes) -> Tabular:
    """Return a tabular answer, checked for what its members promise each other too."""
    answer = msgspec.json.decode(content, type=Tabular)
    check_status(answer.status)
    for table in answer.tables:
        _check_fields(table)
        assert table.columns is not UNSET or not table.fields
        columns = [] if table.columns is UNSET else table.columns
        assert len(columns) == len(table.fields)
        assert len({len(column) for column in columns}) <= 1
    return answer


def tabular_rows(content: bytes) -> TabularRows:
    """Return the same by rows."""
    answer = msgspec.json.decode(content, type=TabularRows)
    check_status(answer.status)
    for table in answer.tables:
        _check_fields(table)
        assert all(len(row) == len(table.fields) for row in table.rows_)
    return answer


def legacy(content: bytes) -> Legacy:
    """Return a legacy answer to an APL query."""
    answer = msgspec.json.decode(content, type=Legacy)
    check_status(answer.status)
    return answer


def structured(content: bytes) -> Structured:
    """Return a legacy answer to a structured query."""
    answer = msgspec.json.decode(content, type=Structured)
    check_status(answer.status)
    return answer


def check_status(status: Status) -> None:
    """Assert what clients take for granted."""
    assert status.elapsed_time >= 1
    assert status.min_block_time.endswith("Z")
    assert status.max_block_time.endswith("Z")


def _check_fields(table: Table) -> None:
    for field in table.fields:
        assert set(field.type.split("|")) <= TYPES, field.type
        if field.agg:
            assert field.agg.name in AGGREGATIONS, field.agg.name
    assert len({field.name for field in table.fields}) == len(table.fields)

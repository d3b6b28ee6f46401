"""The legacy answer of Axiom's query routes: events as matches, groups as series of buckets and totals."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tailrace.events.times import rfc3339
from tailrace.query.answers import cells, status
from tailrace.query.apl_result import CURSOR, AplResult, AplTable

TIME, SYSTEM_TIME = "_time", "_sysTime"
GROUP_ID_BITS = 53  # so that JavaScript reads it exactly
NS_PER_US = 1_000


class LegacyMatch(Struct, frozen=True):
    """One event."""

    time: str = msgspec.field(name=TIME)
    system_time: str = msgspec.field(name=SYSTEM_TIME)
    row_id: str = msgspec.field(name="_rowId")
    data: dict[str, Any]


class LegacyAggregation(Struct, frozen=True):
    """The value of one aggregation: `op` is its alias, or its name where it has none."""

    op: str
    value: Any


class LegacyGroup(Struct, frozen=True):
    """One group: `id` is the same for the same values wherever they are."""

    id: int
    group: dict[str, Any]
    aggregations: list[LegacyAggregation]


class LegacyInterval(Struct, frozen=True, rename="camel"):
    """The groups of a bucket of time, RFC 3339, end exclusive."""

    start_time: str
    end_time: str
    groups: list[LegacyGroup]


class LegacyBuckets(Struct, frozen=True):
    """Both lists are never null, which the Python client does not take."""

    series: list[LegacyInterval]
    totals: list[LegacyGroup]


class LegacyAnswer(Struct, frozen=True, rename="camel"):
    """The whole answer. The Go client permits `datasetNames` and `fieldsMetaMap` only of an APL query."""

    format: str
    status: status.Status
    matches: list[LegacyMatch]
    buckets: LegacyBuckets
    dataset_names: tuple[str, ...] | UnsetType = UNSET
    fields_meta_map: dict[str, list[Any]] | UnsetType = UNSET
    fields_meta: list[Any] | UnsetType = UNSET


def to_legacy(result: AplResult, ops: Mapping[str, str] | None = None) -> bytes:
    """Return `format=legacy`. A structured query has fewer members; `ops` are its columns to show, with their names."""
    answer = LegacyAnswer(
        "legacy",
        status.to_status(result.status),
        [] if result.tables[0].aggregated else list(_matches(result)),
        _buckets(result, ops) if result.tables[0].aggregated else LegacyBuckets([], []),
        dataset_names=result.datasets if ops is None else UNSET,
        fields_meta_map={} if ops is None else UNSET,
        fields_meta=UNSET if ops is None else [],
    )
    return msgspec.json.encode(answer)


def _matches(result: AplResult) -> Iterator[LegacyMatch]:
    for part in cells.slices(result.tables[0]):
        for match in _matches_of(part):
            yield cells.encoded(match)


def _matches_of(table: AplTable) -> Iterator[LegacyMatch]:
    names = [field.name for field in table.fields]
    named = dict(zip(names, cells.columns(table), strict=True))
    count = table.rows.num_rows
    nothing = [status.NO_TIME] * count
    times, system_times = named.pop(TIME, nothing), named.pop(SYSTEM_TIME, nothing)
    cursors = named.pop(CURSOR, [""] * count)
    rows: Any = zip(*named.values(), strict=True) if named else [()] * count
    for time, system_time, cursor, row in zip(times, system_times, cursors, rows, strict=True):
        yield LegacyMatch(
            time or status.NO_TIME, system_time or status.NO_TIME, cursor, dict(zip(named, row, strict=True))
        )


def _buckets(result: AplResult, ops: Mapping[str, str] | None) -> LegacyBuckets:
    table = result.tables[0]
    totals = next((other for other in result.tables if other.name == "_totals"), None)
    binned = table.buckets is not None and table.buckets.field == TIME and TIME in table.groups
    if not binned:
        groups = list(_groups(table, ops))
        return LegacyBuckets([_whole(table, groups)] if groups else [], groups)
    assert table.buckets is not None
    size_ns = int(table.buckets.size)
    series: dict[int, list[LegacyGroup]] = {}
    starts = table.rows[TIME].cast("int64").to_pylist()
    for start_us, group in zip(starts, _groups(table, ops, without=TIME), strict=True):
        if start_us is not None:
            series.setdefault(start_us * NS_PER_US, []).append(group)
    return LegacyBuckets(
        [LegacyInterval(rfc3339(start), rfc3339(start + size_ns), groups) for start, groups in sorted(series.items())],
        [] if totals is None else list(_groups(totals, ops)),
    )


def _whole(table: AplTable, groups: list[LegacyGroup]) -> LegacyInterval:
    if table.range is None:
        return LegacyInterval(status.NO_TIME, status.NO_TIME, groups)
    return LegacyInterval(rfc3339(table.range.start_ns), rfc3339(table.range.end_ns), groups)


def _groups(table: AplTable, ops: Mapping[str, str] | None, without: str | None = None) -> Iterator[LegacyGroup]:
    names = [field.name for field in table.fields]
    keys = [n for n, name in enumerate(names) if name in table.groups and name != without]
    values = [n for n, name in enumerate(names) if name not in table.groups and (ops is None or name in ops)]
    labels = [names[n] if ops is None else ops[names[n]] for n in values]
    columns = list(cells.columns(table))
    for row in range(table.rows.num_rows):
        group = {names[n]: columns[n][row] for n in keys}
        aggregations = [LegacyAggregation(label, columns[n][row]) for label, n in zip(labels, values, strict=True)]
        yield LegacyGroup(_identifier(group), group, aggregations)


def _identifier(group: dict[str, Any]) -> int:
    digest = hashlib.blake2b(msgspec.json.encode(group), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - GROUP_ID_BITS)

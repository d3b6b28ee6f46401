"""Look-ups of the server itself in a dataset: recently stored values, and current states of ids."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Raw, Struct

from tailrace.lake.snapshot import REVISION, Snapshot, SnapshotSource
from tailrace.query import sql
from tailrace.query.arrow_json import is_json
from tailrace.query.engines.engine import Engine
from tailrace.query.fields import FieldReader, cast

MAX_LISTED = 1_000  # values in one query
_EPOCH = datetime.fromtimestamp(0, UTC)
_TIMES = ("_time", "_sysTime")
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])


class StoredValue(Struct, frozen=True):
    """A value of a field, and when an event with it was received."""

    value: str
    received_ns: int  # to the microsecond


class CurrentState(Struct, frozen=True):
    """The newest row of an id."""

    revision: int
    members: dict[str, Raw]  # path to JSON text, without the id and the revision


def stored_values(
    source: SnapshotSource,
    engine: Engine,
    dataset: str,
    field: str,
    *,
    since_ns: int,
    most: int,
    among: Collection[str] = (),
) -> list[StoredValue]:
    """Return the values of a field in events received since a moment, oldest first: the `most` newest, or those `among`
    some.

    Raises what a query raises.
    """
    snapshot = source.snapshot(dataset, timeout_s=engine.limits.timeout_s)
    if not FieldReader(snapshot.fields).knows(field):
        return []
    since = (_EPOCH + timedelta(microseconds=since_ns // 1000)).isoformat()
    received = exp.column("_sysTime", quoted=True)
    is_recent = exp.GTE(this=received.copy(), expression=cast(exp.Literal.string(since), "TIMESTAMPTZ"))
    is_there = exp.column(field, quoted=True).is_(exp.null()).not_()
    rows = _select(dataset).where(is_recent).where(is_there)
    rows = rows.select(exp.alias_(cast(exp.column(field, quoted=True), "VARCHAR"), "value"), received.copy())
    stored: list[StoredValue] = []
    if among:
        for values in _portions(sorted(among)):
            stored += _stored(_run(engine, rows.where(_is_one_of(field, values)), snapshot))
        return sorted(stored, key=lambda value: value.received_ns)
    newest = rows.order_by(exp.Ordered(this=received.copy(), desc=True)).limit(min(most, engine.limits.max_rows))
    return list(reversed(_stored(_run(engine, newest, snapshot))))


def current_states(
    source: SnapshotSource, engine: Engine, dataset: str, ids: Collection[str]
) -> dict[str, CurrentState]:
    """Return the states of those ids that a dataset of current states has. Raise what a query raises."""
    snapshot = source.snapshot(dataset, timeout_s=engine.limits.timeout_s)
    by = snapshot.primary_key
    if not FieldReader(snapshot.fields).knows(by):
        return {}
    states: dict[str, CurrentState] = {}
    for values in _portions(sorted(ids)):
        rows = _select(dataset).select(exp.Star()).where(_is_one_of(by, values))
        states.update(_state(row, by) for row in _rows(_run(engine, rows, snapshot)))
    return states


def _select(dataset: str) -> exp.Select:
    return exp.Select(from_=exp.From(this=exp.Table(this=exp.to_identifier(dataset, quoted=True))))


def _is_one_of(field: str, values: Sequence[str]) -> exp.Expr:
    return exp.In(this=exp.column(field, quoted=True), expressions=[exp.Literal.string(value) for value in values])


def _portions(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), MAX_LISTED):
        yield values[start : start + MAX_LISTED]


def _run(engine: Engine, statement: exp.Select, snapshot: Snapshot) -> pa.Table:
    return engine.run(sql.plan(statement.copy(), lambda name: snapshot))


def _stored(table: pa.Table) -> list[StoredValue]:
    received_us = table["_sysTime"].cast(pa.int64()).to_pylist()
    return [
        StoredValue(value, us * 1000 + 999) for value, us in zip(table["value"].to_pylist(), received_us, strict=True)
    ]


def _rows(table: pa.Table) -> Iterator[dict[str, Raw]]:
    """Return each row's values as JSON texts by path, including those in `_rest`."""
    columns = [(name, is_json(field)) for name, field in zip(table.column_names, table.schema, strict=True)]
    for row in table.to_pylist():
        members = {
            name: Raw(row[name].encode()) if json else Raw(msgspec.json.encode(row[name]))
            for name, json in columns
            if row[name] is not None and name not in _TIMES and name != "_rest"
        }
        if row["_rest"] is not None:
            members = {**_MEMBERS.decode(row["_rest"]), **members}
        yield members


def _state(members: dict[str, Raw], by: str) -> tuple[str, CurrentState]:
    identity = msgspec.json.decode(members.pop(by), type=str)
    revision = msgspec.json.decode(members.pop(REVISION), type=int)
    return identity, CurrentState(revision, members)

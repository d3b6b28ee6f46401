"""Bodies of requests and answers about monitors."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tailrace.monitors.monitor import (
    MAX_COMPARE_DAYS,
    MAX_DELAY_S,
    MAX_MINUTES,
    MAX_RUNS,
    MAX_TOLERANCE,
    Kind,
    Operator,
)

_Minutes = Annotated[int, Meta(ge=0, le=MAX_MINUTES)] | None  # 0 and null are for the default
_Runs = Annotated[int, Meta(ge=0, le=MAX_RUNS)] | None


class MonitorBody(Struct, frozen=True, rename="camel", kw_only=True):
    """A monitor to be stored. Names may have any letter case, and old ones are taken too; null is for the default."""

    name: str
    type: Kind | None = None  # Threshold where it is not given
    description: str | None = None
    apl_query: str | None = None  # this or an mplQuery, which is stored and not run
    mpl_query: str | None = None
    column_name: str | None = None
    operator: Operator | None = None
    threshold: float | None = None
    interval_minutes: _Minutes = None
    range_minutes: _Minutes = None
    second_delay: Annotated[int, Meta(ge=0, le=MAX_DELAY_S)] | None = None
    alert_on_no_data: bool | None = None
    resolvable: bool | None = None
    notify_by_group: bool | None = None
    notify_every_run: bool | None = None
    skip_resolved: bool | None = None
    disabled: bool | None = None
    disabled_until: str | None = None  # RFC 3339
    compare_days: Annotated[int, Meta(ge=0, le=MAX_COMPARE_DAYS)] | None = None
    tolerance: Annotated[float, Meta(ge=0, le=MAX_TOLERANCE)] | None = None
    trigger_from_n_runs: _Runs = msgspec.field(name="triggerFromNRuns", default=None)
    trigger_after_n_positive_results: _Runs = msgspec.field(name="triggerAfterNPositiveResults", default=None)
    notifier_ids: list[str] | None = None


class MonitorAnswer(Struct, frozen=True, rename="camel", kw_only=True):
    """A monitor as Axiom's clients have it."""

    id: str
    name: str
    type: str
    description: str
    apl_query: str  # or the query in MPL, as Axiom answers it
    column_name: str
    threshold: float
    interval_minutes: int
    range_minutes: int
    second_delay: int
    alert_on_no_data: bool
    resolvable: bool
    notify_by_group: bool
    notify_every_run: bool
    skip_resolved: bool
    disabled: bool
    disabled_until: str | UnsetType = UNSET  # RFC 3339, UTC; left out where there is none
    compare_days: int
    tolerance: float
    trigger_from_n_runs: int = msgspec.field(name="triggerFromNRuns")
    trigger_after_n_positive_results: int = msgspec.field(name="triggerAfterNPositiveResults")
    notifier_ids: tuple[str, ...]
    created_at: str  # RFC 3339, UTC
    created_by: str
    updated_at: str  # RFC 3339, UTC
    operator: str | UnsetType = UNSET


class AlertAnswer(Struct, frozen=True, rename="camel"):
    """An alert that opened or closed, as Axiom's document has it."""

    check_id: str
    name: str
    state: str  # open or closed
    timestamp: str  # RFC 3339, UTC


class HistoryEntryAnswer(Struct, frozen=True, rename="camel"):
    """An entry of the history."""

    timestamp: str  # RFC 3339, UTC
    kind: str  # open, closed, error, delivered, failed, skipped
    text: str
    check_id: str
    group: str
    value: float | None
    notifier_id: str
    attempts: int


class MonitorStatusAnswer(Struct, frozen=True, rename="camel"):
    """The status and history of a monitor."""

    id: str
    name: str
    last_run: str | None  # RFC 3339, UTC
    next_run: str | None  # the same; in the past where it is due
    error: str  # of the last run, empty where it went well
    open: list[str]  # names of the groups that are alerting; the name is "" where there are none
    history: list[HistoryEntryAnswer]  # oldest first


RUN_FIELDS = (
    "_time", "run_id", "notified", "group_values", "alert_state", "matching_value", "error", "query.startTime",
    "query.endTime", "run_time", "notification_failed", "notification_error",
)  # fmt: skip


class RunHistory(Struct, frozen=True):
    """The history of monitors, by their ids: the columns of a table, in the order of `fields`."""

    data: dict[str, list[list[Any]]]
    fields: tuple[str, ...] = RUN_FIELDS

"""A monitor: its query, its interval, and the results that open an alert."""

import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from tailrace.events import BadRequest
from tailrace.monitors.members import flag, known_members, number, text, texts, time, whole

Kind = Literal["Threshold", "MatchEvent", "AnomalyDetection"]
Operator = Literal["Below", "BelowOrEqual", "Above", "AboveOrEqual", "AboveOrBelow"]

MAX_NAME_LENGTH = 1_000  # characters
MAX_DESCRIPTION_LENGTH = 20_000  # characters
MAX_QUERY_LENGTH = 100_000  # characters
MAX_MINUTES = 366 * 24 * 60  # of an interval or a range
MAX_DELAY_S = 86_400  # as Axiom's document has it
MAX_COMPARE_DAYS = 7  # as Axiom's document has it
MAX_TOLERANCE = 100.0  # percent, as Axiom's document has it
MAX_RUNS = 1_000
MAX_NOTIFIERS = 100
DEFAULT_COMPARE_DAYS = 7
DEFAULT_TOLERANCE = 10.0  # percent

KINDS: tuple[Kind, ...] = typing.get_args(Kind)
OPERATORS: Mapping[Kind, tuple[Operator, ...]] = {
    "Threshold": ("Below", "BelowOrEqual", "Above", "AboveOrEqual"),
    "MatchEvent": typing.get_args(Operator),  # it has no use for one
    "AnomalyDetection": ("Below", "BelowOrEqual", "Above", "AboveOrEqual", "AboveOrBelow"),
}
_NAMES = (
    "name", "type", "description", "aplQuery", "mplQuery", "columnName", "operator", "threshold", "intervalMinutes",
    "rangeMinutes", "secondDelay", "alertOnNoData", "resolvable", "notifyByGroup", "notifyEveryRun", "skipResolved",
    "disabled", "disabledUntil", "compareDays", "tolerance", "triggerFromNRuns", "triggerAfterNPositiveResults",
    "notifierIds", "id", "createdAt", "createdBy", "updatedAt",
)  # fmt: skip
_OLD_NAMES = {
    "comparison": "operator",
    "frequencyminutes": "intervalMinutes",
    "durationminutes": "rangeMinutes",
    "notifiers": "notifierIds",
    "delay": "secondDelay",
}  # of clients before 2023
_KNOWN = {name.lower(): name for name in _NAMES} | _OLD_NAMES


class Monitor(Struct, frozen=True, kw_only=True):
    """A monitor as it was given; 0 and "" stand for what was not."""

    name: str
    type: Kind
    description: str = ""
    apl_query: str = ""
    mpl_query: str = ""  # stored and answered, never run: there are no metrics datasets
    column_name: str = ""  # of the result; every numeric column where it is empty
    operator: Operator | Literal[""] = ""
    threshold: float = 0.0
    interval_minutes: int = 1
    range_minutes: int = 1
    second_delay: int = 0  # how long before the run the time range ends
    alert_on_no_data: bool = False
    resolvable: bool = False
    notify_by_group: bool = False
    notify_every_run: bool = False
    skip_resolved: bool = False
    disabled: bool = False
    disabled_until: datetime | None = None  # UTC
    compare_days: int = 0
    tolerance: float = 0.0  # percent
    trigger_from_n_runs: int = 0
    trigger_after_n_positive_results: int = 0
    notifier_ids: tuple[str, ...] = ()

    @property
    def window(self) -> int:
        """How many of the last runs count."""
        return max(self.trigger_from_n_runs, self.trigger_after_n_positive_results, 1)

    @property
    def needed(self) -> int:
        """How many of these must be positive; by default all of them."""
        return self.trigger_after_n_positive_results or self.window


def read_monitor(given: Mapping[str, Any]) -> Monitor:
    """Return the monitor of a request's body. Member names may have any letter case, and old clients' are known.

    Raise BadRequest for an invalid member, saying what is valid.
    """
    members = known_members(given, _KNOWN)
    name = text(members, "name", MAX_NAME_LENGTH)
    if not name.strip():
        raise BadRequest("a monitor has a name")
    kind = _one_of(members.get("type", "Threshold"), "type", KINDS)
    apl = text(members, "aplQuery", MAX_QUERY_LENGTH, lines=True)
    mpl = text(members, "mplQuery", MAX_QUERY_LENGTH, lines=True)
    if not apl.strip() and not mpl.strip():
        raise BadRequest("a monitor has an aplQuery")
    if apl.strip() and mpl.strip() and apl != mpl:
        raise BadRequest("aplQuery and mplQuery are mutually exclusive, provide only one")
    operator = members.get("operator", "")
    if operator or kind != "MatchEvent":
        operator = _one_of(operator, f"operator of a monitor of type {kind}", OPERATORS[kind])
    interval = whole(members, "intervalMinutes", 0, MAX_MINUTES) or 1
    return Monitor(
        name=name,
        type=kind,
        description=text(members, "description", MAX_DESCRIPTION_LENGTH, lines=True),
        apl_query="" if mpl and apl == mpl else apl,  # an answer that is sent back has it in both
        mpl_query=mpl,
        column_name=text(members, "columnName", MAX_NAME_LENGTH),
        operator=operator,
        threshold=number(members, "threshold"),
        interval_minutes=interval,
        range_minutes=whole(members, "rangeMinutes", 0, MAX_MINUTES) or interval,
        second_delay=whole(members, "secondDelay", 0, MAX_DELAY_S),
        alert_on_no_data=flag(members, "alertOnNoData"),
        resolvable=flag(members, "resolvable"),
        notify_by_group=flag(members, "notifyByGroup"),
        notify_every_run=flag(members, "notifyEveryRun"),
        skip_resolved=flag(members, "skipResolved"),
        disabled=flag(members, "disabled"),
        disabled_until=time(members, "disabledUntil"),
        compare_days=whole(members, "compareDays", 0, MAX_COMPARE_DAYS),
        tolerance=number(members, "tolerance", 0, MAX_TOLERANCE),
        trigger_from_n_runs=whole(members, "triggerFromNRuns", 0, MAX_RUNS),
        trigger_after_n_positive_results=whole(members, "triggerAfterNPositiveResults", 0, MAX_RUNS),
        notifier_ids=texts(members, "notifierIds", MAX_NOTIFIERS),
    )


def _one_of(value: object, name: str, known: tuple[Any, ...]) -> Any:
    folded = {each.lower(): each for each in known}
    if not isinstance(value, str) or value.lower() not in folded:
        raise BadRequest(f"{name} is {value!r}, but it may be {', '.join(known)}")
    return folded[value.lower()]

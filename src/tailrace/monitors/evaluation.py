"""Evaluation of a monitor's query results: which alerts open and close, and what to notify. No clock, no I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tailrace.monitors.monitor import DEFAULT_COMPARE_DAYS, DEFAULT_TOLERANCE, Monitor
from tailrace.monitors.template_functions import as_text

Action = Literal["Open", "Closed"]

UNGROUPED = ""  # the group of a monitor that does not notify by group
MAX_GROUPS = 1_000  # of one monitor that notifies by group
MAX_MATCH_NOTICES = 100  # of one run; the last says how many more events there were
MAX_MATCHES = 1_000  # events of one run, the newest
MAX_LINES = 20  # of groups in the text of one notice
MAX_TEXT = 10_000  # characters of an event in the text of a notice
MAX_EVENT_BYTES = 256 * 1024  # of an event that a notice carries, as JSON
MAX_NOTIFIED_EVENTS = 2 * MAX_MATCHES  # remembered; no answer has older ones than these


class Point(Struct, frozen=True):
    """A number of an answer: its group (a text that names it), column, and the bin of time that it is of."""

    group: str
    column: str
    value: float
    time_ns: int | None = None
    labels: tuple[tuple[str, str], ...] = ()  # names and values that make the group


class MatchedEvent(Struct, frozen=True):
    """An event that a match monitor's query found. `time_ns` is None where the query shows no _time."""

    event: dict[str, Any]
    time_ns: int | None = None


class Observation(Struct, frozen=True, kw_only=True):
    """What the queries of one run answered for the time [start, end), in Unix nanoseconds."""

    start_ns: int
    end_ns: int
    points: tuple[Point, ...] = ()
    past: tuple[tuple[Point, ...], ...] = ()  # of the days before, each with its bins moved to the present ones
    matches: tuple[MatchedEvent, ...] = ()  # oldest first
    older_matches: int = 0  # number of events that match beside them


class GroupState(Struct, frozen=True):
    """What is remembered of a group: the results of its last runs, newest last, and its alert if one is open."""

    recent: tuple[bool, ...] = ()
    check_id: str = ""  # of the open alert
    labels: tuple[tuple[str, str], ...] = ()  # names and values of the group, in its last positive result


class MonitorState(Struct, frozen=True):
    """What is remembered of a monitor from run to run."""

    groups: dict[str, GroupState] = {}
    matched: dict[str, int] = {}  # digest of an event that was notified, to its time
    until_ns: int = 0  # where the time ended that the last run asked about
    timeless: bool = False  # whether the matches of the last run had no _time


class Alert(Struct, frozen=True):
    """An alert that opened or closed, for the history."""

    action: Action
    check_id: str
    group: str = UNGROUPED
    body: str = ""
    value: float | None = None


class Notice(Struct, frozen=True):
    """A notification to be sent, before it is addressed."""

    action: Action
    check_id: str
    body: str
    value: float | None = None
    event: dict[str, Any] | None = None
    labels: tuple[tuple[str, str], ...] = ()  # names and values of the first group
    still_open: int = 0  # alerts of the monitor that are open after this run


class RunOutcome(Struct, frozen=True):
    """The result of one run."""

    state: MonitorState
    alerts: tuple[Alert, ...] = ()
    notices: tuple[Notice, ...] = ()


class TooManyGroups(Exception):
    """More groups than one monitor can have."""


class _Finding(Struct, frozen=True):
    """The value of a group that is furthest beyond the limit, how far that is, and the text that says so."""

    excess: float
    value: float | None
    body: str
    labels: tuple[tuple[str, str], ...] = ()


def evaluate(monitor: Monitor, observed: Observation, state: MonitorState, now_ns: int) -> RunOutcome:
    """Return the outcome of one run: the same for the same arguments. Raise TooManyGroups.

    An alert opens when `needed` of the last `window` results are positive, the newest among them, and closes when they
    are fewer. A group that the answer no longer has counts as a negative result.
    """
    if monitor.type == "MatchEvent":
        return _match_events(monitor, observed, state, now_ns)
    findings = _findings(monitor, observed)
    return _update_alerts(monitor, findings, state, observed.end_ns, now_ns)


def _findings(monitor: Monitor, observed: Observation) -> dict[str, _Finding]:
    """Return what is beyond the limit, by group."""
    points = [each for each in observed.points if not monitor.column_name or each.column == monitor.column_name]
    if not points:
        if not monitor.alert_on_no_data:
            return {}
        missing = f"column {monitor.column_name} has no data" if monitor.column_name else "the query has no data"
        return {UNGROUPED: _Finding(0.0, None, missing[:1].upper() + missing[1:])}
    expected = _expected(observed.past) if monitor.type == "AnomalyDetection" else {}
    groups = {point.group for point in points}
    if monitor.notify_by_group and len(groups) > MAX_GROUPS:
        raise TooManyGroups(
            f"the query answers {len(groups)} groups, but notifyByGroup follows at most {MAX_GROUPS}; filter them"
        )
    findings: dict[str, _Finding] = {}
    for point in points:
        if monitor.type == "AnomalyDetection":
            finding = _deviation(monitor, point, expected.get((point.group, point.column, point.time_ns)))
        else:
            finding = _crossing(monitor, point)
        if finding is None:
            continue
        group = point.group if monitor.notify_by_group else UNGROUPED
        if group not in findings or finding.excess > findings[group].excess:
            prefix = f"{point.group}: " if point.group else ""
            findings[group] = msgspec.structs.replace(finding, body=prefix + finding.body, labels=point.labels)
    return findings


_WORDS = {
    "Below": "below",
    "BelowOrEqual": "below or equal to",
    "Above": "above",
    "AboveOrEqual": "above or equal to",
}


def crosses(operator: str, value: float, threshold: float) -> bool:
    """Whether a value is on the alarming side of a threshold."""
    match operator:
        case "Below":
            return value < threshold
        case "BelowOrEqual":
            return value <= threshold
        case "Above":
            return value > threshold
        case "AboveOrEqual":
            return value >= threshold
    return value != threshold


def _crossing(monitor: Monitor, point: Point) -> _Finding | None:
    if not crosses(monitor.operator, point.value, monitor.threshold):
        return None
    words = _WORDS.get(monitor.operator, "not")
    body = f"Current value of {as_text(point.value)} is {words} the threshold value of {as_text(monitor.threshold)}"
    return _Finding(abs(point.value - monitor.threshold), point.value, body)


def _expected(past: Iterable[Iterable[Point]]) -> dict[tuple[str, str, int | None], float]:
    """Return the mean of what the days before had, by group, column and bin."""
    values: dict[tuple[str, str, int | None], list[float]] = {}
    for day in past:
        for point in day:
            values.setdefault((point.group, point.column, point.time_ns), []).append(point.value)
    return {key: sum(each) / len(each) for key, each in values.items()}


def _deviation(monitor: Monitor, point: Point, expected: float | None) -> _Finding | None:
    """Return a finding for a value beyond the tolerance around the expected one; None where there is no past value."""
    if expected is None:
        return None
    tolerance = monitor.tolerance or DEFAULT_TOLERANCE
    allowed = abs(expected) * tolerance / 100
    distance = point.value - expected
    equal = monitor.operator.endswith("OrEqual")
    above = distance > allowed or (equal and distance == allowed)
    below = distance < -allowed or (equal and distance == -allowed)
    is_beyond = {"Above": above, "Below": below}.get(monitor.operator.removesuffix("OrEqual"), above or below)
    if not is_beyond:
        return None
    words = "above" if distance > 0 else "below"
    body = (
        f"Current value of {as_text(point.value)} is {words} the expected value of {as_text(round(expected, 6))} "
        f"by more than {as_text(tolerance)}%"
    )
    return _Finding(abs(distance) - allowed, point.value, body)


def compare_days(monitor: Monitor) -> int:
    """How many days before a monitor compares with; 0 for those that compare with none."""
    return (monitor.compare_days or DEFAULT_COMPARE_DAYS) if monitor.type == "AnomalyDetection" else 0


def _update_alerts(
    monitor: Monitor, findings: Mapping[str, _Finding], state: MonitorState, end_ns: int, now_ns: int
) -> RunOutcome:
    """Open and close the alert of each group by its findings in the last runs."""
    groups: dict[str, GroupState] = {}
    opened: list[tuple[str, _Finding, str]] = []
    still_alerting: list[tuple[str, _Finding, str]] = []
    closed: list[tuple[str, GroupState]] = []
    for group in dict.fromkeys([*state.groups, *findings]):
        before = state.groups.get(group, GroupState())
        positive = group in findings
        recent = (*before.recent, positive)[-monitor.window :]
        alarming = sum(recent) >= monitor.needed
        check_id = before.check_id
        if alarming and positive and not check_id:
            check_id = _check_id(group, now_ns)
            opened.append((group, findings[group], check_id))
        elif alarming and positive:
            still_alerting.append((group, findings[group], check_id))
        elif check_id and not alarming:
            closed.append((group, before))
            check_id = ""
        if check_id or any(recent):
            groups[group] = GroupState(recent, check_id, findings[group].labels if positive else before.labels)
    still_open = sum(1 for each in groups.values() if each.check_id)
    alerts = [Alert("Open", check_id, group, each.body, each.value) for group, each, check_id in opened]
    alerts += [Alert("Closed", before.check_id, group, _closing(group)) for group, before in closed]
    notices: list[Notice] = []
    notified = [*opened, *still_alerting] if monitor.notify_every_run else opened
    if notified:
        worst = max((each for _, each, _ in notified), key=lambda each: each.excess)
        body = _lines(each.body for _, each, _ in notified)
        notices.append(Notice("Open", notified[0][2], body, worst.value, labels=worst.labels, still_open=still_open))
    if closed and not monitor.skip_resolved:
        body = _lines(_closing(group) for group, _ in closed)
        first = closed[0][1]
        notices.append(Notice("Closed", first.check_id, body, labels=first.labels, still_open=still_open))
    after = MonitorState(groups, until_ns=end_ns)
    return RunOutcome(after, tuple(alerts), tuple(notices))


def _closing(group: str) -> str:
    return f"{group}: resolved" if group else "Resolved: the condition no longer holds"


def _lines(texts: Iterable[str]) -> str:
    lines = list(texts)
    more = [f"and {len(lines) - MAX_LINES} more groups"] if len(lines) > MAX_LINES else []
    return "\n".join(lines[:MAX_LINES] + more)


def _match_events(monitor: Monitor, observed: Observation, state: MonitorState, now_ns: int) -> RunOutcome:
    """Return a notice for each event that was not notified before.

    A resolvable monitor has one alert, from the first match until a run without one; any other has an alert for each
    event, which is over at once and has no end of its own.
    """
    new: list[tuple[str, MatchedEvent]] = []
    seen: dict[str, int] = {}
    counts: dict[str, int] = {}
    for match in observed.matches:
        digest = _digest(msgspec.json.encode(match.event, order="sorted"))
        counts[digest] = counts.get(digest, 0) + 1
        key = f"{digest}-{counts[digest]}"  # equal events are as many as they are
        if match.time_ns is not None:
            seen[key] = match.time_ns
        if match.time_ns is None or key not in state.matched:
            new.append((key, match))
    remembered = {key: time for key, time in state.matched.items() if time >= observed.start_ns} | seen
    newest = sorted(remembered, key=lambda key: remembered[key], reverse=True)[:MAX_NOTIFIED_EVENTS]
    check_id = state.groups.get(UNGROUPED, GroupState()).check_id
    alerts: list[Alert] = []
    notices: list[Notice] = []
    if new and monitor.resolvable and not check_id:
        check_id = _check_id(UNGROUPED, now_ns)
        alerts.append(Alert("Open", check_id, UNGROUPED, _text(new[0][1])))
    last = min(len(new), MAX_MATCH_NOTICES) - 1
    # Where the oldest was notified before, so were those that are older still.
    older = observed.older_matches if new and new[0][1] is observed.matches[0] else 0
    for number, (key, match) in enumerate(new):
        event_check_id = check_id if monitor.resolvable else _check_id(key, now_ns)
        if not monitor.resolvable:
            alerts.append(Alert("Open", event_check_id, UNGROUPED, _text(match)))
        if number <= last:
            more = len(new) - last - 1 + older if number == last else 0
            body = _text(match) + (f"\nand {more} more matching events" if more else "")
            notices.append(Notice("Open", event_check_id, body, event=_event_for_notice(match.event), still_open=1))
    # Without a match; one that was notified before does not keep the alert open.
    if check_id and (not new or not monitor.resolvable):
        alerts.append(Alert("Closed", check_id, UNGROUPED, "No further event matches"))
        if not monitor.skip_resolved:
            notices.append(Notice("Closed", check_id, "No further event matches"))
        check_id = ""
    groups = {UNGROUPED: GroupState((True,), check_id)} if check_id else {}
    timeless = any(match.time_ns is None for match in observed.matches) if observed.matches else state.timeless
    after = MonitorState(groups, {key: remembered[key] for key in newest}, observed.end_ns, timeless)
    return RunOutcome(after, tuple(alerts), tuple(notices))


def _text(match: MatchedEvent) -> str:
    text = msgspec.json.encode(match.event).decode()
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… and {len(text) - MAX_TEXT} more characters"


def _event_for_notice(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event, or its time and size where it is too large to be sent."""
    size = len(msgspec.json.encode(event))
    if size <= MAX_EVENT_BYTES:
        return event
    return {name: event[name] for name in ("_time",) if name in event} | {
        "tailrace": f"the event has {size} bytes, more than the {MAX_EVENT_BYTES} that a notification carries"
    }


def _check_id(group: str, now_ns: int) -> str:
    return _digest(f"{now_ns} {group}".encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2s(content, digest_size=10).hexdigest()

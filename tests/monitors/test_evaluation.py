"""What answers mean for a monitor: no clock, no server, no waiting."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.monitors import Monitor
from tailrace.monitors.evaluation import (
    MAX_EVENT_BYTES,
    MAX_GROUPS,
    MAX_MATCH_NOTICES,
    MAX_NOTIFIED_EVENTS,
    MatchedEvent,
    MonitorState,
    Observation,
    Point,
    RunOutcome,
    TooManyGroups,
    crosses,
    evaluate,
)

MINUTE = 60_000_000_000


def threshold(**more: Any) -> Monitor:
    given: dict[str, Any] = {"name": "m", "type": "Threshold", "apl_query": "q", "operator": "Above", "threshold": 10.0}
    return Monitor(**(given | more))


def observed(*points: Point, **more: Any) -> Observation:
    return Observation(start_ns=0, end_ns=MINUTE, points=points, **more)


def number(value: float, group: str = "", column: str = "n", time_ns: int | None = None) -> Point:
    return Point(group, column, value, time_ns)


def run(monitor: Monitor, *answers: Observation) -> list[RunOutcome]:
    """Return the outcomes of runs one after the other, a minute apart."""
    outcomes: list[RunOutcome] = []
    state = MonitorState()
    for minute, answer in enumerate(answers, 1):
        outcomes.append(evaluate(monitor, answer, state, minute * MINUTE))
        state = outcomes[-1].state
    return outcomes


def actions(outcomes: list[RunOutcome]) -> list[list[str]]:
    return [[notice.action for notice in outcome.notices] for outcome in outcomes]


HIGH, LOW, NOTHING = observed(number(11)), observed(number(10)), observed()


@pytest.mark.parametrize(
    ("operator", "crossing"),
    [
        ("Below", [True, False, False]),
        ("BelowOrEqual", [True, True, False]),
        ("Above", [False, False, True]),
        ("AboveOrEqual", [False, True, True]),
    ],
)
def test_an_operator_compares_with_the_threshold(operator: str, crossing: list[bool]) -> None:
    assert [crosses(operator, value, 10) for value in (9, 10, 11)] == crossing


@pytest.mark.parametrize(
    ("more", "answers", "notified"),
    [
        ({}, [HIGH, HIGH, LOW, LOW, HIGH], [["Open"], [], ["Closed"], [], ["Open"]]),
        ({"notify_every_run": True}, [HIGH, HIGH, LOW], [["Open"], ["Open"], ["Closed"]]),
        ({"skip_resolved": True}, [HIGH, LOW, HIGH], [["Open"], [], ["Open"]]),
        ({}, [NOTHING, HIGH, NOTHING], [[], ["Open"], ["Closed"]]),
        ({"alert_on_no_data": True}, [NOTHING, NOTHING, LOW], [["Open"], [], ["Closed"]]),
        ({"trigger_from_n_runs": 3}, [HIGH, HIGH, HIGH, LOW], [[], [], ["Open"], ["Closed"]]),
        ({"trigger_from_n_runs": 3}, [HIGH, LOW, HIGH, HIGH, HIGH], [[], [], [], [], ["Open"]]),
        (
            {"trigger_from_n_runs": 3, "trigger_after_n_positive_results": 2},
            [HIGH, LOW, HIGH, LOW, LOW],
            [[], [], ["Open"], ["Closed"], []],
        ),
        ({"trigger_after_n_positive_results": 2}, [HIGH, HIGH, LOW], [[], ["Open"], ["Closed"]]),
        ({"column_name": "other"}, [HIGH], [[]]),
        ({"column_name": "n"}, [HIGH], [["Open"]]),
    ],
)
def test_runs_open_and_close_an_alert(
    more: dict[str, Any], answers: list[Observation], notified: list[list[str]]
) -> None:
    assert actions(run(threshold(**more), *answers)) == notified


def test_the_notice_names_the_value_furthest_beyond_the_threshold() -> None:
    [outcome] = run(threshold(), observed(number(5), number(57_347), number(12.5)))

    [notice] = outcome.notices
    assert notice.value == 57_347
    assert notice.body == "Current value of 57347 is above the threshold value of 10"


def test_without_groups_all_that_cross_are_one_alert() -> None:
    first, second, third = run(
        threshold(),
        observed(number(11, "a"), number(12, "b")),
        observed(number(11, "a"), number(1, "b")),
        observed(number(1, "a"), number(1, "b")),
    )

    assert [alert.group for alert in first.alerts] == [""]
    assert first.notices[0].body.startswith("b: ")
    assert (second.alerts, second.notices) == ((), ())
    assert [alert.action for alert in third.alerts] == ["Closed"]


def test_by_group_each_has_its_alert_and_a_run_tells_of_all_at_once() -> None:
    first, second, third = run(
        threshold(notify_by_group=True),
        observed(number(11, "a"), number(12, "b"), number(1, "c")),
        observed(number(11, "a"), number(13, "c")),
        NOTHING,
    )

    assert [(alert.action, alert.group) for alert in first.alerts] == [("Open", "a"), ("Open", "b")]
    assert len({alert.check_id for alert in first.alerts}) == 2
    assert [(notice.action, notice.value, notice.still_open) for notice in first.notices] == [("Open", 12, 2)]
    assert [(alert.action, alert.group) for alert in second.alerts] == [("Open", "c"), ("Closed", "b")]
    assert [(notice.action, notice.still_open) for notice in second.notices] == [("Open", 2), ("Closed", 2)]
    assert {alert.group for alert in third.alerts} == {"a", "c"}
    assert third.state.groups == {}


def test_an_alert_ends_under_the_check_id_under_which_it_began() -> None:
    opened, closed = run(threshold(), HIGH, LOW)
    assert opened.alerts[0].check_id == closed.alerts[0].check_id != ""


def test_too_many_groups_to_follow_are_an_error() -> None:
    many = observed(*(number(1, f"g{n}") for n in range(MAX_GROUPS + 1)))
    with pytest.raises(TooManyGroups, match="1001 groups"):
        run(threshold(notify_by_group=True), many)
    assert actions(run(threshold(), many)) == [[]]


def anomaly(**more: Any) -> Monitor:
    return threshold(**({"type": "AnomalyDetection", "operator": "AboveOrBelow", "tolerance": 10.0} | more))


@pytest.mark.parametrize(
    ("operator", "value", "alarming"),
    [
        ("AboveOrBelow", 111, True),
        ("AboveOrBelow", 110, False),
        ("AboveOrBelow", 90, False),
        ("AboveOrBelow", 89, True),
        ("Above", 111, True),
        ("Above", 89, False),
        ("Below", 111, False),
        ("Below", 89, True),
        ("AboveOrEqual", 110, True),
        ("BelowOrEqual", 90, True),
        ("BelowOrEqual", 110, False),
    ],
)
def test_an_anomaly_is_beyond_the_tolerance_around_the_mean_of_the_days_before(
    operator: str, value: float, alarming: bool
) -> None:
    past = ((number(80),), (number(120),), (number(100),))
    [outcome] = run(anomaly(operator=operator), observed(number(value), past=past))
    assert bool(outcome.notices) is alarming


def test_each_bin_is_compared_with_the_same_bin_of_the_days_before() -> None:
    past = ((number(10, time_ns=0), number(50, time_ns=MINUTE)),)
    present = [number(50, time_ns=MINUTE), number(10, time_ns=0)]
    assert actions(run(anomaly(), observed(*present, past=past))) == [[]]
    assert actions(run(anomaly(), observed(number(50, time_ns=0), past=past))) == [["Open"]]


def test_what_has_no_past_is_no_anomaly() -> None:
    assert actions(run(anomaly(), observed(number(1_000_000, "new"), past=((number(1, "old"),),)))) == [[]]


def event(n: int, time_ns: int | None = None) -> MatchedEvent:
    return MatchedEvent({"n": n}, time_ns)


def matching(**more: Any) -> Monitor:
    return threshold(**({"type": "MatchEvent", "operator": "", "threshold": 0.0} | more))


def found(*matches: MatchedEvent, start_ns: int = 0, more: int = 0) -> Observation:
    return Observation(start_ns=start_ns, end_ns=MINUTE, matches=matches, older_matches=more)


def test_each_matching_event_is_told_of_once() -> None:
    one, two = event(1, 5), event(2, 6)
    first, second, third = run(matching(), found(one), found(one, two), found(two, start_ns=6))

    assert [notice.event for notice in first.notices] == [{"n": 1}]
    assert [notice.event for notice in second.notices] == [{"n": 2}]
    assert third.notices == ()
    assert [alert.action for alert in (*first.alerts, *second.alerts)] == ["Open", "Open"]
    assert len(third.state.matched) == 1  # what no later run can see is forgotten


def test_equal_events_are_as_many_as_they_are() -> None:
    first, second = run(matching(), found(event(1, 5), event(1, 5)), found(event(1, 5), event(1, 5), event(1, 5)))
    assert (len(first.notices), len(second.notices)) == (2, 1)


def test_events_without_a_time_are_told_of_whenever_they_come() -> None:
    first, second = run(matching(), found(event(1)), found(event(1)))
    assert (len(first.notices), len(second.notices), second.state.timeless) == (1, 1, True)


def test_a_resolvable_match_monitor_has_one_alert_until_a_run_without_a_match() -> None:
    outcomes = run(matching(resolvable=True), found(event(1, 5)), found(event(2, 6)), found(event(2, 6)), found())

    assert actions(outcomes) == [["Open"], ["Open"], ["Closed"], []]
    assert [alert.action for outcome in outcomes for alert in outcome.alerts] == ["Open", "Closed"]


def test_a_flood_of_matches_is_told_of_in_part_and_counted() -> None:
    [outcome] = run(matching(), found(*(event(n, n) for n in range(MAX_MATCH_NOTICES + 5)), more=7))

    assert len(outcome.notices) == MAX_MATCH_NOTICES
    assert outcome.notices[-1].body.endswith("and 12 more matching events")
    assert len(outcome.alerts) == MAX_MATCH_NOTICES + 5


def test_older_matches_that_an_answer_leaves_out_count_only_where_they_were_not_told_of() -> None:
    first, second = run(
        matching(), found(event(1, 5), event(2, 6), more=3), found(event(1, 5), event(2, 6), event(3, 7), more=9)
    )
    assert first.notices[-1].body.endswith("and 3 more matching events")
    assert [notice.body for notice in second.notices] == ['{"n":3}']


def test_a_huge_event_is_told_of_in_part() -> None:
    [outcome] = run(matching(), found(MatchedEvent({"_time": "t", "text": "x" * MAX_EVENT_BYTES}, 5)))
    [notice] = outcome.notices
    assert "more characters" in notice.body
    assert len(notice.body) < 11_000
    assert notice.event is not None
    assert (notice.event["_time"], "text" in notice.event) == ("t", False)


def test_what_is_remembered_of_matches_has_an_end() -> None:
    state = MonitorState(matched={f"old-{n}": n for n in range(MAX_NOTIFIED_EVENTS)})
    outcome = evaluate(matching(), found(event(1, 10**9)), state, MINUTE)
    assert len(outcome.state.matched) == MAX_NOTIFIED_EVENTS
    assert "old-0" not in outcome.state.matched
    assert f"old-{MAX_NOTIFIED_EVENTS - 1}" in outcome.state.matched


POINTS = st.lists(
    st.builds(number, st.sampled_from([9.0, 10.0, 11.0]), st.sampled_from(["", "a", "b"])), max_size=4
).map(lambda points: observed(*points))


@given(
    answers=st.lists(POINTS, max_size=12),
    by_group=st.booleans(),
    no_data=st.booleans(),
    window=st.integers(0, 4),
    needed=st.integers(0, 4),
)
@settings(max_examples=rounds(60))
def test_alerts_open_and_close_in_turn_and_are_what_the_last_runs_say(
    answers: list[Observation], by_group: bool, no_data: bool, window: int, needed: int
) -> None:
    monitor = threshold(
        notify_by_group=by_group,
        alert_on_no_data=no_data,
        trigger_from_n_runs=window,
        trigger_after_n_positive_results=needed,
    )
    is_open: dict[str, str] = {}
    positive: list[bool] = []
    for outcome, answer in zip(run(monitor, *answers), answers, strict=True):
        for alert in outcome.alerts:
            if alert.action == "Open":
                assert alert.group not in is_open
                is_open[alert.group] = alert.check_id
            else:
                assert is_open.pop(alert.group) == alert.check_id
        assert {group: each.check_id for group, each in outcome.state.groups.items() if each.check_id} == is_open
        assert all(len(each.recent) <= monitor.window for each in outcome.state.groups.values())
        assert len([notice for notice in outcome.notices if notice.action == "Open"]) <= 1
        positive.append(any(point.value > 10 for point in answer.points) or (no_data and not answer.points))
        if not by_group:
            assert bool(is_open) == (sum(positive[-monitor.window :]) >= monitor.needed)


@pytest.mark.parametrize("by_group", [True, False])
def test_the_notice_of_an_end_has_the_group_that_alerted(by_group: bool) -> None:
    labels = (("service", "api"), ("region", "eu"))
    high = observed(Point("service=api, region=eu", "n", 11.0, None, labels))

    outcomes = run(threshold(notify_by_group=by_group), high, LOW)

    assert [notice.labels for outcome in outcomes for notice in outcome.notices] == [labels, labels]


def test_a_group_that_waits_for_more_results_is_known_by_its_last_one() -> None:
    labels = [(("service", name),) for name in ("a", "b")]
    highs = [observed(Point(f"service={name}", "n", 11.0, None, (("service", name),))) for name in ("a", "b")]
    monitor = threshold(trigger_from_n_runs=3, trigger_after_n_positive_results=1)

    outcomes = run(monitor, *highs, LOW, LOW, LOW)

    assert [notice.labels for outcome in outcomes for notice in outcome.notices] == [labels[0], labels[1]]

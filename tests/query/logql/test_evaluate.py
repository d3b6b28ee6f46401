"""Numbers of LogQL at each time, against counting each range by itself."""

import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.query.logql.evaluate import EvaluationTimes, RangePart, RangeParts, SeriesSet, evaluate
from tailrace.query.logql.parser import LogqlError, parse
from tailrace.query.logql.tree import LogQuery, RangeAggregation

S = 1_000_000_000
START_NS = 1_700_000_000 * S


def count(values: list[float]) -> float:
    return float(len(values))


FUNCTIONS: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max, "sum": sum, "avg": sum}


def _by_itself(function: str, values: list[float], range_s: int) -> float:
    if function == "rate":
        return len(values) / range_s
    if function == "avg_over_time":
        return sum(values) / len(values)
    return FUNCTIONS.get(function[:3], count)(values)


@given(
    st.lists(st.integers(0, 300), max_size=60),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(-90, 90),
    st.sampled_from(["count_over_time", "rate", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time"]),
)
@settings(max_examples=rounds(200))
def test_ranges_are_as_if_each_were_counted_by_itself(
    events_s: list[int], range_s: int, step_s: int, steps: int, offset_s: int, function: str
) -> None:
    times = EvaluationTimes(START_NS, START_NS + steps * step_s * S, step_s * S)
    aggregation = RangeAggregation(function, LogQuery(()), range_s * S, offset_ns=offset_s * S)
    since_s = -100  # of the events, from the start on

    def sample(_: RangeAggregation, parts: RangeParts) -> Iterable[RangePart]:
        groups: dict[int, list[float]] = {}
        for event_s in events_s:
            at_ns = START_NS + (since_s + event_s) * S
            if parts.origin_ns <= at_ns < times.end_ns - offset_s * S:
                groups.setdefault((at_ns - parts.origin_ns) // parts.step_ns, []).append(float(event_s))
        for number, values in groups.items():
            yield RangePart((), number, FUNCTIONS.get(function[:3], count)(values), float(len(values)))

    found = evaluate(aggregation, times, sample).get((), {})

    for number in range(times.count):
        end_s = number * step_s - offset_s
        values = [float(each) for each in events_s if end_s - range_s <= since_s + each < end_s]
        assert found.get(number) == (pytest.approx(_by_itself(function, values, range_s)) if values else None)


def test_ranges_that_overlap_by_much_are_put_together_once() -> None:
    times = EvaluationTimes(START_NS, START_NS + 10_000 * S, S)
    aggregation = RangeAggregation("count_over_time", LogQuery(()), 100_000 * S)
    merged: list[RangeParts] = []

    def sample(_: RangeAggregation, parts: RangeParts) -> Iterable[RangePart]:
        merged.append(parts)
        return [RangePart((), number, 1.0) for number in range(110_000)]

    found = evaluate(aggregation, times, sample)[()]

    assert merged[0].in_range == 100_000
    assert set(found.values()) == {100_000.0}
    assert len(found) == 10_001


def test_points_of_all_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.query.logql.evaluate.MAX_RANGE_POINTS", 5)

    assert len(evaluated('rate({a="b"}[1m])', {(("n", str(n)),): {0: 1.0} for n in range(5)})) == 5
    with pytest.raises(LogqlError, match="more than 5 points of series"):
        evaluated('rate({a="b"}[1m])', {(("n", str(n)),): {0: 1.0} for n in range(6)})


def evaluated(text: str, series: SeriesSet, points: int = 2) -> SeriesSet:
    """Return what a query makes of series of one part each for a time."""
    metric = parse(text)
    assert not isinstance(metric, LogQuery)

    def sample(_: RangeAggregation, parts: RangeParts) -> Iterable[RangePart]:
        assert parts.between == 1
        return [
            RangePart(labels, number, value) for labels, values in series.items() for number, value in values.items()
        ]

    return evaluate(metric, EvaluationTimes(START_NS, START_NS + (points - 1) * 60 * S, 60 * S), sample)


def test_series_are_aggregated_and_computed_with() -> None:
    a, b, c = (("host", "a"), ("job", "x")), (("host", "b"), ("job", "x")), (("host", "c"), ("job", "y"))
    series: SeriesSet = {a: {0: 1.0, 1: 2.0}, b: {0: 3.0}, c: {1: 5.0}}
    count = 'count_over_time({a="b"}[1m])'

    assert evaluated(f"sum by (job) ({count})", series) == {
        (("job", "x"),): {0: 4.0, 1: 2.0},
        (("job", "y"),): {1: 5.0},
    }
    assert evaluated(f"sum without (host) ({count})", series) == evaluated(f"sum by (job) ({count})", series)
    assert evaluated(f"max without () ({count})", series) == series
    assert evaluated(f"topk without (host) (1, {count})", series) == {a: {1: 2.0}, b: {0: 3.0}, c: {1: 5.0}}
    assert evaluated(f"avg({count})", series) == {(): {0: 2.0, 1: 3.5}}
    assert evaluated(f"count({count})", series) == {(): {0: 2.0, 1: 2.0}}
    assert evaluated(f"max({count}) - 1", series) == {(): {0: 2.0, 1: 4.0}}
    assert evaluated(f"10 / min({count})", series) == {(): {0: 10.0, 1: 5.0}}
    assert evaluated(f"topk(1, {count})", series) == {b: {0: 3.0}, c: {1: 5.0}}
    assert evaluated(f"bottomk(1, {count})", series) == {a: {0: 1.0, 1: 2.0}}
    assert evaluated(f"topk(1e999, {count})", {a: {0: 1.0}}) == {a: {0: 1.0}}
    assert evaluated(f"sum({count})", {a: {0: 1e308}, b: {0: 1e308}}) == {(): {0: math.inf}}
    divided = evaluated(f"sum({count}) / 0", series)[()]
    assert divided == {0: math.inf, 1: math.inf}


def joined(text: str, left: SeriesSet, right: SeriesSet) -> SeriesSet:
    """Return what a query makes of two others, of the datasets left and right."""
    metric = parse(text)
    assert not isinstance(metric, LogQuery)

    def sample(aggregation: RangeAggregation, parts: RangeParts) -> Iterable[RangePart]:
        [matcher] = aggregation.query.matchers
        series = left if matcher.value == "left" else right
        return [RangePart(labels, at, value) for labels, points in series.items() for at, value in points.items()]

    return evaluate(metric, EvaluationTimes(START_NS, START_NS + 120 * S, 60 * S), sample)


def test_two_queries_are_joined_by_all_of_their_labels() -> None:
    a, b, c = (("job", "a"),), (("job", "b"),), (("job", "c"),)
    left: SeriesSet = {a: {0: 6.0, 1: 8.0}, b: {0: 5.0}}
    right: SeriesSet = {a: {0: 2.0, 2: 3.0}, c: {0: 1.0}, b: {0: 7.0}}
    one, other = ('count_over_time({d="left"}[1m])', 'count_over_time({d="right"}[1m])')

    def of(operator: str) -> SeriesSet:
        return joined(f"{one} {operator} {other}", left, right)

    assert of("/") == {a: {0: 3.0}, b: {0: 5 / 7}}
    assert of("-") == {a: {0: 4.0}, b: {0: -2.0}}
    assert of("or") == {a: {0: 6.0, 1: 8.0, 2: 3.0}, b: {0: 5.0}, c: {0: 1.0}}
    assert of("and") == {a: {0: 6.0}, b: {0: 5.0}}
    assert of("unless") == {a: {1: 8.0}}
    assert of(">") == {a: {0: 6.0}}
    assert of("!= 5 and") == {a: {0: 6.0}}
    assert joined(f"sum({one}) or vector(0)", left, right) == {(): {0: 11.0, 1: 8.0, 2: 0.0}}
    assert joined(f"6 <= {one}", left, right) == {a: {0: 6.0, 1: 8.0}}
    assert joined(f"2 * {one} / {other} + 1 > 2 or vector(9)", left, right) == {
        a: {0: 7.0},
        b: {0: 2 * 5 / 7 + 1},
        (): {0: 9.0, 1: 9.0, 2: 9.0},
    }
    assert joined(f"{one} / {other}", {a: {0: 1.0}}, {a: {0: 0.0}}) == {a: {0: math.inf}}


def test_a_vector_is_a_number_at_each_time() -> None:
    assert evaluated("vector(1)+vector(1)", {}) == {(): {0: 2.0, 1: 2.0}}
    assert evaluated("vector(-2) * 3", {}) == {(): {0: -6.0, 1: -6.0}}
    assert evaluated("max(vector(0.5))", {}) == {(): {0: 0.5, 1: 0.5}}


def test_what_would_take_too_many_points_or_parts_is_refused() -> None:
    with pytest.raises(LogqlError, match="at most 11000"):
        EvaluationTimes(0, 11_000 * S, S)
    hour = EvaluationTimes(0, 3600 * S, 60 * S)
    with pytest.raises(LogqlError, match="simple multiple"):
        evaluate(RangeAggregation("rate", LogQuery(()), 3600 * S + 7), hour, lambda *_: [])
    with pytest.raises(LogqlError, match="needs a step that is its range"):
        evaluate(RangeAggregation("quantile_over_time", LogQuery(()), 90 * S), hour, lambda *_: [])

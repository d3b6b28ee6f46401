"""Numbers of LogQL: what the parts of ranges add up to at each time, and aggregations over series."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import add, eq, ge, gt, le, lt, mul, ne, sub

from msgspec import Struct

from tailrace.query.logql.compile import DEVIATIONS, SPLITTABLE
from tailrace.query.logql.parser import NS_PER_S, LogqlError
from tailrace.query.logql.tree import Arithmetic, JoinedSeries, Metric, RangeAggregation, Vector, VectorAggregation

MAX_POINTS = 11_000  # of a series, as in Loki
MAX_PARTS = 200_000  # of time, that ranges are put together from
MAX_RANGE_POINTS = 500 * MAX_POINTS  # of all series of a range: as many as an answer has at most

LabelSet = tuple[tuple[str, str], ...]  # in the order of the names
Points = dict[int, float]  # by the number of the time
SeriesSet = dict[LabelSet, Points]
Total = tuple[float, float]  # the value of parts of a range, and of how many numbers it is
Merge = Callable[[Total, Total], Total]


EXTREMES: Mapping[str, Callable[[float, float], float]] = {"min_over_time": min, "max_over_time": max}


class EvaluationTimes(Struct, frozen=True):
    """The times at which a query is evaluated, in Unix ns: the start, and as many steps as there are up to the end."""

    start_ns: int
    end_ns: int
    step_ns: int

    def __post_init__(self) -> None:
        if self.step_ns <= 0:
            raise LogqlError("the step is 0")
        if self.count > MAX_POINTS:
            raise LogqlError(f"the step gives {self.count} points, but at most {MAX_POINTS}: make it longer")

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.end_ns - self.start_ns) // self.step_ns + 1

    def at_ns(self, number: int) -> int:
        """Return the time of a number, from 0 on."""
        return self.start_ns + number * self.step_ns


class RangeParts(Struct, frozen=True):
    """The equal parts of time that the ranges of an aggregation consist of."""

    origin_ns: int
    step_ns: int
    in_range: int  # how many make a range
    between: int  # how many lie between two times


class RangePart(Struct, frozen=True):
    """What was computed of one part of one series."""

    labels: LabelSet
    number: int  # of the part, from the origin on
    value: float
    values: float = 0.0  # how many a sum or a variance is of, where it is needed


Sample = Callable[[RangeAggregation, RangeParts], Iterable[RangePart]]


def parts_of(aggregation: RangeAggregation, times: EvaluationTimes) -> RangeParts:
    """Return the parts of time that an aggregation is computed of. Raise LogqlError."""
    range_ns = aggregation.range_ns
    single = times.count == 1
    step_ns = range_ns if single else math.gcd(range_ns, times.step_ns)
    if aggregation.function not in SPLITTABLE and step_ns != range_ns:
        raise LogqlError(f"{aggregation.function} needs a step that is its range, or a multiple of it")
    in_range, between = range_ns // step_ns, max(times.step_ns // step_ns, 1)
    if in_range + between * (times.count - 1) > MAX_PARTS:
        raise LogqlError("the range is no simple multiple of the step, nor the other way round: take one that is")
    return RangeParts(times.start_ns - range_ns - aggregation.offset_ns, step_ns, in_range, between)


def evaluate(metric: Metric, times: EvaluationTimes, sample: Sample) -> SeriesSet:
    """Return the numbers of a query at each of the times; `sample` gives the parts of a range aggregation."""
    if isinstance(metric, RangeAggregation):
        return _ranges(metric, times, sample)
    if isinstance(metric, VectorAggregation):
        return _aggregated(metric, evaluate(metric.of, times, sample))
    if isinstance(metric, Vector):
        return {(): dict.fromkeys(range(times.count), metric.value)}
    if isinstance(metric, JoinedSeries):
        return _joined(metric, evaluate(metric.left, times, sample), evaluate(metric.right, times, sample))
    return _computed(metric, evaluate(metric.of, times, sample))


def _ranges(aggregation: RangeAggregation, times: EvaluationTimes, sample: Sample) -> SeriesSet:
    parts = parts_of(aggregation, times)
    found: dict[LabelSet, list[RangePart]] = defaultdict(list)
    for part in sample(aggregation, parts):
        found[part.labels].append(part)
    merge, finish = _merging(aggregation), _finishing(aggregation)
    series: SeriesSet = {}
    count = 0
    for labels, own in found.items():
        ranges = _Ranges(sorted(own, key=lambda part: part.number), parts, times.count, merge)
        if points := {number: finish(total) for number, total in ranges}:
            series[labels] = points
            count += len(points)
        if count > MAX_RANGE_POINTS:
            raise LogqlError(
                f"the query has more than {MAX_RANGE_POINTS} points of series: make the step longer, or sum by a label"
            )
    return series


class _Ranges:
    """What the ranges have that any of the parts of one series lie in, by the number of their time.

    Each part is merged a few times, in however many ranges it is: those of a range are in two stacks, of which the
    older has each part with all that follow it there, the newer one total.
    """

    def __init__(self, own: Sequence[RangePart], parts: RangeParts, count: int, merge: Merge) -> None:
        self._own = own  # in their order
        self._parts = parts
        self._count = count
        self._merge = merge
        self._older: list[tuple[int, Total]] = []
        self._newer: list[tuple[int, Total]] = []
        self._newest: Total | None = None  # of the newer

    def __iter__(self) -> Iterator[tuple[int, Total]]:
        number = following = 0
        while True:
            if not self._older and not self._newer:
                if following == len(self._own):
                    return
                behind = self._own[following].number - self._parts.in_range + 1
                number = max(number, math.ceil(behind / self._parts.between))
            if number >= self._count:
                return
            begin = number * self._parts.between
            while following < len(self._own) and self._own[following].number < begin + self._parts.in_range:
                self._add(self._own[following])
                following += 1
            self._leave_before(begin)
            if (total := self._total()) is not None:
                yield number, total
            number += 1

    def _add(self, part: RangePart) -> None:
        one = (part.value, part.values)
        self._newer.append((part.number, one))
        self._newest = one if self._newest is None else self._merge(self._newest, one)

    def _leave_before(self, begin: int) -> None:
        while True:
            while self._older and self._older[-1][0] < begin:
                self._older.pop()
            if self._older or not self._newer:
                return
            total: Total | None = None
            while self._newer:
                number, one = self._newer.pop()
                total = one if total is None else self._merge(one, total)
                self._older.append((number, total))
            self._newest = None

    def _total(self) -> Total | None:
        if not self._older or self._newest is None:
            return self._older[-1][1] if self._older else self._newest
        return self._merge(self._older[-1][1], self._newest)


def _merging(aggregation: RangeAggregation) -> Merge:
    """Return what makes one total of those of two parts of a range."""
    extreme = EXTREMES.get(aggregation.function)
    if extreme is not None:
        return lambda one, other: (extreme(one[0], other[0]), 0.0)
    return lambda one, other: (one[0] + other[0], one[1] + other[1])


def _finishing(aggregation: RangeAggregation) -> Callable[[Total], float]:
    """Return what makes the number of a range of its total."""
    range_s = aggregation.range_ns / NS_PER_S
    function = aggregation.function

    def finish(total: Total) -> float:
        value, values = total
        if function in DEVIATIONS:  # of one part, of which the variance is that of a sample
            variance = value * (values - 1) / values
            return variance if function == "stdvar_over_time" else math.sqrt(variance)
        if function == "avg_over_time":
            return value / values
        return value / range_s if function in ("rate", "bytes_rate") else value

    return finish


def _aggregated(aggregation: VectorAggregation, series: SeriesSet) -> SeriesSet:
    groups: dict[LabelSet, list[LabelSet]] = defaultdict(list)
    for labels in series:
        groups[tuple(pair for pair in labels if aggregation.grouping.has(pair[0]))].append(labels)
    found: SeriesSet = {}
    for group, members in groups.items():
        if aggregation.function in ("topk", "bottomk"):
            found |= _extremes(aggregation, {labels: series[labels] for labels in members})
        else:
            found[group] = _combined(aggregation.function, [series[labels] for labels in members])
    return found


def _combined(function: str, several: Sequence[Points]) -> Points:
    combine: Mapping[str, Callable[[list[float]], float]] = {
        "sum": _sum,
        "min": min,
        "max": max,
        "avg": lambda values: _sum(values) / len(values),
        "count": lambda values: float(len(values)),
    }
    values: dict[int, list[float]] = defaultdict(list)
    for points in several:
        for number, value in points.items():
            values[number].append(value)
    return {number: combine[function](each) for number, each in sorted(values.items())}


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # it is infinite, or there are infinities of both signs
        return sum(values)


def _extremes(aggregation: VectorAggregation, series: SeriesSet) -> SeriesSet:
    """Return at each time the series with the largest or the smallest numbers."""
    found: SeriesSet = {}
    for number in sorted({number for points in series.values() for number in points}):
        present = [labels for labels, points in series.items() if number in points]
        key = partial(_at, series, number)
        for labels in sorted(present, key=key, reverse=aggregation.function == "topk")[: aggregation.count]:
            found.setdefault(labels, {})[number] = series[labels][number]
    return found


def _at(series: SeriesSet, number: int, labels: LabelSet) -> float:
    return series[labels][number]


def _computed(arithmetic: Arithmetic, series: SeriesSet) -> SeriesSet:
    number = arithmetic.number
    if arithmetic.operator in COMPARISONS:
        meets = COMPARISONS[arithmetic.operator]
        return _kept(series, lambda _, __, value: meets(number, value) if arithmetic.reversed else meets(value, number))

    def compute(value: float) -> float:
        left, right = (number, value) if arithmetic.reversed else (value, number)
        return OPERATIONS[arithmetic.operator](left, right)

    return {labels: {at: compute(value) for at, value in points.items()} for labels, points in series.items()}


def _joined(joined: JoinedSeries, left: SeriesSet, right: SeriesSet) -> SeriesSet:
    operator = joined.operator

    def is_right(labels: LabelSet, at: int, _: float = 0.0) -> bool:
        return at in right.get(labels, ())

    if operator == "or":
        return {labels: {**right.get(labels, {}), **left.get(labels, {})} for labels in dict.fromkeys((*left, *right))}
    if operator == "unless":
        return _kept(left, lambda labels, at, _: not is_right(labels, at))
    both = _kept(left, is_right)
    if operator in COMPARISONS:
        return _kept(both, lambda labels, at, value: COMPARISONS[operator](value, right[labels][at]))
    if operator in OPERATIONS:
        compute = OPERATIONS[operator]
        return {
            labels: {at: compute(value, right[labels][at]) for at, value in points.items()}
            for labels, points in both.items()
        }
    return both


def _kept(series: SeriesSet, meets: Callable[[LabelSet, int, float], bool]) -> SeriesSet:
    """Return the points that meet a condition, and the series that have any."""
    kept = {
        labels: {at: value for at, value in points.items() if meets(labels, at, value)}
        for labels, points in series.items()
    }
    return {labels: points for labels, points in kept.items() if points}


def _divided(left: float, right: float) -> float:
    if right == 0:  # as floats of Go divide
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right


OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "+": add, "-": sub, "*": mul, "/": _divided,
}  # fmt: skip
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": eq, "!=": ne, ">": gt, ">=": ge, "<": lt, "<=": le,
}  # fmt: skip

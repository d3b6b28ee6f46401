"""Functions of datetimes, which are in UTC."""

from collections.abc import Callable
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions.operators.arithmetic import shift
from tailrace.query.functions.table import Context, constant_text, table
from tailrace.query.values import (
    DATETIME,
    LONG,
    NS_PER_US,
    Value,
    as_datetime,
    as_real,
    bind,
    case,
    cast,
    datetime_from_us,
    datetime_literal,
    fn,
    in_range,
    infix,
    literal,
    long,
    number_node,
    stepped,
    text_node,
    try_cast,
)

FUNCTIONS, _add = table("datetime")

_US = {
    "week": 7 * 86_400_000_000, "day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000,
    "second": 1_000_000, "millisecond": 1_000, "microsecond": 1,
}  # fmt: skip
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
_MAX_MONTHS = 120_000  # ten thousand years
_PARTS = {
    "year": "year", "quarter": "quarter", "month": "month", "week_of_year": "week", "weekofyear": "week",
    "week": "week", "day": "day", "dayofyear": "doy", "hour": "hour", "minute": "minute", "second": "second",
}  # fmt: skip
_BELOW_A_SECOND = {"millisecond": (1_000, 1), "microsecond": (1, 1), "nanosecond": (1, 1_000)}


def plain(value: exp.Expr) -> exp.Expr:
    """Return a TIMESTAMPTZ as TIMESTAMP in UTC, whatever the session's time zone is."""
    return fn("make_timestamp", fn("epoch_us", value))


def _moved(moment: exp.Expr, part: str, count: exp.Expr) -> exp.Expr:
    """Return microseconds since 1970 of a TIMESTAMP moved by a count of a part; null where it is moved too far."""
    if part in _MONTHS:

        def by_months(t: exp.Expr, n: exp.Expr) -> exp.Expr:
            limit = _MAX_MONTHS // _MONTHS[part]
            months = cast(infix(exp.Mul, n, number_node(_MONTHS[part])), "INTEGER")
            return case((in_range(n, -limit, limit), fn("epoch_us", infix(exp.Add, t, fn("to_months", months)))))

        return bind([moment, count], by_months)
    distance = infix(exp.Mul, cast(count, "HUGEINT"), number_node(_US[part]))
    return infix(exp.Add, fn("epoch_us", moment), distance)


def _part(function: str, value: Value, accepted: Any) -> str:
    return constant_text(function, value, 0, list(accepted))


def _datetime_add(context: Context, part: Value, count: Value, moment: Value) -> Value:
    name = _part("datetime_add", part, [*_MONTHS, *_US])
    return datetime_from_us(_moved(plain(moment.sql), name, count.sql))


def _datetime_diff(context: Context, part: Value, left: Value, right: Value) -> Value:
    name = _part("datetime_diff", part, [*_MONTHS, *_US, "nanosecond"])
    if name in _MONTHS:
        return long(fn("date_sub", text_node(name), plain(right.sql), plain(left.sql)))
    us = infix(exp.Sub, fn("epoch_us", left.sql), fn("epoch_us", right.sql))
    if name == "nanosecond":
        return long(try_cast(infix(exp.Mul, cast(us, "HUGEINT"), number_node(NS_PER_US)), "BIGINT"))
    return long(infix(exp.IntDiv, us, number_node(_US[name])))


def _datetime_part(context: Context, part: Value, moment: Value) -> Value:
    name = _part("datetime_part", part, [*_PARTS, *_BELOW_A_SECOND])
    if name in _BELOW_A_SECOND:
        divisor, factor = _BELOW_A_SECOND[name]
        us = infix(exp.Mod, fn("date_part", text_node("microsecond"), plain(moment.sql)), number_node(1_000_000))
        return long(infix(exp.Mul, infix(exp.IntDiv, us, number_node(divisor)), number_node(factor)))
    return _field(_PARTS[name])(context, moment)


def _field(name: str) -> Callable[..., Value]:
    size_us = min(_US.get(name, _US["day"]), _US["day"])  # what is longer than a day begins with one

    def build(context: Context, moment: Value) -> Value:
        return long(stepped(fn("date_part", text_node(name), plain(moment.sql)), moment.sql, size_us))

    return build


def _starting(part: str) -> Callable[..., Value]:
    def build(context: Context, moment: Value, offset: Value | None) -> Value:
        return datetime_from_us(_start_us(part, moment, offset or literal(0)))

    return build


def _ending(part: str) -> Callable[..., Value]:
    def build(context: Context, moment: Value, offset: Value | None) -> Value:
        count = literal(1) if offset is None else _next(offset)
        return datetime_from_us(infix(exp.Sub, _start_us(part, moment, count), number_node(1)))

    return build


def _next(offset: Value) -> Value:
    return long(infix(exp.Add, cast(offset.sql, "HUGEINT"), number_node(1)))


def _start_us(part: str, moment: Value, offset: Value) -> exp.Expr:
    if part == "week":
        # DuckDB's weeks begin on Monday, these on Sunday.
        day = fn("to_days", number_node(1))
        shifted = fn("date_trunc", text_node("week"), infix(exp.Add, plain(moment.sql), day))
        start = infix(exp.Sub, shifted, day)
    else:
        start = fn("date_trunc", text_node(part), plain(moment.sql))
    return _moved(stepped(start, moment.sql, _US["day"]), part, offset.sql)


def _now(context: Context, offset: Value | None) -> Value:
    moment = datetime_literal(context.now_ns // NS_PER_US)
    return moment if offset is None else shift(moment, offset)


def _ago(context: Context, span: Value) -> Value:
    return shift(datetime_literal(context.now_ns // NS_PER_US), span, -1)


def _unixtime(per_second: int) -> Callable[..., Value]:
    def build(context: Context, value: Value) -> Value:
        if isinstance(value.constant, int):
            return datetime_literal(value.constant * 1_000_000 // per_second)
        if value.type is LONG:
            wide = cast(value.sql, "HUGEINT")
            if per_second <= 1_000_000:
                return datetime_from_us(infix(exp.Mul, wide, number_node(1_000_000 // per_second)))
            return as_datetime(value)
        us = infix(exp.Mul, as_real(value).sql, number_node(1_000_000 / per_second))
        return datetime_from_us(try_cast(fn("floor", us), "BIGINT"))

    return build


# fmt: off
_add("ago", "span:timespan", DATETIME, _ago, "The query's time less a timespan.", "print now() - ago(1h)", "1h0m0s")
_add("datetime_add", "part:constant, count:long, time:datetime", DATETIME, _datetime_add,
     "A time moved by a count of years, quarters, months, weeks, days, hours, minutes, seconds, milliseconds or "
     "microseconds.",
     'print datetime_add("month", 1, datetime(2020-01-31))', "2020-02-29T00:00:00Z")
_add("datetime_diff", "part:constant, left:datetime, right:datetime", LONG, _datetime_diff,
     "The whole years, quarters, …, nanoseconds from the second time to the first.",
     'print datetime_diff("hour", datetime(2020-01-02), datetime(2020-01-01))', 24,
     note="Kusto counts the boundaries that are crossed.")
_add("datetime_part", "part:constant, time:datetime", LONG, _datetime_part,
     "A part of a time: year, quarter, month, week_of_year, day, dayOfYear, hour, minute, second, millisecond, "
     "microsecond, nanosecond.",
     'print datetime_part("dayOfYear", datetime(2020-02-01))', 32)
_add("dayofmonth", "time:datetime", LONG, _field("day"), "Day of the month, from 1.",
     "print dayofmonth(datetime(2020-02-29))", 29)
_add("dayofweek", "time:datetime", LONG, _field("dow"), "Day of the week, 0 for Sunday.",
     "print dayofweek(datetime(2020-02-29))", 6, note="Kusto gives a timespan.")
_add("dayofyear", "time:datetime", LONG, _field("doy"), "Day of the year, from 1.",
     "print dayofyear(datetime(2020-02-29))", 60)
for _name, _start, _end in (
    ("day", "2020-02-28T00:00:00Z", "2020-02-28T23:59:59.999999Z"),
    ("week", "2020-02-23T00:00:00Z", "2020-02-29T23:59:59.999999Z"),
    ("month", "2020-02-01T00:00:00Z", "2020-02-29T23:59:59.999999Z"),
    ("year", "2020-01-01T00:00:00Z", "2020-12-31T23:59:59.999999Z"),
):
    _weeks = "; weeks begin on Sunday" if _name == "week" else ""
    _add(f"startof{_name}", "time:datetime, offset:long?", DATETIME, _starting(_name),
         f"The start of the {_name}, moved by a number of {_name}s{_weeks}.",
         f"print startof{_name}(datetime(2020-02-28 12:30))", _start)
    _add(f"endof{_name}", "time:datetime, offset:long?", DATETIME, _ending(_name),
         f"The last microsecond of the {_name}, moved by a number of {_name}s{_weeks}.",
         f"print endof{_name}(datetime(2020-02-28 12:30))", _end,
         note="Kusto's last instant is 100 ns before the next; here times are of microseconds.")
_add("getmonth", "time:datetime", LONG, _field("month"), "Month, from 1.", "print getmonth(datetime(2020-02-29))", 2)
_add("getyear", "time:datetime", LONG, _field("year"), "Year.", "print getyear(datetime(2020-02-29))", 2020)
_add("hourofday", "time:datetime", LONG, _field("hour"), "Hour of the day, from 0.",
     "print hourofday(datetime(2020-02-29 13:45))", 13)
_add("monthofyear", "time:datetime", LONG, _field("month"), "Month, from 1.",
     "print monthofyear(datetime(2020-02-29))", 2)
_add("now", "offset:timespan?", DATETIME, _now,
     "The time at which the query began, the same wherever the query names it, moved by a timespan.",
     "print now(1h) - now()", "1h0m0s")
for _name, _per_second, _shown in (
    ("seconds", 1, "1600000000"), ("milliseconds", 1_000, "1600000000000"),
    ("microseconds", 1_000_000, "1600000000000000"), ("nanoseconds", 1_000_000_000, "1600000000000000000"),
):
    _add(f"unixtime_{_name}_todatetime", "value:number", DATETIME, _unixtime(_per_second),
         f"The time that is this many {_name} after 1970-01-01.",
         f"print unixtime_{_name}_todatetime({_shown})", "2020-09-13T12:26:40Z")
_add("week_of_year", "time:datetime", LONG, _field("week"), "Week of the year as ISO 8601 counts, from 1.",
     "print week_of_year(datetime(2021-01-03))", 53)
# fmt: on

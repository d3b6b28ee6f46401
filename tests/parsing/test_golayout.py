"""Go reference layouts, against what Go's own time.Parse does."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.timestamps import TimeMismatch
from tailrace.parsing.golayout import parse_layout, parse_time

NS = 1_000_000_000


def read(layout: str, value: str, received: datetime = datetime(2026, 3, 5, tzinfo=UTC)) -> datetime:
    ns = parse_time(parse_layout(layout), value, int(received.timestamp()) * NS)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def utc(*parts: int) -> datetime:
    year, month, day, *rest = parts
    return datetime(year, month, day, *rest, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("layout", "value", "expected"),
    [
        ("2/Jan/2006:15:04:05 +0000", "05/Mar/2026:10:11:12 +0000", utc(2026, 3, 5, 10, 11, 12)),
        ("2/Jan/2006:15:04:05 -0700", "5/mar/2026:10:11:12 +0130", utc(2026, 3, 5, 8, 41, 12)),
        ("ANSIC", "Thu Feb  4 21:00:57 2010", utc(2010, 2, 4, 21, 0, 57)),
        ("Mon Jan _2 15:04:05 2006", "Thu Feb 04 21:00:57 2010", utc(2010, 2, 4, 21, 0, 57)),
        ("UnixDate", "Thu Feb  4 21:00:57 PST 2010", utc(2010, 2, 5, 5, 0, 57)),
        ("RubyDate", "Thu Feb 04 21:00:57 -0800 2010", utc(2010, 2, 5, 5, 0, 57)),
        ("RFC850", "Thursday, 04-Feb-10 21:00:57 UTC", utc(2010, 2, 4, 21, 0, 57)),
        ("RFC1123", "Thu, 04 Feb 2010 21:00:57 GMT", utc(2010, 2, 4, 21, 0, 57)),
        ("RFC1123", "Thu, 04 Feb 2010 21:00:57 WXYT", utc(2010, 2, 4, 21, 0, 57)),  # unknown: Go's offset 0
        ("RFC1123Z", "Thu, 04 Feb 2010 21:00:57 -0800", utc(2010, 2, 5, 5, 0, 57)),
        ("RFC3339", "2010-02-04T21:00:57-08:00", utc(2010, 2, 5, 5, 0, 57)),
        ("RFC3339", "2010-02-04T21:00:57.25Z", utc(2010, 2, 4, 21, 0, 57, 250_000)),  # fraction not in the layout
        ("RFC3339Nano", "2010-02-04T21:00:57Z", utc(2010, 2, 4, 21, 0, 57)),
        ("2006-01-02 15:04:05.000", "2010-02-04 21:00:57.012", utc(2010, 2, 4, 21, 0, 57, 12_000)),
        ("2006-01-02 15:04:05,999", "2010-02-04 21:00:57,5", utc(2010, 2, 4, 21, 0, 57, 500_000)),
        ("2006-002 15:04", "2010-035 21:00", utc(2010, 2, 4, 21)),
        ("2006 __2", "2010  35", utc(2010, 2, 4)),
        ("01/02/06 3:04PM", "02/04/69 9:00PM", utc(1969, 2, 4, 21)),
        ("01/02/06 03:04pm", "02/04/68 12:30am", utc(2068, 2, 4, 0, 30)),
        ("January 2, 2006", "february 4, 2010", utc(2010, 2, 4)),
        ("Jan 2 2006", "Feb   4   2010", utc(2010, 2, 4)),  # a run of spaces matches any run
        ("20060102150405", "20100204210057", utc(2010, 2, 4, 21, 0, 57)),
        ("2006-01-02T15:04:05Z0700", "2010-02-04T21:00:57+0100", utc(2010, 2, 4, 20, 0, 57)),
        ("2006-01-02T15:04:05Z07", "2010-02-04T21:00:57+01", utc(2010, 2, 4, 20, 0, 57)),
        ("2006-01-02T15:04:05-070000", "2010-02-04T21:00:57+010001", utc(2010, 2, 4, 20, 0, 56)),
        ("2006-01-02T15:04:05-07:00:00", "2010-02-04T21:00:57+01:00:01", utc(2010, 2, 4, 20, 0, 56)),
        ("2006-01-02 15:04:05 MST", "2010-02-04 21:00:57 GMT-8", utc(2010, 2, 5, 5, 0, 57)),
        ("_2006", "_2010", utc(2010, 1, 1)),
        ("Janet 1/2/2006", "Janet 2/4/2010", utc(2010, 2, 4)),  # a name inside a word is literal
    ],
)
def test_a_value_is_read_as_go_reads_it(layout: str, value: str, expected: datetime) -> None:
    assert read(layout, value) == expected


@pytest.mark.parametrize(
    ("layout", "value"),
    [
        ("2/Jan/2006:15:04:05 +0000", "05/Mar/2026:10:11:12 +0100"),  # literal text
        ("2006-01-02", "2010-2-04"),
        ("2006-01-02", "2010-02-30"),
        ("2006-01-02", "2010-13-01"),
        ("2006-01-02", "2010-02-04x"),
        ("2006-01-02", ""),
        ("15:04 2006-01-02", "24:00 2010-02-04"),
        ("Jan 2 2006", "Foo 4 2010"),
        ("Mon 2006", "Feb 2010"),
        ("2006-01-02 15:04:05.000", "2010-02-04 21:00:57"),
        ("2006-01-02 15:04:05.000", "2010-02-04 21:00:57.01"),
        ("RFC3339", "2010-02-04T21:00:57z"),
        ("2006-01-02 3:04PM", "2010-02-04 9:00pm"),
        ("2006-01-02 MST", "2010-02-04 nowhere"),
        ("2006-01-02 -0700", "2010-02-04 +2500"),
        ("2006-002", "2010-366"),
    ],
)
def test_a_value_that_go_refuses_is_refused(layout: str, value: str) -> None:
    with pytest.raises(TimeMismatch):
        read(layout, value)


@pytest.mark.parametrize("layout", ["", "YYYY-MM-DD", "hello"])
def test_a_layout_without_an_element_is_none(layout: str) -> None:
    with pytest.raises(ValueError, match="no element"):
        parse_layout(layout)


def test_a_day_without_a_year_is_the_last_such_day() -> None:
    received = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)

    assert read("Stamp", "Dec 31 23:59:59", received) == utc(2025, 12, 31, 23, 59, 59)
    assert read("Stamp", "Jan  1 00:31:00", received) == utc(2026, 1, 1, 0, 31)
    assert read("Stamp", "Feb 29 00:00:00", received) == utc(2024, 2, 29)


DATES = st.sampled_from(
    [
        ("2006-01-02", "%Y-%m-%d"),
        ("02/Jan/2006", "%d/%b/%Y"),
        ("Monday January 2 2006", "%A %B %d %Y"),
        ("Mon, 2 Jan 2006", "%a, %d %b %Y"),
        ("01/02/06", "%m/%d/%y"),
        ("2006.002", "%Y.%j"),
        ("1/2/2006", "%m/%d/%Y"),
    ]
)
CLOCKS = st.sampled_from(
    [
        ("15:04:05", "%H:%M:%S"),
        ("15:04:05", "%H:%M:%S.%f"),
        ("15:04:05.000000", "%H:%M:%S.%f"),
        ("15:04:05.999", "%H:%M:%S.%f"),
        ("03:04:05 PM", "%I:%M:%S %p"),
        ("15h4m5s", "%Hh%Mm%Ss"),
    ]
)
ZONES = st.sampled_from([("-0700", "%z"), ("Z07:00", "%:z"), ("-07:00", "%:z"), ("UTC", "UTC"), ("MST", "UTC")])


@given(
    moment=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2060, 1, 1)),
    offset_min=st.integers(-14 * 60, 14 * 60),
    date=DATES,
    clock=CLOCKS,
    zone=ZONES,
    joint=st.sampled_from(["T", " ", "  ", " at "]),
)
def test_what_a_layout_prints_it_reads(
    moment: datetime,
    offset_min: int,
    date: tuple[str, str],
    clock: tuple[str, str],
    zone: tuple[str, str],
    joint: str,
) -> None:
    moment = moment if "%f" in clock[1] else moment.replace(microsecond=0)
    has_offset = zone[1] != "UTC"
    local = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)) if has_offset else UTC)
    offset = local.strftime("%z")
    printed = local.strftime(date[1] + joint + clock[1])
    printed += " " + zone[1].replace("%:z", offset[:3] + ":" + offset[3:]).replace("%z", offset)

    assert read(f"{date[0]}{joint}{clock[0]} {zone[0]}", printed) == local

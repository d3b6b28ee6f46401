"""Times as requests give them and as protocols write them."""

from datetime import UTC, datetime

import pytest

from tailrace.events import BadRequest
from tailrace.events.times import given_time, rfc3339


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_772_705_472_123_456_789, "2026-03-05T10:11:12.123456789Z"),
    ],
)
def test_times_are_rfc3339_with_a_trimmed_fraction(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-07T19:04:07.1234567+01:00", datetime(2026, 3, 7, 18, 4, 7, 123456, UTC)),
        ("7 Mar 2026", datetime(2026, 3, 7, tzinfo=UTC)),
        ("1772906647123", datetime(2026, 3, 7, 18, 4, 7, 123000, UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_time_is_given_by_any_text_that_is_one_in_an_event(text: str, time: datetime | None) -> None:
    assert given_time(text, "endTime") == time


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("soon", "endTime is 'soon', which is no time: it is in no known format; RFC 3339 writes one like 2030-01-31T"),
        ("2026-13-01", "endTime is '2026-13-01', which is no time: there is no such day"),
        ("99999999999999999999999", "it is outside the years 1 to 9999"),
        ("x" * 200, f"endTime is '{'x' * 100}', which is no time: it is longer than 100 characters"),
    ],
)
def test_what_is_no_time_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        given_time(text, "endTime")
    assert reason in refused.value.message

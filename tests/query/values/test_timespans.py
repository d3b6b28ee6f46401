"""Timespans as text, read and written."""

import pytest

from tailrace.query.values import parse_timespan, timespan_text


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1.5h", 5_400_000_000_000),
        ("1d2h", 93_600_000_000_000),
        ("100ms", 100_000_000),
        ("10min", 600_000_000_000),
        ("-1h30m", -5_400_000_000_000),
        ("1 day", 86_400_000_000_000),
        ("00:05:00", 300_000_000_000),
        ("1.02:03:04.5", 93_784_500_000_000),
        ("0", 0),
        ("- 1.h .5 m ", -3_630_000_000_000),
        ("1h?30m", None),
        (".h", None),
        ("5", None),
        ("", None),
        ("1x", None),
        ("h", None),
        ("99999999999d", None),
        ("9" * 5000 + "d", None),
        ("١s", None),
    ],
)
def test_timespans_are_read(text: str, ns: int | None) -> None:
    assert parse_timespan(text) == ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (100_000_000, "100ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (-86_400_000_000_001, "-24h0m0.000000001s"),
        (-(2**63), "-2562047h47m16.854775808s"),
    ],
)
def test_timespans_are_written(ns: int, text: str) -> None:
    assert timespan_text(ns) == text
    assert parse_timespan(text) == ns

"""Times as protocols write them."""

import pytest

from tailrace.events.times import rfc3339


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

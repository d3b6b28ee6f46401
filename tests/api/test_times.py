"""The times of requests."""

import time

import pytest

from tailrace.api.times import moment, with_plus
from tailrace.events import BadRequest


def test_times_relative_to_now() -> None:
    now = 1_000_000_000_000_000_000
    assert moment("startTime", "now", now) == now
    assert moment("startTime", "now-1h", now) == now - 3_600_000_000_000
    assert moment("startTime", "qr-now-30m", now) == now - 1_800_000_000_000
    assert moment("startTime", "now+1h30m", now) == now + 5_400_000_000_000
    assert moment("startTime", "now-1w", now) == now - 7 * 86_400_000_000_000
    with pytest.raises(BadRequest):
        moment("startTime", "now-x", now)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("2026-01-01T00:00:00 02:00", "2026-01-01T00:00:00+02:00"),
        ("now 1h", "now+1h"),
        ("2026-01-01 00:00:00", "2026-01-01 00:00:00"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("", ""),
    ],
)
def test_a_space_that_was_a_plus_is_one_again(sent: str, meant: str) -> None:
    assert with_plus(sent) == meant


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    began_s = time.process_time()
    assert with_plus("T" * 20_000) == "T" * 20_000
    assert time.process_time() - began_s < 1

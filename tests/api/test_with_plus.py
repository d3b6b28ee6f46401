"""Times in query strings whose plus was not encoded, so that it came as a space."""

import time

import pytest

from tailrace.api.apl import with_plus


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

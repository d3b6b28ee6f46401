"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable

DAY_S = 86_400.0


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return once the condition holds; AssertionError if it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s"
        time.sleep(0.005)


def stay_within_a_day(seconds: float = 20.0) -> None:
    """Return once the day, by UTC, goes on for some seconds: for a test of what is counted by the day."""
    wait_until(lambda: DAY_S - time.time() % DAY_S >= seconds, 2 * seconds)

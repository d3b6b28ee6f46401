"""A clock that a test sets."""

from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that is set by hand, and is a step later at each look, so that what is made first is older."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.step = timedelta(microseconds=1)

    def __call__(self) -> float:
        self.now += self.step
        return self.now.timestamp()

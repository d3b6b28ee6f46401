"""Appending to a log and waiting for its answer."""

import threading

from tailrace.events import Batch, TailraceError
from tailrace.log import Log


def append_now(log: Log, batch: Batch) -> int:
    """Append a batch and wait until it is durable; return its position, or raise what the log answers."""
    answered = threading.Event()
    answers: list[tuple[int | None, TailraceError | None]] = []

    def done(position: int | None, error: TailraceError | None) -> None:
        answers.append((position, error))
        answered.set()

    log.append(batch, done)
    assert answered.wait(60)
    position, error = answers[0]
    if position is None:
        assert error is not None
        raise error
    return position

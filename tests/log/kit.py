"""What the tests of the log share: batches, a log that asks the machine nothing, and waiting for conditions."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from support.append import append_now

from tailrace.events import Batch, TailraceError
from tailrace.events.idempotency import DIGEST_BYTES, BatchKey
from tailrace.log import LocalLog, LogSettings

PLENTY_BYTES = 1 << 50
WAIT_S = 30.0


def make_batch(name: str = "demo", count: int = 1, size: int = 10, **labels: Any) -> Batch:
    line = b'{"a":"' + b"x" * size + b'"}\n'
    times = np.arange(count, dtype=np.int64) + 1_700_000_000_000_000_000
    return Batch(name, line * count, times, count, 1_700_000_000_000_000_001, labels)


def fields_of(batch: Batch) -> tuple[Any, ...]:
    """All of a batch, in a shape that compares."""
    return batch.dataset, batch.events, batch.times.tolist(), batch.count, batch.received_ns, batch.labels, batch.keys


def open_log(directory: Path, **options: Any) -> LocalLog:
    """Return a log that does not depend on how full the disk of the machine is."""
    settings = LogSettings(**{name: options.pop(name) for name in LogSettings.__struct_fields__ if name in options})
    return LocalLog.open(directory, settings, **{"free_bytes": lambda: PLENTY_BYTES, **options})


def fill(directory: Path, batches: Iterable[Batch], **options: Any) -> list[int]:
    """Append batches to the log of a directory, opened and closed for it: their positions."""
    with open_log(directory, **options) as log:
        return [append_now(log, batch) for batch in batches]


def discard(written: list[tuple[int, Batch]]) -> None:
    """Subscribe to nothing."""


def segment_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def positions(log: LocalLog, from_position: int = 0) -> list[int]:
    return [position for position, _ in log.read(from_position)]


class Answers:
    """Collects what `done` is called with, and waits for a number of calls."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.given: list[tuple[int | None, TailraceError | None]] = []

    def __call__(self, position: int | None, error: TailraceError | None) -> None:
        with self._changed:
            self.given.append((position, error))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[int | None, TailraceError | None]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.given) >= count, WAIT_S), f"{len(self.given)} of {count}"
            return list(self.given)


def eventually(attempt: Callable[[], Any], until: Callable[[Any], bool]) -> Any:
    """Repeat an attempt until its outcome, or the TailraceError it raised, is the one waited for."""
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        try:
            outcome = attempt()
        except TailraceError as error:
            outcome = error
        if until(outcome):
            return outcome
        pause.wait(0.01)
    raise AssertionError(f"still {outcome!r} after {WAIT_S} s")


class HeldCall:
    """A call that can be held: who calls it waits until it is let go."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._open = threading.Event()
        self._open.set()
        self._entered = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        self._entered.release()
        assert self._open.wait(WAIT_S)
        return self._call(*args)

    def hold(self) -> None:
        while self._entered.acquire(blocking=False):
            pass
        self._open.clear()

    def wait_entered(self) -> None:
        assert self._entered.acquire(timeout=WAIT_S)

    def let_go(self) -> None:
        self._open.set()


class Failing:
    """A call to the operating system that raises, as many times as it is told to."""

    def __init__(self, call: Callable[..., Any], number: int) -> None:
        self._call = call
        self._number = number
        self.times = 0
        self.raised = 0

    def __call__(self, *args: Any) -> Any:
        if self.times > 0:
            self.times -= 1
            self.raised += 1
            raise OSError(self._number, "made to fail")
        return self._call(*args)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Any batch: no events or many, any name, any labels of JSON."""
    times = draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
    text = st.text(st.characters(codec="utf-8"), max_size=8)
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | text
    )
    labels = st.dictionaries(
        text, scalars | st.lists(scalars, max_size=3) | st.dictionaries(text, scalars, max_size=3), max_size=4
    )
    digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)
    keys = st.builds(BatchKey, digests, digests, st.integers(0, 2**64 - 1))
    return Batch(
        dataset=draw(text),
        events=draw(st.binary(max_size=200)) + b"x" * draw(st.sampled_from([0, 1, 5000, 2_000_000])),
        times=np.array(times, dtype=np.int64),
        count=len(times),
        received_ns=draw(st.integers(-(2**63), 2**63 - 1)),
        labels=draw(labels),
        keys=tuple(draw(st.lists(keys, max_size=2))),
    )

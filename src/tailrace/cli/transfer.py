"""The progress of commands that copy files: a bar on a terminal, a line from time to time elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tailrace.cli.output import counted, printable

LINE_EVERY_S = 10.0


class TransferProgress:
    """Counts what is copied, and shows it on standard error. Thread-safe."""

    def __init__(self, console: Console, bar: Progress | None, size: Callable[[int], str] = decimal) -> None:
        self.warnings = 0
        self.copied = 0  # files
        self.copied_bytes = 0  # of all files, those that were there included
        self._console = console
        self._size = size
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=0)
        self._lock = threading.Lock()
        self._files = self._done = 0
        self._total_bytes = 0
        self._told_s = time.monotonic()

    def expect(self, files: int, size_bytes: int) -> None:
        """Add files that are to be done."""
        with self._lock:
            self._files += files
            self._total_bytes += size_bytes
            self._show()

    def advance(self, size_bytes: int) -> None:
        """Count bytes that are done."""
        with self._lock:
            self.copied_bytes += size_bytes
            self._show()

    def end_file(self, *, copied: bool) -> None:
        """Count a file that is done: copied, or there already."""
        with self._lock:
            self._done += 1
            self.copied += copied

    def warn(self, text: str) -> None:
        """Tell of something that is not as it should be."""
        with self._lock:
            self.warnings += 1
            self._console.print(printable(f"tailrace: {text}"), markup=False, soft_wrap=True)

    def _show(self) -> None:
        told = f"{self._done} of {counted(self._files, 'file')}" if self._files else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.copied_bytes, total=self._total_bytes, description=told)
        elif time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._told_s = time.monotonic()
            size = self._size(self.copied_bytes)
            if self._total_bytes:
                size += f" of {self._size(self._total_bytes)}"
            self._console.print(", ".join(filter(None, (told, size))), soft_wrap=True)


@contextmanager
def transfer_progress(*, is_of_events: bool = False) -> Iterator[TransferProgress]:
    """Yield the progress of a copy, shown while it goes on; with `is_of_events` sizes are numbers of events."""
    size = _events if is_of_events else decimal
    console = Console(stderr=True, highlight=False, emoji=False)
    if not console.is_terminal:
        yield TransferProgress(console, None, size)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        *(() if is_of_events else (TransferSpeedColumn(),)),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield TransferProgress(console, bar, size)


def _events(count: int) -> str:
    return counted(count, "event")

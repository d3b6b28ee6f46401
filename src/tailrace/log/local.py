"""The log on a local disk: one thread writes the queued batches, flushes once, then calls back for all of them."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tailrace.events import Batch, DiskFull, Overloaded, ShuttingDown, TailraceError
from tailrace.log import frames
from tailrace.log.delivery import Done, OrderedDelivery, QueuedBatch, call_back, take_group
from tailrace.log.directory import DISK_RETRY_AFTER_S, MAX_GROUP_BATCHES, SegmentDirectory, write_error
from tailrace.log.mark import DurableMark
from tailrace.log.segments import Damage, FileCalls
from tailrace.log.settings import LogSettings
from tailrace.log.subscription import Subscription

MAX_GROUP_BYTES = 16 * 1024 * 1024  # written and flushed together; a larger batch is a group of its own
BIG_GROUP_BYTES = 1024 * 1024  # free space is checked before each group of this size
DISK_CHECK_S = 0.1  # and otherwise at this interval, at which a log that refuses appends also tries again
RESUME_FACTOR = 1.1  # times min_free_bytes must be free before a log that was full accepts appends again
RETRY_AFTER_S = 1

logger = logging.getLogger(__name__)


class LocalLog:
    """A durable log in a directory. Opened by `LocalLog.open`; any thread may call its methods."""

    def __init__(
        self,
        directory: SegmentDirectory,
        settings: LogSettings,
        *,
        subscription: Subscription | None,
        free_bytes: Callable[[], int],
        mark: DurableMark | None = None,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._free_bytes = free_bytes
        self._mark = mark

        # Guards the queue; never held during I/O.
        self._state = threading.Condition()
        self._queue: deque[QueuedBatch] = deque()
        self._queued_bytes = 0  # waiting or being written
        self._is_waiting = False  # whether the log's thread waits for a batch
        self._closing = False
        self._disk_full = False

        # Of the log's thread alone. The bytes of what the subscriber has not accepted count as queued.
        self._delivery = OrderedDelivery(subscription)
        self._checked_disk_at = 0.0
        self._thread = threading.Thread(target=self._run, name="tailrace-log", daemon=True)

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        settings: LogSettings = LogSettings(),
        *,
        subscription: Subscription | None = None,
        free_bytes: Callable[[], int] | None = None,
        calls: FileCalls | None = None,
        mark: DurableMark | None = None,
    ) -> "LocalLog":
        """Open the log of a directory, created if missing, and repair what a crash left behind.

        The caller makes sure that no other process has the directory open. Only the newest segment is read
        whole: what an interrupted write left at its end is cut off; damage before that goes to `damage`.

        `free_bytes` and `calls` stand for the operating system; by default those of the directory's file system. `mark`
        tells other processes what is durable.

        Raise OSError when the directory or a file in it cannot be created or read, LogVersionError when a newer
        version wrote it.
        """
        path = Path(directory)
        floor = subscription.floor if subscription else 0
        log = cls(
            SegmentDirectory.open(path, floor=floor, segment_bytes=settings.segment_bytes, calls=calls or FileCalls()),
            settings,
            subscription=subscription,
            free_bytes=free_bytes or (lambda: _free_bytes(path)),
            mark=mark,
        )
        log._write_mark()
        log._thread.start()
        if subscription is not None:
            subscription.bind(log.release)
        return log

    def __enter__(self) -> "LocalLog":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def durable_position(self) -> int:
        """The highest durable position; of an empty log the subscription's `floor`, 0 if nothing was ever written."""
        return self._directory.durable_position

    @property
    def size_bytes(self) -> int:
        """The size of the segments on disk."""
        return self._directory.size_bytes

    @property
    def queued_bytes(self) -> int:
        """The size of the batches that are not durable yet."""
        return self._queued_bytes

    @property
    def damage(self) -> Sequence[Damage]:
        """The ranges that cannot be read, each once, in the order in which they were found."""
        return self._directory.damage

    @property
    def torn_bytes(self) -> int:
        """The bytes that were cut off after the last valid frame when the log was opened."""
        return self._directory.torn_bytes

    @property
    def fault(self) -> str:
        """Why appends are refused now, empty while they are accepted."""
        if self._directory.is_broken:
            return write_error().message
        return self._disk_full_error().message if self._disk_full else ""

    def append(self, batch: Batch, done: Done) -> None:
        """Queue a batch to be written. Does not block; `done` is called once, in the log's thread, and must not block.

        `done(position, None)` once the batch is durable, `done(None, error)` when it could not be written and
        nothing of it is stored. Raise at once, without a call of `done`: Overloaded when too much is queued,
        DiskFull, LogWriteError while the disk fails, ShuttingDown after `close`, ValueError for a
        batch that has not one time for each event.
        """
        payload = frames.prepare(batch)
        with self._state:
            if self._closing:
                raise ShuttingDown("the log is closed", retry_after_s=RETRY_AFTER_S)
            if self._directory.is_broken:
                raise write_error()
            if self._disk_full:
                raise self._disk_full_error()
            if self._queued_bytes and self._queued_bytes + payload.frame_bytes > self._settings.max_queued_bytes:
                raise Overloaded(
                    f"more than {self._settings.max_queued_bytes} bytes (log_max_queued_bytes) wait for the log",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._queue.append(QueuedBatch(batch, payload, done))
            self._queued_bytes += payload.frame_bytes
            if self._is_waiting:
                self._is_waiting = False
                self._state.notify()

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """Return the batches from a position on, in order, up to what was durable at the time of this call.

        Others may append meanwhile. Damage is skipped and added to `damage`; a segment that is released meanwhile
        is skipped too. Memory is bounded by the largest batch.
        """
        return self._directory.read(from_position)

    def release(self, upto: int) -> None:
        """Delete the segments that have no position above `upto`; concurrent calls wait for one another.

        Waits for a running write. A file that cannot be deleted is logged and stays for a later call.
        """
        self._directory.release(upto)

    def close(self) -> None:
        """Write and flush the queue, call back for it, and stop.

        Later appends raise ShuttingDown; reading remains possible.
        """
        with self._state:
            self._closing = True
            self._state.notify()
        self._thread.join()
        self._directory.close()

    # In the log's thread

    def _run(self) -> None:
        while True:
            with self._state:
                while not self._queue and not self._closing:
                    needs_retry = self._disk_full or self._directory.is_broken or self._delivery.is_behind
                    self._is_waiting = True
                    if not self._state.wait(DISK_CHECK_S if needs_retry else None) and needs_retry:
                        break  # with an empty group: the disk is checked, and batches are delivered again
                if not self._queue and self._closing:
                    return
                group, group_bytes = take_group(self._queue, max_batches=MAX_GROUP_BATCHES, max_bytes=MAX_GROUP_BYTES)
            first_position = 0
            error = self._check_writable(group_bytes)
            if group and error is None:
                try:
                    first_position = self._directory.append([queued.payload for queued in group])
                    self._write_mark()
                except TailraceError as write_failed:
                    error = write_failed
            written = [] if error else [(first_position + index, queued.batch) for index, queued in enumerate(group)]
            released_bytes = group_bytes if error else 0
            released_bytes += self._delivery.deliver(written, 0 if error else group_bytes)
            with self._state:
                self._queued_bytes -= released_bytes
            call_back(group, first_position, error)

    def _write_mark(self) -> None:
        if self._mark is not None:
            self._mark.write(self._directory.extent)

    def _check_writable(self, group_bytes: int) -> TailraceError | None:
        """Return why nothing can be written now, else None.

        Repair a broken directory before, and check the disk where that is due.
        """
        if self._directory.is_broken:
            self._directory.repair()
            if self._directory.is_broken:
                return write_error()
        now = time.monotonic()
        if self._disk_full or group_bytes >= BIG_GROUP_BYTES or now - self._checked_disk_at >= DISK_CHECK_S:
            self._checked_disk_at = now
            self._check_disk(group_bytes)
        return self._disk_full_error() if self._disk_full else None

    def _check_disk(self, group_bytes: int) -> None:
        try:
            # With a margin: without one a disk near the limit would refuse every other request.
            needed = self._settings.min_free_bytes * (RESUME_FACTOR if self._disk_full else 1)
            full = self._free_bytes() - group_bytes < needed
        except Exception:
            logger.exception("the free space of %s is not known", self._directory.path)
            return
        if full != self._disk_full:
            if full:
                least = self._settings.min_free_bytes
                logger.error("under %d bytes (log_min_free_bytes) are free: appends refused", least)
            else:
                logger.warning("the disk has free space again: appends are accepted")
            with self._state:
                self._disk_full = full

    def _disk_full_error(self) -> DiskFull:
        return DiskFull(
            f"the disk of the log had less than {self._settings.min_free_bytes} bytes (log_min_free_bytes) free; "
            f"events are taken again once {RESUME_FACTOR:g} times as much is",
            retry_after_s=DISK_RETRY_AFTER_S,
        )


def _free_bytes(directory: Path) -> int:
    file_system = os.statvfs(directory)
    return file_system.f_bavail * file_system.f_frsize

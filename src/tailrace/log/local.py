"""The log on a local disk: one thread writes what waits, flushes once, then answers all it wrote for."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tailrace.events import Batch, DiskFull, Overloaded, ShuttingDown, TailraceError
from tailrace.log import frames, segments
from tailrace.log.frames import HEADER_BYTES, Buffer, Payload
from tailrace.log.segments import FILE_HEADER, Damage, FileCalls, SegmentFile, Window
from tailrace.log.subscription import Subscription
from tailrace.storage.faults import is_full

SEGMENT_BYTES = 64 * 1024 * 1024
MIN_FREE_BYTES = 512 * 1024 * 1024
MAX_QUEUED_BYTES = 128 * 1024 * 1024

MAX_GROUP_BYTES = 16 * 1024 * 1024  # written and flushed together; one larger batch still goes alone
MAX_GROUP_BATCHES = 4096
BIG_GROUP_BYTES = 1024 * 1024  # free space is asked for before each group of this size
DISK_CHECK_S = 0.1  # and otherwise no more often than this; also how often a refusing log tries again
RESUME_FACTOR = 1.1  # of min_free_bytes must be free before a log that refused for want of room takes appends again
RELEASED_ROLL_BYTES = 4 * 1024 * 1024  # a fully released active segment of this size is replaced and deleted
RETRY_AFTER_S = 1
DISK_RETRY_AFTER_S = 10

Done = Callable[[int | None, TailraceError | None], None]

logger = logging.getLogger(__name__)


class LogWriteError(TailraceError):
    """The log could not be written; nothing of the batch is kept."""

    status = 503
    code = "log_write_failed"
    retryable = True


class _Waiting(Struct, frozen=True, eq=False):
    batch: Batch
    payload: Payload
    done: Done


class LocalLog:
    """A durable log in a directory. Opened by `LocalLog.open`; any thread may call its methods."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int,
        min_free_bytes: int,
        max_queued_bytes: int,
        subscription: Subscription | None,
        free_bytes: Callable[[], int],
        calls: FileCalls,
    ) -> None:
        self.directory = directory
        self.damage: list[Damage] = []  # each stretch once, in the order met
        self.torn_bytes = 0  # cut off behind the last sound frame when the log was opened
        self.flush_count = 0  # groups made durable
        self.last_flush_s = 0.0  # writing and flushing of the last group

        self._segment_bytes = segment_bytes
        self._min_free_bytes = min_free_bytes
        self._max_queued_bytes = max_queued_bytes
        self._subscription = subscription
        self._free_bytes = free_bytes
        self._calls = calls

        # Guards everything below it here; held for moments only. Taken after _writing where both are held.
        self._state = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0  # waiting or being written
        self._closing = False
        self._disk_full = False
        self._broken = False
        self._closed_segments: list[SegmentFile] = []

        # Of the log's thread: durable batches that the subscriber has not taken. Their bytes count as queued.
        self._unpublished: list[tuple[int, Batch]] = []
        self._unpublished_bytes = 0

        # Held while the active segment is written to or replaced.
        self._writing = threading.Lock()
        self._releasing = threading.Lock()  # taken before that
        self._checked_disk_at = 0.0
        self._next_position = 1
        self._durable_position = 0
        self._active: SegmentFile
        self._fd: int

        self._recover(subscription.floor if subscription else 0)
        self._thread = threading.Thread(target=self._run, name="tailrace-log", daemon=True)

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        min_free_bytes: int = MIN_FREE_BYTES,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        subscription: Subscription | None = None,
        free_bytes: Callable[[], int] | None = None,
        calls: FileCalls | None = None,
    ) -> "LocalLog":
        """Open the log of a directory, made where it is missing, and repair what a crash left behind.

        The caller sees to it that no other process has the directory open. Only the newest segment is read
        through: what an interrupted write left at its end is cut off; damage before that goes to `damage`.

        `free_bytes` and `calls` are what the operating system is asked; by default the file system of the directory.

        OSError when the directory or a file of it cannot be made or read; LogVersionError when a newer
        version wrote it.
        """
        directory = Path(directory)
        calls = calls or FileCalls()
        segments.make_directory(directory, calls)
        # Names that a killed process gave without flushing them are about to be relied upon.
        segments.sync_directory(directory.parent, calls)
        segments.sync_directory(directory, calls)
        log = cls(
            directory,
            segment_bytes=segment_bytes,
            min_free_bytes=min_free_bytes,
            max_queued_bytes=max_queued_bytes,
            subscription=subscription,
            free_bytes=free_bytes or (lambda: _free_bytes(directory)),
            calls=calls,
        )
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
        """The highest durable position; on an empty log the subscription's `floor`, 0 when nothing ever was written."""
        return self._durable_position

    @property
    def size_bytes(self) -> int:
        """What the segments hold on disk."""
        with self._state:
            return sum(segment.end_bytes for segment in self._closed_segments) + self._active.end_bytes

    @property
    def queued_bytes(self) -> int:
        """What waits to be durable."""
        return self._queued_bytes

    @property
    def fault(self) -> str:
        """Why appends are refused now, empty while they are taken."""
        if self._broken:
            return _unavailable().message
        return self._no_room().message if self._disk_full else ""

    def append(self, batch: Batch, done: Done) -> None:
        """Queue a batch to be written. Quick; `done` is called once, in the log's thread, and must be quick.

        `done(position, None)` once the batch is durable, `done(None, error)` when it could not be written and
        nothing of it is kept. Raised at once, without a call of `done`: Overloaded when too much waits,
        DiskFull, LogWriteError while the disk refuses to work, ShuttingDown after `close`, ValueError for a
        batch whose times are not one an event.
        """
        payload = frames.prepare(batch)
        with self._state:
            if self._closing:
                raise ShuttingDown("the log is closed", retry_after_s=RETRY_AFTER_S)
            if self._broken:
                raise _unavailable()
            if self._disk_full:
                raise self._no_room()
            if self._queued_bytes and self._queued_bytes + payload.frame_bytes > self._max_queued_bytes:
                raise Overloaded(
                    f"more than {self._max_queued_bytes} bytes (log_max_queued_bytes) wait for the log",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._queue.append(_Waiting(batch, payload, done))
            self._queued_bytes += payload.frame_bytes
            self._state.notify()

    def append_now(self, batch: Batch) -> int:
        """Append a batch and wait until it is durable: its position.

        Raises what `append` raises or passes to `done`.
        """
        answered = threading.Event()
        answers: list[tuple[int | None, TailraceError | None]] = []

        def done(position: int | None, error: TailraceError | None) -> None:
            answers.append((position, error))
            answered.set()

        self.append(batch, done)
        answered.wait()
        position, error = answers[0]
        if position is None:
            raise error or _unavailable()
        return position

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """Return the batches from a position on, in order, up to what was durable at the time of this call.

        May run while others append. Damage is passed over and added to `damage`; a segment released meanwhile
        is passed over too. Memory is bounded by the largest batch.
        """
        with self._state:
            held = [*self._closed_segments, self._active]
        firsts = [segment.first_position for segment in held[1:]]
        wanted = [
            segment
            for segment, next_first in zip(held, [*firsts, None], strict=True)
            if next_first is None or next_first > from_position
        ]
        return self._read(wanted, from_position)

    def release(self, upto: int) -> None:
        """Delete the segments that hold nothing above a position; another call meanwhile waits.

        Waits for a write under way. What cannot be deleted is logged and stays for a later call.

        The newest segment always stays, so that its name keeps positions from being given out again; when it
        is released too and not small, an empty one takes its place.
        """
        try:
            with self._releasing:
                with self._writing:
                    large = self._active.end_bytes >= RELEASED_ROLL_BYTES
                    if large and upto >= self._durable_position and not self._broken and not self._closing:
                        self._roll()
                for segment in self._released(upto):
                    segment.path.unlink(missing_ok=True)
                    # Each before the next: after a power cut none may be missing between two that are there.
                    segments.sync_directory(self.directory, self._calls)
                    with self._state:
                        self._closed_segments.remove(segment)
        except OSError:
            logger.exception("segments up to position %d could not be deleted; a later release will", upto)

    def close(self) -> None:
        """Write and flush what waits, answer it, and stop.

        Later appends raise ShuttingDown; reading stays possible.
        """
        with self._state:
            first = not self._closing
            self._closing = True
            self._state.notify()
        self._thread.join()
        with self._writing:
            if first:
                os.close(self._fd)

    def _released(self, upto: int) -> list[SegmentFile]:
        with self._state:
            firsts = [segment.first_position for segment in [*self._closed_segments, self._active]]
            return [
                segment
                for segment, next_first in zip(self._closed_segments, firsts[1:], strict=True)
                if next_first - 1 <= upto
            ]

    # Opening

    def _recover(self, floor: int) -> None:
        found = segments.list_segments(self.directory)
        for segment in found:
            with Window(segment.path, segment.end_bytes, self._calls) as window:
                segments.file_header_fault(window)
        if not found:
            self._next_position = floor + 1
            self._durable_position = floor
            self._active, self._fd = segments.create_segment(self.directory, self._next_position, self._calls)
            return

        newest = found.pop()
        state = segments.recover(newest, self._calls)
        self._note(state.damage)
        self._closed_segments = found
        self._durable_position = max(state.last_position or self._last_position(found), floor)
        due = (state.last_position or newest.first_position - 1) + 1
        self._next_position = max(due, floor + 1)
        tail_bytes = max(0, state.file_bytes - state.end_bytes)
        if tail_bytes:
            # The frames cut off had positions, and so had those of their group that were not written at all.
            self._next_position += tail_bytes // HEADER_BYTES + MAX_GROUP_BATCHES

        self._active = SegmentFile(newest.path, newest.first_position, state.end_bytes)
        self._fd = os.open(newest.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if self._next_position != due:
                try:
                    self._go_on_behind(due, newest, state)
                except OSError as error:
                    if not is_full(error):
                        raise
                    # What is sound of it is read; it is repaired once there is room, before anything is appended.
                    logger.error("%s cannot be repaired, as the disk is full: appends are refused", newest.path)
                    self._calls.fsync(self._fd)
                    self._broken = True
            else:
                self._truncate(self._fd, newest, state)
        except BaseException:
            os.close(self._fd)
            raise

    def _go_on_behind(self, due: int, newest: SegmentFile, state: segments.Recovery) -> None:
        """Begin a segment whose name keeps the positions from `due` on that are passed over from being given out."""
        fresh, fd = segments.create_segment(self.directory, self._next_position, self._calls)
        try:
            gap = [self._skip(due)] if state.last_position else []
        except BaseException:
            os.close(fd)
            fresh.path.unlink()
            raise
        torn_fd = self._fd
        self._closed_segments += [self._active, *gap]
        self._active, self._fd = fresh, fd
        try:
            self._truncate(torn_fd, newest, state)
        finally:
            os.close(torn_fd)

    def _truncate(self, fd: int, segment: SegmentFile, state: segments.Recovery) -> None:
        tail_bytes = max(0, state.file_bytes - state.end_bytes)
        if tail_bytes:
            self.torn_bytes = tail_bytes
            logger.warning(
                "%s: the last %d bytes are no whole frame and are cut off: %s",
                segment.path,
                tail_bytes,
                state.torn_reason,
            )
            self._calls.ftruncate(fd, state.end_bytes)
        if not state.header_sound and not state.last_position:
            segments.write_file_header(fd, segment.first_position, self._calls)
        # Frames that a killed process had written but not flushed are about to be read as durable.
        self._calls.fsync(fd)

    def _skip(self, due: int) -> SegmentFile:
        """Return the empty segment which says that the positions from `due` to those of the next segment were given
        up.
        """
        try:
            segment, fd = segments.create_segment(self.directory, due, self._calls)
        except FileExistsError:  # an earlier attempt to go on behind the gap got as far as this
            return SegmentFile(segments.segment_path(self.directory, due), due, FILE_HEADER.size)
        os.close(fd)
        return segment

    def _last_position(self, closed: Sequence[SegmentFile]) -> int:
        for segment in reversed(closed):
            last_position = segments.recover(segment, self._calls).last_position
            if last_position:
                return last_position
        return 0

    # Reading

    def _read(self, wanted: Sequence[SegmentFile], from_position: int) -> Iterator[tuple[int, Batch]]:
        for index, segment in enumerate(wanted):
            try:
                window = Window(segment.path, segment.end_bytes, self._calls)
            except FileNotFoundError:
                logger.info("%s was released before it was read", segment.path)
                continue
            due = max(segment.first_position, from_position)
            spoiled_end = False
            with window:
                fault = segments.file_header_fault(window)
                if fault:
                    self._note([Damage(segment.path.name, 0, FILE_HEADER.size, fault)])
                for met in segments.scan(
                    window,
                    FILE_HEADER.size,
                    first_position=segment.first_position,
                    from_position=from_position,
                ):
                    spoiled_end = isinstance(met, Damage)
                    if isinstance(met, Damage):
                        self._note([met])
                    else:
                        due = met.header.position + 1
                        yield met.header.position, frames.decode(met.header, met.payload)
            holds_frames = segment.end_bytes > FILE_HEADER.size
            if holds_frames and not spoiled_end and index + 1 < len(wanted):
                following = wanted[index + 1]
                if following.first_position > due:
                    self._note([segments.gap(due, following)])

    def _note(self, damage: Sequence[Damage]) -> None:
        for one in damage:
            with self._state:
                if one in self.damage:
                    continue
                self.damage.append(one)
            if one.missing_positions:
                logger.error("before segment %s %s", one.segment, one.reason)
                continue
            logger.error(
                "segment %s is damaged: %d bytes from byte %d on are skipped: %s",
                one.segment,
                one.length,
                one.offset_bytes,
                one.reason,
            )

    # Writing, in the log's thread

    def _run(self) -> None:
        while True:
            with self._state:
                while not self._queue and not self._closing:
                    refusing = self._disk_full or self._broken or bool(self._unpublished)
                    if not self._state.wait(DISK_CHECK_S if refusing else None) and refusing:
                        break
                if not self._queue and self._closing:
                    return
                group, group_bytes = self._take()
            placed: list[tuple[int, Batch]] = []
            with self._writing:
                error = self._unfit(group_bytes)
                if group and error is None:
                    try:
                        placed = self._write(group, group_bytes)
                    except Exception:
                        logger.exception("%d batches could not be written: %s", len(group), self._active.path)
                        error = _unavailable()
                        self._repair()
            done_bytes = group_bytes
            if self._publish(placed):
                done_bytes += self._unpublished_bytes
                self._unpublished_bytes = 0
            elif placed:
                done_bytes = 0
                self._unpublished_bytes += group_bytes
            with self._state:
                self._queued_bytes -= done_bytes
            self._answer(group, placed, error)

    def _take(self) -> tuple[list[_Waiting], int]:
        group: list[_Waiting] = []
        group_bytes = 0
        while self._queue and len(group) < MAX_GROUP_BATCHES:
            frame_bytes = self._queue[0].payload.frame_bytes
            if group and group_bytes + frame_bytes > MAX_GROUP_BYTES:
                break
            group.append(self._queue.popleft())
            group_bytes += frame_bytes
        return group, group_bytes

    def _unfit(self, group_bytes: int) -> TailraceError | None:
        if self._broken:
            self._repair()
            if self._broken:
                return _unavailable()
        now = time.monotonic()
        if self._disk_full or group_bytes >= BIG_GROUP_BYTES or now - self._checked_disk_at >= DISK_CHECK_S:
            self._checked_disk_at = now
            self._check_disk(group_bytes)
        return self._no_room() if self._disk_full else None

    def _check_disk(self, group_bytes: int) -> None:
        try:
            # With a margin, or a disk at the edge would refuse every other request.
            needed = self._min_free_bytes * (RESUME_FACTOR if self._disk_full else 1)
            full = self._free_bytes() - group_bytes < needed
        except Exception:
            logger.exception("the free space of %s is not known", self.directory)
            return
        if full != self._disk_full:
            if full:
                logger.error("under %d bytes (log_min_free_bytes) are free: appends refused", self._min_free_bytes)
            else:
                logger.warning("there is room on the disk again: appends are taken")
            with self._state:
                self._disk_full = full

    def _write(self, group: Sequence[_Waiting], group_bytes: int) -> list[tuple[int, Batch]]:
        """Place a group in the active segment and flush it. What fails leaves the segment to be repaired."""
        begun = time.perf_counter()
        holds_frames = self._active.end_bytes > FILE_HEADER.size
        if holds_frames and self._active.end_bytes + group_bytes > self._segment_bytes:
            self._roll()
        first = self._next_position
        self._next_position += len(group)
        buffers: list[Buffer] = []
        for position, waiting in enumerate(group, first):
            buffers += frames.seal(waiting.payload, position)
        end = segments.write_all(self._fd, buffers, self._active.end_bytes, self._calls)
        self._calls.fdatasync(self._fd)
        with self._state:
            self._active = SegmentFile(self._active.path, self._active.first_position, end)
            self._durable_position = self._next_position - 1
            self.flush_count += 1
            self.last_flush_s = time.perf_counter() - begun
        return [(position, waiting.batch) for position, waiting in enumerate(group, first)]

    def _roll(self) -> None:
        due = self._durable_position + 1
        gap = [] if self._active.end_bytes == FILE_HEADER.size or due == self._next_position else [self._skip(due)]
        try:
            fresh, fd = segments.create_segment(self.directory, self._next_position, self._calls)
        except BaseException:
            # Should the file that could not be made sound still be there, the next one needs another name.
            self._next_position += 1
            raise
        os.close(self._fd)
        with self._state:
            self._closed_segments += [self._active, *gap]
            self._active, self._fd = fresh, fd

    def _repair(self) -> None:
        """Take the frames of a failed group out of the segment and go on in a new one.

        After a failed flush the kernel may count pages as written that are not, so the file is not written to
        again. Until this succeeds the log is broken: frames that nobody was told of could otherwise come back
        at replay.
        """
        try:
            self._calls.ftruncate(self._fd, self._active.end_bytes)
            self._calls.fsync(self._fd)
            self._roll()
            broken = False
        except Exception:
            if not self._broken:
                logger.exception("%s cannot be repaired: appends are refused", self._active.path)
            broken = True
        if self._broken and not broken:
            logger.warning("the log can be written again: appends are taken")
        with self._state:
            self._broken = broken

    def _publish(self, placed: list[tuple[int, Batch]]) -> bool:
        """Hand on what is durable, in order; what is not taken is handed on again, before what comes after it.

        Were it passed over, the subscriber would take what comes later for all there is up to there.
        """
        due = [*self._unpublished, *placed]
        if self._subscription is None or not due:
            return True
        try:
            self._subscription.deliver(due)
        except Exception:
            if not self._unpublished:
                logger.exception("positions from %d on were not taken over, which is tried again", due[0][0])
            self._unpublished = due
            return False
        if self._unpublished:
            logger.warning("positions up to %d are taken over now", due[-1][0])
        self._unpublished = []
        return True

    def _answer(
        self, group: Sequence[_Waiting], placed: Sequence[tuple[int, Batch]], error: TailraceError | None
    ) -> None:
        for index, waiting in enumerate(group):
            try:
                if error is None:
                    waiting.done(placed[index][0], None)
                else:
                    waiting.done(None, error)
            except Exception:
                logger.exception("the answer to an append was not taken")

    def _no_room(self) -> DiskFull:
        return DiskFull(
            f"the disk of the log had less than {self._min_free_bytes} bytes (log_min_free_bytes) free; events are "
            f"taken again once {RESUME_FACTOR:g} times as much is",
            retry_after_s=DISK_RETRY_AFTER_S,
        )


def _unavailable() -> LogWriteError:
    return LogWriteError("the log cannot be written", retry_after_s=DISK_RETRY_AFTER_S)


def _free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize

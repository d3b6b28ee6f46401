"""The segments of a log's directory: repaired when it is opened, appended to, read, and deleted once released."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tailrace.events import Batch, TailraceError
from tailrace.log import frames, segments
from tailrace.log.damage import FoundDamage
from tailrace.log.frames import FORMAT, HEADER_BYTES, Buffer, Payload
from tailrace.log.mark import Extent
from tailrace.log.reading import read_segments
from tailrace.log.segments import FILE_HEADER, FileCalls, Recovery, SegmentFile, Window
from tailrace.storage.faults import is_full

MAX_GROUP_BATCHES = 4096  # written and flushed together
RELEASED_ROLL_BYTES = 4 * 1024 * 1024  # a fully released active segment of this size is replaced and deleted
DISK_RETRY_AFTER_S = 10

logger = logging.getLogger(__name__)


class LogWriteError(TailraceError):
    """The log could not be written; nothing of the batch is stored."""

    status = 503
    code = "log_write_failed"
    retryable = True


def write_error() -> LogWriteError:
    """Return the error of an append while the log cannot be written."""
    return LogWriteError("the log cannot be written", retry_after_s=DISK_RETRY_AFTER_S)


class SegmentDirectory:
    """The segments of a log, of which the newest is the active one. One thread appends; any may read and release."""

    def __init__(self, path: Path, *, segment_bytes: int, calls: FileCalls) -> None:
        self.path = path
        found = FoundDamage()
        self.damage = found.ranges
        self.torn_bytes = 0  # cut off after the last valid frame when the directory was opened
        self.is_broken = False  # whether a failed write must be repaired before the next one
        self.durable_position = 0  # the highest one

        self._segment_bytes = segment_bytes
        self._calls = calls
        self._add_damage = found.add
        self._releasing = threading.Lock()  # taken before _writing
        self._writing = threading.Lock()  # held while the active segment is written to or replaced; before _lock
        self._lock = threading.Lock()  # guards the list of segments; never held during I/O
        self._closed_segments: list[SegmentFile] = []
        self._active: SegmentFile
        self._fd: int  # of the active segment
        self._is_closed = False
        self._next_position = 1

    @classmethod
    def open(cls, path: Path, *, floor: int, segment_bytes: int, calls: FileCalls) -> "SegmentDirectory":
        """Open a directory, created if missing, and repair what a crash left behind.

        Positions up to `floor` are not given out. OSError when the directory or a file of it cannot be made or read;
        LogVersionError when a newer version wrote it.
        """
        segments.make_directory(path, calls)
        # File names that a killed process may have created without flushing them are relied upon from now on.
        segments.sync_directory(path.parent, calls)
        segments.sync_directory(path, calls)
        directory = cls(path, segment_bytes=segment_bytes, calls=calls)
        directory._recover(floor)
        return directory

    @property
    def size_bytes(self) -> int:
        """The size of the segments on disk."""
        with self._lock:
            return sum(segment.end_bytes for segment in self._closed_segments) + self._active.end_bytes

    @property
    def extent(self) -> Extent:
        """What of the segments is durable."""
        with self._lock:
            return Extent(self.durable_position, self._active.first_position, self._active.end_bytes)

    def append(self, payloads: Sequence[Payload]) -> int:
        """Write frames, at most MAX_GROUP_BATCHES, and flush them; return the position of the first.

        Raise LogWriteError when that fails. The segment is repaired then, or `is_broken`.
        """
        with self._writing:
            try:
                return self._write(payloads)
            except Exception as error:
                logger.exception("%d batches could not be written: %s", len(payloads), self._active.path)
                self._repair()
                raise write_error() from error

    def repair(self) -> None:
        """Try again to repair the segment of a failed write."""
        with self._writing:
            self._repair()

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """Return the batches from a position on, in order, up to what was durable at the time of this call.

        Others may append meanwhile. Damage is skipped and added to `damage`; a segment that is released meanwhile
        is skipped too. Memory is bounded by the largest batch.
        """
        with self._lock:
            present = [*self._closed_segments, self._active]
        next_firsts = [*(segment.first_position for segment in present[1:]), None]
        to_read = [
            segment
            for segment, next_first in zip(present, next_firsts, strict=True)
            if next_first is None or next_first > from_position
        ]
        found = read_segments(to_read, from_position, self._calls, self._add_damage)
        return ((each.position, each.batch) for each in found)

    def release(self, upto: int) -> None:
        """Delete the segments that have no position above `upto`; concurrent calls wait for one another.

        Waits for a running write. A file that cannot be deleted is logged and stays for a later call.

        The newest segment always stays, as its name records which positions are used; when it is released too and not
        small, or in a format that older versions refuse, an empty one replaces it.
        """
        try:
            with self._releasing:
                with self._writing:
                    is_due = self._active.end_bytes >= RELEASED_ROLL_BYTES or self._active.format_version != FORMAT
                    if is_due and upto >= self.durable_position and not self.is_broken and not self._is_closed:
                        self._roll()
                for segment in self._released(upto):
                    segment.path.unlink(missing_ok=True)
                    # In order: after a power cut no segment may be missing between two that exist.
                    segments.sync_directory(self.path, self._calls)
                    with self._lock:
                        self._closed_segments.remove(segment)
        except OSError:
            logger.exception("segments up to position %d could not be deleted; a later release will", upto)

    def close(self) -> None:
        """Close the active segment, after the last append; reading remains possible."""
        with self._writing:
            if not self._is_closed:
                os.close(self._fd)
                self._is_closed = True

    def _released(self, upto: int) -> list[SegmentFile]:
        with self._lock:
            firsts = [segment.first_position for segment in [*self._closed_segments, self._active]]
            return [
                segment
                for segment, next_first in zip(self._closed_segments, firsts[1:], strict=True)
                if next_first - 1 <= upto
            ]

    # Opening

    def _recover(self, floor: int) -> None:
        present = segments.list_segments(self.path)
        for segment in present:
            header_end = min(segment.end_bytes, segments.FILE_HEADER.size)  # else a window reads a MiB
            with Window(segment.path, header_end, self._calls) as window:
                segments.file_header_fault(window)
        if not present:
            self._next_position = floor + 1
            self.durable_position = floor
            self._active, self._fd = segments.create_segment(self.path, self._next_position, self._calls)
            return

        newest = present.pop()
        recovery = segments.recover(newest, self._calls)
        self._add_damage(recovery.damage)
        self._closed_segments = present
        self.durable_position = max(recovery.last_position or self._last_position(present), floor)
        expected = (recovery.last_position or newest.first_position - 1) + 1
        self._next_position = max(expected, floor + 1)
        if recovery.torn_bytes:
            # The frames that were cut off had positions, and so had unwritten frames of the same group.
            self._next_position += recovery.torn_bytes // HEADER_BYTES + MAX_GROUP_BATCHES

        self._active = SegmentFile(newest.path, newest.first_position, recovery.end_bytes, recovery.format_version)
        self._fd = os.open(newest.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if self._next_position != expected:
                try:
                    self._continue_after_gap(expected, newest, recovery)
                except OSError as error:
                    if not is_full(error):
                        raise
                    # Its valid frames can be read; it is repaired once there is free space, before any append.
                    logger.error("%s cannot be repaired, as the disk is full: appends are refused", newest.path)
                    self._calls.fsync(self._fd)
                    self.is_broken = True
            else:
                self._truncate(self._fd, newest, recovery)
        except BaseException:
            os.close(self._fd)
            raise

    def _continue_after_gap(self, expected: int, newest: SegmentFile, recovery: Recovery) -> None:
        """Begin a segment after a gap, so that the positions from `expected` up to it are never used."""
        fresh, fd = segments.create_segment(self.path, self._next_position, self._calls)
        try:
            gap = [self._create_gap(expected)] if recovery.last_position else []
        except BaseException:
            os.close(fd)
            fresh.path.unlink()
            raise
        torn_fd = self._fd
        self._closed_segments += [self._active, *gap]
        self._active, self._fd = fresh, fd
        try:
            self._truncate(torn_fd, newest, recovery)
        finally:
            os.close(torn_fd)

    def _truncate(self, fd: int, segment: SegmentFile, recovery: Recovery) -> None:
        if recovery.torn_bytes:
            self.torn_bytes = recovery.torn_bytes
            logger.warning(
                "%s: the last %d bytes are no whole frame and are cut off: %s",
                segment.path,
                recovery.torn_bytes,
                recovery.torn_reason,
            )
            self._calls.ftruncate(fd, recovery.end_bytes)
        if not recovery.header_sound and not recovery.last_position:
            segments.write_file_header(fd, segment.first_position, self._calls)
        # Frames that a killed process wrote without flushing them count as durable from now on.
        self._calls.fsync(fd)

    def _create_gap(self, first_position: int) -> SegmentFile:
        """Return an empty segment, which records that the positions up to the next segment are unused."""
        try:
            segment, fd = segments.create_segment(self.path, first_position, self._calls)
        except FileExistsError:  # an earlier attempt to continue after the gap got as far as this
            return SegmentFile(segments.segment_path(self.path, first_position), first_position, FILE_HEADER.size)
        os.close(fd)
        return segment

    def _last_position(self, closed: Sequence[SegmentFile]) -> int:
        for segment in reversed(closed):
            last_position = segments.recover(segment, self._calls).last_position
            if last_position:
                return last_position
        return 0

    # Writing

    def _write(self, payloads: Sequence[Payload]) -> int:
        holds_frames = self._active.end_bytes > FILE_HEADER.size
        group_bytes = sum(payload.frame_bytes for payload in payloads)
        version = max(payload.format_version for payload in payloads)
        overflows = holds_frames and self._active.end_bytes + group_bytes > self._segment_bytes
        if overflows or version > self._active.format_version:
            self._roll(version)
        first = self._next_position
        self._next_position += len(payloads)
        buffers: list[Buffer] = []
        for position, payload in enumerate(payloads, first):
            buffers += frames.encode(payload, position)
        end = segments.write_all(self._fd, buffers, self._active.end_bytes, self._calls)
        self._calls.fdatasync(self._fd)
        with self._lock:
            self._active = SegmentFile(self._active.path, self._active.first_position, end, self._active.format_version)
            self.durable_position = self._next_position - 1
        return first

    def _roll(self, version: int = FORMAT) -> None:
        """Begin the next segment; a position is left out where the active one is empty, as their names must differ."""
        if self._active.first_position == self._next_position:
            self._next_position += 1
        expected = self.durable_position + 1
        has_gap = self._active.end_bytes != FILE_HEADER.size and expected != self._next_position
        gap = [self._create_gap(expected)] if has_gap else []
        try:
            fresh, fd = segments.create_segment(self.path, self._next_position, self._calls, version=version)
        except BaseException:
            # If the file that could not be repaired still exists, the next one needs another name.
            self._next_position += 1
            raise
        os.close(self._fd)
        with self._lock:
            self._closed_segments += [self._active, *gap]
            self._active, self._fd = fresh, fd

    def _repair(self) -> None:
        """Remove the frames of a failed group from the segment, and continue in a new one.

        After a failed flush the kernel may take pages for written that are not, so the file is not written to
        again. Until this succeeds the log is broken: otherwise a replay could return frames that were not
        acknowledged.
        """
        try:
            self._calls.ftruncate(self._fd, self._active.end_bytes)
            self._calls.fsync(self._fd)
            self._roll()
        except Exception:
            if not self.is_broken:
                logger.exception("%s cannot be repaired: appends are refused", self._active.path)
            self.is_broken = True
            return
        if self.is_broken:
            logger.warning("the log can be written again: appends are accepted")
        self.is_broken = False

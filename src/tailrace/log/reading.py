"""Reading of segments: their batches in order, and what cannot be read."""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.log import frames, segments
from tailrace.log.mark import DurableMark, Extent
from tailrace.log.segments import FILE_HEADER, Damage, FileCalls, SegmentFile, Window

logger = logging.getLogger(__name__)


class ReadBatch(Struct, frozen=True, eq=False):
    """A batch of a segment, and where its frame stands."""

    position: int
    batch: Batch
    segment: SegmentFile
    end_bytes: int  # where the frame ends


def read_segments(
    to_read: Sequence[SegmentFile],
    from_position: int,
    calls: FileCalls,
    add_damage: Callable[[Sequence[Damage]], None],
    start_bytes: int = FILE_HEADER.size,
) -> Iterator[ReadBatch]:
    """Yield the batches of segments from a position on, in order.

    Damage is skipped and added; so is a segment that is not there any more. The first segment is read from
    `start_bytes`, where a frame begins. Memory is bounded by the largest batch.
    """
    for index, segment in enumerate(to_read):
        try:
            window = Window(segment.path, segment.end_bytes, calls)
        except FileNotFoundError:
            logger.info("%s was released before it was read", segment.path)
            continue
        expected = max(segment.first_position, from_position)
        ends_damaged = False
        start = start_bytes if index == 0 else FILE_HEADER.size
        with window:
            fault = segments.file_header_fault(window)
            if fault:
                add_damage([Damage(segment.path.name, 0, FILE_HEADER.size, fault)])
            for stretch in segments.scan(
                window, start, first_position=segment.first_position, from_position=from_position
            ):
                ends_damaged = isinstance(stretch, Damage)
                if isinstance(stretch, Damage):
                    add_damage([stretch])
                else:
                    expected = stretch.header.position + 1
                    batch = frames.decode(stretch.header, stretch.payload)
                    yield ReadBatch(stretch.header.position, batch, segment, stretch.end_bytes)
        holds_frames = segment.end_bytes > FILE_HEADER.size
        if holds_frames and not ends_damaged and index + 1 < len(to_read):
            following = to_read[index + 1]
            if following.first_position > expected:
                add_damage([segments.gap(expected, following)])


class LogReader:
    """Reads a log that another process appends to, as far as its mark tells. One thread at a time may use it."""

    def __init__(
        self,
        directory: Path,
        mark: DurableMark,
        *,
        position: int,
        add_damage: Callable[[Sequence[Damage]], None],
        calls: FileCalls = FileCalls(),
    ) -> None:
        """Read from behind a position on; `add_damage` is called with what cannot be read, once for each."""
        self.position = position  # up to which everything is read
        self._directory = directory
        self._mark = mark
        self._add_damage = add_damage
        self._calls = calls
        self._first_position = 0  # of the segment that was read last
        self._end_bytes = FILE_HEADER.size  # where its last frame ends that was read

    def durable_position(self) -> int:
        """Return the highest position that is durable now, which is all that was answered for."""
        return self._mark.read().position

    def advance(self) -> Iterator[tuple[int, Batch]]:
        """Yield the batches that became durable since, in order, up to what is durable at the time of the call.

        Where it is given up before its end, the next call goes on behind the last batch.
        """
        extent = self._mark.read()
        if extent.position <= self.position:
            return
        to_read = self._segments(extent)
        start = FILE_HEADER.size
        if to_read and to_read[0].first_position == self._first_position:
            start = self._end_bytes
        for read in read_segments(to_read, self.position + 1, self._calls, self._add_damage, start):
            self.position = read.position
            self._first_position, self._end_bytes = read.segment.first_position, read.end_bytes
            yield read.position, read.batch
        # What is damaged is not tried again.
        self.position = extent.position
        self._first_position, self._end_bytes = extent.first_position, extent.end_bytes

    def _segments(self, extent: Extent) -> list[SegmentFile]:
        """Return the segments that have what is not read yet, as far as it is durable."""
        present = [
            segment
            for segment in segments.list_segments(self._directory)
            if segment.first_position <= extent.first_position
        ]
        if present and present[-1].first_position == extent.first_position:
            present[-1] = replace(present[-1], end_bytes=extent.end_bytes)
        firsts = [segment.first_position for segment in present[1:]]
        return [
            segment
            for segment, next_first in zip_longest(present, firsts)
            if next_first is None or next_first > self.position + 1
        ]

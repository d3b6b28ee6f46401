"""Cursors: places in the one total order of a dataset's events, as opaque texts that sort like the events.

Events are in the order of `_time`, then `_sysTime`, then a hash of what they hold; events that are equal in all of it
hold the same, and are told apart by how many of them come before. None of this changes when events are committed or
compacted, or when others arrive, and none of it is stored.

An event that is alone with its times has a cursor without the hash, for which all that it holds would have to be read.
It is the place of whatever has these times, should more arrive.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from msgspec import Struct

from tailrace.events import BadRequest

_SIGN = 2**63
_ALONE = 0  # the number of an event that is alone with its times
_LAST = 2**32 - 1  # where counting starts in an order from new to old, so that texts fall there too
_TEXT = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{8})")


class Cursor(Struct, frozen=True):
    """The place of an event, as it was met from new to old (`descending`) or from old to new."""

    time_us: int
    system_time_us: int
    hash: int
    number: int  # 1 for the first of equal events; 0 where there is no hash, as no other event has these times
    descending: bool

    @property
    def is_alone(self) -> bool:
        """Whether no other event had both times."""
        return self.number == _ALONE


def encode(cursor: Cursor) -> str:
    """Return the text of a cursor."""
    number = _LAST - cursor.number if cursor.descending else cursor.number
    times = f"{cursor.time_us + _SIGN:016x}-{cursor.system_time_us + _SIGN:016x}"
    return f"{times}-{cursor.hash:016x}-{number:08x}"


def decode(text: str) -> Cursor:
    """Return the cursor of a text; raise BadRequest for one that no answer gave."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise BadRequest(f"the cursor {text[:100]!r} is not one that an answer of this server gave")
    time, system_time, row_hash, number = (int(digits, 16) for digits in match.groups())
    descending = number > _LAST // 2
    return Cursor(time - _SIGN, system_time - _SIGN, row_hash, _LAST - number if descending else number, descending)


class RowCursors:
    """The cursors of the rows of an answer, which are in order."""

    def __init__(
        self,
        times: pa.ChunkedArray,
        system_times: pa.ChunkedArray,
        hashes: pa.ChunkedArray | None,
        *,
        descending: bool,
        after: Cursor | None = None,
        skipped: int = 0,
    ) -> None:
        """`skipped` rows that are equal to the place `after` come before the first row.

        There are no `hashes` where each row is alone with its times.
        """
        self._times = times.cast(pa.int64()).to_numpy()
        self._system_times = system_times.cast(pa.int64()).to_numpy()
        self._descending = descending
        if hashes is None:
            self._hashes = np.zeros(len(self._times), np.uint64)
            self._numbers = np.full(len(self._times), _ALONE, np.int64)
        else:
            self._hashes = hashes.to_numpy()
            self._numbers = self._counted(after, skipped)

    def _counted(self, after: Cursor | None, skipped: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        count = len(self._times)
        if not count:
            return np.empty(0, np.int64)
        keys = (self._times, self._system_times, self._hashes)
        new = np.ones(count, bool)
        new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
        rows = np.arange(count)
        numbers = rows - np.maximum.accumulate(np.where(new, rows, 0)) + 1
        if after is not None and skipped and self._is_at(after):
            numbers[: int(np.argmax(new[1:])) + 1 if new[1:].any() else count] += skipped
        return numbers

    def _is_at(self, cursor: Cursor) -> bool:
        return (int(self._times[0]), int(self._system_times[0]), int(self._hashes[0])) == (
            cursor.time_us,
            cursor.system_time_us,
            cursor.hash,
        )

    def __len__(self) -> int:
        return len(self._times)

    def count_at(self, time_us: int) -> int:
        """How many of the rows have this time."""
        return int(np.count_nonzero(self._times == time_us))

    def text(self, row: int) -> str:
        """Return the cursor of a row; negative ones count from the end."""
        return encode(
            Cursor(
                int(self._times[row]),
                int(self._system_times[row]),
                int(self._hashes[row]),
                int(self._numbers[row]),
                self._descending,
            )
        )

    def texts(self) -> Sequence[str]:
        """Return the cursor of every row."""
        return list(self._all())

    def _all(self) -> Iterator[str]:
        for row in range(len(self)):
            yield self.text(row)

"""Memory that the main process and its workers share: revisions, back pressure, and how far each log is durable."""

import mmap
import os

from tailrace.log import MARK_BYTES, DurableMark

_WORD_BYTES = 8
_WORDS = 16
_HEADER_BYTES = _WORD_BYTES * _WORDS
# Numbers of the words, which the main process alone writes.
_ACCESS, _DATASETS, _IS_OPEN, _EXCESS, _COMMITS, _BACKLOG = range(6)


class SharedRevision:
    """A number that is another one after every change of something; one process advances it."""

    def __init__(self, words: "memoryview[int]", index: int) -> None:
        self._words = words
        self._index = index

    @property
    def number(self) -> int:
        return self._words[self._index]

    def advance(self) -> None:
        self._words[self._index] += 1


class SharedState:
    """The shared memory. Each word is written at once, so that no reader sees half of one."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory of a descriptor."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._words = memoryview(self._memory)[:_HEADER_BYTES].cast("q")
        self.access = SharedRevision(self._words, _ACCESS)  # of the tokens, keys, users and what they may do
        self.datasets = SharedRevision(self._words, _DATASETS)  # of the datasets, as any is dropped

    @classmethod
    def make(cls, workers: int) -> "SharedState":
        """Make the memory of so many workers."""
        descriptor = os.memfd_create("tailrace-workers", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _HEADER_BYTES + workers * MARK_BYTES)
        return cls(descriptor)

    def mark(self, worker: int) -> DurableMark:
        """Return the mark of the log of a worker, by its number from 0 on."""
        return DurableMark(self._memory, _HEADER_BYTES + worker * MARK_BYTES)

    @property
    def is_open(self) -> bool:
        """Whether events are accepted."""
        return bool(self._words[_IS_OPEN])

    @is_open.setter
    def is_open(self, value: bool) -> None:
        self._words[_IS_OPEN] = int(value)

    @property
    def excess_bytes(self) -> int:
        """As the lake's: bytes that are too many in memory, negative where more may come."""
        return self._words[_EXCESS]

    @property
    def commits(self) -> int:
        """The number of commits since the start."""
        return self._words[_COMMITS]

    @property
    def backlog_bytes(self) -> int:
        """The size of the batches that are durable but not yet shredded."""
        return self._words[_BACKLOG]

    def set_pressure(self, *, excess_bytes: int, commits: int, backlog_bytes: int) -> None:
        """Set what the lake has in memory."""
        self._words[_EXCESS] = excess_bytes
        self._words[_COMMITS] = commits
        self._words[_BACKLOG] = backlog_bytes

"""Results of functions by the value on which they depend, kept from one block of rows for the next."""

from collections.abc import Callable, Hashable
from typing import Any

MAX_CACHED_BYTES = 4 * 1024 * 1024  # of values and results, of all functions; all are forgotten beyond
MAX_VALUE_BYTES = 512  # in the mean of a block; larger ones fill the cache with few of them
_LEAST_FOUND = 1 / 8  # of a block's values, for the next block to be looked up
_BLOCKS_APART = 15  # that are computed without the cache after one that found less
_BYTES_PER_ENTRY = 200  # beside its texts

Key = tuple[Hashable, ...]
"""A function and its constants."""


class ResultCache:
    """The results of all functions of a DuckDB instance. Threads may share it."""

    def __init__(self) -> None:
        self._results: dict[Key, dict[Any, Any]] = {}
        self._pauses: dict[Key, int] = {}
        self._bytes = 0

    def is_worth_a_look(self, key: Key, count: int, nbytes: int) -> bool:
        """Whether so many values of so many bytes together may be looked up."""
        if nbytes > count * MAX_VALUE_BYTES:
            return False
        pause = self._pauses.get(key, 0)
        if pause:
            self._pauses[key] = pause - 1
        return not pause

    def results(self, key: Key, values: list[Any], compute: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Return the result of each value, of which none comes twice; `compute` gives those that are not known."""
        known = self._results.get(key)
        if known is None:
            new, computed = values, compute(values)
            results = computed
        else:
            new = [value for value in values if value not in known]
            if len(values) - len(new) < len(values) * _LEAST_FOUND:
                self._pauses[key] = _BLOCKS_APART
            computed = compute(new) if new else []
            found = dict(zip(new, computed, strict=True))
            results = [found[value] if value in found else known[value] for value in values]
        if new:
            self._keep(key, new, computed)
        return results

    def _keep(self, key: Key, values: list[Any], results: list[Any]) -> None:
        kept = (values, results) if key in self._results else (key, values, results)
        nbytes = sum(len(cell) for cells in kept for cell in cells if isinstance(cell, str))
        nbytes += len(values) * _BYTES_PER_ENTRY
        if nbytes > MAX_CACHED_BYTES:
            return
        if self._bytes + nbytes > MAX_CACHED_BYTES:
            # Another thread goes on with what it holds.
            self._results, self._pauses, self._bytes = {}, {}, 0
        self._bytes += nbytes
        self._results.setdefault(key, {}).update(zip(values, results, strict=True))

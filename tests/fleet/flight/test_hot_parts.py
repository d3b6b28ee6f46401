"""Hot rows have numbers while somebody may ask for them; what was fetched is kept up to some bytes."""

import numpy as np
import pyarrow as pa

from tailrace.fleet.flight.hot_parts import CHUNK_BYTES, HELD_S, PartCache, PartNumbers, chunks
from tailrace.lake.snapshot import HotTable


def part(rows: int = 1) -> HotTable:
    return HotTable(pa.table({"x": pa.array([1] * rows, pa.int64())}), 0, 0, frozenset({"x"}))


def test_a_part_has_one_number_and_is_found_by_it_for_a_while() -> None:
    now_s = 0.0
    numbers = PartNumbers(lambda: now_s)
    one, other = part(), part()
    assert numbers.number((one, other, one)) == [1, 2, 1]
    del other
    assert numbers.find([2, 1]) is not None

    now_s = HELD_S + 1
    numbers.prune()
    assert (numbers.find([1, 2]), numbers.find([1])) == (None, [one])
    assert numbers.number((part(),)) == [3]


def test_the_cache_keeps_what_was_asked_for_last() -> None:
    cache = PartCache(3 * 8)
    parts = {number: part() for number in range(4)}
    for number in range(3):
        cache.add("p", number, parts[number])
    cache.find("p", [0])
    cache.add("p", 3, parts[3])

    assert (sorted(cache.find("p", [0, 1, 2, 3])), cache.find("other", [0]), cache.bytes) == ([0, 2, 3], {}, 24)


def test_the_cache_keeps_nothing_that_is_larger() -> None:
    cache = PartCache(8)
    cache.add("p", 1, part(2))

    assert (cache.find("p", [1]), cache.bytes) == ({}, 0)


def test_a_large_part_goes_in_chunks_and_an_empty_one_in_none() -> None:
    rows = pa.table({"x": np.arange(3 * CHUNK_BYTES // 8)})
    found = list(chunks(rows))

    assert pa.Table.from_batches(found) == rows
    assert max(batch.nbytes for batch in found) <= CHUNK_BYTES
    assert list(chunks(rows.slice(0, 0))) == []

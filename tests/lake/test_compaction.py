"""Which files are merged: small ones of a size and of a day, until few are left."""

from hypothesis import given
from hypothesis import strategies as st

from tailrace.lake import DataFile, MaintenanceSettings
from tailrace.lake.compaction import QUIET_MS, next_merge
from tailrace.lake.snapshot import US_PER_DAY

MIB = 1024**2
DAY_NS = US_PER_DAY * 1000


def file(n: int, size: int, *, day: int = 20_000, written_ms: int = 0) -> DataFile:
    start = day * US_PER_DAY + n
    return DataFile(f"{n}", f"{n}", size, 10, start, start, frozenset(), written_ms)


def test_files_of_a_size_are_merged_when_there_are_enough() -> None:
    policy = MaintenanceSettings(compact_files=4)
    during = 20_000 * 86_400_000
    few = [file(n, 1000) for n in range(3)]

    assert next_merge(few, policy, during) == []
    assert next_merge([*few, file(9, 10 * MIB)], policy, during) == []
    assert next_merge([file(9, 10 * MIB), *few, file(3, 2000)], policy, during) == [*few, file(3, 2000)]


def test_a_closed_day_is_merged_wholly_once_it_is_quiet() -> None:
    policy = MaintenanceSettings(compact_files=4)
    end = 20_001 * 86_400_000
    both = [file(0, 1000), file(1, MIB)]

    assert next_merge(both, policy, end + QUIET_MS - 1) == []
    assert next_merge(both, policy, end + QUIET_MS) == both
    late = [file(0, 1000), file(1, MIB, written_ms=end + 1000)]
    assert next_merge(late, policy, end + QUIET_MS) == []
    assert next_merge([file(0, 1000), file(1, 1000, day=20_001)], policy, end + 2 * QUIET_MS) == []


def test_no_file_is_made_larger_than_compact_bytes_and_full_ones_are_left() -> None:
    policy = MaintenanceSettings(compact_bytes=10 * MIB)
    files = [file(0, 6 * MIB), file(1, 6 * MIB), file(2, 3 * MIB), file(3, 20 * MIB)]

    assert next_merge(files, policy, 0, whole=True) == files[1:3]
    assert next_merge([files[0], files[3]], policy, 0, whole=True) == []


@given(st.lists(st.integers(1, 200_000_000), max_size=400), st.integers(2, 20), st.booleans())
def test_merging_ends_and_leaves_few_files(sizes: list[int], compact_files: int, whole: bool) -> None:
    policy = MaintenanceSettings(compact_files=compact_files)
    files = [file(n, size) for n, size in enumerate(sizes)]
    merges = 0
    while group := next_merge(files, policy, 0, whole=whole):
        assert len(group) > 1
        size = sum(each.bytes for each in group)
        assert size <= policy.compact_bytes
        files = [each for each in files if each not in group]
        files.append(file(1000 + merges, size))
        merges += 1
    full = sum(sizes) // (policy.compact_bytes // 2) + 1
    assert len(files) <= full + (1 if whole else 6 * compact_files)

"""Which files of a table are merged into one, and when."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from tailrace.lake.settings import MaintenanceSettings
from tailrace.lake.snapshot import MS_PER_DAY, DataFile

MAX_MERGED_FILES = 256  # into one
MAX_MERGED_ROWS = 16_000_000  # 24 bytes of memory each while they are sorted
SMALLEST_TIER_BYTES = 64 * 1024
TIER_FACTOR = 8
QUIET_MS = 3_600_000  # a day is closed this long after its end, and after the last write to it


def next_merge(
    files: Iterable[DataFile], settings: MaintenanceSettings, now_ms: int, *, whole: bool = False
) -> list[DataFile]:
    """Return the next files to be merged into one, in the order of time; none where there is nothing to do.

    They are of one day, each smaller than `compact_bytes`, together about that at most. A closed day is merged into as
    few files as that allows; with `whole` every day is. Of any other day `compact_files` of about the same size are
    merged, so that a row is written again once a tier and not with every commit. The newest day comes first.
    """
    by_day = groupby(sorted(files, key=_day, reverse=True), key=_day)
    for day, group in by_day:
        every = list(group)
        small = sorted((file for file in every if file.bytes < settings.compact_bytes), key=_by_time)
        if len(small) < 2:
            continue
        if whole or _is_closed(day, every, now_ms):
            tiers = [small]
        else:
            tiers = [list(tier) for _, tier in groupby(sorted(small, key=_tier), key=_tier)]
            tiers = [tier for tier in tiers if len(tier) >= settings.compact_files]
        for tier in tiers:
            for stretch in _stretches(tier, settings.compact_bytes):
                if len(stretch) > 1:
                    return stretch
    return []


def _day(file: DataFile) -> int:
    return file.day


def _by_time(file: DataFile) -> tuple[int, int]:
    return file.min_time_us, file.written_ms


def _tier(file: DataFile) -> int:
    tier, size = 0, file.bytes
    while size > SMALLEST_TIER_BYTES:
        size //= TIER_FACTOR
        tier += 1
    return tier


def _is_closed(day: int, files: Iterable[DataFile], now_ms: int) -> bool:
    last_ms = max((day + 1) * MS_PER_DAY, *(file.written_ms for file in files))
    return now_ms - last_ms >= QUIET_MS


def _stretches(files: Iterable[DataFile], max_bytes: int) -> Iterator[list[DataFile]]:
    """Yield runs of files that can each become one file."""
    stretch: list[DataFile] = []
    size = rows = 0
    for file in files:
        size += file.bytes
        rows += file.rows
        if stretch and (size > max_bytes or rows > MAX_MERGED_ROWS or len(stretch) >= MAX_MERGED_FILES):
            yield stretch
            stretch, size, rows = [], file.bytes, file.rows
        stretch.append(file)
    if stretch:
        yield stretch

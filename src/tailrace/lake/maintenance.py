"""Maintenance of a table: compaction, retention, deleting rows, removing old files, finding damage."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import DatasetUnavailable
from tailrace.lake import sidecar
from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.clock import time_ms
from tailrace.lake.compaction import next_merge
from tailrace.lake.hashes import is_hashed
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.parquet import NewFile
from tailrace.lake.rewrite import Pace, merged, sample_of_files, times_us
from tailrace.lake.settings import MaintenanceSettings
from tailrace.lake.snapshot import MS_PER_DAY, US_PER_DAY, DataFile, RowNumbers
from tailrace.lake.table import REUSE_MS, DatasetTable

logger = logging.getLogger(__name__)

VERIFY_INTERVAL_MS = MS_PER_DAY  # between two verifications of a file
COMPACT_RETRY_MS = 600_000  # for an unchanged table in which there was nothing to merge
US_PER_MS = 1_000
SHARED_KEEP_MS = 2 * REUSE_MS  # at least, where other servers may be about to commit files

FOUND_BEFORE = "it was found damaged before a restart"


class Deletion(Struct, frozen=True):
    """What a deletion did, or would do. Times are ns since the Unix epoch, None where no row matched."""

    files_removed: int  # of which every row matched
    files_rewritten: int
    rows_matched: int
    rows_deleted: int  # 0 for a dry run
    first_ns: int | None = None
    last_ns: int | None = None


class MaintenanceStopped(Exception):
    """Background maintenance must stop; what it had begun is undone."""


class TableMaintenance:
    """The maintenance of one table. Thread-safe.

    A file that is removed from the table stays on disk for `keep_removed_s`: running queries read it, and so may
    other engines that opened the table before. The time of its removal is stored beside the table, for restarts.
    """

    def __init__(
        self,
        table: DatasetTable,
        settings: MaintenanceSettings,
        counters: MaintenanceCounters,
        *,
        commit_lock: threading.Lock,
        publish: Callable[[], object],
        is_shared: bool = False,
    ) -> None:
        """Take whether other servers may write to the table too."""
        self.table = table
        self.lock = threading.Lock()  # acquired before the commit lock, and held while files are written
        self._settings = settings
        self._counters = counters
        self._commit_lock = commit_lock
        self._publish = publish
        self._is_shared = is_shared
        self._sweep_due_ms = 0
        self._is_commit_settled = True  # False while it is not known whether the last commit was written
        self._compacted: tuple[DataFile, ...] | None = None
        self._compact_due_ms = 0
        self._to_verify: list[DataFile] = []
        damaged = sidecar.load_damaged(table.storage)
        self.damaged = {file.name: FOUND_BEFORE for file in table.files if file.name in damaged}
        self._verifying_since_ms = -VERIFY_INTERVAL_MS
        self._pins = Counter[str]()  # names of files that are being copied, each with how many copies are under way
        self._pins_lock = threading.Lock()

    @contextmanager
    def pinned(self, names: Collection[str]) -> Iterator[None]:
        """Keep files on disk while they are copied, though they may not be part of the table any more.

        To be entered with the commit lock while they are part of it. On a full disk they are deleted nevertheless, as
        events that arrive need the space more.
        """
        with self._pins_lock:
            self._pins.update(names)
        try:
            yield
        finally:
            with self._pins_lock:
                self._pins -= Counter(names)
            self._sweep_due_ms = 0

    # In the background

    def run_due(self, info: DatasetInfo, pace: Pace, now_ms: int, *, is_disk_full: bool = False) -> None:
        """Do the maintenance that is due; with `is_disk_full` only what frees space.

        Raises what `pace` raises, and whatever is wrong with the files.
        """
        if not self.table.exists():
            return
        if info.use_retention_period and info.retention_days > 0:
            self.expire(now_ms * US_PER_MS - info.retention_days * US_PER_DAY)
        if is_disk_full:
            self.sweep(now_ms, at_once=True)
            return
        if self._settings.compact_files:
            self.compact(pace, now_ms)
        if now_ms >= self._sweep_due_ms:
            self.sweep(now_ms)

    def expire(self, older_than_us: int, what: str = "retention") -> int:
        """Remove the files whose events are all older from the table; return the number of events."""
        if not any(file.max_time_us < older_than_us for file in self.table.files):
            return 0
        with self._working():
            files = [file for file in self.table.files if file.max_time_us < older_than_us]
            self._replace(files, [], what, changes_data=True)
        rows = sum(file.rows for file in files)
        self._counters.add(rows_expired=rows)
        return rows

    def compact(self, pace: Pace, now_ms: int, *, whole: bool = False) -> None:
        """Merge small files until `next_merge` returns none; with `whole` each day into as few files as can be."""
        if self._compacted is self.table.files and now_ms < self._compact_due_ms and not whole:
            return
        while True:
            with self._working():
                sound = [file for file in self.table.files if file.name not in self.damaged]
                files = next_merge(sound, self._settings, now_ms, whole=whole)
                if not files:
                    self._compacted, self._compact_due_ms = self.table.files, now_ms + COMPACT_RETRY_MS
                    return
                if [file for file in files if not self._is_sound(file)]:
                    continue
                storage = self.table.storage
                sample = sample_of_files(storage, [file.name for file in files])
                clustering = self.table.clustering.renewed(sample, self._settings)
                new = merged(storage, files, pace, clustering=clustering)
                after = [] if new is None else [new]
                self._replace(files, after, "compaction", changes_data=False)
            self._counters.add(
                compactions=1,
                files_before=len(files),
                files_after=len(after),
                bytes_rewritten=sum(file.bytes for _, file in after),
            )

    def sweep(self, now_ms: int, *, at_once: bool = False) -> int:
        """Delete data files that the table has not referenced for `keep_removed_s`; return the number deleted.

        With `at_once` delete every unreferenced file now, even if a query that began earlier still reads it, or a
        backup copies it: for when the disk is full.

        A file without a recorded removal, as an interrupted commit or compaction leaves it, is kept for as long from
        the first sweep that finds it. While an unreadable version of the table is set aside, such files are not
        deleted at all: that version may have added them.
        """
        keep_ms = 0 if at_once else int(self._settings.keep_removed_s * 1000)
        if self._is_shared:
            keep_ms = max(int(self._settings.keep_removed_s * 1000), SHARED_KEEP_MS)
        with self._working():
            with self._commit_lock:  # so that no new file is being written that is not in the table yet
                self.table.refresh()  # before files go that an older version of the table has
                self._publish()
                live = {file.name for file in self.table.files}
                unreferenced = [name for name in self.table.storage.data_file_names() if name not in live]
            recorded = sidecar.load_removed(self.table.storage)
            keeps_unrecorded = self.table.storage.delta_log.has_version_set_aside()
            with self._pins_lock:
                pinned = set() if at_once else set(self._pins)
            removed: dict[str, int] = {}
            due: list[str] = []
            for name in unreferenced:
                if keeps_unrecorded and name not in recorded:
                    continue
                since_ms = min(recorded.get(name, now_ms), now_ms)
                if now_ms - since_ms >= keep_ms and name not in pinned:
                    due.append(name)
                else:
                    removed[name] = since_ms
            if due and self._is_shared:
                with self._commit_lock:
                    self.table.fence()  # or one that has paused since it wrote files may commit them in a moment
                    self._publish()
                    live = {file.name for file in self.table.files}
                due = [name for name in due if name not in live]
            self.table.storage.remove_data_files(due)
            if removed != recorded:
                sidecar.store_removed(self.table.storage, removed)
            if due:
                with self._commit_lock:
                    self.table.storage.remove_empty_days()
            # What is pinned is due once it is released.
            ends = [since_ms + keep_ms for since_ms in removed.values() if since_ms + keep_ms > now_ms]
            self._sweep_due_ms = min(ends, default=now_ms + MS_PER_DAY)
        self._counters.add(files_removed=len(due))
        return len(due)

    # Damage

    def verify(self, max_bytes: int, pace: Pace, now_ms: int) -> int:
        """Verify the hashes of the files that are due, until more than `max_bytes` were read; return the bytes read.

        Each file is due once in `VERIFY_INTERVAL_MS`, and a damaged one at every call. Damaged files are entered in
        `damaged` with the reason. They stay there until they are restored, or are no longer part of the table.
        """
        if not self._to_verify and now_ms - self._verifying_since_ms >= VERIFY_INTERVAL_MS:
            self._verifying_since_ms = now_ms
            self._to_verify = [file for file in self.table.files if is_hashed(file.name)]
        files = [file for file in self.table.files if file.name in self.damaged]
        read = 0
        while (files or self._to_verify) and read <= max_bytes:
            file = files.pop() if files else self._to_verify.pop()
            with self.lock:
                # With the lock, so that it is not removed meanwhile.
                if file.name in {current.name for current in self.table.files}:
                    self._is_sound(file, of_disk=True)
                    read += file.bytes
            pace(0)
        return read

    def _is_sound(self, file: DataFile, *, of_disk: bool = False) -> bool:
        """Verify a file and note the result in `damaged`; return whether it is undamaged. The lock is held."""
        reason = self.table.storage.damage(file, of_disk=of_disk)
        self._counters.add(files_verified=1)
        known_reason = self.damaged.get(file.name)
        if reason and reason != known_reason:
            where = self.table.storage.location(file.name)
            logger.error("%s is damaged: %s; queries of it are refused", where, reason)
            self._note_damage({**self.damaged, file.name: reason})
        elif known_reason and not reason:
            logger.warning("%s is whole again", self.table.storage.location(file.name))
            self._note_damage({name: why for name, why in self.damaged.items() if name != file.name})
        return not reason

    def _note_damage(self, damaged: dict[str, str]) -> None:
        live = {file.name for file in self.table.files}
        self.damaged = {name: why for name, why in damaged.items() if name in live}
        now_ms = time_ms()
        names = dict.fromkeys(self.damaged, now_ms)
        try:
            sidecar.store_damaged(self.table.storage, names)
        except OSError as error:
            logger.error("what is damaged of %s cannot be noted (%s)", self.table.storage, error)

    # On request

    def trim(self, older_than_us: int, pace: Pace) -> int:
        """Delete the events that are older; return their number."""

        def older_rows(file: DataFile) -> RowNumbers | None:
            if file.max_time_us < older_than_us:
                return None
            if file.min_time_us >= older_than_us:
                return np.empty(0, np.int64)
            return np.flatnonzero(times_us(self.table.storage, file.name) < older_than_us)

        return self._delete(older_rows, "trim", pace).rows_deleted

    def delete(self, matching: Callable[[DataFile], RowNumbers], pace: Pace, *, dry_run: bool = False) -> Deletion:
        """Delete the rows that `matching` returns for each file, all in one commit."""
        return self._delete(matching, "delete", pace, dry_run=dry_run)

    def _delete(
        self, matching: Callable[[DataFile], RowNumbers | None], what: str, pace: Pace, *, dry_run: bool = False
    ) -> Deletion:
        """Delete the rows that `matching` returns for each file, None for all of them; `what` names the commit."""
        gone: list[DataFile] = []
        new: list[NewFile] = []
        matched = removed = rewritten = 0
        ranges: list[tuple[int, int]] = []
        with self._working():
            try:
                for file in self.table.files:
                    rows = matching(replace(file, damage=self.damaged.get(file.name, "")))
                    pace(0)
                    if rows is not None and len(rows) and not self._is_sound(file):
                        raise DatasetUnavailable(
                            f"file {file.base_name} is damaged ({self.damaged[file.name]}): put it back from a backup, "
                            "or drop or trim what it holds"
                        )
                    if rows is None:
                        count = file.rows
                        ranges.append((file.min_time_us, file.max_time_us))
                    elif not len(rows):
                        continue
                    else:
                        rows = np.unique(rows)
                        count = len(rows)
                        times = times_us(self.table.storage, file.name)[rows]
                        ranges.append((int(times.min()), int(times.max())))
                    matched += count
                    gone.append(file)
                    removed += count == file.rows
                    rewritten += count < file.rows
                    if rows is not None and count < file.rows and not dry_run:
                        clustering = self.table.clustering.current(file.columns, self._settings)
                        rest = merged(self.table.storage, [file], pace, {file.name: rows}, clustering)
                        assert rest is not None
                        new.append(rest)
            except BaseException:
                self.table.storage.remove_data_files(data_file.name for _, data_file in new)
                raise
            if gone and not dry_run:
                self._replace(gone, new, what, changes_data=True)
        if not dry_run:
            self._counters.add(rows_deleted=matched, bytes_rewritten=sum(file.bytes for _, file in new))
        return Deletion(
            files_removed=removed,
            files_rewritten=rewritten,
            rows_matched=matched,
            rows_deleted=0 if dry_run else matched,
            first_ns=min(low for low, _ in ranges) * 1000 if ranges else None,
            last_ns=max(high for _, high in ranges) * 1000 if ranges else None,
        )

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Lock the files of the table, and read them anew if the last commit failed; new events are still committed."""
        with self.lock:
            if not self._is_commit_settled:
                with self._commit_lock:
                    self.table.refresh()
                    self._publish()
                self._is_commit_settled = True
            yield

    def _replace(self, gone: Sequence[DataFile], new: Sequence[NewFile], what: str, *, changes_data: bool) -> None:
        """Record when the files `gone` are removed, then commit `new` in their place; the lock is held."""
        now_ms = time_ms()
        removed = sidecar.load_removed(self.table.storage)
        removed |= {file.name: now_ms for file in gone}
        sidecar.store_removed(self.table.storage, removed)
        with self._commit_lock:
            # If it fails, the new files stay: the commit may have been written.
            self._is_commit_settled = False
            self._sweep_due_ms = 0
            self.table.rewrite(gone, new, operation_name=what, changes_data=changes_data)
            self._publish()
            self._is_commit_settled = True
        if self.damaged:
            self._note_damage(self.damaged)
        self._sweep_due_ms = min(removed.values()) + int(self._settings.keep_removed_s * 1000)

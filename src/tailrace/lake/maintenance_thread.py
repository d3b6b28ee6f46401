"""The thread that maintains the tables of a lake."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.clock import time_ms
from tailrace.lake.maintenance import MaintenanceStopped, TableMaintenance
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.priority import lower_priority
from tailrace.lake.rewrite import Pace
from tailrace.lake.settings import MaintenanceSettings

PAUSE_S = 5.0  # at most, for each row group written, while ingest needs the machine
CHECK_S = 0.1

MaintainedTable = tuple[DatasetInfo, TableMaintenance, Callable[[], bool]]
"""A dataset, the maintenance of its table, and whether it is dropped by now."""

logger = logging.getLogger(__name__)


class MaintenanceThread:
    """The thread that maintains all tables, one after the other, at a low priority.

    `tables()` gives them; `is_busy()` tells whether ingest needs the machine; `lend()` is `Reserve.lent`.
    """

    def __init__(
        self,
        settings: MaintenanceSettings,
        counters: MaintenanceCounters,
        tables: Callable[[], Sequence[MaintainedTable]],
        is_busy: Callable[[], bool],
        lend: Callable[[], AbstractContextManager[bool]],
    ) -> None:
        self._lend = lend
        self._verify_bytes = 0  # that may be read in this round; less than 0 where one before has read more
        self._verify_turn = 0  # of the table that comes first
        self._settings = settings
        self._counters = counters
        self._tables = tables
        self._is_busy = is_busy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tailrace-maintenance", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; unfinished work is undone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        lower_priority()
        while not self._stop.wait(self._settings.every_s):
            for info, maintenance, is_gone in self._tables():
                try:
                    with self._lend() as is_disk_full:
                        now_ms = time_ms()
                        maintenance.run_due(info, self._pace(is_gone), now_ms, is_disk_full=is_disk_full)
                except MaintenanceStopped:
                    if self._stop.is_set():
                        return
                except Exception:
                    if not is_gone():
                        logger.exception("maintenance of %r failed and is tried again", info.name)
                        self._counters.add(failures=1)
            try:
                self._verify()
            except MaintenanceStopped:
                if self._stop.is_set():
                    return

    def _verify(self) -> None:
        """Verify files of all tables in turn, as many bytes as a round allows; later rounds make up for an excess."""
        round_bytes = int(self._settings.verify_bytes_per_s * self._settings.every_s)
        self._verify_bytes = min(self._verify_bytes, 0) + round_bytes
        tables = list(self._tables())
        turn = self._verify_turn % max(len(tables), 1)
        for info, maintenance, is_gone in tables[turn:] + tables[:turn]:
            if self._verify_bytes <= 0:
                return
            self._verify_turn += 1
            now_ms = time_ms()
            try:
                self._verify_bytes -= maintenance.verify(self._verify_bytes, self._pace(is_gone), now_ms)
            except MaintenanceStopped:
                if self._stop.is_set():
                    raise
            except Exception:
                if not is_gone():
                    logger.exception("the files of %r could not be verified", info.name)
                    self._counters.add(failures=1)

    def _pace(self, is_gone: Callable[[], bool]) -> Pace:
        def pace(written: int) -> None:
            patience_s = PAUSE_S
            while self._is_busy() and patience_s > 0 and not is_gone() and not self._stop.wait(CHECK_S):
                patience_s -= CHECK_S
            if self._stop.wait(written / self._settings.compact_bytes_per_s) or is_gone():
                raise MaintenanceStopped

        return pace

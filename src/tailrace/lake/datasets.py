"""The datasets of a lake: made, changed, dropped, and opened from their directories."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from msgspec.structs import replace

from tailrace.events import Conflict, DatasetExists
from tailrace.events.declarations import DeclaredType
from tailrace.lake import sidecar
from tailrace.lake.catalog import AUDIT_KIND, DatasetInfo, check_name
from tailrace.lake.dataset_state import DatasetState, StoredDataset, UnavailableDataset, known_info, read_dataset
from tailrace.lake.dropped import DroppedDatasets
from tailrace.lake.fields import Fields
from tailrace.lake.maintenance import TableMaintenance
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shred import Shredder
from tailrace.lake.state import LakeState, unavailable_error
from tailrace.lake.table import DatasetTable
from tailrace.lake.table_storage import TableStorage
from tailrace.log import FIRST_WRITER
from tailrace.storage.faults import reason_of

logger = logging.getLogger(__name__)


class Datasets:
    """Creates, changes and drops datasets, one call at a time for each name. `lend()` is `Reserve.lent`."""

    def __init__(
        self,
        state: LakeState,
        settings: LakeSettings,
        counters: MaintenanceCounters,
        dropped: DroppedDatasets,
        lend: Callable[[], AbstractContextManager[bool]],
    ) -> None:
        self.set_aside = 0  # files of tables' logs that could not be read when they were opened
        self._state = state
        self._settings = settings
        self._counters = counters
        self._dropped = dropped
        self._lend = lend
        self._names = threading.Condition(state.lock)  # for those that create, change and drop datasets
        self._names_reserved: set[str] = set()
        self._creating: set[str] = set()  # names that count as datasets already

    # Opening

    def open_all(self) -> None:
        """Open the datasets in the lake's directory; those that cannot be opened are unavailable."""
        state, catalog = self._state, self._state.catalog
        with ThreadPoolExecutor(catalog.opening_threads, "tailrace-open") as opening:
            reads = {name: opening.submit(read_dataset, catalog.storage(name)) for name in catalog.names()}
            for name, read in reads.items():
                try:
                    stored = read.result()
                    state.datasets[name] = self.opened(stored)
                    self.set_aside += len(stored.table.set_aside)
                except Exception as error:
                    if not catalog.has_files(name):
                        continue
                    logger.exception("dataset %r cannot be used; its events stay where they are", name)
                    state.unavailable[name] = UnavailableDataset(
                        known_info(catalog.storage(name), name), reason_of(error)
                    )

    def opened(self, stored: StoredDataset) -> DatasetState:
        """Return the state of a dataset, which is not yet among the lake's."""
        settings = self._settings
        fields = Fields(stored.view, max_columns=settings.columns_per_dataset, density=settings.column_density)
        return DatasetState(stored, fields, Shredder(fields), self._maintenance_of)

    def _maintenance_of(self, dataset: DatasetState) -> TableMaintenance:
        return TableMaintenance(
            dataset.table,
            self._settings.maintenance,
            self._counters,
            commit_lock=dataset.commit_lock,
            publish=partial(self._state.adopt_table, dataset),
            is_shared=self._state.is_shared,
        )

    @contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """Reserve a name while its dataset is created, changed or dropped, without holding the lock during I/O."""
        with self._state.lock:
            self._names.wait_for(lambda: name not in self._names_reserved)
            self._names_reserved.add(name)
        try:
            yield
        finally:
            with self._state.lock:
                self._names_reserved.discard(name)
                self._names.notify_all()

    # Creating, changing, dropping

    def create(self, info: DatasetInfo) -> DatasetInfo:
        """Create an empty dataset, with the time and position of now. Raise as `Lake.create` does."""
        state, name = self._state, info.name
        check_name(name)
        is_counted = info.kind != AUDIT_KIND
        with self.reserved(name):
            with state.lock:
                self._check_new(name, is_counted=is_counted)
                others = dict(state.accepted)
                first = others.pop(FIRST_WRITER, 0)
                info = replace(info, created_ns=time.time_ns(), created_position=first, created_positions=others)
                if is_counted:
                    self._creating.add(name)
            try:
                dataset = self._create_on_disk(info)
                with state.lock:
                    state.datasets[name] = dataset
                    state.orphaned.pop(name, None)
            except OSError as error:
                raise unavailable_error(f"dataset {name!r} cannot be stored", error) from error
            finally:
                with state.lock:
                    self._creating.discard(name)
            return info

    def _check_new(self, name: str, *, is_counted: bool) -> None:
        """Raise DatasetExists for a name that is taken, and Conflict at the limit; the lock is held."""
        state = self._state
        if name in state.datasets or name in state.opening:
            raise DatasetExists(f"dataset {name!r} exists already")
        count = sum(1 for each in state.datasets.values() if each.info.kind != AUDIT_KIND)
        count += len(self._creating)
        if is_counted and count >= self._settings.max_datasets:
            raise Conflict(f"there are {count} datasets, the limit max_datasets")
        if name in state.unavailable:
            reason = state.unavailable[name].reason
            raise DatasetExists(f"dataset {name!r} exists already, but cannot be used: {reason}")

    def _create_on_disk(self, info: DatasetInfo) -> DatasetState:
        """Return a new dataset, which is on disk completely or not at all."""

        def make(storage: TableStorage) -> None:
            DatasetTable.create(storage)
            sidecar.store_info(storage, info)

        return self._state.catalog.create(info.name, make, lambda storage: self.opened(read_dataset(storage, info)))

    def update(self, name: str, changes: dict[str, str | int | bool]) -> DatasetInfo:
        """Change members of a dataset's info, durably. Raise as `Lake.update` does."""
        with self.reserved(name):
            dataset = self._state.dataset(name)
            return self._store_info(dataset, replace(dataset.info, **changes, updated_ns=time.time_ns()))

    def declare(self, name: str, fields: Mapping[str, DeclaredType | None]) -> None:
        """Add fields to those that are declared of a dataset, but those that are, durably. Raise as `Lake.declare`."""
        with self.reserved(name):
            dataset = self._state.dataset(name)
            declared = {**fields, **dataset.info.declared}
            if len(declared) > len(dataset.info.declared):
                self._store_info(dataset, replace(dataset.info, declared=declared))

    def _store_info(self, dataset: DatasetState, info: DatasetInfo) -> DatasetInfo:
        try:
            sidecar.store_info(dataset.table.storage, info)
        except OSError as error:
            raise unavailable_error(f"dataset {info.name!r} cannot be changed", error) from error
        dataset.info = info
        return info

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events. Raise as `Lake.drop` does."""
        state = self._state
        with self._lend(), self.reserved(name):
            dataset = None if name in state.unavailable else state.dataset(name)
            with state.lock:
                self._dropped.add(name)
                state.orphaned.pop(name, None)
                state.unavailable.pop(name, None)
                if dataset is not None:
                    state.close_dataset(dataset)
            # Before its files are removed: or after a crash its batches would stay in the log for good. On a full disk
            # that is retried later, as perhaps only removing the files frees space.
            self._dropped.store()
            try:
                with (
                    dataset.maintenance.lock if dataset is not None else nullcontext(),
                    dataset.commit_lock if dataset is not None else nullcontext(),
                ):
                    state.catalog.remove(name)
            except OSError as error:
                info = known_info(state.catalog.storage(name), name) if dataset is None else dataset.info
                reason = f"it was dropped, but its files cannot be removed: {reason_of(error)}"
                with state.lock:
                    state.unavailable[name] = UnavailableDataset(info, reason, is_dropped=True)
                raise unavailable_error(f"dataset {name!r} cannot be dropped", error) from error

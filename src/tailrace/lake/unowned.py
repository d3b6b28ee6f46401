"""Reading datasets that no server has at the moment: their tables, and the logs behind those, without a change."""

import threading
import time
from collections.abc import Mapping

import msgspec
import pyarrow as pa

from tailrace.events import Batch, DatasetNotFound, DatasetUnavailable, Overloaded
from tailrace.lake import sidecar
from tailrace.lake.catalog import Catalog, DatasetInfo
from tailrace.lake.dataset_state import completed
from tailrace.lake.delta import DeltaError
from tailrace.lake.fields import Fields
from tailrace.lake.preload import preload
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shred import Shredder
from tailrace.lake.snapshot import Check, FieldsView, HotTable, Received, Snapshot, no_check
from tailrace.lake.state import unavailable_error
from tailrace.lake.table import DatasetTable
from tailrace.log import Positions, ReaderThreads, furthest, read_behind
from tailrace.storage.object_store import ObjectStore

RETRY_S = 10.0  # for which a request to the store of the logs that fails is made again
RETRY_AFTER_S = 5


class UnownedDatasets:
    """The datasets of tables and logs that servers share, read as they are. Thread-safe.

    Each answer costs requests to the store for all that no table has yet, so this is for as long as no server has a
    dataset in memory.
    """

    def __init__(self, catalog: Catalog, logs: ObjectStore, settings: LakeSettings) -> None:
        preload()
        self._catalog = catalog
        self._logs = logs
        self._settings = settings
        self._readers = ReaderThreads()

    def close(self) -> None:
        """Stop the threads."""
        self._readers.close()

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        """Return a dataset with everything that was stored in any log before the call.

        `check` is called now and then, in several threads, and raises to give up.
        Raise DatasetNotFound, DatasetUnavailable, StorageUnavailable where the store of the logs does not answer, and
        Overloaded where more than `max_uncommitted_bytes` are in no table, or where it takes too long.
        """
        storage = self._catalog.storage(name)
        try:
            info = sidecar.load_info(storage)
            table = DatasetTable.open_read_only(storage)
            check()
            behind = furthest([table.positions, info.created])
            batches = self._read(name, behind, time.monotonic() + timeout_s, check)
            check()
            # After the logs: what they have no more is in the table then, and what it has is skipped.
            table.refresh()
            info = sidecar.load_info(storage)
            view, _ = sidecar.load_fields(storage)
        except FileNotFoundError as error:
            if self._catalog.has_files(name):
                raise DatasetUnavailable(f"dataset {name!r} cannot be used: {error}") from error
            raise DatasetNotFound(f"dataset {name!r} not found") from error
        except (OSError, ValueError, DeltaError, msgspec.MsgspecError, pa.ArrowException) as error:
            raise unavailable_error(f"dataset {name!r} cannot be read", error) from error
        return self._with_rows(info, table, completed(view, table), batches)

    def _read(
        self, name: str, behind: Positions, give_up_s: float, check: Check
    ) -> Mapping[str, list[tuple[int, Batch]]]:
        """Return the batches of a dataset behind positions, by writer."""
        found: dict[str, list[tuple[int, Batch]]] = {}
        lock = threading.Lock()
        size = 0

        def goes_on() -> None:
            check()
            if time.monotonic() > give_up_s:
                raise Overloaded(f"events of {name!r} are still being read", retry_after_s=RETRY_AFTER_S)

        def add(writer: str, batches: list[tuple[int, Batch]]) -> None:
            nonlocal size
            new = [(position, batch) for position, batch in batches if position > behind.get(writer, 0)]
            with lock:
                known = found.setdefault(writer, [])
                # A store that fails in the middle of an object has it delivered again.
                known += [each for each in new if not known or each[0] > known[-1][0]]
                size += sum(len(batch.events) for _, batch in new)
                if size > self._settings.max_uncommitted_bytes:
                    raise Overloaded(
                        f"no server has dataset {name!r} at the moment, and more of its events are in no table than "
                        "can be read for a query",
                        retry_after_s=RETRY_AFTER_S,
                    )

        read_behind(self._logs, {name: behind}, add, self._readers, RETRY_S, check=goes_on)
        return found

    def _with_rows(
        self, info: DatasetInfo, table: DatasetTable, view: FieldsView, found: Mapping[str, list[tuple[int, Batch]]]
    ) -> Snapshot:
        """Return a table with those of the batches that it does not have."""
        has = furthest([table.positions, info.created])
        batches = [
            batch
            for writer, several in sorted(found.items())
            for position, batch in several
            if position > has.get(writer, 0)
        ]
        settings = self._settings
        fields = Fields(view, max_columns=settings.columns_per_dataset, density=settings.column_density)
        hot: tuple[HotTable, ...] = ()
        if batches:
            hot = (HotTable.of(Shredder(fields).shred(batches)),)
        raw = Received(sum(batch.count for batch in batches), sum(len(batch.events) for batch in batches))
        timespans = frozenset(field for field, declared in info.declared.items() if declared == "timespan")
        return Snapshot(info.name, table.files, hot, fields.view(), info.primary_key, table.received + raw, timespans)

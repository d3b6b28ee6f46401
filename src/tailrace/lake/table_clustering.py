"""The clustering of a table: the columns by which the rows of its files are ordered, kept beside it."""

import logging
import threading
from collections.abc import Collection

import pyarrow as pa

from tailrace.lake import sidecar
from tailrace.lake.clustering import choose, fits
from tailrace.lake.encoding import SAMPLE_ROWS, sample_of
from tailrace.lake.settings import MaintenanceSettings
from tailrace.lake.table_storage import TableStorage

logger = logging.getLogger(__name__)


class TableClustering:
    """Chosen from the first commit that is large enough, or by compaction; again where it fits no longer. Thread-safe.

    A file may be in another order than that of the moment: merging finds out.
    """

    def __init__(self, storage: TableStorage) -> None:
        self.columns = sidecar.load_clustering(storage)
        self._storage = storage
        self._lock = threading.Lock()
        self._is_tried = False

    def of(self, rows: pa.Table, settings: MaintenanceSettings) -> tuple[str, ...]:
        """Return the columns for rows that are to be committed."""
        if not self.columns and not self._is_tried and settings.cluster_columns and rows.num_rows >= SAMPLE_ROWS:
            self._is_tried = True
            self._choose(sample_of(rows), settings)
        return self.current(rows.column_names, settings)

    def renewed(self, sample: pa.Table, settings: MaintenanceSettings) -> tuple[str, ...]:
        """Return the columns for files that are to be merged, of which a sample is given."""
        if settings.cluster_columns and not (self.columns and fits(self.columns, sample)):
            self._choose(sample, settings)
        current = self.current(sample.column_names, settings)
        return current if fits(current, sample) else ()

    def current(self, columns: Collection[str], settings: MaintenanceSettings) -> tuple[str, ...]:
        """Return the columns by which rows that have some columns are ordered."""
        if not settings.cluster_columns:
            return ()
        given = tuple(name for name in settings.cluster_by if name in columns)
        return given[: settings.cluster_columns] or self.columns[: settings.cluster_columns]

    def _choose(self, sample: pa.Table, settings: MaintenanceSettings) -> None:
        with self._lock:
            chosen = choose(sample, settings.cluster_columns)
            if not chosen or chosen == self.columns:
                return
            try:
                sidecar.store_clustering(self._storage, chosen)
            except OSError as error:
                logger.error("the clustering of %s cannot be stored (%s)", self._storage, error)
            self.columns = chosen

"""The tables: events shredded to columns, hot rows in memory, commits to Delta tables, and their maintenance."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.lake.catalog import AUDIT_KIND, Catalog, DatasetInfo, check_name
    from tailrace.lake.dataset_store import DatasetStore
    from tailrace.lake.lake import Lake
    from tailrace.lake.lines import events_as_rest
    from tailrace.lake.local_catalog import LocalCatalog, table_root
    from tailrace.lake.maintenance import Deletion
    from tailrace.lake.maintenance_counters import MaintenanceCounters
    from tailrace.lake.memory import limit_heaps
    from tailrace.lake.priority import lower_priority
    from tailrace.lake.settings import LakeSettings, MaintenanceSettings
    from tailrace.lake.shared_lake import DatasetElsewhere, SharedLake
    from tailrace.lake.snapshot import (
        REVISION,
        DataFile,
        FieldsView,
        HotTable,
        PhysicalColumn,
        Received,
        RowFilter,
        RowNumbers,
        Snapshot,
        SnapshotSource,
        TableRoot,
    )
    from tailrace.lake.unowned import UnownedDatasets
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = [
    "AUDIT_KIND",
    "REVISION",
    "Catalog",
    "DataFile",
    "DatasetElsewhere",
    "DatasetInfo",
    "DatasetStore",
    "Deletion",
    "FieldsView",
    "HotTable",
    "Lake",
    "LakeSettings",
    "LocalCatalog",
    "MaintenanceCounters",
    "MaintenanceSettings",
    "PhysicalColumn",
    "Received",
    "RowFilter",
    "RowNumbers",
    "SharedLake",
    "Snapshot",
    "SnapshotSource",
    "TableRoot",
    "UnownedDatasets",
    "check_name",
    "events_as_rest",
    "limit_heaps",
    "lower_priority",
    "table_root",
]

"""The tables: events shredded to columns, hot rows in memory, commits to Delta tables, and their maintenance."""

from tailrace.lake.catalog import AUDIT_KIND, REVISION, DatasetInfo, check_name
from tailrace.lake.fields import Column, FieldsView
from tailrace.lake.lake import Lake, LakeSettings
from tailrace.lake.priority import step_back
from tailrace.lake.shred import events_as_rest
from tailrace.lake.snapshot import DataFile, Received, RowFilter, RowNumbers, Snapshot
from tailrace.lake.upkeep import Deletion, Figures, UpkeepSettings

__all__ = [
    "AUDIT_KIND",
    "REVISION",
    "Column",
    "DataFile",
    "DatasetInfo",
    "Deletion",
    "FieldsView",
    "Figures",
    "Lake",
    "LakeSettings",
    "Received",
    "RowFilter",
    "RowNumbers",
    "Snapshot",
    "UpkeepSettings",
    "check_name",
    "events_as_rest",
    "step_back",
]

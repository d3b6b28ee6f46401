"""Columns: events shredded to Arrow, kept hot until committed to Delta tables."""

from tailrace.lake.catalog import REVISION, DatasetInfo, check_name
from tailrace.lake.fields import Column, FieldsView
from tailrace.lake.lake import Lake, LakeSettings, Snapshot
from tailrace.lake.table import DataFile

__all__ = [
    "REVISION",
    "Column",
    "DataFile",
    "DatasetInfo",
    "FieldsView",
    "Lake",
    "LakeSettings",
    "Snapshot",
    "check_name",
]

"""What delta-rs does for a table: it reads its versions and makes its checkpoints. No other module imports it.

It writes no version: it gives one its name before its content is on the disk.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from tailrace.storage.faults import ObjectStoreFault, reason_in

__all__ = ["DeltaError", "DeltaReader", "create_checkpoint", "remove_old_versions"]

OBJECT_STORE = "s3://"
# Of requests to an object store, which delta-rs would send again for three minutes.
BOUNDS = {
    "connect_timeout": "5s",
    "timeout": "30s",
    "max_retries": "4",
    "retry_timeout": "20s",
    "backoff_config.max_backoff": "2s",
}
_STORE_FAILED = re.compile("S3 error|HTTP error|status code", re.IGNORECASE)


class DeltaReader:
    """A table as its newest version has it. Not thread-safe."""

    def __init__(self, uri: str) -> None:
        """Read the newest version. Raise DeltaError where there is no table, or one that cannot be read."""
        with _store_faults(uri):
            self._table = _opened(uri)

    @property
    def version(self) -> int:
        return self._table.version()

    def protocol(self) -> tuple[int, int]:
        """Return the versions of the protocol that a reader and a writer must know."""
        protocol = self._table.protocol()
        return protocol.min_reader_version, protocol.min_writer_version

    def transaction(self, application: str) -> int | None:
        """Return the last number that an application has put into the table with its rows."""
        return self._table.transaction_version(application)

    def columns(self) -> list[dict[str, Any]]:
        """Return the columns as the protocol has them: `name`, `type`, `nullable`, `metadata`."""
        columns: list[dict[str, Any]] = json.loads(self._table.schema().to_json())["fields"]
        return columns

    def configuration(self) -> Mapping[str, str | None]:
        """Return the table's properties."""
        return self._table.metadata().configuration

    def metadata(self) -> dict[str, Any]:
        """Return what the protocol's `metaData` action says, but the columns and the properties."""
        known = self._table.metadata()
        return {
            "id": str(known.id),
            "name": known.name,
            "description": known.description,
            "format": {"provider": "parquet", "options": {}},
            "partitionColumns": known.partition_columns,
            "createdTime": known.created_time,
        }

    def add_actions(self) -> pa.Table:
        """Return the files, one a row, with their statistics in columns such as `min._time` and `null_count.n`."""
        return pa.table(self._table.get_add_actions(flatten=True))


def create_checkpoint(uri: str) -> None:
    """Write a checkpoint of the newest version, which is not flushed."""
    with _store_faults(uri):
        _opened(uri).create_checkpoint()


def remove_old_versions(uri: str) -> None:
    """Remove the versions that a checkpoint has made needless, once they are as old as the table's properties say."""
    with _store_faults(uri):
        _opened(uri).cleanup_metadata()


def _opened(uri: str) -> DeltaTable:
    return DeltaTable(uri, storage_options=BOUNDS) if uri.startswith(OBJECT_STORE) else DeltaTable(uri)


@contextmanager
def _store_faults(uri: str) -> Iterator[None]:
    """Raise ObjectStoreFault where it is an object store that failed, not the table."""
    try:
        yield
    except (DeltaError, OSError) as error:
        if uri.startswith(OBJECT_STORE) and _STORE_FAILED.search(str(error)):
            raise ObjectStoreFault(reason_in(str(error))) from error
        raise

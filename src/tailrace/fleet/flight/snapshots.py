"""Snapshots of another node's datasets: what is here already of their files, fields and hot rows is not sent again."""

import threading
import time
from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from tailrace.fleet.flight import messages
from tailrace.fleet.flight.connection import PeerConnection
from tailrace.fleet.flight.errors import OwnerUnavailable, PartsGone
from tailrace.fleet.flight.hot_parts import PartCache
from tailrace.lake.catalog import Catalog
from tailrace.lake.snapshot import Check, DataFile, FieldsView, HotTable, Snapshot

DATASETS_KEPT = 1_000  # whose files and fields are
ATTEMPTS = 3  # at a snapshot whose hot rows are in a file before they are fetched


class _KnownTable(Struct, frozen=True, eq=False):
    """The files and fields of a dataset as a node said last."""

    process: str
    files_version: int
    files: tuple[DataFile, ...]
    fields_version: int
    fields: FieldsView


class RemoteSnapshots:
    """Reads snapshots from other nodes. Thread-safe. `catalog` is this node's, by which it opens files."""

    def __init__(self, catalog: Catalog, cache: PartCache) -> None:
        self._catalog = catalog
        self._cache = cache
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _KnownTable] = OrderedDict()  # by node and dataset

    def read(self, connection: PeerConnection, dataset: str, end_s: float, check: Check) -> Snapshot:
        """Return a dataset as the node has it, until a moment of the monotonic clock. Raise what its lake raises."""
        for attempt in range(ATTEMPTS):
            header, kept = self._header(connection, dataset, end_s, check)
            try:
                hot = self._hot(connection, header, end_s, check)
            except PartsGone:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            return Snapshot(
                dataset, kept.files, hot, kept.fields, header.primary_key, header.received, header.timespans
            )
        raise AssertionError

    def _header(
        self, connection: PeerConnection, dataset: str, end_s: float, check: Check
    ) -> tuple[messages.SnapshotHeader, _KnownTable]:
        where = (connection.peer.node, dataset)
        kept = self._kept.get(where)
        left_s = max(end_s - time.monotonic(), 0)
        asked = messages.AskSnapshot(dataset, left_s)
        if kept is not None:
            asked = replace(
                asked, process=kept.process, files_version=kept.files_version, fields_version=kept.fields_version
            )
        header: messages.SnapshotHeader = connection.call(asked, messages.SnapshotHeader, timeout_s=left_s, check=check)
        files, fields = header.files, header.fields
        if files is not None:
            storage = self._catalog.storage(dataset)
            files = tuple(replace(file, location=storage.readable(file.name)) for file in files)
        elif kept is not None:
            files = kept.files
        if fields is None and kept is not None:
            fields = kept.fields
        if files is None or fields is None:
            raise OwnerUnavailable(f"the lake node {connection.peer.node!r} left out what was not sent before")
        new = _KnownTable(header.process, header.files_version, files, header.fields_version, fields)
        with self._lock:
            self._kept[where] = new
            self._kept.move_to_end(where)
            if len(self._kept) > DATASETS_KEPT:
                self._kept.popitem(last=False)
        return header, new

    def _hot(
        self, connection: PeerConnection, header: messages.SnapshotHeader, end_s: float, check: Check
    ) -> tuple[HotTable, ...]:
        process = header.process
        found = self._cache.find(process, [part.number for part in header.hot])
        missing: dict[int, list[messages.HotHeader]] = {}
        for part in header.hot:
            if part.number not in found:
                missing.setdefault(part.schema, []).append(part)
        for parts in missing.values():
            left_s = max(end_s - time.monotonic(), 0)
            for part, table in zip(parts, connection.parts(parts, timeout_s=left_s, check=check), strict=True):
                found[part.number] = table
                self._cache.add(process, part.number, table)
        return tuple(found[part.number] for part in header.hot)

"""Positions in a writer's log that tables know, which its log must not hand out again."""

import logging
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pyarrow as pa

from tailrace.events import DatasetUnavailable
from tailrace.lake import sidecar
from tailrace.lake.catalog import Catalog
from tailrace.lake.delta import DeltaError
from tailrace.lake.table import DatasetTable

UNKNOWN = 1 << 40  # positions: more than any log has

logger = logging.getLogger(__name__)


def highest_position(catalog: Catalog, writer: str) -> int:
    """Return the highest position in a writer's log that any table of a catalog knows, which reads all of their logs.

    Where a table cannot be read, which is told, it is one that is above what any knows: that table may be read again.
    Raise OSError where the catalog cannot be.
    """

    def position_of(name: str) -> int | None:
        storage = catalog.storage(name)
        try:
            created = sidecar.load_info(storage).created
            return max(created.get(writer, 0), DatasetTable.open_read_only(storage).positions.get(writer, 0))
        except FileNotFoundError:  # it was dropped meanwhile
            return 0
        except (DatasetUnavailable, OSError, ValueError, DeltaError, msgspec.MsgspecError, pa.ArrowException) as error:
            logger.warning("how far the log of %s is in dataset %r is not known: %s", writer, name, error)
            return None

    with ThreadPoolExecutor(catalog.opening_threads, "tailrace-open") as threads:
        found = list(threads.map(position_of, catalog.names(lambda name: False)))
    highest = max((position for position in found if position is not None), default=0)
    return highest + UNKNOWN if None in found else highest

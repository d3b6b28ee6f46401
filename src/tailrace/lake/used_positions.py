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

logger = logging.getLogger(__name__)


def highest_position(catalog: Catalog, writer: str) -> int:
    """Return the highest position in a writer's log that any table of a catalog knows, which reads all of their logs.

    A table that cannot be read is left out, and told. Raise OSError where the catalog cannot be.
    """

    def position_of(name: str) -> int:
        storage = catalog.storage(name)
        try:
            created = sidecar.load_info(storage).created
            return max(created.get(writer, 0), DatasetTable.open_read_only(storage).positions.get(writer, 0))
        except FileNotFoundError:  # it was dropped meanwhile
            return 0
        except (DatasetUnavailable, OSError, ValueError, DeltaError, msgspec.MsgspecError, pa.ArrowException) as error:
            logger.warning("how far the log of %s is in dataset %r is not known: %s", writer, name, error)
            return 0

    with ThreadPoolExecutor(catalog.opening_threads, "tailrace-open") as threads:
        return max(threads.map(position_of, catalog.names(lambda name: False)), default=0)

"""Dropped datasets, with the positions in the writers' logs up to which their batches are dropped too."""

import logging
import threading
import time

from tailrace.lake import catalog
from tailrace.lake.state import LakeState
from tailrace.log import Positions

RETRY_S = 5.0

logger = logging.getLogger(__name__)


class DroppedDatasets:
    """The datasets that were dropped, stored in a file.

    Without the file, their batches in the log would be waited for after a crash. It is written by the thread that drops
    or commits, never by the log's.
    """

    def __init__(self, state: LakeState) -> None:
        self._state = state
        # Where tables are shared, a batch without a table is not waited for: another server may have it.
        self._is_kept = not state.is_shared
        self._positions = catalog.load_dropped(state.catalog.files) if self._is_kept else {}
        self._is_stored = True  # whether `_positions` is stored
        self._retry_at_s = 0.0
        self._file_lock = threading.Lock()  # acquired before the lake's

    def positions(self, name: str) -> Positions:
        """Return the positions up to which the batches of a name are dropped."""
        return self._positions.get(name, {})

    def highest_position(self, writer: str) -> int:
        """Return the highest position in a writer's log that is known of a dropped dataset; the lock is held."""
        return max((positions.get(writer, 0) for positions in self._positions.values()), default=0)

    def add(self, name: str) -> None:
        """Drop the batches of a name that were accepted so far; the lock is held."""
        if self._is_kept:
            self._positions[name] = dict(self._state.accepted)
            self._is_stored = False

    def is_due(self) -> bool:
        """Return whether it is time to store something."""
        return not self._is_stored and time.monotonic() >= self._retry_at_s

    def store(self) -> bool:
        """Store the dropped datasets, if needed; return whether they are stored."""
        with self._file_lock:
            with self._state.lock:
                if self._is_stored:
                    return True
                self._is_stored = True
                positions = dict(self._positions)
            try:
                catalog.store_dropped(self._state.catalog.files, positions)
            except OSError as error:
                with self._state.lock:
                    self._is_stored = False
                    self._retry_at_s = time.monotonic() + RETRY_S
                logger.error("what was dropped cannot be stored (%s): the log keeps its events until it is", error)
                return False
            return True

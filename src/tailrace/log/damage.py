"""What of a log cannot be read, as far as it was found."""

import logging
import threading
from collections.abc import Sequence

from tailrace.log.segments import Damage

logger = logging.getLogger(__name__)


class FoundDamage:
    """The damage of a log; each range is kept, and written to the server's log, once. Thread-safe."""

    def __init__(self) -> None:
        self.ranges: list[Damage] = []  # in the order in which they were found
        self._lock = threading.Lock()

    def add(self, stretches: Sequence[Damage]) -> None:
        """Add ranges, of which some may be known."""
        for damage in stretches:
            with self._lock:
                if damage in self.ranges:
                    continue
                self.ranges.append(damage)
            if damage.missing_positions:
                logger.error("before segment %s %s", damage.segment, damage.reason)
                continue
            logger.error(
                "segment %s is damaged: %d bytes from byte %d on are skipped: %s",
                damage.segment,
                damage.length,
                damage.offset_bytes,
                damage.reason,
            )

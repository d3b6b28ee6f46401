"""What was stored of requests that failed in part, until they come again: in memory, for some minutes."""

from collections import OrderedDict, deque

from msgspec import Struct

MAX_PARTS = 10_000  # different ones, beyond which the oldest are forgotten
KEPT_NS = 900 * 1_000_000_000  # a client has given its request up by then


class StoredPart(Struct, frozen=True):
    """Events of a request for one of its datasets."""

    count: int
    position: int  # in the log
    received_ns: int  # ns since the Unix epoch


class PartialDeliveries:
    """Stored parts of requests whose other parts failed for a while, each to be taken by one repetition.

    A request that was answered with an error is not stored, as its client sees it. So what is stored of it all the same
    stands in for that of the next request that is alike, whether this is meant as the same one or not.

    Two doors need none of it: Elastic's bulk API answers item by item, of which clients send again those that failed,
    and an upload of systemd's journal is for one dataset, of entries that are known by their cursor.
    """

    def __init__(self) -> None:
        self._parts: OrderedDict[bytes, deque[StoredPart]] = OrderedDict()  # by digest, oldest first

    def __bool__(self) -> bool:
        return bool(self._parts)

    def put(self, digest: bytes, part: StoredPart) -> None:
        """Remember a part."""
        self._parts.setdefault(digest, deque()).append(part)
        self._parts.move_to_end(digest)
        while len(self._parts) > MAX_PARTS:
            self._parts.popitem(last=False)

    def take(self, digest: bytes, received_ns: int) -> StoredPart | None:
        """Return a part of the digest and forget it; None where there is none."""
        while self._parts and next(iter(self._parts.values()))[-1].received_ns < received_ns - KEPT_NS:
            self._parts.popitem(last=False)
        parts = self._parts.get(digest)
        if parts is None:
            return None
        part = parts.popleft()
        if not parts:
            del self._parts[digest]
        return part

"""Reading log objects: whole and in order, or only the ranges of some datasets."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence

from msgspec import Struct

from tailrace.events import Batch
from tailrace.log.damage import FoundDamage
from tailrace.log.object_format import (
    END_BYTES,
    LogObject,
    ObjectEnd,
    needed_end_bytes,
    read_object,
    read_object_end,
    read_range,
)
from tailrace.log.object_retry import retried
from tailrace.log.segments import Damage
from tailrace.storage.object_store import ObjectMissing, ObjectStore, ObjectStoreUnavailable

WHOLE_BYTES = 256 * 1024  # of an object that is fetched whole: a second request takes longer than so many bytes

logger = logging.getLogger(__name__)


def read_objects(
    store: ObjectStore,
    objects: Sequence[LogObject],
    from_position: int,
    found: FoundDamage,
    *,
    timeout_s: float,
    is_released: Callable[[LogObject], bool],
) -> Iterator[tuple[int, Batch]]:
    """Yield the batches of objects, which follow one another, from a position on; damage is skipped and added.

    Raise ObjectStoreUnavailable when the store does not answer within a time, LogVersionError when a newer version
    wrote an object.
    """
    expected = 0  # position after the object before, where that is known
    for stored in objects:
        if expected and stored.first_position > max(expected, from_position):
            found.add([missing(max(expected, from_position), stored)])
        expected = 0
        if stored.is_empty:  # what came behind it may have been released, where it has to stay
            continue
        try:
            content = retried(lambda: store.read(stored.name), timeout_s)  # noqa: B023
        except ObjectMissing:
            if is_released(stored):
                logger.info("%s was released before it was read", stored.name)
            else:
                found.add([Damage(stored.file_name, 0, stored.size_bytes, "the object was deleted or lost")])
            continue
        if end := read_object_end(content, len(content)):
            expected = end.last_position + 1
        yield from read_object(stored.name, content, from_position, found)


class FetchedEnd(Struct, frozen=True, eq=False):
    """The end of an object, as far as it was fetched, from which its index is known."""

    name: str
    content: bytes  # the last bytes of the object
    size_bytes: int  # of the object
    end: ObjectEnd | None  # None where it is damaged


def fetch_end(store: ObjectStore, name: str, at_once: int = END_BYTES) -> FetchedEnd:
    """Fetch as much of the end of an object as its index needs, and at least so many bytes.

    Raise ObjectMissing, ObjectStoreUnavailable.
    """
    content, size_bytes = store.read_end(name, at_once)
    needed = needed_end_bytes(content)
    if needed > len(content):
        content, size_bytes = store.read_end(name, needed)
    return FetchedEnd(name, content, size_bytes, read_object_end(content, size_bytes))


class FetchedObject(Struct, frozen=True, eq=False):
    """What was fetched of an object for some datasets: all of it where its end is damaged."""

    name: str
    datasets: Collection[str]
    end: ObjectEnd | None  # None where it is damaged
    parts: Sequence[tuple[int, bytes]]  # each with its offset; one of each dataset that is there


def fetch_datasets(
    store: ObjectStore, name: str, datasets: Collection[str], *, size_bytes: int = END_BYTES
) -> FetchedObject:
    """Fetch the ranges of some datasets in an object, and little else; one of a small size in one request.

    Raise ObjectMissing, ObjectStoreUnavailable.
    """
    at_once = max(size_bytes, END_BYTES) if size_bytes <= WHOLE_BYTES else END_BYTES
    fetched = fetch_end(store, name, at_once)
    if fetched.end is None:
        return FetchedObject(name, datasets, None, [(0, store.read(name))])
    present = fetched.end.index.datasets
    wanted = sorted(present[each] for each in present.keys() & datasets)
    start = fetched.size_bytes - len(fetched.content)
    if wanted and wanted[0][0] >= start:  # a small object, of which everything is here
        parts = [fetched.content[offset - start : offset - start + length] for offset, length in wanted]
    else:
        parts = store.read_ranges(name, wanted) if wanted else []
    for (_, length), part in zip(wanted, parts, strict=True):
        if len(part) != length:  # it was replaced by one without batches meanwhile
            raise ObjectStoreUnavailable(f"{name} has changed while it was read")
    offsets = [offset for offset, _ in wanted]
    return FetchedObject(name, datasets, fetched.end, list(zip(offsets, parts, strict=True)))


def batches_in(fetched: FetchedObject, found: FoundDamage) -> Iterator[tuple[int, Batch]]:
    """Yield the batches that were fetched, dataset by dataset, each in order; damage is skipped and added.

    Raise LogVersionError when a newer version wrote the object.
    """
    for offset, part in fetched.parts:
        if fetched.end is not None:
            yield from read_range(fetched.name, part, offset, 0, found)
            continue
        for position, batch in read_object(fetched.name, part, 0, found):
            if batch.dataset in fetched.datasets:
                yield position, batch


def missing(expected: int, following: LogObject) -> Damage:
    """Return the positions from the expected one on that are missing before an object."""
    last = following.first_position - 1
    reason = f"positions {expected} to {last} are missing: an object was deleted or lost"
    return Damage(following.file_name, 0, 0, reason, missing_positions=last - expected + 1)

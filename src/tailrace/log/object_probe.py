"""Whether an object store refuses to put an object over another, on which the log in it depends."""

import contextlib
import uuid

from tailrace.events import TailraceError
from tailrace.log.object_retry import retried
from tailrace.storage.object_store import ObjectExists, ObjectStore, ObjectStoreUnavailable


class DishonestStore(TailraceError):
    """The object store says that it put an object only where there was none, and did put it over another."""

    code = "dishonest_object_store"


def require_conditional_put(store: ObjectStore, timeout_s: float) -> None:
    """Put an object twice, on the condition that there is none, and remove it.

    Raise DishonestStore where the second put is not refused or replaces the first, ObjectStoreUnavailable when the
    store does not answer within a time.
    """
    retried(lambda: _put_twice(store), timeout_s)


def _put_twice(store: ObjectStore) -> None:
    name = f"probe/{uuid.uuid4().hex}"
    try:
        store.create(name, b"first")
        try:
            store.create(name, b"second")
        except ObjectExists:
            is_refused = True
        else:
            is_refused = False
        if not is_refused or store.read(name) != b"first":
            raise DishonestStore(
                f"{store.url} puts an object over another in spite of If-None-Match: *, so two processes could "
                "overwrite each other's events"
            )
    finally:
        with contextlib.suppress(ObjectStoreUnavailable):  # it is small, and in nobody's way
            store.delete([name])

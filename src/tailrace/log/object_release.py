"""Deletion of log objects of which nothing is needed any more, where their writer does not do it itself."""

from datetime import UTC, datetime
from itertools import pairwise

from tailrace.log.object_cursor import objects_of
from tailrace.log.object_names import CLAIM_KEPT
from tailrace.storage.object_store import ObjectStore


def delete_released(store: ObjectStore, writer: str, upto: int, *, now: datetime | None = None) -> int:
    """Delete a writer's objects that have no position above one; return how many.

    The newest always stays, as its name records which positions are used; so do claims that are new, as the process
    that they shut out may be a paused one. Raise ObjectStoreUnavailable.
    """
    oldest_claim = (now or datetime.now(UTC)) - CLAIM_KEPT
    due = [
        each.name
        for each, following in pairwise(objects_of(store, writer))
        if following.first_position - 1 <= upto
        and not (each.is_empty and (each.modified_at is None or each.modified_at > oldest_claim))
    ]
    if due:
        store.delete(due)
    return len(due)

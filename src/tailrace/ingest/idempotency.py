"""Idempotency of requests with a key: what was stored under it is not stored again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tailrace.events.idempotency import BatchKey, IdempotencyKeyReused
from tailrace.ingest.idempotency_keys import IdempotencyKeys, RememberedKey

T = TypeVar("T")


class Idempotency:
    """The keys of batches that are being stored, over those that are stored. To be used on the event loop."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys
        self.is_on = keys.window_ns > 0
        self._in_flight: dict[bytes, asyncio.Future[None]] = {}
        self._storing: set[asyncio.Task[object]] = set()

    async def once(self, key: BatchKey, received_ns: int, store: Callable[[], Awaitable[T]]) -> T | RememberedKey:
        """Return what `store` returns, or what was stored under the key within the window.

        A request with the same key that is in flight is waited for; if it fails, this one stores. Raise
        IdempotencyKeyReused where the key is that of another body, and what `store` raises.
        """
        if not self._keys.is_used:
            await asyncio.to_thread(self._keys.begin)
        while (storing := self._in_flight.get(key.digest)) is not None:
            await asyncio.wait([storing])
        remembered = self._keys.find(key.digest, received_ns)
        if remembered is not None:
            if remembered.fingerprint != key.fingerprint:
                raise IdempotencyKeyReused(
                    "the Idempotency-Key was used for a request with another body: send a key of its own with each "
                    "request, and the same one only with its repetitions"
                )
            return remembered
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight[key.digest] = done
        # A task of its own, which a client that hangs up does not cancel: its repetition waits for it.
        task = asyncio.create_task(self._store(key, store, done))
        self._storing.add(task)
        task.add_done_callback(self._discard_task)
        return await asyncio.shield(task)

    async def _store(self, key: BatchKey, store: Callable[[], Awaitable[T]], done: "asyncio.Future[None]") -> T:
        try:
            return await store()
        finally:
            del self._in_flight[key.digest]
            done.set_result(None)

    def _discard_task(self, task: "asyncio.Task[object]") -> None:
        self._storing.discard(task)
        if not task.cancelled():
            task.exception()

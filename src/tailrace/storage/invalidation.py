"""Invalidation of what a store caches of the database, at every change, those by other servers included."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, select, update

from tailrace.storage.database import Database
from tailrace.storage.tables import changes

T = TypeVar("T")


class Invalidation:
    """Empties the caches of one store. Thread-safe.

    A cache is used after a `check`, and filled by `read`. A shared database is asked for changes by other servers once
    in `max_age_s`; with 0 at each check.
    """

    def __init__(
        self,
        database: Database,
        clear: Callable[[], None],
        *,
        max_age_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clear = clear
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._asked_s = -math.inf  # when the database was asked last, of what it answered
        self._lock = threading.Lock()
        self._change_number: int | None = None  # of the last change when the caches were emptied
        self._revision: int | None = None  # the same, of those by processes of this server
        self.generation = 0  # another one after every change

    def check(self) -> None:
        """Empty the caches where another server, or another process of this one, made a change.

        The database is asked only if it is shared, and was not asked just before.
        """
        revision = self._database.revision
        if revision is not None and revision.number != self._revision:
            self._revision = revision.number
            self._invalidate()
        now_s = self._monotonic()
        if not self._database.is_shared or now_s - self._asked_s < self._max_age_s:
            return
        with self._database.reading() as connection:
            number = connection.scalar(select(changes.c.number))
        if number != self._change_number:
            self._invalidate()
            self._change_number = number
        self._asked_s = now_s

    def read(self, read: Callable[[Connection], T], put: Callable[[T], None]) -> T:
        """Return what `read` returns; `put` caches it, unless there was a change meanwhile."""
        generation = self.generation
        with self._database.reading() as connection:
            value = read(connection)
        self.put(generation, partial(put, value))
        return value

    def put(self, generation: int, put: Callable[[], None]) -> None:
        """Call `put`, which fills a cache with what was read in a generation, unless there was a change meanwhile."""
        with self._lock:
            if generation == self.generation:
                put()

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Begin a transaction, as `Database.changing` does, that changes what this server or another caches."""
        with self._database.changing() as connection:
            yield connection
            connection.execute(update(changes).values(number=changes.c.number + 1))
        self._invalidate()  # after the commit, so that what was read before it is not put into a cache
        if self._database.revision is not None:
            self._database.revision.advance()

    def _invalidate(self) -> None:
        with self._lock:
            self.generation += 1
            self._clear()

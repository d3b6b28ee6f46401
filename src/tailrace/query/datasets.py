"""The datasets that a query may read, by the names that it has for them."""

import difflib
from collections.abc import Callable, Sequence

from tailrace.events import DatasetNotFound, Forbidden
from tailrace.lake.snapshot import Snapshot, SnapshotSource

Check = Callable[[str], None]
"""Raises for a dataset that may not be read: Forbidden, or DatasetNotFound for another organisation's."""


class ReadableDatasets:
    """Those that `check` lets through. Each name is looked up once, so that all of a query sees the same events.

    `own` raises for a dataset that no view may show, being another organisation's; without it there is no `granted`.
    """

    def __init__(
        self, source: SnapshotSource, check: Check, *, timeout_s: Callable[[], float], own: Check | None = None
    ) -> None:
        self._source = source
        self._check = check
        self._timeout_s = timeout_s
        self._own = own
        self._names: tuple[str, ...] | None = None
        self._snapshots: dict[str, Snapshot] = {}

    def names(self) -> Sequence[str]:
        """Return all names, those of datasets that cannot be opened included, in order."""
        if self._names is None:
            self._names = tuple(name for name in self._source.names() if self._may_read(name))
        return self._names

    def snapshot(self, name: str) -> Snapshot:
        """Return the dataset that a name means; what `resolve` raises, and what the source raises."""
        snapshot = self._snapshots.get(name)
        if snapshot is None:
            snapshot = self._snapshots[name] = self._source.snapshot(self.resolve(name), timeout_s=self._timeout_s())
        return snapshot

    @property
    def granted(self) -> Callable[[str], Snapshot] | None:
        """What a view shows to who may read the view, whether they may read the dataset or not."""
        return None if self._own is None else self._granted

    def resolve(self, name: str) -> str:
        """Return the dataset that a name means, which is the same or the only one that differs in case.

        So is that of one that cannot be opened, which its reader is told. Raise Forbidden for a dataset that may not be
        read, DatasetNotFound with a suggestion among those that may.
        """
        if self._source.knows(name):
            self._check(name)
            return name

        known = self.names()
        folded = [other for other in known if other.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        self._check(name)  # so that nobody learns which datasets there are beside their own
        near = difflib.get_close_matches(name, known, 1)
        raise DatasetNotFound(f"dataset {name!r} not found" + (f"; did you mean {near[0]!r}?" if near else ""))

    def _granted(self, name: str) -> Snapshot:
        assert self._own is not None
        self._own(name)
        return self._source.snapshot(name, timeout_s=self._timeout_s())

    def _may_read(self, name: str) -> bool:
        try:
            self._check(name)
        except (Forbidden, DatasetNotFound):
            return False
        return True

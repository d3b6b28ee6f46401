"""The datasets that a query may read, by name."""

import difflib
from collections.abc import Callable, Sequence

from tailrace.events import DatasetNotFound, Forbidden
from tailrace.lake.snapshot import Snapshot, SnapshotSource, no_check

Check = Callable[[str], None]
"""Raises for a dataset that may not be read: Forbidden, or DatasetNotFound for another organisation's."""


class ReadableDatasets:
    """The datasets that `check` allows. Each name is looked up once, so that all of a query reads the same events.

    `check_organisation` raises for a dataset of another organisation, which no view may read; without it
    `view_snapshot` is None. `go_on` is called while a snapshot is waited for, and raises to give up.
    """

    def __init__(
        self,
        source: SnapshotSource,
        check: Check,
        *,
        timeout_s: Callable[[], float],
        check_organisation: Check | None = None,
        go_on: Callable[[], None] = no_check,
    ) -> None:
        self._source = source
        self._check = check
        self._timeout_s = timeout_s
        self._check_organisation = check_organisation
        self._go_on = go_on
        self._names: tuple[str, ...] | None = None
        self._snapshots: dict[str, Snapshot] = {}

    def names(self) -> Sequence[str]:
        """Return all names in order, including those of datasets that cannot be opened."""
        if self._names is None:
            self._names = tuple(name for name in self._source.names() if self._may_read(name))
        return self._names

    def snapshot(self, name: str) -> Snapshot:
        """Return the snapshot of a name's dataset. Raise what `resolve` and the source raise."""
        snapshot = self._snapshots.get(name)
        if snapshot is None:
            snapshot = self._snapshots[name] = self._read(self.resolve(name))
        return snapshot

    def _read(self, name: str) -> Snapshot:
        return self._source.snapshot(name, timeout_s=self._timeout_s(), check=self._go_on)

    @property
    def view_snapshot(self) -> Callable[[str], Snapshot] | None:
        """The look-up of datasets for a view, whose readers need no right to read its datasets."""
        return None if self._check_organisation is None else self._snapshot_for_view

    def resolve(self, name: str) -> str:
        """Return the dataset of a name: the same name, or the only one that differs in case.

        That may be one that cannot be opened, of which its reader must be told. Raise Forbidden for a dataset that may
        not be read, DatasetNotFound with a suggestion among those that may.
        """
        if self._source.knows(name):
            self._check(name)
            return name

        known = self.names()
        folded = [other for other in known if other.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        self._check(name)  # so that nobody learns which datasets exist that they may not read
        near = difflib.get_close_matches(name, known, 1)
        raise DatasetNotFound(f"dataset {name!r} not found" + (f"; did you mean {near[0]!r}?" if near else ""))

    def _snapshot_for_view(self, name: str) -> Snapshot:
        assert self._check_organisation is not None
        self._check_organisation(name)
        return self._read(name)

    def _may_read(self, name: str) -> bool:
        try:
            self._check(name)
        except (Forbidden, DatasetNotFound):
            return False
        return True

"""The log of a Delta table in an object store: each version is put on the condition that there is none of its number.

A put object is whole and durable. What an unanswered request has done, or will do later, is made certain before
anything else is written: by putting the same version again, which one of the two requests does.
"""

import uuid
from collections.abc import Iterable
from contextlib import suppress

from tailrace.lake.clock import time_ms
from tailrace.lake.delta import create_checkpoint, remove_old_versions
from tailrace.lake.deltalog import DELTA_LOG, Action, DeltaLog, encode, needed_names, version_name
from tailrace.storage.object_files import ObjectFiles


class ObjectDeltaLog(DeltaLog):
    """The versions of a table in an object store."""

    def __init__(self, store: ObjectFiles, dataset: str) -> None:
        self._store = store
        self._dataset = dataset
        self._uncertain: dict[int, bytes] = {}  # versions that were put without an answer

    @property
    def is_sure(self) -> bool:
        """Whether each version given to `append` is known to be there, or known not to come."""
        return not self._uncertain

    def append(self, version: int, actions: Iterable[Action]) -> None:
        """Put a version. Raise FileExistsError where there is one of this number."""
        content = encode(actions)
        self._uncertain[version] = content
        try:
            self._store.create(self._name(version), content)
        except FileExistsError:
            del self._uncertain[version]
            raise
        del self._uncertain[version]

    def settle(self) -> None:
        """Put the versions again whose fate is unknown, so that they are there, or another writer's in their place."""
        for version, content in sorted(self._uncertain.items()):
            with suppress(FileExistsError):  # another writer's, which came first
                self._store.create(self._name(version), content)
            del self._uncertain[version]

    def is_newest(self, version: int) -> bool:
        """Return whether no version follows this one, as far as that can be told without listing them."""
        return not self._store.exists(self._name(version + 1)) and self._store.exists(self._name(version))

    def checkpoint(self) -> None:
        """Write a checkpoint of the newest version, and delete the versions that it replaces."""
        uri = self._store.location(self._dataset)
        create_checkpoint(uri)
        remove_old_versions(uri)

    def needed(self) -> list[str]:
        """Return the names of the files from which the newest version can be read."""
        prefix = f"{self._dataset}/"
        return needed_names(name.removeprefix(prefix) for name in self._store.names(prefix + DELTA_LOG))

    def recover(self) -> list[str]:
        """Return nothing: there are no parts of versions."""
        return []

    def check(self) -> None:
        """Do nothing, for that reason."""

    def set_aside_checkpoints(self) -> list[tuple[str, str]]:
        """Return nothing, for that reason."""
        return []

    def put_back(self, aside: str, name: str) -> None:
        """Do nothing: nothing is set aside."""

    def confirm(self, newest: int) -> int:
        """Put a version without rows, in the place that a request of an earlier process may still be under way to."""
        version = newest + 1
        # With an id, by which this process knows its own again.
        information = {"timestamp": time_ms(), "operation": "FENCE", "tailrace": str(uuid.uuid4())}
        self._store.create(self._name(version), encode([{"commitInfo": information}]))
        return version

    def has_version_set_aside(self) -> bool:
        """Return False, for that reason."""
        return False

    def _name(self, version: int) -> str:
        return f"{self._dataset}/{version_name(version)}"

"""The log of a Delta table: what writes its versions, durably and each once, wherever the table is.

A version is a file `N.json` of one action a line, as the Delta protocol has it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

DELTA_LOG = "_delta_log"
OWN_DIRECTORY = "_tailrace"  # Delta readers skip names with an underscore
UNREADABLE_DIRECTORY = f"{OWN_DIRECTORY}/unreadable"  # what was set aside
LAST_CHECKPOINT = f"{DELTA_LOG}/_last_checkpoint"
DIGITS = 20  # of a version in a file's name

Action = Mapping[str, Any]
"""One action of a version: its kind, and its members as the Delta protocol names them."""


class DeltaLog(ABC):
    """The versions of a table. One thread at a time may use it."""

    # Writing

    @property
    @abstractmethod
    def is_sure(self) -> bool:
        """Whether each version given to `append` is known to be durable, or known not to exist."""

    @abstractmethod
    def append(self, version: int, actions: Iterable[Action]) -> None:
        """Write a version, durably.

        Raise FileExistsError where there is one of this number. With any other error it may be there or not: `is_sure`
        tells whether that is known, and `settle` makes sure.
        """

    @abstractmethod
    def settle(self) -> None:
        """Make sure of the versions whose fate is unknown: each is there, durably, or will never be."""

    @abstractmethod
    def is_newest(self, version: int) -> bool:
        """Return whether no version follows this one, as far as that can be told without listing them.

        False where its file is not there any more: later ones may have come and gone.
        """

    @abstractmethod
    def checkpoint(self) -> None:
        """Write a checkpoint of the newest version, and delete the versions that it replaces, once they are old enough.

        Raise OSError, DeltaError.
        """

    # Copying

    @abstractmethod
    def needed(self) -> list[str]:
        """Return the names, beneath the table, of the files from which the newest version can be read."""

    # Opening

    @abstractmethod
    def recover(self) -> list[str]:
        """Repair the log after a crash or a power cut, and make it durable; return the names of files set aside.

        Raise OSError, and DatasetUnavailable for a version that must stay.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise DatasetUnavailable where a version that is read to open a table is not readable."""

    @abstractmethod
    def set_aside_checkpoints(self) -> list[tuple[str, str]]:
        """Set aside unreadable checkpoints and the pointer to them; return the old and new names."""

    @abstractmethod
    def put_back(self, aside: str, name: str) -> None:
        """Move a file that was set aside back to its name."""

    @abstractmethod
    def confirm(self, newest: int) -> int:
        """Make certain that the newest version is durable, and that no other will come of a process that has ended.

        Return the number of the newest version now. Raise FileExistsError where another one has come meanwhile.
        """

    @abstractmethod
    def has_version_set_aside(self) -> bool:
        """Return whether a version of the table was set aside, and still exists for inspection."""


def encode(actions: Iterable[Action]) -> bytes:
    """Return the content of a version."""
    return b"".join(msgspec.json.encode(action) + b"\n" for action in actions)


def needed_names(names: Iterable[str]) -> list[str]:
    """Return those of a table's log from which the newest version can be read: the last checkpoint, and the versions
    since.
    """
    numbered = {
        name: int(base[:DIGITS])
        for name in names
        if len(base := name.rpartition("/")[2]) > DIGITS and base[:DIGITS].isdigit()
    }
    since = max((number for name, number in numbered.items() if ".checkpoint" in name), default=0)
    return [name for name, number in numbered.items() if number >= since]


def version_name(version: int) -> str:
    """Return the name of a version's file beneath its table."""
    return f"{DELTA_LOG}/{version:0{DIGITS}d}.json"

"""The places of files that commands copy to and from: a directory, or s3://bucket/prefix; what fails there in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tailrace.cli.errors import USAGE, CommandError, reason_of
from tailrace.cli.interruption import stoppable

if TYPE_CHECKING:
    from tailrace.backup.place import BackupPlace


def place_of(target: str) -> "BackupPlace":
    """Return the place that a person names. Raise CommandError."""
    from tailrace.backup.place import open_place

    try:
        return open_place(target)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error


@contextmanager
def place_errors(place: "BackupPlace", advice: str) -> Iterator[None]:
    """Raise what fails in a place, or on this machine's disk, or a signal that stops it, as CommandError, with what to
    do then.
    """
    from tailrace.backup.place import PlaceInUse

    try:
        with stoppable(advice):
            yield
    except PlaceInUse as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or place.url}: {reason_of(error)}; {advice}") from error

"""The errors that end a command."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FAILED = 1
USAGE = 2


class CommandError(Exception):
    """The command cannot go on; the message is a line that says what to do about it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFoundError(CommandError):
    """The server has no such thing."""


@contextmanager
def options(names: Mapping[str, str]) -> Iterator[None]:
    """Where the server refuses a member of the body, name the option that a person gave it by: the call was wrong."""
    try:
        yield
    except CommandError as error:
        for member, option in names.items():
            message, is_named = re.subn(rf"^{member}\b", option, str(error))
            if is_named:
                raise CommandError(message, USAGE) from error
        raise


def reason_of(error: Exception) -> str:
    """Return what the system says of a file, without the number and the path that the message has already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)

"""The errors that end a command."""

FAILED = 1
USAGE = 2


class CommandError(Exception):
    """The command cannot go on; the message is a line that says what to do about it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFoundError(CommandError):
    """The server has no such thing."""

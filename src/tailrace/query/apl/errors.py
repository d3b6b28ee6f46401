"""Errors of an APL query: where, what was met, what would have been accepted, and the name that was perhaps meant."""

import difflib
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tailrace.events import QueryInvalid


class Place(Struct, frozen=True):
    """A position in a query's text, both counted from 1; the column in characters."""

    line: int
    column: int


class AplError(QueryInvalid):
    """The APL cannot be run as written.

    `at` is an offset into the text where it is known; `located` makes line and column of it and puts them into the
    message. `kind` says which part of the work refused: "syntax", "name", "type", "limit".
    """

    code = "apl_invalid"

    def __init__(self, message: str, at: int | None = None, *, kind: str = "syntax") -> None:
        super().__init__(message)
        self.at = at
        self.kind = kind
        self.plain = message  # without the place
        self.place: Place | None = None

    def located(self, text: str) -> "AplError":
        """Return the same error, with line and column."""
        if self.place is None and self.at is not None:
            self.place = place(text, self.at)
            self.message = f"line {self.place.line}, column {self.place.column}: {self.plain}"
            self.args = (self.message,)
        return self


def place(text: str, at: int) -> Place:
    """Return line and column of an offset."""
    before = text[: max(at, 0)]
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing."""
    choices = list(known)
    near = difflib.get_close_matches(name, choices, 1) or [
        each for each in choices if each.casefold() == name.casefold()
    ]
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(choices: Sequence[str]) -> str:
    """Return `a, b or c`."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"

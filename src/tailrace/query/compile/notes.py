"""What an answer is to say of its query, noted while that is compiled."""

from typing import Any

from msgspec import Struct

from tailrace.events import DatasetUnavailable


class AggregateNote(Struct, frozen=True):
    """How a column of groups came to be."""

    name: str
    fields: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()


class Remark(Struct, frozen=True):
    priority: str
    code: str
    text: str


class AnswerNotes:
    def __init__(self) -> None:
        self.remarks: dict[str, tuple[Remark, int]] = {}  # by text, with how often it was made
        self.left_out: list[DatasetUnavailable] = []  # why datasets that a pattern fits are not read
        self.aggregated: dict[str, AggregateNote] = {}  # by identifier
        self.groups: tuple[str, ...] = ()
        self.bins: dict[str, int] = {}  # sizes, by identifier
        self.matched: str | None = None  # the identifier of the number of rows that were aggregated
        self.filtered = False  # whether rows were dropped by a condition

    def warn(self, code: str, text: str, priority: str = "warn") -> None:
        """Make a remark, or the same once more."""
        remark, count = self.remarks.get(text, (Remark(priority, code, text), 0))
        self.remarks[text] = (remark, count + 1)


def message_code(text: str) -> str:
    """Return Axiom's code of a remark: its letters."""
    return f"apl_{''.join(c for c in text if c.isalpha())}_1"

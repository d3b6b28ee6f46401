"""Texts that people give: names and descriptions, of a length, without control characters."""

from tailrace.events.errors import BadRequest

# What a description may have of them: it may have lines.
_LINES = frozenset("\t\n\r")


def checked_text(text: str, what: str, *, least: int = 0, most: int, lines: bool = False) -> str:
    """Return a text of `least` to `most` characters; raise BadRequest that says what it is the text of.

    Blanks alone are no characters. Control characters (C0, DEL, C1) are refused, but for tabs and ends of lines where
    it may have `lines`: they change what a terminal or a log shows, and PostgreSQL has no NUL in a text.
    """
    if len(text) > most or (least and len(text.strip()) < least):
        raise BadRequest(f"{what} has {len(text)} characters, but it may have {least} to {most}, not all blank")
    control = next((c for c in text if is_control(c) and not (lines and c in _LINES)), None)
    if control is not None:
        raise BadRequest(f"{what} has the control character U+{ord(control):04X}")
    return text


def is_control(character: str) -> bool:
    """Whether a character is a control character: Unicode's category Cc."""
    return character < " " or "\x7f" <= character <= "\x9f"

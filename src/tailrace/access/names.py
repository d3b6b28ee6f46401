"""Names and descriptions that users give to what an organisation has."""

from tailrace.events import checked_text
from tailrace.storage.tables import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH


def checked_name(name: str, of: str) -> str:
    """Return a name of 1 to MAX_NAME_LENGTH characters, not all blank and no control character; raise BadRequest."""
    return checked_text(name, f"the name of a {of}", least=1, most=MAX_NAME_LENGTH)


def checked_description(description: str, of: str) -> str:
    """Return a description, which may have lines; raise BadRequest as `checked_name` does."""
    return checked_text(description, f"the description of a {of}", most=MAX_DESCRIPTION_LENGTH, lines=True)

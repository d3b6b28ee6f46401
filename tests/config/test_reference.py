"""The settings page is the one the code makes."""

from pathlib import Path

from tailrace.config import settings_reference
from tailrace.server.settings import SCHEMA

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_settings_page_is_up_to_date() -> None:
    assert PAGE.read_text() == settings_reference(SCHEMA), "run `make docs`"


def test_the_settings_page_has_every_setting() -> None:
    page = settings_reference(SCHEMA)
    assert all(f"| `{name}` | `TAILRACE_{name.upper()}` |" in page for name in SCHEMA.settings)

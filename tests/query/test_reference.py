"""The page on APL is the one the tables make."""

from pathlib import Path

from tailrace.query.functions import FUNCTIONS
from tailrace.query.functions.operators import STRING_OPERATORS
from tailrace.query.reference import apl_reference

PAGE = Path(__file__).parents[2] / "docs" / "apl.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == apl_reference(), "run `make docs`"


def test_the_page_has_every_function_and_string_operator() -> None:
    page = apl_reference()
    assert all(f"| `{name}(" in page for name in FUNCTIONS)
    bare = {name.removeprefix("!").removesuffix("_cs") for name in STRING_OPERATORS}
    assert all(f"`{name}" in page for name in bare)

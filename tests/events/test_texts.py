"""Names and descriptions."""

import pytest

from tailrace.events import BadRequest, checked_text


@pytest.mark.parametrize("text", ["a", "Zoë 😀", "\u200fa", "a\u00a0b", "x" * 8])
def test_a_text_is_taken_as_it_is(text: str) -> None:
    assert checked_text(text, "name", least=1, most=8) == text


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x1b", "\x1f", "\x7f", "\x80", "\x9f"])
def test_a_control_character_is_refused_by_its_number(character: str) -> None:
    with pytest.raises(BadRequest, match=f"name has the control character U\\+{ord(character):04X}"):
        checked_text(f"a{character}", "name", most=8)


def test_where_lines_may_be_only_they_are_taken() -> None:
    assert checked_text("a\r\n\tb", "text", most=8, lines=True) == "a\r\n\tb"
    with pytest.raises(BadRequest, match="U\\+0000"):
        checked_text("a\0", "text", most=8, lines=True)


@pytest.mark.parametrize("text", ["", "  ", "x" * 9])
def test_what_is_too_short_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="1 to 8"):
        checked_text(text, "name", least=1, most=8)

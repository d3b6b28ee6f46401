"""How tables look on a terminal and off it."""

import pytest

from tailrace.cli.output import print_list, print_table


@pytest.fixture
def width_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("width_80")
def test_a_row_is_one_line_on_a_terminal_and_long_values_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "b"], [["x" * 100, 1], ["two\nlines", None]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a" + " " * 41 + "b", "x" * 39 + "…  1", "two\\nlines" + " " * 32 + "null"]


@pytest.mark.usefixtures("width_80")
def test_a_table_wider_than_the_terminal_has_a_line_for_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"column {i}" for i in range(10)]
    print_table(names, [["v" * 20] * 9 + ["w" * 100]] * 2)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    row = ["-" * 80, *(f"{name}  {'v' * 20}" for name in names[:9]), "column 9  " + "w" * 69 + "…"]
    assert lines == row * 2


@pytest.mark.usefixtures("width_80")
def test_a_long_value_is_whole_where_the_terminal_has_room(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "b"], [["x" * 60, 1]])
    assert capsys.readouterr().out.splitlines()[1].rstrip() == "x" * 60 + "  1"


@pytest.mark.usefixtures("width_80")
def test_a_list_is_narrowed_to_the_terminal_with_the_names_of_its_items_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [["n" * 30, "c" * 25, "d" * 90]]
    print_list(["NAME", "CREATED", "DESCRIPTION"], rows, [], None)
    # Of 80 columns two gaps and the name leave 46: 23 for each of the others.
    assert capsys.readouterr().out.splitlines()[1].rstrip() == "n" * 30 + "  " + "c" * 22 + "…  " + "d" * 22 + "…"


@pytest.mark.usefixtures("width_80")
def test_a_list_whose_columns_cannot_be_narrow_enough_has_a_line_for_each_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_list(["ID", "NAME", "FOR"], [["i" * 37, "n" * 25, "d" * 25]], [], None)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3


@pytest.mark.usefixtures("width_80")
def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a\x1b[2J"], [["b\x1b[2J"]])
    assert "\x1b[2J" not in capsys.readouterr().out


def test_nothing_is_cut_off_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table([f"c{i}" for i in range(10)], [["v" * 100] * 10])
    assert [line.split() for line in capsys.readouterr().out.splitlines()][1] == ["v" * 100] * 10

"""The registry: what can have a column, under which name, and what stays in the rest."""

import pytest

from tailrace.lake.fields import MAX_REST_PATHS, RECENT_EVENTS, Fields, decode_fields, encode_fields
from tailrace.lake.snapshot import FieldsView, PhysicalColumn


def add(fields: Fields, *seen: tuple[tuple[str, ...], str]) -> list[str]:
    """Return the names of the columns that values of these types at these keys get."""
    return [column.name for keys, kind in seen for column in fields.add(".".join(keys), kind, keys)]


def test_the_first_type_owns_the_plain_name_and_another_gets_a_sibling() -> None:
    fields = Fields()

    assert add(fields, (("a", "b"), "string")) == ["a.b"]
    assert add(fields, (("a", "b"), "boolean")) == ["a.b#boolean"]
    assert add(fields, (("a", "b"), "string")) == []


def test_a_float_brings_an_integer_sibling_because_clients_write_3_0_as_3() -> None:
    fields = Fields()

    assert add(fields, (("d",), "float")) == ["d", "d#integer"]

    assert [(column.name, column.type) for column in fields.columns] == [("d", "float"), ("d#integer", "integer")]


@pytest.mark.parametrize(
    "key",
    [
        *("", "a b", "a,b", "a;b", "a=b", "a\tb", "a(b", "_time", "_REST", "_day", "\x00", 'a"b', "a\\b", "x" * 300),
        ".".join("x" * 17),
    ],
)
def test_a_name_that_some_reader_cannot_hold_stays_in_the_rest(key: str) -> None:
    assert add(Fields(), (tuple(key.split(".")), "string")) == []


@pytest.mark.parametrize("kind", ["null", "map", "number"])
def test_what_no_column_can_hold_stays_in_the_rest(kind: str) -> None:
    assert add(Fields(), (("a",), kind)) == []


def test_names_that_differ_only_in_case_cannot_both_be_columns() -> None:
    fields = Fields()

    assert add(fields, (("Status",), "string")) == ["Status"]
    assert add(fields, (("status",), "string")) == []
    assert add(fields, (("STATUS", "code"), "string")) == ["STATUS.code"]
    assert add(fields, (("status", "Code"), "string")) == []
    assert add(fields, (("Status",), "integer")) == ["Status#integer"]


def test_a_field_name_that_looks_like_a_sibling_takes_nothing_away() -> None:
    fields = Fields()
    add(fields, (("a",), "string"))
    add(fields, (("a#boolean",), "integer"))

    assert add(fields, (("a",), "boolean")) == ["a#boolean#"]
    assert fields.column("a#boolean", "integer") is not None


def test_no_more_columns_than_the_limit() -> None:
    fields = Fields(max_columns=2)

    add(fields, *(((name,), "string") for name in "abcd"))

    assert len(fields.columns) == 2
    assert fields.is_full


def test_how_many_events_must_have_a_field_follows_from_the_recent_ones() -> None:
    fields = Fields(density=0.1)
    assert fields.least_count(1) == 1

    fields.count_events(1000)

    assert fields.least_count(95) == 110


def test_the_recent_events_are_halved_past_their_bound() -> None:
    fields = Fields(density=0.1)

    assert not fields.count_events(RECENT_EVENTS)
    assert fields.count_events(10)

    assert fields.least_count(0) == (RECENT_EVENTS + 10) // 20 + 1


def test_the_registry_survives_a_restart() -> None:
    fields = Fields()
    add(fields, (("a",), "string"), (("b", "c"), "float"))
    fields.note_rest("r", "number")

    assert decode_fields(encode_fields(fields.view())) == fields.view()
    assert Fields(fields.view()).view() == fields.view()


def test_how_keys_with_dots_are_nested_is_kept() -> None:
    fields = Fields()
    for keys in (("a", "b.c"), ("a", "b", "c"), ("d", "e"), ("f.g",)):
        fields.note_rest(".".join(keys), "string", keys)

    again = Fields(decode_fields(encode_fields(fields.view())))

    assert again.view().nesting == fields.view().nesting == {"a.b.c": ("a", "b.c"), "f.g": ("f.g",)}


def test_a_view_is_of_its_moment() -> None:
    fields = Fields()
    fields.note_rest("r", "number")
    before = fields.view()

    assert fields.view() is before
    fields.note_rest("r", "number")
    assert fields.view() is before
    fields.note_rest("r", "map")
    add(fields, (("a",), "string"))
    fields.note_rest_overflow()

    assert before == FieldsView(rest={"r": frozenset({"number"})})
    column = PhysicalColumn("a", "a", ("a",), "string")
    assert fields.view() == FieldsView((column,), {"r": frozenset({"number", "map"})}, rest_overflow=True)


def test_past_their_bound_paths_in_the_rest_are_not_known() -> None:
    fields = Fields()
    for number in range(MAX_REST_PATHS):
        fields.note_rest(f"p{number}", "string")
    assert not fields.rest_overflow

    fields.note_rest("p1", "integer")
    assert not fields.rest_overflow
    fields.note_rest("one more", "string")

    assert fields.rest_overflow
    assert len(fields.view().rest) == MAX_REST_PATHS

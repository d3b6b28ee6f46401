"""The registry: what earns a column, under which name, and what stays in the rest."""

import pytest

from tailrace.lake.fields import Fields, decode_fields, encode_fields


def promote(fields: Fields, *seen: tuple[tuple[str, ...], str], events: int = 1) -> list[str]:
    return [column.name for column in fields.promote(dict.fromkeys(seen, events), sample=events, events=events)]


def test_the_first_type_owns_the_plain_name_and_another_gets_a_sibling() -> None:
    fields = Fields()

    assert promote(fields, (("a", "b"), "string")) == ["a.b"]
    assert promote(fields, (("a", "b"), "boolean")) == ["a.b#boolean"]


def test_a_float_brings_an_integer_sibling_because_clients_write_3_0_as_3() -> None:
    fields = Fields()

    promote(fields, (("d",), "float"))

    assert [(column.name, column.type) for column in fields.columns] == [("d", "float"), ("d#integer", "integer")]


@pytest.mark.parametrize(
    "key", ["", "a b", "a,b", "a;b", "a=b", "a\tb", "a(b", "_time", "_REST", "_day", "\x00", 'a"b', "a\\b", "x" * 300]
)
def test_a_name_that_some_reader_cannot_hold_stays_in_the_rest(key: str) -> None:
    assert promote(Fields(), ((key,), "string")) == []


def test_names_that_differ_only_in_case_cannot_both_be_columns() -> None:
    fields = Fields()

    assert promote(fields, (("Status",), "string")) == ["Status"]
    assert promote(fields, (("status",), "string")) == []
    assert promote(fields, (("STATUS", "code"), "string")) == []


def test_a_field_name_that_looks_like_a_sibling_takes_nothing_away() -> None:
    fields = Fields()
    promote(fields, (("a",), "string"))
    promote(fields, (("a#boolean",), "integer"))

    assert promote(fields, (("a",), "boolean")) == ["a#boolean#"]
    assert fields.column("a#boolean", "integer") is not None


def test_no_more_columns_than_the_limit() -> None:
    fields = Fields(max_columns=2)

    promote(fields, *(((name,), "string") for name in "abcd"))

    assert len(fields.columns) == 2


def test_what_few_recent_events_have_earns_no_column_until_more_do() -> None:
    fields = Fields(density=0.1)
    fields.count_events(1000)

    assert promote(fields, (("rare",), "string"), events=1) == []
    fields.count_unplaced({(("rare",), "string"): 200})
    assert promote(fields, (("rare",), "string"), events=1) == ["rare"]


def test_the_registry_survives_a_restart() -> None:
    fields = Fields()
    promote(fields, (("a",), "string"), (("b", "c"), "float"))
    fields.note_rest("r", "number")

    assert decode_fields(encode_fields(fields.view())) == fields.view()
    assert Fields(fields.view()).view() == fields.view()


def test_what_a_sample_misses_earns_its_column_by_what_was_seen_before() -> None:
    fields = Fields(density=0.1)
    fields.count_events(100)
    fields.count_unplaced({(("every", "second"), "string"): 50})

    assert promote(fields, (("other",), "string")) == ["every.second"]


def test_of_two_types_as_frequent_the_one_met_first_owns_the_plain_name() -> None:
    names = [f"n{number}" for number in range(50)]

    for first, second in (("string", "integer"), ("integer", "string")):
        fields = Fields()
        promote(fields, *(((name,), kind) for kind in (first, second) for name in names))
        assert {column.type for column in fields.columns if column.name in names} == {first}
        assert {column.type for column in fields.columns if column.name not in names} == {second}


def test_how_keys_with_dots_are_nested_is_kept() -> None:
    fields = Fields()
    for keys in (("a", "b.c"), ("a", "b", "c"), ("d", "e"), ("f.g",)):
        fields.note_rest(".".join(keys), "string", keys)

    again = Fields(decode_fields(encode_fields(fields.view())))

    assert again.view().nesting == fields.view().nesting == {"a.b.c": ("a", "b.c"), "f.g": ("f.g",)}

"""JSON in texts is read strictly, and one way in every function."""

from typing import Any

import pytest
from query.functions.conftest import Ask


@pytest.mark.parametrize(
    "text",
    ['{"a":1,}', "[1,]", "[NaN]", "NaN", "[Infinity]", "-Infinity", "nan", "01", "[+1]", "{'a':1}", "{a:1}", "[1] x",
     "[1 /* one */]", '"half', "[" * 5000],
)  # fmt: skip
def test_what_is_no_json_is_the_text_itself_or_null(ask: Ask, text: str) -> None:
    rows = f"datatable(s:string)[@'{text.replace(chr(39), chr(39) * 2)}']" if "'" not in text else f'print s = "{text}"'

    assert ask(f"{rows} | project parse_json(s)") == text
    assert ask(f"{rows} | project todynamic(s)") is None
    assert ask(f"{rows} | project m = parse_json(quote(s)) | project parse_json(m)") == text
    assert ask(f"{rows} | project m = parse_json(quote(s)) | project todynamic(m)") is None


@pytest.mark.parametrize(
    ("apl", "expected"),
    [
        ("parse_json(s).status", 200),
        ("array_length(bag_keys(parse_json(s)))", 1),
        ("parse_json(s)", {"status": 200}),
        ("todynamic(s)", {"status": 200}),
        ("tostring(parse_json(s))", '{"status":200}'),
        ("dynamic_to_json(todynamic(s))", '{"status":200}'),
    ],
)
def test_of_a_key_that_comes_twice_the_last_is_kept(ask: Ask, apl: str, expected: Any) -> None:
    assert ask(f"""datatable(s:string)['{{"status":400,"status":200}}'] | project {apl}""") == expected


def test_no_dictionary_that_a_query_makes_has_a_key_twice(ask: Ask) -> None:
    assert ask('print tostring(bag_pack("a", 1, "a", 2))') == '{"a":2}'
    assert ask('datatable(k:string)["a"] | project tostring(bag_pack(k, 1, "a", 2, k, 3))') == '{"a":3}'
    assert ask('print tostring(dynamic({"a": 1, "a": 2}))') == '{"a":2}'


def test_numbers_keep_every_digit(ask: Ask) -> None:
    assert ask("""print tostring(parse_json('{"n":123456789012345678901234567890}'))""") == (
        '{"n":123456789012345678901234567890}'
    )


def test_one_event_of_another_type_changes_nothing_for_the_others(ask: Ask) -> None:
    mixed = """print m = dynamic(["{\\"a\\":1}", 5, {"a": 7}]) | mv-expand m"""

    assert ask(f"{mixed} | summarize tostring(make_list(todynamic(m)))") == '[{"a":1},5,{"a":7}]'
    assert ask(f"{mixed} | extend a = todynamic(m).a | where isnotnull(a) | summarize sum(a)") == 8


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_a_text_that_means_true_is_true(ask: Ask, text: str) -> None:
    assert ask(f'datatable(s:string)["{text}"] | project tobool(s)') is True


@pytest.mark.parametrize("text", ["yes", "0", "f", "false", "on", "tRUE", " true ", "2", ""])
def test_any_other_text_is_false(ask: Ask, text: str) -> None:
    assert ask(f'datatable(s:string)["{text}"] | project tobool(s)') is False

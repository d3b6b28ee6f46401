"""Pairs in whole columns: what each text alone gives, plainly written or not."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.query.functions.keyvalue_columns import read_columns
from tailrace.query.functions.keyvalues import KeyValueRule, read_pairs

KEYS = ("a", "b", "key", "é", "")
WORDS = [
    "a",
    "b",
    "key",
    "é",
    "=",
    ":",
    " ",
    ",",
    ";",
    '"',
    "'",
    "\t",
    "\n",
    "a=1",
    'b="x, y=z"',
    'key="" ',
    "a: b",
    "x",
]

plain_pairs = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "key", "other"]),
        st.sampled_from(["=", ":"]),
        st.sampled_from(["1", "", '""', '"x y, z=1"', "a/b?c", "%7"]),
        st.sampled_from([" ", ", ", ";", "  "]),
    ).map("".join),
    max_size=5,
).map("".join)
odd_texts = st.lists(st.sampled_from(WORDS), max_size=10).map("".join)


@settings(max_examples=rounds(300))
@given(texts=st.lists(plain_pairs | odd_texts | st.text(max_size=6), max_size=8), start=st.integers(0, 3))
def test_a_column_gives_what_each_text_gives(texts: list[str], start: int) -> None:
    column = pa.array(texts, pa.string()).slice(start)

    found = read_columns(column, KeyValueRule(KEYS))

    assert found.type == pa.list_(pa.string())
    assert found.to_pylist() == [read_pairs(text, KeyValueRule(KEYS)) for text in texts[start:]]


@pytest.mark.parametrize(
    "rule",
    [
        KeyValueRule(("a", "b"), ",", "="),
        KeyValueRule(("a", "b"), quotes=("<>",)),
        KeyValueRule(("a",), escapes=("\\",)),
        KeyValueRule(("a",), greedy=True),
        KeyValueRule(()),
    ],
)
def test_other_rules_are_read_text_by_text(rule: KeyValueRule) -> None:
    texts = ['a=1 b="2"', "a = <x y> b", "b=1,a=2", r'a="\"" ', ""]

    assert read_columns(pa.array(texts), rule).to_pylist() == [read_pairs(text, rule) for text in texts]

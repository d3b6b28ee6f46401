"""Phrases are counted in the sentences of texts."""

import re
from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.functions.udf import UDFS

phrases = UDFS["apl_phrases"].row


def test_a_phrase_inside_of_one_as_frequent_is_not_shown() -> None:
    assert phrases({"disk is full": 2, "disk is slow, disk": 1}, 3) == ["disk", "disk is", "disk is full"]
    assert phrases({"a-b c'd_e": 1, "x.y": 1}, 10) == ["a-b c'd_e", "x", "y"]
    assert phrases({}, 10) == []


def counted(counts: dict[str, int]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for text, count in counts.items():
        for sentence in re.split(r"[.–\n]", text):
            words = sentence.split()
            for start, end in combinations(range(len(words) + 1), 2):
                if end - start <= 5:
                    found[tuple(words[start:end])] += count
    return found


@given(st.dictionaries(st.text("ab \t\n.–", max_size=12), st.integers(1, 3), max_size=5), st.integers(1, 4))
def test_the_most_frequent_phrases_come_first_then_the_longest(counts: dict[str, int], most: int) -> None:
    found = counted(counts)
    shown = {
        phrase: count
        for phrase, count in found.items()
        if not any(
            found[longer] == count and phrase in (longer[1:], longer[:-1])
            for longer in found
            if len(longer) == len(phrase) + 1
        )
    }

    ordered = sorted(shown, key=lambda phrase: (-shown[phrase], -len(phrase), phrase))

    assert phrases(counts, most) == [*map(" ".join, ordered[:most])]

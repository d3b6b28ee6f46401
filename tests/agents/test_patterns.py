"""Kinds of messages."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.agents.patterns import masked, patterns_of

FIRST, LAST = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("user 17 of 4,000 took 12.5ms (-3%)", "user <n> of <n> took <n>ms (<n>%)"),
        ("GET /orders/8f14e45fceea167a/items 200", "GET /orders/<hex>/items <n>"),
        ("session 6f1c2a34-98ab-4cde-8f01-23456789abcd ended", "session <uuid> ended"),
        ("10.0.0.17:5432 refused", "<ip> refused"),
        ("at 2026-11-30T14:05:06.789Z and 14:05:06", "at <time> and <time>"),
        ("mail to jo.do+x@mail.example.org failed", "mail to <email> failed"),
        ("key \"a b\" is not 'c', it isn't", "key \"<text>\" is not '<text>', it isn't"),
        ("worker-12 pointer 0xDEADbeef decade facade", "worker-<n> pointer <hex> decade facade"),
        ("several\n\twhite   spaces ", "several white spaces"),
    ],
)
def test_what_varies_is_named(text: str, mask: str) -> None:
    assert masked(text) == mask


def test_texts_that_differ_in_what_varies_are_one_kind_most_frequent_first() -> None:
    found = patterns_of(
        [
            ("user 1 logged in", 5, "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
            ("disk full", 7, FIRST, LAST),
            ("user 2 logged in", 4, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ]
    )

    assert [(each.pattern, each.events, each.example) for each in found] == [
        ("user <n> logged in", 9, "user 1 logged in"),
        ("disk full", 7, "disk full"),
    ]
    assert (found[0].first, found[0].last) == ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")


def test_texts_that_differ_in_few_words_are_one_kind() -> None:
    texts = [(f"connection to {host} was lost after a while", 1, FIRST, LAST) for host in ("alpha", "beta", "gamma")]

    (found,) = patterns_of(texts)

    assert (found.pattern, found.events) == ("connection to <*> was lost after a while", 3)
    assert len(patterns_of([("cat sat", 1, FIRST, LAST), ("cat ran", 1, FIRST, LAST)])) == 2


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(1, 9)), max_size=20), st.randoms())
@settings(max_examples=rounds(50))
def test_no_event_is_lost_or_counted_twice(texts: list[tuple[str, int]], order: random.Random) -> None:
    found = patterns_of([(text, events, FIRST, LAST) for text, events in texts])

    assert sum(each.events for each in found) == sum(events for _, events in texts)
    assert [each.events for each in found] == sorted((each.events for each in found), reverse=True)


def test_hostile_texts_take_no_longer_than_others() -> None:
    began_s = time.process_time()
    for part in ("a", "1", "'", "1.1.", "a@", "-", "0x", "a.", "'a ", "0-", "1:"):
        assert patterns_of([(part * 50_000, 1, FIRST, LAST)])
    assert time.process_time() - began_s < 10

"""Kinds of messages: texts that differ only in what varies, such as numbers and ids, are one."""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

MAX_WORDS = 60  # of a text; what is behind them does not tell kinds apart
VARIES = "<*>"
SIMILARITY = 0.7  # share of equal words, at the same places, from which on two kinds are one

# What varies within words, in the order in which it is looked for.
_VARIABLES = (
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "<email>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "<ip>"),
    (re.compile(r"\b0[xX][0-9a-fA-F]+\b"), "<hex>"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r'"[^"]{0,200}"'), '"<text>"'),
    (re.compile(r"(?<![\w'])'[^']{0,200}'(?!\w)"), "'<text>'"),
    (re.compile(r"(?<![A-Za-z])[-+]?\d+(?:[.,]\d+)*"), "<n>"),
    (re.compile(r"(?<=[A-Za-z_-])\d+"), "<n>"),
)


class MessageKind(Struct):
    """A kind of messages."""

    pattern: str
    events: int
    example: str  # the most frequent one
    first: str  # RFC 3339
    last: str


class _MergedKind(Struct):
    words: list[str]
    found: MessageKind


def patterns_of(messages: Iterable[tuple[str, int, str, str]]) -> Sequence[MessageKind]:
    """Return the kinds of messages, most frequent first; given are text, number of events, first and last time."""
    by_mask: dict[str, MessageKind] = {}
    for text, events, first, last in messages:
        mask = masked(text)
        known = by_mask.get(mask)
        if known is None:
            by_mask[mask] = MessageKind(mask, events, text, first, last)
        else:
            _add(known, events, first, last)
    merged: dict[tuple[int, str], list[_MergedKind]] = {}
    for each in sorted(by_mask.values(), key=lambda each: -each.events):
        _merge(merged, each)
    kinds = [kind for several in merged.values() for kind in several]
    for kind in kinds:
        kind.found.pattern = " ".join(kind.words)
    return sorted((kind.found for kind in kinds), key=lambda each: (-each.events, each.pattern))


def masked(text: str) -> str:
    """Return a text whose numbers, ids, times, addresses and quoted parts are named in place of them."""
    words = " ".join(text.split(None, MAX_WORDS)[:MAX_WORDS])
    for variable, name in _VARIABLES:
        words = variable.sub(name, words)
    return words


def _merge(merged: dict[tuple[int, str], list[_MergedKind]], found: MessageKind) -> None:
    """Put a kind to a similar one of as many words and the same first word, where there is one."""
    words = found.pattern.split(" ")
    alike = merged.setdefault((len(words), words[0]), [])
    for kind in alike:
        equal = sum(one == other for one, other in zip(kind.words, words, strict=True))
        if equal < len(words) and equal >= SIMILARITY * len(words):
            kind.words = [one if one == other else VARIES for one, other in zip(kind.words, words, strict=True)]
            _add(kind.found, found.events, found.first, found.last)
            return
    alike.append(_MergedKind(words, found))


def _add(known: MessageKind, events: int, first: str, last: str) -> None:
    known.events += events
    known.first, known.last = min(known.first, first), max(known.last, last)

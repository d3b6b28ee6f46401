"""What the aggregations `phrases` and `spotlight` make of counts, in Python over the few rows of a result."""

import re
from collections import Counter
from heapq import nsmallest
from typing import Any

from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, LONG

MAX_WORDS = 5  # of a phrase
MAX_VALUES = 10  # of a field, that a report shows

_BETWEEN_SENTENCES = re.compile(r"[^\s\w'-]+|\n")
_ASCII_BREAKS = {code: "\n" for code in range(128) if _BETWEEN_SENTENCES.match(chr(code))}


def _phrases(counts: dict[str, int], most: int) -> list[str]:
    """Return the most frequent phrases; one inside of a longer phrase that is as frequent is not shown."""
    texts: dict[int, list[str]] = {}
    for text, count in counts.items():
        texts.setdefault(count, []).append(text)
    counted: Counter[tuple[str, ...]] = Counter()
    for count, same in texts.items():
        phrases = _phrases_of("\n".join(same))
        counted.update(phrases if count == 1 else {phrase: n * count for phrase, n in phrases.items()})
    covered = {
        part
        for phrase, count in counted.items()
        if len(phrase) > 1
        for part in (phrase[1:], phrase[:-1])
        if counted[part] == count
    }
    ranked: dict[tuple[int, int], list[tuple[str, ...]]] = {}
    for phrase, count in counted.items():
        if phrase not in covered:
            ranked.setdefault((count, len(phrase)), []).append(phrase)
    shown: list[str] = []
    for rank in sorted(ranked, reverse=True):
        if len(shown) < most:
            shown += map(" ".join, nsmallest(most - len(shown), ranked[rank]))
    return shown


def _phrases_of(text: str) -> Counter[tuple[str, ...]]:
    """How often each phrase of up to MAX_WORDS words is in the sentences of a text."""
    sentences = text.translate(_ASCII_BREAKS).split("\n") if text.isascii() else _BETWEEN_SENTENCES.split(text)
    counted: Counter[tuple[str, ...]] = Counter(zip(" ".join(sentences).split(), strict=True))
    longer = [words for words in map(str.split, sentences) if len(words) > 1]
    for size in range(2, MAX_WORDS + 1):
        for words in longer:
            counted.update(zip(*(words[n:] for n in range(size)), strict=False))
    return counted


def _spotlight(fields: list[dict[str, Any]], selected: int, baseline: int) -> list[dict[str, Any]]:
    """Return fields by how much they differ, at most by 1."""
    reports = []
    for field in fields:
        inside, outside = field["selected"] or {}, field["baseline"] or {}
        if field["numeric"] and len(inside.keys() | outside.keys()) > MAX_VALUES:
            reports.append(_numeric(field["field"], inside, outside))
        else:
            reports.append(_categorical(field["field"], inside, outside, selected, baseline))
    return sorted(reports, key=lambda report: (-report["score"], report["field"]))


def _categorical(
    name: str, inside: dict[str, int], outside: dict[str, int], selected: int, baseline: int
) -> dict[str, Any]:
    values: list[dict[str, Any]] = []
    for value in inside.keys() | outside.keys():
        here, there = inside.get(value, 0), outside.get(value, 0)
        share, base = here / max(selected, 1), there / max(baseline, 1)
        values.append(
            {"value": value, "selected": here, "baseline": there, "selectedShare": share, "baselineShare": base,
             "difference": share - base}
        )  # fmt: skip
    values.sort(key=lambda each: (-abs(each["difference"]), each["value"]))
    score = max((abs(each["difference"]) for each in values), default=0.0)
    return {"field": name, "type": "categorical", "score": score, "values": values[:MAX_VALUES]}


def _numeric(name: str, inside: dict[str, int], outside: dict[str, int]) -> dict[str, Any]:
    here, there = _numbers(inside), _numbers(outside)
    return {"field": name, "type": "numeric", "score": _distance(here, there), "selected": _box(here),
            "baseline": _box(there)}  # fmt: skip


def _numbers(counts: dict[str, int]) -> list[tuple[float, int]]:
    numbers = []
    for text, count in counts.items():
        try:
            numbers.append((float(text), count))
        except ValueError:
            continue  # a timespan, or what is not finite
    return sorted(numbers)


def _box(values: list[tuple[float, int]]) -> dict[str, Any]:
    total = sum(count for _, count in values)
    if not total:
        return {"count": 0}
    marks = {"min": 0.0, "p25": 0.25, "p50": 0.5, "p75": 0.75, "max": 1.0}
    shown: dict[str, Any] = {"count": total}
    for mark, share in marks.items():
        reached = 0
        for value, count in values:
            reached += count
            if reached >= share * total:
                shown[mark] = value
                break
    return shown


def _distance(here: list[tuple[float, int]], there: list[tuple[float, int]]) -> float:
    """Return the largest difference between the shares of values up to any number (Kolmogorov and Smirnov's)."""
    total, base = sum(n for _, n in here) or 1, sum(n for _, n in there) or 1
    steps = sorted([(v, n / total) for v, n in here] + [(v, -n / base) for v, n in there])
    level = largest = 0.0
    for n, (value, step) in enumerate(steps):
        level += step
        if n + 1 == len(steps) or steps[n + 1][0] != value:
            largest = max(largest, abs(level))
    return largest


phrases = udf("apl_phrases", [DYNAMIC, LONG], DYNAMIC)(_phrases)
spotlight = udf("apl_spotlight", [DYNAMIC, LONG, LONG], DYNAMIC)(_spotlight)

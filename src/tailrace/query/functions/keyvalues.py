"""Pairs of keys and values in a text, as parse-kv reads them: one scan from left to right that honours quotes.

Source: Kusto's page of the operator (learn.microsoft.com/kusto/query/parse-kv-operator).
"""

import re
from functools import lru_cache

from msgspec import Struct


class KeyValueRule(Struct, frozen=True):
    """How pairs are written. Without a pair delimiter white space, commas and semicolons part them, and without a
    delimiter of key and value those are `=` and `:`.
    """

    keys: tuple[str, ...]  # that are wanted
    pair_delimiter: str = ""
    kv_delimiter: str = ""
    quotes: tuple[str, ...] = ('"', "'")  # each one character, or an opening and a closing one
    escapes: tuple[str, ...] = ()  # characters; in quotes, one keeps the quote or escape after it from its meaning
    greedy: bool = False  # an unquoted value goes on to where the next key is


def read_pairs(text: str, rule: KeyValueRule) -> list[str | None]:
    """Return the value of each key that is wanted, the first where it comes twice; None for a key that is missing.

    White space around keys and values is left out, but for what parts pairs. A quote that is not closed is a character
    like any other. The time it takes is in proportion to the text.
    """
    pairs = _plain_pairs(text, rule)
    if pairs is None:
        pairs = scanned_pairs(text, rule)
    return [*map(pairs.get, rule.keys)]


def scanned_pairs(text: str, rule: KeyValueRule) -> dict[str, str]:
    """Return the values of the keys that are wanted, by one scan."""
    pairs: dict[str, str] = {}
    keys = set(rule.keys)
    scan = _Scan(text, rule)
    while len(pairs) < len(keys) and (pair := scan.next_pair()) is not None:
        key, value = pair
        if key in keys:
            pairs.setdefault(key, value)
    return pairs


_DEFAULT_QUOTES = ('"', "'")
# A key is looked for only where one can begin, so that no text is read again and again.
_PAIR = re.compile(r"""(?<![^\s,;=:"'])([^\s,;=:"']++)[=:](?:("[^"]*+")[^\s,;"']*+|([^\s,;"']*+))""")
_BARE_PAIR = re.compile(r"(?<![^\s,;=:])([^\s,;=:]++)[=:]([^\s,;]*+)")
_PRINTABLE_PAIR = re.compile(_PAIR.pattern.replace(r"\s", " "))  # faster than with a class of characters
_PRINTABLE_BARE_PAIR = re.compile(_BARE_PAIR.pattern.replace(r"\s", " "))
_APART = re.compile(r"\s[=:]|:\s|'")


def _plain_pairs(text: str, rule: KeyValueRule) -> dict[str, str] | None:
    """Return the values of all keys, as a scan finds them, several times as fast; None where only a scan can tell
    them.
    """
    if rule.greedy:
        return None
    pair, kv = rule.pair_delimiter, rule.kv_delimiter
    if pair and kv:
        if any(quote[0] in text for quote in rule.quotes) or pair in kv or kv in pair:
            return None
        pairs: dict[str, str] = {}
        for part in text.split(pair):
            key, delimiter, value = part.partition(kv)
            if delimiter:
                key = key.strip()
                if not key:
                    return None  # the next delimiter may have one before it
                pairs.setdefault(key, value.strip())
        return pairs
    if pair or kv or rule.quotes != _DEFAULT_QUOTES or rule.escapes:
        return None
    printable = text.isprintable()
    if printable:  # so that blanks are its only white space
        if " =" in text or " :" in text or ": " in text or "'" in text:
            return None
    elif _APART.search(text):
        return None
    if '"' not in text:
        return dict(reversed((_PRINTABLE_BARE_PAIR if printable else _BARE_PAIR).findall(text)))
    matches = (_PRINTABLE_PAIR if printable else _PAIR).findall(text)
    pairs = {}
    quotes = 0
    for key, quoted, value in reversed(matches):
        if quoted:
            quotes += 2
            value = quoted[1:-1]
        pairs[key] = value
    return pairs if quotes == text.count('"') else None  # one is not around a value


class _Marks(Struct, frozen=True):
    """What a scan by a rule looks for."""

    kv: "re.Pattern[str]"
    pair: "re.Pattern[str]"
    kv_or_quote: "re.Pattern[str]"
    closes: dict[str, str]  # by the opening quote
    stops: dict[str, "re.Pattern[str]"]  # in quotes: the closing one, or an escape


@lru_cache(maxsize=64)
def _marks(rule: KeyValueRule) -> _Marks:
    kv = re.escape(rule.kv_delimiter) if rule.kv_delimiter else "[=:]"
    pair = re.escape(rule.pair_delimiter) if rule.pair_delimiter else r"[\s,;]"
    closes = {quote[0]: quote[-1] for quote in rule.quotes}
    opening = "".join(map(re.escape, closes))
    return _Marks(
        kv=re.compile(kv),
        pair=re.compile(pair),
        kv_or_quote=re.compile(f"{kv}|[{opening}]" if closes else kv),
        closes=closes,
        stops={close: re.compile(f"[{''.join(map(re.escape, (close, *rule.escapes)))}]") for close in closes.values()},
    )


_NOT_IN_A_KEY = re.compile(r"[^\w.@/-]")


class _Scan:
    def __init__(self, text: str, rule: KeyValueRule) -> None:
        self._text = text
        self._rule = rule
        self._marks = _marks(rule)
        self._unclosed: set[str] = set()  # closing quotes that the rest of the text has none of
        self._at = 0

    def next_pair(self) -> tuple[str, str] | None:
        """Return the next key with its value; None at the end of the text."""
        text, marks, delimiter = self._text, self._marks, self._rule.pair_delimiter
        look = self._at
        while (mark := marks.kv_or_quote.search(text, look)) is not None:
            begin = mark.start()
            if mark[0] in marks.closes:
                quoted = self._quoted(begin) if self._can_begin(begin) else None
                if quoted is not None:
                    key, self._at = quoted
                    middle = marks.kv.match(text, self._after_white(self._at))
                    if middle is not None:
                        return key, self._value(middle)
                    look = self._at
                    continue
                if marks.kv.match(text, begin) is None:  # a character like any other
                    look = mark.end()
                    continue
            before = text[self._at : begin].rstrip()
            key = before.rpartition(delimiter)[2].strip() if delimiter else marks.pair.split(before)[-1].strip()
            self._at = look = mark.end()
            if key:
                return key, self._value(mark)
        return None

    def _can_begin(self, at: int) -> bool:
        """Whether a key can begin here."""
        before = self._text[at - 1 : at]
        delimiter = self._rule.pair_delimiter
        if not before or before.isspace():
            return True
        return self._text.endswith(delimiter, 0, at) if delimiter else before in ",;"

    def _value(self, middle: "re.Match[str]") -> str:
        """Return the value after a delimiter of key and value; the scan goes on at its end."""
        text = self._text
        start = self._start_of_value(middle)
        quoted = self._quoted(start) if text[start : start + 1] in self._marks.closes else None
        if quoted is not None:
            value, end = quoted
            self._at = self._end_of_pair(end)
            return value
        if self._rule.greedy:
            next_key = self._start_of_next_key(start)
            end = len(text) if next_key is None else next_key
        else:
            end = self._end_of_pair(start)
        self._at = end
        return text[start:end].strip()

    def _end_of_pair(self, at: int) -> int:
        if self._rule.pair_delimiter:
            end = self._text.find(self._rule.pair_delimiter, at)
            return len(self._text) if end < 0 else end
        part = self._marks.pair.search(self._text, at)
        return len(self._text) if part is None else part.start()

    def _start_of_value(self, middle: "re.Match[str]") -> int:
        text, delimiter = self._text, self._rule.pair_delimiter
        at = middle.end()
        if not delimiter:
            # `a: b` and `a = b` are pairs; `a= b` is an empty value.
            spaced = middle[0] == ":" or text[middle.start() - 1 : middle.start()].isspace()
            return self._after_white(at) if spaced else at
        while text[at : at + 1].isspace() and not text.startswith(delimiter, at):
            at += 1
        return at

    def _start_of_next_key(self, start: int) -> int | None:
        """Where the delimiter before the next key is."""
        text, marks, delimiter = self._text, self._marks, self._rule.pair_delimiter
        done = start
        for middle in marks.kv.finditer(text, start):
            name_end = middle.start()
            while name_end > done and text[name_end - 1].isspace():
                name_end -= 1
            name = name_end
            while name > done and not _NOT_IN_A_KEY.match(text[name - 1]):
                name -= 1
            gap = name
            while gap > done and text[gap - 1].isspace():
                gap -= 1
            if name < name_end:
                if not delimiter and name > start and marks.pair.match(text, name - 1):
                    return name - 1
                for end in (name, gap) if delimiter else ():
                    if text.endswith(delimiter, start, end):
                        return end - len(delimiter)
            done = middle.end()
        return None

    def _quoted(self, at: int) -> tuple[str, int] | None:
        """Return what quotes that open here hold, and where it ends; None where none do, or nothing closes them."""
        text, marks, escapes = self._text, self._marks, self._rule.escapes
        opening = text[at : at + 1]
        close = marks.closes.get(opening)
        if close is None or close in self._unclosed:
            return None
        pieces = []
        begin = look = at + 1
        while (stop := marks.stops[close].search(text, look)) is not None:
            following = text[stop.end() : stop.end() + 1]
            if stop[0] in escapes and following and (following in (opening, close) or following in escapes):
                pieces.append(text[begin : stop.start()])
                begin, look = stop.end(), stop.end() + 1
            elif stop[0] == close:
                pieces.append(text[begin : stop.start()])
                return "".join(pieces), stop.end()
            else:
                look = stop.end()
        self._unclosed.add(close)
        return None

    def _after_white(self, at: int) -> int:
        while self._text[at : at + 1].isspace():
            at += 1
        return at

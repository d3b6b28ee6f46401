"""A reader of Prometheus' query language, as far as alerts and dashboards need it: what they select, and how.

https://prometheus.io/docs/prometheus/latest/querying/basics/; types of values are not checked, but for ranges.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

AGGREGATIONS = {"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "group", "stddev"}
OF_RANGES = {"rate", "irate", "increase", "delta", "deriv", "predict_linear", "min_over_time", "max_over_time"}
OTHERS = {"histogram_quantile", "time", "abs", "clamp_min", "clamp_max", "absent", "scalar", "vector", "label_replace"}
OPERATORS = ("==", "!=", ">=", "<=", "or", "and", "unless", ">", "<", "+", "-", "*", "/", "%", "^")
_TOKEN = re.compile(
    r"\s*(?:(?P<duration>\d+[smhdwy]|\$__\w+)|(?P<number>\d+(?:\.\d+)?(?:e\d+)?)|(?P<name>[a-zA-Z_:][\w:]*)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^<>=(){}\[\],]))'
)


class Selector(Struct, frozen=True):
    """What is selected: a metric, and the labels that the expression names of it."""

    metric: str
    labels: frozenset[str]


class Expression(Struct):
    """An expression that was read."""

    selectors: list[Selector]
    grouped_by: set[str]  # labels that its aggregations name


class PromQLError(ValueError):
    """The expression is none."""


def parse(text: str) -> Expression:
    """Return what an expression selects; raise PromQLError."""
    reader = _Reader(list(_tokens(text)))
    if reader.binary():
        raise PromQLError("a range is no value that could be shown")
    if reader.kind:
        raise PromQLError(f"{reader.value!r} is too much")
    return Expression(reader.selectors, reader.grouped_by)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None or not found.lastgroup:
            raise PromQLError(f"nothing can be made of {text[at:]!r}")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("", "")]
        self.selectors: list[Selector] = []
        self.grouped_by: set[str] = set()

    @property
    def kind(self) -> str:
        return self._tokens[0][0]

    @property
    def value(self) -> str:
        return self._tokens[0][1]

    def take(self, *values: str) -> str:
        """Return the next token, which must be one of the values, if there are any."""
        kind, value = self._tokens.pop(0)
        if not kind or (values and value not in values):
            raise PromQLError(f"{value or 'the end'!r}, where one of {values or 'more'} should be")
        return value

    def taken(self, value: str) -> bool:
        if self.value == value:
            self.take()
            return True
        return False

    def binary(self) -> bool:
        """Read operands with operators between them; return whether it is one range of samples."""
        is_range = self.operand()
        while self.value in OPERATORS:
            if is_range:
                raise PromQLError("an operator takes no range")
            self.take()
            if self.operand():
                raise PromQLError("an operator takes no range")
        return is_range

    def operand(self) -> bool:
        if self.taken("("):
            is_range = self.binary()
            self.take(")")
            return is_range
        if self.taken("-"):
            return self.operand()
        if self.kind in ("number", "text"):
            self.take()
            return False
        if self.kind != "name":
            raise PromQLError(f"{self.value!r} is no operand")
        name = self.take()
        if name in AGGREGATIONS:
            self.aggregation()
            return False
        if self.value == "(":
            self.call(name)
            return False
        return self.selector(name)

    def aggregation(self) -> None:
        if self.value in ("by", "without"):
            self.grouping()
        if any(self.arguments()):
            raise PromQLError("an aggregation takes no range")
        if self.value in ("by", "without"):
            self.grouping()

    def grouping(self) -> None:
        self.take("by", "without")
        self.take("(")
        while not self.taken(")"):
            self.grouped_by.add(self.take())
            if self.value != ")":
                self.take(",")

    def call(self, name: str) -> None:
        if name not in OF_RANGES | OTHERS:
            raise PromQLError(f"{name} is no function that is known here")
        if any(self.arguments()) != (name in OF_RANGES):
            raise PromQLError(f"{name} takes {'a' if name in OF_RANGES else 'no'} range")

    def arguments(self) -> list[bool]:
        self.take("(")
        ranges = []
        while not self.taken(")"):
            ranges.append(self.binary())
            if self.value != ")":
                self.take(",")
        return ranges

    def selector(self, metric: str) -> bool:
        labels = set()
        if self.taken("{"):
            while not self.taken("}"):
                labels.add(self.take())
                matcher = self.take("=", "!=", "=~", "!~")
                if self.kind != "text":
                    raise PromQLError(f"{self.value!r} is no value of a label")
                value = self.take()
                if "~" in matcher:
                    re.compile(value[1:-1])
                if self.value != "}":
                    self.take(",")
        self.selectors.append(Selector(metric, frozenset(labels)))
        if not self.taken("["):
            return False
        if self.kind != "duration":
            raise PromQLError(f"{self.value!r} is no duration")
        self.take()
        self.take("]")
        return True

"""The tree of a LogQL query."""

from typing import Literal

from msgspec import Struct

MatchOperator = Literal["=", "!=", "=~", "!~"]
CompareOperator = Literal["==", "!=", ">", ">=", "<", "<="]
ArithmeticOperator = Literal["+", "-", "*", "/"]
SetOperator = Literal["and", "or", "unless"]
Unit = Literal["number", "seconds", "bytes"]  # what a label's text is read as: 1.5, 1m30s, 5 MiB


class Matcher(Struct, frozen=True):
    """A condition on the text of a label."""

    label: str
    operator: MatchOperator
    value: str


class LineFilter(Struct, frozen=True):
    """A condition on the line: that it contains one of the texts, or matches one of the patterns; or that none."""

    operator: Literal["|=", "!=", "|~", "!~"]
    values: tuple[str, ...]


class Comparison(Struct, frozen=True):
    """A condition on the number of a label; a duration is in seconds."""

    label: str
    operator: CompareOperator
    value: float
    unit: Unit = "number"


class Either(Struct, frozen=True):
    """Conditions on labels of which one, or with `every` all, must be met."""

    parts: "tuple[LabelFilter, ...]"
    every: bool


LabelFilter = Matcher | Comparison | Either


class Extraction(Struct, frozen=True):
    """`| json` or `| logfmt`: labels that are no fields are looked for in the line."""

    kind: Literal["json", "logfmt"]


class LineFormat(Struct, frozen=True):
    """The line as a template, whose odd parts are names of labels."""

    parts: tuple[str, ...]


class Rename(Struct, frozen=True):
    """A label that gets the text of another one, which is no longer there; where that is not there it stays."""

    label: str
    source: str


class Template(Struct, frozen=True):
    """A label as a template, whose odd parts are names of labels."""

    label: str
    parts: tuple[str, ...]


class LabelFormat(Struct, frozen=True):
    """`| label_format`, one after another."""

    formats: tuple[Rename | Template, ...]


class Labels(Struct, frozen=True):
    """`| keep` or `| drop` of labels."""

    names: tuple[str, ...]
    kept: bool


class Unwrap(Struct, frozen=True):
    """The label whose number the samples have."""

    label: str
    unit: Unit = "number"


Stage = LineFilter | LabelFilter | Extraction | LineFormat | LabelFormat | Labels | Unwrap


class LogQuery(Struct, frozen=True):
    """A query for lines."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


class Grouping(Struct, frozen=True):
    """The labels that series are told apart by: `by` those, or `without` them by all others."""

    labels: tuple[str, ...] = ()
    is_without: bool = False

    def has(self, label: str) -> bool:
        """Return whether a label is one of them."""
        return (label in self.labels) != self.is_without


class RangeAggregation(Struct, frozen=True):
    """A number for each time, of what was in the range before it, or before so long ago."""

    function: str
    query: LogQuery
    range_ns: int
    quantile: float = 0.0
    grouping: Grouping = Grouping(is_without=True)  # without any: by the labels of streams
    also: tuple[str, ...] = ()  # labels beside those of streams, which are asked for further out
    offset_ns: int = 0  # negative: later


class VectorAggregation(Struct, frozen=True):
    """A number of those of several series."""

    function: str
    of: "Metric"
    grouping: Grouping = Grouping()
    count: int = 0  # of topk and bottomk


class Arithmetic(Struct, frozen=True):
    """A series and a number, or the other way round; a comparison leaves out the points that do not meet it."""

    operator: ArithmeticOperator | CompareOperator
    of: "Metric"
    number: float
    reversed: bool = False  # the number is on the left


class JoinedSeries(Struct, frozen=True):
    """The series of two queries that have the same labels; of `or` and `unless` also those of one alone."""

    operator: ArithmeticOperator | CompareOperator | SetOperator
    left: "Metric"
    right: "Metric"


class Vector(Struct, frozen=True):
    """`vector(2)`: one series without labels, with that number at each time."""

    value: float


Metric = RangeAggregation | VectorAggregation | Arithmetic | JoinedSeries | Vector

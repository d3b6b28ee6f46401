"""LogQL's grammar, in the subset that Grafana's log panels use; what else there is in it is refused by name."""

import re
from typing import NoReturn, cast, get_args

from msgspec import Struct

from tailrace.events import QueryInvalid
from tailrace.query.logql.tree import (
    Arithmetic,
    ArithmeticOperator,
    CompareOperator,
    Comparison,
    Either,
    Extraction,
    Grouping,
    JoinedSeries,
    LabelFilter,
    LabelFormat,
    Labels,
    LineFilter,
    LineFormat,
    LogQuery,
    Matcher,
    MatchOperator,
    Metric,
    RangeAggregation,
    Rename,
    SetOperator,
    Stage,
    Template,
    Unit,
    Unwrap,
    Vector,
    VectorAggregation,
)

RANGE_FUNCTIONS = frozenset({"count_over_time", "rate", "bytes_over_time", "bytes_rate"})
UNWRAPPED_FUNCTIONS = frozenset({
    "sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "quantile_over_time", "stdvar_over_time",
    "stddev_over_time", "rate",
})  # fmt: skip
VECTOR_FUNCTIONS = frozenset({"sum", "avg", "min", "max", "count", "topk", "bottomk"})
VECTOR = "vector"
CONVERSIONS: dict[str, Unit] = {"duration": "seconds", "duration_seconds": "seconds", "bytes": "bytes"}  # of unwrap
MAX_DEPTH = 50  # of what is in brackets
MAX_LENGTH = 16_384  # characters of a query
NS_PER_S = 1_000_000_000
MAX_DURATION_NS = 2**63 - 1  # about 292 years, as Go has them
MAX_RANGE_NS = 100 * 365 * 86_400 * NS_PER_S
MAX_COUNT = 1_000_000  # of topk and bottomk
_UNITS_NS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": NS_PER_S, "m": 60 * NS_PER_S}
_UNITS_NS |= {"h": 3600 * NS_PER_S, "d": 86_400 * NS_PER_S, "w": 604_800 * NS_PER_S, "y": 365 * 86_400 * NS_PER_S}
_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_OPERATORS = (("or",), ("and", "unless"), ("==", "!=", ">", ">=", "<", "<="), ("+", "-"), ("*", "/"))
MAX_RANGES = 10  # of a query, each of which is a query of its own
MAX_OPERATORS = 100  # between queries, and numbers, as trees are walked by recursion
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w|y)")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*)
    |(?P<duration>(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+(?![A-Za-z0-9_]))
    |(?P<size>\d+(?:\.\d+)?(?i:[kmgt]i?b|b)(?![A-Za-z0-9_]))
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<name>[A-Za-z_][A-Za-z0-9_.:]*)
    |(?P<sign>\|=|\|~|\|>|!~|!=|!>|=~|==|>=|<=|[{}()\[\],=<>|+\-*/%^])""",
    re.VERBOSE,
)
_TEMPLATE = re.compile(r"\{\{\s*\.([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", '"': '"', "\\": "\\", "'": "'"}


class LogqlError(QueryInvalid):
    """The LogQL cannot be run as written."""

    code = "logql_invalid"


class _Token(Struct, frozen=True):
    kind: str  # of _TOKEN's groups; "end"
    text: str
    at: int


def parse(text: str) -> LogQuery | Metric:
    """Return the tree of a query. Raise LogqlError, with the place."""
    if len(text) > MAX_LENGTH:
        raise LogqlError(f"the query is longer than {MAX_LENGTH} characters")
    parser = _Parser(text)
    found = parser.query()
    parser.expect_end()
    return found


def duration_ns(text: str) -> int | None:
    """Return a duration such as 1h30m in ns, None for what is none; MAX_DURATION_NS for a longer one."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        return None
    return int(min(sum(float(number) * _UNITS_NS[unit] for number, unit in _DURATION.findall(text)), MAX_DURATION_NS))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._lexed()
        self._next = 0
        self._depth = 0
        self._ranges = self._operators = 0

    # Tokens

    def _lexed(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                self._refuse(f"{self._text[at]!r} is not expected", at)
            if found.lastgroup != "space":
                tokens.append(_Token(found.lastgroup or "", found[0], at))
            at = found.end()
        tokens.append(_Token("end", "", at))
        return tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _is(self, *texts: str) -> bool:
        return self._token.kind in ("sign", "name") and self._token.text in texts

    def _accept(self, *texts: str) -> str:
        """Return the next token where it is one of these, and go on; otherwise nothing."""
        if not self._is(*texts):
            return ""
        self._next += 1
        return self._tokens[self._next - 1].text

    def _expect(self, *texts: str) -> str:
        return self._accept(*texts) or self._refuse(f"{_shown(self._token)} is not expected, but {' or '.join(texts)}")

    def _take(self, kind: str, what: str) -> str:
        if self._token.kind != kind:
            self._refuse(f"{_shown(self._token)} is not expected, but {what}")
        self._next += 1
        return self._tokens[self._next - 1].text

    def _string(self, what: str = "a text in quotes") -> str:
        text = self._take("string", what)
        return text[1:-1] if text[0] == "`" else _ESCAPE.sub(_unescaped, text[1:-1])

    def expect_end(self) -> None:
        if self._token.kind != "end":
            if self._is("%", "^"):
                self._refuse(f"{self._token.text} is not supported")
            self._refuse(f"{_shown(self._token)} is not expected after the query")

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        place = self._token.at if at is None else at
        before = self._text[:place]
        line, column = before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1
        raise LogqlError(f"line {line}, column {column}: {why}")

    # Queries

    def query(self) -> LogQuery | Metric:
        """Parse a query of lines or of numbers."""
        if self._is("{"):
            return self._log_query()
        return self._metric_query()

    def _metric_query(self) -> Metric:
        return self._metric(self._binary(0))

    def _binary(self, level: int) -> Metric | float:
        """Parse operators that bind as strongly as those of a level, from the weakest on, or more so."""
        if level == len(_OPERATORS):
            return self._metric_term()
        left = self._binary(level + 1)
        while operator := self._accept(*_OPERATORS[level]):
            self._operators += 1
            if self._operators > MAX_OPERATORS:
                self._refuse(f"a query has at most {MAX_OPERATORS} operators")
            if self._is("bool", "on", "ignoring", "group_left", "group_right"):
                self._refuse(f"{self._token.text} is not supported: two queries are joined by all of their labels")
            left = self._joined(operator, left, self._binary(level + 1))
        return left

    def _joined(self, operator: str, left: Metric | float, right: Metric | float) -> Metric:
        if isinstance(right, float) and isinstance(left, float):
            self._refuse(f"{operator} of two numbers is not supported")
        if isinstance(left, float) or isinstance(right, float):
            if operator in get_args(SetOperator):
                self._refuse(f"{operator} takes two queries: a number is one as vector(0)")
            sign = cast("ArithmeticOperator | CompareOperator", operator)
            if isinstance(left, float):
                assert not isinstance(right, float)
                return Arithmetic(sign, right, left, reversed=True)
            assert isinstance(right, float)
            return Arithmetic(sign, left, right)
        return JoinedSeries(cast("ArithmeticOperator | CompareOperator | SetOperator", operator), left, right)

    def _metric(self, found: Metric | float) -> Metric:
        return self._refuse("a number alone is no query") if isinstance(found, float) else found

    def _metric_term(self) -> Metric | float:
        if self._token.kind == "number":
            return float(self._take("number", "a number"))
        if self._accept("-"):
            return -float(self._take("number", "a number"))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"it is nested more than {MAX_DEPTH} times")
        if self._accept("("):
            inner = self._metric_query()
            self._expect(")")
        else:
            inner = self._aggregation()
        self._depth -= 1
        return inner

    def _aggregation(self) -> Metric:
        at, name = self._token.at, self._take("name", 'a function, or a selector such as {job="api"}')
        if name in VECTOR_FUNCTIONS:
            return self._vector_aggregation(name)
        if name in RANGE_FUNCTIONS | UNWRAPPED_FUNCTIONS:
            return self._range_aggregation(name, at)
        if name == VECTOR:
            return self._vector()
        known = ", ".join(sorted(RANGE_FUNCTIONS | UNWRAPPED_FUNCTIONS | VECTOR_FUNCTIONS | {VECTOR}))
        return self._refuse(f"{name} is not supported; there are {known}", at)

    def _vector_aggregation(self, name: str) -> VectorAggregation:
        grouping = self._grouping()
        self._expect("(")
        count = 0
        if name in ("topk", "bottomk"):
            count = int(min(float(self._take("number", "how many")), MAX_COUNT))
            self._expect(",")
        of = self._metric_query()
        self._expect(")")
        return VectorAggregation(name, of, grouping or self._grouping() or Grouping(), count)

    def _vector(self) -> Vector:
        self._expect("(")
        value = -1.0 if self._accept("-") else 1.0
        value *= float(self._take("number", "a number"))
        self._expect(")")
        return Vector(value)

    def _grouping(self) -> Grouping | None:
        word = self._accept("by", "without")
        if not word:
            return None
        self._expect("(")
        return Grouping(self._names(")"), is_without=word == "without")

    def _names(self, end: str) -> tuple[str, ...]:
        names = []
        while not self._accept(end):
            names.append(self._take("name", "a label"))
            if not self._is(end):
                self._expect(",")
        return tuple(names)

    def _range_aggregation(self, name: str, at: int) -> RangeAggregation:
        self._ranges += 1
        if self._ranges > MAX_RANGES:
            self._refuse(f"a query has at most {MAX_RANGES} ranges", at)
        self._expect("(")
        quantile = 0.0
        if name == "quantile_over_time":
            place = self._token.at
            quantile = float(self._take("number", "a share from 0 to 1"))
            if quantile > 1:
                self._refuse("a quantile is a share from 0 to 1", place)
            self._expect(",")
        is_bracketed = bool(self._accept("("))  # with the range, or before it
        query = self._log_query()
        is_open = is_bracketed and not self._accept(")")
        range_ns, offset_ns = self._range(), self._offset()
        more = self._stages()  # Grafana writes stages on either side of the range
        query = LogQuery(query.matchers, (*query.stages, *more))
        if is_open:
            self._expect(")")
        if self._is("offset"):
            self._refuse("offset stands right behind the range, as in [5m] offset 1h")
        self._expect(")")
        is_unwrapped = any(isinstance(stage, Unwrap) for stage in query.stages)
        if is_unwrapped and name not in UNWRAPPED_FUNCTIONS:
            self._refuse(f"{name} counts lines: it takes no unwrap", at)
        if not is_unwrapped and name not in RANGE_FUNCTIONS:
            self._refuse(f"{name} needs `| unwrap` with the label whose numbers it takes", at)
        grouping = self._grouping() or Grouping(is_without=True)
        return RangeAggregation(name, query, range_ns, quantile, grouping, offset_ns=offset_ns)

    def _range(self) -> int:
        self._expect("[")
        at = self._token.at
        found = duration_ns(self._take("duration", "a range such as 5m"))
        self._expect("]")
        if not found or found > MAX_RANGE_NS:
            self._refuse("the range is longer than 100 years" if found else "the range is 0", at)
        return found

    def _offset(self) -> int:
        if not self._accept("offset"):
            return 0
        sign = -1 if self._accept("-") else 1
        at = self._token.at
        found = duration_ns(self._take("duration", "how long before, such as 5m")) or 0
        if found > MAX_RANGE_NS:
            self._refuse("the offset is longer than 100 years", at)
        return sign * found

    def _log_query(self) -> LogQuery:
        self._expect("{")
        matchers = []
        while not self._accept("}"):
            label = self._take("name", "a label")
            operator = cast("MatchOperator", self._expect(*get_args(MatchOperator)))
            matchers.append(Matcher(label, operator, self._string()))
            if not self._is("}"):
                self._expect(",")
        return LogQuery(tuple(matchers), self._stages())

    # Stages

    def _stages(self) -> tuple[Stage, ...]:
        stages: list[Stage] = []
        while self._is("|=", "!=", "|~", "!~", "|", "|>", "!>"):
            if self._is("|>", "!>"):
                self._refuse(f"{self._token.text} is not supported")
            operator = self._accept("|=", "!=", "|~", "!~")
            stages.append(self._line_filter(operator) if operator else self._stage())
        return tuple(stages)

    def _line_filter(self, operator: str) -> LineFilter:
        values = [self._string()]
        while self._accept("or"):
            values.append(self._string())
        return LineFilter(operator, tuple(values))  # type: ignore[arg-type]

    def _stage(self) -> Stage:
        self._expect("|")
        at, following = self._token.at, self._tokens[min(self._next + 1, len(self._tokens) - 1)].text
        is_condition = following in ("=", "==", "!=", "=~", "!~", ">", ">=", "<", "<=")
        name = "" if is_condition or self._is("(") else self._take("name", "a stage or a condition on a label")
        if name in ("json", "logfmt"):
            if self._token.kind == "name" and not self._is("by"):
                self._refuse(f"{name} takes no arguments here: its labels are found by their names")
            return Extraction(name)  # type: ignore[arg-type]
        if name == "line_format":
            return LineFormat(self._template())
        if name == "label_format":
            return self._label_format()
        if name in ("drop", "keep"):
            return self._kept(name)
        if name == "unwrap":
            return self._unwrap()
        if name:
            known = "json, logfmt, line_format, label_format, drop, keep, unwrap and conditions on labels"
            self._refuse(f"the stage {name} is not supported; there are {known}", at)
        return self._either()

    def _template(self) -> tuple[str, ...]:
        at, template = self._token.at, self._string("a template in quotes")
        parts = tuple(_TEMPLATE.split(template))
        if any("{{" in part for part in parts[::2]):
            self._refuse("a template has {{.label}} only; functions in it are not supported", at)
        return parts

    def _label_format(self) -> LabelFormat:
        formats: dict[str, Rename | Template] = {}
        while not formats or self._accept(","):
            at, label = self._token.at, self._take("name", "a label")
            if label in formats:
                self._refuse(f"label_format sets {label} twice: take two stages", at)
            self._expect("=")
            if self._token.kind == "string":
                formats[label] = Template(label, self._template())
            else:
                formats[label] = Rename(label, self._take("name", "another label, or a template in quotes"))
        return LabelFormat(tuple(formats.values()))

    def _kept(self, name: str) -> Labels:
        names = [self._take("name", "a label")]
        while self._accept(","):
            names.append(self._take("name", "a label"))
        if self._is(*get_args(MatchOperator)):
            self._refuse(f"{name} takes names of labels, without values")
        return Labels(tuple(names), kept=name == "keep")

    def _unwrap(self) -> Unwrap:
        label = self._take("name", "a label")
        if label not in CONVERSIONS or not self._accept("("):
            return Unwrap(label)
        unit, label = CONVERSIONS[label], self._take("name", "a label")
        self._expect(")")
        return Unwrap(label, unit)

    def _either(self) -> LabelFilter:
        parts = [self._every()]
        while self._accept("or"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Either(tuple(parts), every=False)

    def _every(self) -> LabelFilter:
        parts = [self._condition()]
        while self._accept("and", ",") or (self._token.kind == "name" and not self._is("or")):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else Either(tuple(parts), every=True)

    def _condition(self) -> LabelFilter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"it is nested more than {MAX_DEPTH} times")
        if self._accept("("):
            inner = self._either()
            self._expect(")")
            self._depth -= 1
            return inner
        self._depth -= 1
        label = self._take("name", "a label")
        operator = self._expect("=", "==", "!=", "=~", "!~", ">", ">=", "<", "<=")
        if self._token.kind == "string" and operator in get_args(MatchOperator):
            return Matcher(label, operator, self._string())  # type: ignore[arg-type]
        number, unit = self._number()
        return Comparison(label, "==" if operator == "=" else cast("CompareOperator", operator), number, unit)

    def _number(self) -> tuple[float, Unit]:
        sign = -1.0 if self._accept("-") else 1.0
        token = self._token
        if token.kind == "duration":
            self._next += 1
            return sign * (duration_ns(token.text) or 0) / NS_PER_S, "seconds"
        if token.kind == "size":
            self._next += 1
            number, unit = re.fullmatch(r"([\d.]+)(\w+)", token.text).groups()  # type: ignore[union-attr]
            return sign * float(number) * _BYTES[unit.lower()], "bytes"
        return sign * float(self._take("number", "a number, a duration, a size, or for = a text")), "number"


def _unescaped(found: "re.Match[str]") -> str:
    escape = found[1]
    if escape[0] in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
    elif len(escape) == 3:
        code = int(escape, 8)
    else:
        return _ESCAPED.get(escape, escape)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"


def _shown(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text[:40])

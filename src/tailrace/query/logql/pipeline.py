"""Stages of LogQL as operators of APL: conditions, and what the line and the labels of an event are behind each."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from tailrace.query.apl.tree import (
    Binary,
    Call,
    Constant,
    Expression,
    Extend,
    LiteralKind,
    Member,
    Name,
    Named,
    Operator,
    Where,
)
from tailrace.query.logql.fields import DATASET, LabelFields
from tailrace.query.logql.lines import ERROR, EXTRACTED, JSON_ERROR, MAX_FORMATTED
from tailrace.query.logql.parser import NS_PER_S, LogqlError
from tailrace.query.logql.tree import (
    Comparison,
    Either,
    Extraction,
    LabelFilter,
    LabelFormat,
    Labels,
    LineFilter,
    LineFormat,
    LogQuery,
    Matcher,
    Rename,
    Stage,
    Template,
    Unit,
)

NOWHERE = 0  # the place of what no text of APL has written
FORMATTED = "#formatted"  # columns of our own, which no label can be called, with a number behind
JSON = "#json"  # the column of a whole line of JSON
MAX_EXTRACTIONS = 3
MAX_STRCAT = 64  # arguments
MAX_JOINTS = 4  # of a label, at which it may be keys of nested objects
MAX_SIGNS = 2  # joints, up to which each may be one of other characters
NESTED = ""  # the sign of keys within each other
_BYTES = r"^\s*((?:[0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)\s*(?i:b|[kmgtpe]i?b?)?)\s*$"


class _Source:
    """Where labels are looked for: the fields, or a line; but those that were dropped, or not kept, since."""

    def __init__(self, kind: Literal["fields", "json", "logfmt"], line: Expression | None = None) -> None:
        self.kind = kind
        self.line = line
        self.columns: dict[str, Name] = {}  # by label, of what was looked for
        self._dropped: set[str] = set()
        self._kept: frozenset[str] | None = None

    def shows(self, label: str) -> bool:
        return label not in self._dropped and (self._kept is None or label in self._kept)

    def drop(self, labels: Sequence[str]) -> None:
        self._dropped.update(labels)

    def keep(self, labels: Sequence[str]) -> None:
        kept = {*labels, ERROR}
        self._kept = frozenset(kept if self._kept is None else kept & self._kept)


class Pipeline:
    """What the line and the labels of an event are behind the stages so far, and the operators that these make.

    What a stage formats, or a line has, is a column, as it may be used any number of times by the stages that follow.
    """

    def __init__(self, query: LogQuery, fields: LabelFields, dataset: Expression) -> None:
        """Take the stages of a query, and what the name of an event's dataset is. Raise LogqlError."""
        self._fields = fields
        self._dataset = dataset
        self._line: Name | None = None  # as it was formatted
        self._formatted: dict[str, Name] = {}
        self._sources = [_Source("fields")]
        self._operators: list[Operator] = []
        self._uses: dict[str, set[str]] = {}  # of the columns, others
        self._used: set[str] = set()  # by what has been asked for since this was empty
        self.unwrapped: Expression | None = None
        for matcher in query.matchers:
            self._where(self._matched(matcher))
        for stage in query.stages:
            self._apply(stage)

    @property
    def operators(self) -> list[Operator]:
        """Return the operators, with the columns that are used."""
        needed: set[str] = set()
        waiting = list(self._used)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += self._uses[name]
        return [each for each in self._operators if not isinstance(each, Extend) or each.values[0].name in needed]

    @property
    def formatted(self) -> list[str]:
        """The labels that stages have made."""
        return list(self._formatted)

    def label(self, label: str, *, only_if_there: bool = False) -> Expression | None:
        """Return the text of a label, None where no event has it: of its field, else of what lines have by its name.

        With `only_if_there` it may be null where it is not there.
        """
        if label in self._formatted:
            return self._use(self._formatted[label])
        found: list[Expression] = []
        for source in self._sources:
            if not source.shows(label):
                continue
            if source.kind == "fields":
                field = self._fields.field(label)
                if field is not None:
                    return text(field, self._fields if only_if_there else None)
                if label == DATASET:
                    return self._dataset
            elif (value := self._of_line(source, label)) is not None:
                found.append(value)
        if len(found) < 2:
            return found[0] if found else None
        branches: list[Expression] = []
        for value in found[:-1]:
            branches += [Call(NOWHERE, "isnotempty", (value,)), value]
        return Call(NOWHERE, "case", (*branches, found[-1]))

    def line(self, *, only_if_there: bool = False) -> Expression:
        """Return the line of an event as text. Raise LogqlError for datasets without lines."""
        if self._line is not None:
            return self._use(self._line)
        if self._fields.line is None:
            raise LogqlError("the dataset has no field with lines (message, msg, body, log, line, text) to look into")
        return text(self._fields.line, self._fields if only_if_there else None)

    # Stages

    def _apply(self, stage: Stage) -> None:
        if isinstance(stage, LineFilter):
            self._where(self._line_condition(stage))
        elif isinstance(stage, (Matcher, Comparison, Either)):
            self._where(self._label_condition(stage))
        elif isinstance(stage, Extraction):
            self._extract(stage)
        elif isinstance(stage, LineFormat):
            self._line = self._column(lambda: self._template(stage.parts))
        elif isinstance(stage, LabelFormat):
            self._format(stage)
        elif isinstance(stage, Labels):
            self._choose(stage)
        else:
            self.unwrapped = self._number(stage.label, stage.unit, only_of_unit=True)

    def _extract(self, stage: Extraction) -> None:
        line = self._line or (text(self._fields.line) if self._fields.line is not None else None)
        if line is None:
            return
        if len(self._sources) > MAX_EXTRACTIONS:  # each makes a look-up of every label behind it longer
            raise LogqlError(f"a query has at most {MAX_EXTRACTIONS} stages json or logfmt")
        self._sources.append(_Source(stage.kind, line))

    def _where(self, condition: Expression) -> None:
        self._operators.append(Where(NOWHERE, condition))

    def _choose(self, stage: Labels) -> None:
        if stage.kept:
            self._formatted = {label: name for label, name in self._formatted.items() if label in stage.names}
            for source in self._sources:
                source.keep(stage.names)
        else:
            self._drop(stage.names)

    def _drop(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._formatted.pop(label, None)
        for source in self._sources:
            source.drop(labels)

    def _format(self, stage: LabelFormat) -> None:
        """Set labels, each by another name or by a template; all templates see what is there at the first of them."""
        columns: dict[str, Name] = {}
        for each in stage.formats:
            if isinstance(each, Rename):
                self._rename(each)
                continue
            columns = columns or {
                other.label: self._column(partial(self._template, other.parts))
                for other in stage.formats
                if isinstance(other, Template)
            }
            self._formatted[each.label] = columns[each.label]

    def _rename(self, stage: Rename) -> None:
        def renamed() -> Expression:
            value, before = self._text(stage.source), self.label(stage.label)
            if before is None:
                return value
            return Call(NOWHERE, "iff", (Call(NOWHERE, "isnotempty", (value,)), value, before))

        column = self._column(renamed)
        self._drop([stage.source])
        self._formatted[stage.label] = column

    def _template(self, parts: Sequence[str]) -> Expression:
        values: list[Expression] = [
            constant("string", part) if number % 2 == 0 else self._text(part)
            for number, part in enumerate(parts)
            if part or number % 2
        ]
        while len(values) > 1:
            values = [
                Call(NOWHERE, "strcat", tuple(values[first : first + MAX_STRCAT]))
                for first in range(0, len(values), MAX_STRCAT)
            ]
        whole = values[0] if values else constant("string", "")
        return Call(NOWHERE, "substring", (whole, constant("long", 0), constant("long", MAX_FORMATTED)))

    def _column(self, build: Callable[[], Expression]) -> Name:
        """Return a new column for a value."""
        used, self._used = self._used, set()
        value = build()
        name = f"{FORMATTED}{len(self._uses)}"
        self._uses[name], self._used = self._used, used
        self._operators.append(Extend(NOWHERE, (Named(NOWHERE, name, value),)))
        return Name(NOWHERE, name, quoted=True)

    def _use(self, value: Expression) -> Expression:
        if isinstance(value, Name) and value.name in self._uses:
            self._used.add(value.name)
        return value

    # Conditions

    def _label_condition(self, stage: LabelFilter) -> Expression:
        if isinstance(stage, Matcher):
            return self._matched(stage)
        if isinstance(stage, Comparison):
            number = self._number(stage.label, stage.unit)
            return Binary(NOWHERE, stage.operator, number, constant("real", stage.value))
        return _joined("and" if stage.every else "or", [self._label_condition(part) for part in stage.parts])

    def _matched(self, matcher: Matcher) -> Expression:
        """Return the condition of a matcher; a label that an event has not is empty, as in Loki."""
        is_pattern = matcher.operator in ("=~", "!~")
        is_for_some = not _may_be_empty(matcher.value) if is_pattern else matcher.value != ""
        value = self._text(matcher.label, only_if_there=is_for_some and matcher.operator in ("=", "=~"))
        if not is_pattern:
            return Binary(NOWHERE, "==" if matcher.operator == "=" else "!=", value, constant("string", matcher.value))
        # The whole of the value, with "." for line feeds too, as Loki anchors them.
        matches = Binary(NOWHERE, "matches regex", value, constant("string", f"^(?s:{matcher.value})$"))
        return matches if matcher.operator == "=~" else Call(NOWHERE, "not", (matches,))

    def _line_condition(self, stage: LineFilter) -> Expression:
        is_pattern = stage.operator in ("|~", "!~")
        is_for_each = [not _may_be_empty(value) if is_pattern else value != "" for value in stage.values]
        line = self.line(only_if_there=all(is_for_each) and stage.operator in ("|=", "|~"))
        operator = "matches regex" if is_pattern else "contains_cs"
        parts: list[Expression] = [Binary(NOWHERE, operator, line, constant("string", value)) for value in stage.values]
        either = _joined("or", parts)
        return either if stage.operator[0] == "|" else Call(NOWHERE, "not", (either,))

    # Values

    def _text(self, label: str, *, only_if_there: bool = False) -> Expression:
        found = self.label(label, only_if_there=only_if_there)
        return constant("string", "") if found is None else found

    def _number(self, label: str, unit: Unit, *, only_of_unit: bool = False) -> Expression:
        """Return the number that a label means, null for none; with `only_of_unit` only where it is written in it."""
        value = self._text(label)
        number = Call(NOWHERE, "todouble", (value,))
        if unit == "number":
            return number
        if unit == "seconds":
            ns = Call(NOWHERE, "todouble", (Call(NOWHERE, "totimespan", (value,)),))
            converted: Expression = Binary(NOWHERE, "/", ns, constant("real", float(NS_PER_S)))
        else:
            size = Call(NOWHERE, "extract", (constant("string", _BYTES), constant("long", 1), value))
            plain = Call(NOWHERE, "replace_string", (constant("string", ","), constant("string", ""), size))
            parsed = Call(NOWHERE, "parse_bytes", (plain, constant("long", 10)))
            is_size = Binary(NOWHERE, "matches regex", value, constant("string", _BYTES))
            no_number = Call(NOWHERE, "todouble", (constant("string", ""),))
            converted = Call(NOWHERE, "iff", (is_size, Call(NOWHERE, "todouble", (parsed,)), no_number))
        return converted if only_of_unit else Call(NOWHERE, "coalesce", (converted, number))

    def _of_line(self, source: _Source, label: str) -> Expression | None:
        """Return the text that a line has under a label, empty where it has none; None where none can have it."""
        if label == ERROR and source.kind != "json":
            return None
        return self._shared(source, label, lambda: self._extracted(source, label))

    def _shared(self, source: _Source, name: str, build: Callable[[], Expression]) -> Expression:
        """Return the column of what a line has, which is computed once."""
        if name not in source.columns:
            source.columns[name] = self._column(build)
        return self._use(source.columns[name])

    def _extracted(self, source: _Source, label: str) -> Expression:
        line = self._use(source.line) if source.line is not None else constant("string", "")
        parsed = Call(NOWHERE, "parse_json", (line,))
        if label == ERROR:
            kind = Call(NOWHERE, "gettype", (self._shared(source, JSON, lambda: parsed),))
            is_read = Binary(NOWHERE, "==", kind, constant("string", "dictionary"))
            return Call(NOWHERE, "iff", (is_read, constant("string", ""), constant("string", JSON_ERROR)))
        plain = label.removesuffix(EXTRACTED)
        key = plain if plain != label and self._fields.field(plain) is not None else label
        if source.kind == "json":
            return Call(NOWHERE, "tostring", (_of_json(self._shared(source, JSON, lambda: parsed), key),))
        named_so = re.escape(key).replace("_", r'[^a-zA-Z0-9\s="]')  # as a label has _ for any other character
        pattern = constant("string", rf'(?:^|\s){named_so}=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
        quoted, plain_text = (
            Call(NOWHERE, "tostring", (Call(NOWHERE, "extract", (pattern, constant("long", group), line)),))
            for group in (1, 2)
        )
        escape, escaped = constant("string", r"\\(.)"), constant("string", r"\1")
        unescaped = Call(NOWHERE, "replace_regex", (escape, escaped, quoted))
        return Call(NOWHERE, "tostring", (Call(NOWHERE, "strcat", (unescaped, plain_text)),))


def _may_be_empty(pattern: str) -> bool:
    """Return whether a regular expression of RE2 matches an empty text.

    Raise LogqlError for one that is none by itself, such as `a)|(b`, which may be one where it is put in brackets.
    """
    try:
        return bool(pc.match_substring_regex(pa.scalar(""), pattern).as_py())
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("Invalid regular expression: ")
        raise LogqlError(f"{pattern[:40]!r} is no regular expression: {why}") from error


def _joined(operator: str, parts: Sequence[Expression]) -> Expression:
    joined = parts[0]
    for part in parts[1:]:
        joined = Binary(NOWHERE, operator, joined, part)
    return joined


def _of_json(value: Expression, label: str) -> Expression:
    """Return what a JSON value has under a label, whose keys are joined by _ where they are nested, and which has _ for
    the . and - of keys: of a label with many in all places or none.
    """
    words = label.split("_")
    count = min(len(words) - 1, MAX_JOINTS)
    signs = ("_", NESTED, ".", "-") if count <= MAX_SIGNS else ("_", NESTED)
    ways = [*product(signs, repeat=count), *((sign,) * (len(words) - 1) for sign in (".", "-") if sign not in signs)]
    found: list[Expression] = []
    for joints in ways:
        keys = [words[0]]
        for number, word in enumerate(words[1:]):
            sign = joints[number] if number < len(joints) else "_"
            if sign == NESTED:
                keys.append(word)
            else:
                keys[-1] += f"{sign}{word}"
        part = value
        for key in keys:
            part = Member(NOWHERE, part, key, bracketed=True)
        found.append(part)
    return found[0] if len(found) == 1 else Call(NOWHERE, "coalesce", tuple(found))


def text(field: str, if_in: LabelFields | None = None) -> Expression:
    """Return the text of a field, empty where it is not there.

    With the fields it may be null there: so where it always is a text it is the field itself, of which files tell more.
    """
    is_text = if_in is not None and if_in.type(field) == "string"
    return named(field) if is_text else Call(NOWHERE, "tostring", (named(field),))


def named(name: str) -> Name:
    """Return the column of a name."""
    return Name(NOWHERE, name, quoted=True)


def constant(kind: LiteralKind, value: object) -> Constant:
    """Return a value as an expression."""
    return Constant(NOWHERE, kind, value)

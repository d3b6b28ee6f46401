"""Lines of LogQL: what stages make of an event's line and labels once it is found."""

import json
import re
from collections.abc import Mapping, Sequence

from tailrace.query.logql.parser import LogqlError
from tailrace.query.logql.tree import Extraction, LabelFormat, Labels, LineFormat, Rename, Stage, Unwrap

# From the beginning of a key only, and without going back, as a line may have very many characters without a space.
_LOGFMT = re.compile(r'(?<![^\s="])([^\s="]++)=(?:"((?:[^"\\]|\\.)*+)"|(\S*+))')
_ESCAPED = re.compile(r"\\(.)")
ERROR, JSON_ERROR = "__error__", "JSONParserErr"  # the label of a line that `json` cannot read
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # of a text that was cut, which no answer can have
EXTRACTED = "_extracted"  # behind the name of what the line has where the event has a label of that name
MAX_DEPTH = 20  # of JSON that is flattened
MAX_FORMATTED = 262_144  # characters of what a template makes, as templates may use what templates made


def processed(
    line: str, labels: Mapping[str, str], stages: Sequence[Stage], hidden: Mapping[str, str] = {}
) -> tuple[str, dict[str, str]]:
    """Return the line and the labels of an event behind the stages; `hidden` labels are none but where one is named.

    Conditions are for the query, which was met. Raise LogqlError for a stage of metric queries, and for a value that is
    longer than MAX_FORMATTED.
    """
    shown = dict(labels)
    for stage in stages:
        if isinstance(stage, Unwrap):
            raise LogqlError("unwrap is for numbers: it is within a function such as sum_over_time")
        if isinstance(stage, Extraction):
            extracted = _json(line) if stage.kind == "json" else _logfmt(line)
            for name, value in extracted.items():
                shown.setdefault(f"{name}{EXTRACTED}" if name in labels else name, value)
        elif isinstance(stage, LineFormat):
            line = _filled(stage.parts, {**hidden, **shown}, "line_format makes a line")
        elif isinstance(stage, LabelFormat):
            _format(shown, stage, hidden)
        elif isinstance(stage, Labels):
            is_kept = stage.kept
            names = {*stage.names, ERROR} if is_kept else set(stage.names)
            shown = {name: value for name, value in shown.items() if (name in names) == is_kept}
    return line, {name: value for name, value in shown.items() if value}


def _format(labels: dict[str, str], stage: LabelFormat, hidden: Mapping[str, str]) -> None:
    """Set labels, each by another name or by a template; all templates see what is there at the first of them."""
    before: dict[str, str] | None = None
    for each in stage.formats:
        if isinstance(each, Rename):
            if value := labels.pop(each.source, "") or hidden.get(each.source, ""):
                labels[each.label] = value
        else:
            before = {**hidden, **labels} if before is None else before
            labels[each.label] = _filled(each.parts, before, f"label_format makes a label {each.label}")


def _filled(parts: Sequence[str], values: Mapping[str, str], what: str) -> str:
    """Return a template with the texts of labels. Raise LogqlError for one that is too long."""
    texts = [part if number % 2 == 0 else values.get(part, "") for number, part in enumerate(parts)]
    if sum(map(len, texts)) > MAX_FORMATTED:
        raise LogqlError(f"{what} of more than {MAX_FORMATTED} characters")
    return "".join(texts)


def _json(line: str) -> dict[str, str]:
    """Return the scalar values of a line of JSON, by their keys joined by _; an error of what is no object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return {ERROR: JSON_ERROR}
    found: dict[str, str] = {}
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    while waiting:
        prefix, each, depth = waiting.pop()
        if isinstance(each, dict) and depth < MAX_DEPTH:
            inner = [(f"{prefix}_{key}" if prefix else key, part, depth + 1) for key, part in each.items()]
            waiting += reversed(inner)
        elif prefix and not isinstance(each, (list, dict)) and each is not None:
            name = re.sub(r"[^a-zA-Z0-9_]", "_", prefix)
            found.setdefault(name, _HALF_CHARACTER.sub("\ufffd", each) if isinstance(each, str) else json.dumps(each))
    return found


def _logfmt(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, quoted, plain in _LOGFMT.findall(line):
        label = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        found.setdefault(label, _ESCAPED.sub(r"\1", quoted) if quoted else plain)
    return found

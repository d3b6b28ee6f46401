"""Lines of LogQL: what stages make of an event's line and labels once it is found."""

import json
import re
from collections.abc import Mapping, Sequence

from tailrace.query.logql.parser import LogqlError
from tailrace.query.logql.tree import Extraction, Labels, LineFormat, Stage, Unwrap

_LOGFMT = re.compile(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
_ESCAPED = re.compile(r"\\(.)")
ERROR, JSON_ERROR = "__error__", "JSONParserErr"  # the label of a line that `json` cannot read
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # of a text that was cut, which no answer can have
MAX_DEPTH = 20  # of JSON that is flattened


def processed(line: str, labels: Mapping[str, str], stages: Sequence[Stage]) -> tuple[str, dict[str, str]]:
    """Return the line and the labels of an event behind the stages.

    Conditions are for the query, which was met. Raise LogqlError for a stage of metric queries.
    """
    found: dict[str, str] = {}
    dropped: set[str] = set()
    kept: set[str] | None = None
    for stage in stages:
        if isinstance(stage, Unwrap):
            raise LogqlError("unwrap is for numbers: it is within a function such as sum_over_time")
        if isinstance(stage, Extraction):
            extracted = _json(line) if stage.kind == "json" else _logfmt(line)
            for name, value in extracted.items():
                found.setdefault(f"{name}_extracted" if name in labels else name, value)
        elif isinstance(stage, LineFormat):
            values = {**labels, **found}
            parts = (part if number % 2 == 0 else values.get(part, "") for number, part in enumerate(stage.parts))
            line = "".join(parts)
        elif isinstance(stage, Labels):
            if stage.kept:
                kept = set(stage.names) if kept is None else kept & set(stage.names)
            else:
                dropped |= set(stage.names)
    everything = {**labels, **found}
    shown = {
        name: value for name, value in everything.items() if name not in dropped and (kept is None or name in kept)
    }
    return line, shown


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

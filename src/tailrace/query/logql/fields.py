"""Labels of LogQL as fields of datasets: which field a label is, and which field has the line."""

import re
from collections.abc import Iterable, Mapping

LINES = ("message", "msg", "body", "log", "line", "text")  # fields that may have the line; the first there is has it
DATASET = "dataset"  # the label that stands for the dataset
LEVELS = ("level", "severity", "severity_text", "severityText", "lvl")  # fields that Grafana's detected_level may be
DETECTED_LEVEL = "detected_level"
# Labels by which streams are told apart where nothing names any: those that shippers set.
STREAM_LABELS = frozenset({
    "level", "job", "app", "service", "service_name", "service_namespace", "namespace", "container", "pod", "host",
    "hostname", "instance", "env", "environment", "cluster", "filename", "source", "unit",
})  # fmt: skip
TIMES = frozenset({"_time", "_sysTime"})
SCALARS = frozenset({"string", "integer", "float", "boolean"})


class LabelFields:
    """The fields of datasets by the labels that Loki's clients know them as."""

    def __init__(self, types: Mapping[str, str]) -> None:
        """Take the types of all fields by name; several types of one are joined by |."""
        self._types = types
        self._by_label: dict[str, str] = {}
        for name in types:
            label = label_of(name)
            if label == name or label not in self._by_label:
                self._by_label[label] = name
        level = next((name for name in LEVELS if name in types), None)
        if level is not None:
            self._by_label.setdefault(DETECTED_LEVEL, level)

    def field(self, label: str) -> str | None:
        """Return the field that a label is, None where there is none."""
        return label if label in self._types else self._by_label.get(label)

    def type(self, field: str) -> str:
        """Return the type of a field, several joined by |."""
        return self._types[field]

    def label(self, field: str) -> str | None:
        """Return the label that a column of an answer is, None for times and what is no scalar; a label is itself."""
        if field in self._by_label and field not in self._types:
            return field
        return label_of(field) if field in self._types and self._is_label(field) else None

    @property
    def line(self) -> str | None:
        """The field with the line, None where an event as a whole is it."""
        return next((name for name in LINES if name in self._types), None)

    @property
    def labels(self) -> list[str]:
        """The labels that can be asked for, in order."""
        scalars = {label for label, name in self._by_label.items() if self._is_label(name)}
        return sorted({DATASET, *scalars} - {DETECTED_LEVEL})

    def stream_labels(self, named: Iterable[str]) -> dict[str, str]:
        """Return the fields by which streams are told apart, by label: the usual ones, and those that a query names."""
        wanted = {label for label in self._by_label if label in STREAM_LABELS} | set(named)
        found = {label: self.field(label) for label in wanted if label != DATASET}
        return {label: name for label, name in sorted(found.items()) if name is not None and self._is_label(name)}

    def _is_label(self, name: str) -> bool:
        return name not in TIMES and name != self.line and bool(SCALARS.intersection(self._types[name].split("|")))


def label_of(name: str) -> str:
    """Return the name of a field as a label: a letter or _, then letters, digits and _."""
    label = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return f"_{label}" if label[:1].isdigit() else label
